"""Which charsets a client may name for its text."""

from __future__ import annotations

import re
from typing import Final

CHARSETS: Final = re.compile(
    r"utf-?8|utf-?16(le|be)?|us-ascii|ascii|latin-?1|iso-8859-([1-9]|1[03-6])|windows-125[0-8]|cp125[0-8]|koi8-[ru]"
    r"|shift[_-]jis|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5",
    re.IGNORECASE,
)
"""The charsets of the web. Python knows more: some are no charsets, some are slow, and unknown names are remembered."""


def charset_of(content_type: str) -> str:
    """The charset that a content type names, UTF-8 where it names none."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or "utf-8"
    return "utf-8"
