"""The charsets that a client may use."""

from __future__ import annotations

import re
from typing import Final

from trioweb.ground.http.parameters import parse_parameters, unquoted

CHARSETS: Final = re.compile(
    r"utf-?8|utf-?16(le|be)?|us-ascii|ascii|latin-?1|iso-8859-([1-9]|1[03-6])|windows-125[0-8]|cp125[0-8]|koi8-[ru]"
    r"|shift[_-]jis|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5",
    re.IGNORECASE,
)
"""The charsets of the web. Python has more codecs, which are not charsets or are slow, and it caches unknown names."""


def charset_of(content_type: str) -> str | None:
    """The charset that a content type names, or ``None``."""
    if ";" not in content_type:
        return None
    try:
        return unquoted(parse_parameters(content_type).get("charset", "")).strip("'") or None
    except ValueError:
        return None
