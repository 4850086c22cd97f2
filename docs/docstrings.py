"""How the docstrings of this package become Markdown: they are written to be read in an editor first.

There ``::`` at the end of a line begins a block of code; and a section of errors may say in brackets when they are
raised.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_CODE = re.compile(r"^(.*)::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_RAISES = re.compile(r"^Raises \((.+)\):$", re.MULTILINE)


class Docstrings(Extension):
    """Rewrites each docstring as it is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """See griffe."""
        if obj.docstring is not None:
            text = _CODE.sub(_fence, obj.docstring.value + "\n")
            obj.docstring.value = _RAISES.sub(r"Errors are raised \1.\n\nRaises:", text).rstrip()


def _fence(found: re.Match[str]) -> str:
    before = f"{found[1]}:\n\n" if found[1] else ""
    code = re.sub(r"^    ", "", found[2], flags=re.MULTILINE).strip("\n")
    return f"{before}```python\n{code}\n```\n\n"
