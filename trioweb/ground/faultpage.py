"""Debug mode's page of a fault: source lines, the request, and its tasks. Whatever it shows is text, never markup."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from trioweb.ground.places import is_users
from trioweb.ground.problems import encodable
from trioweb.ground.traces import format_trace, trace_parts

AROUND: Final = 5
"""Source lines that are shown before and after the one of the user's that was run."""
FRAMES: Final = 20
"""Frames that are shown at either end of a deep traceback."""
LONGEST: Final = 500
"""Characters of a source line, and of the title, that are shown."""

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root{{color-scheme:light dark;--line:#8884;--soft:#8882;--here:#e5484d33}}
body{{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}}
h1{{font-size:1.35rem;line-height:1.3;margin:.3rem 0 1.5rem;white-space:pre-wrap}}
h1,td,p,pre{{overflow-wrap:anywhere}}
h2{{font-size:1.05rem;margin:2rem 0 .5rem}}
pre,code,td,th{{font:.85rem/1.5 ui-monospace,monospace}}
pre{{white-space:pre-wrap;margin:.5rem 0}}
.frame{{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;overflow:hidden}}
.frame p{{margin:0;padding:.35rem .75rem;background:var(--soft);font-size:.85rem}}
.line{{display:grid;grid-template-columns:3.5rem 1fr}}
.line pre{{margin:0}}
.line i{{font:.85rem/1.5 ui-monospace,monospace;text-align:right;padding-right:.75rem;opacity:.65;
user-select:none}}
.here{{background:var(--here);font-weight:600}}
table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;vertical-align:top;padding:.2rem .75rem .2rem 0;border-bottom:1px solid var(--line)}}
th{{font-weight:600;width:11rem}}
@media(max-width:40rem){{th{{width:7rem;overflow-wrap:anywhere}}.line{{grid-template-columns:2.5rem 1fr}}}}
</style></head>
<body><code>{line}</code><h1>{title}</h1>{body}</body></html>
"""


def render_fault(
    error: BaseException, line: str, groups: Sequence[tuple[str, Sequence[tuple[str, str]]]], tasks: Sequence[str]
) -> bytes:
    """The page.

    Args:
        error: what the request has failed with.
        line: the method and path of the request.
        groups: what is known of the request, by title.
        tasks: the tasks of its nursery when it failed, one a line.
    """
    title = traceback.format_exception_only(error)[0].rstrip()[:LONGEST]
    body = "".join(_trace(error))
    if tasks:
        body += "<h2>Tasks in the request's nursery when it failed</h2><pre>" + _text("\n".join(tasks)) + "</pre>"
    for heading, pairs in groups:
        rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in pairs)
        body += f"<h2>{_text(heading)}</h2><table>{rows}</table>"
    body += f"<h2>As text</h2><pre>{_text(format_trace(error))}</pre>"
    return _PAGE.format(title=_text(title), line=_text(line), body=body).encode()


def _trace(error: BaseException) -> Iterator[str]:
    for part in trace_parts(error):
        if isinstance(part, str):
            yield f"<pre>{_text(part)}</pre>"
            continue
        skipped = len(part) - 2 * FRAMES
        for number, frame in enumerate(part):
            if skipped <= 0 or not FRAMES <= number < FRAMES + skipped:
                yield _frame(frame)
            elif number == FRAMES:
                yield f"<p>{skipped} more calls</p>"


def _frame(frame: traceback.FrameSummary) -> str:
    here = frame.lineno or 0
    lines = linecache.getlines(frame.filename)
    around = AROUND if is_users(frame.filename) else 0
    numbers = range(max(1, here - around), min(len(lines), here + around) + 1)
    source = "".join(
        f'<div class="line{" here" if number == here else ""}"><i>{number}</i>'
        f"<pre>{_text(lines[number - 1].rstrip()[:LONGEST])}</pre></div>"
        for number in numbers
    )
    return f'<div class="frame"><p><b>{_text(frame.name)}</b> {_text(frame.filename)}:{here}</p>{source}</div>'


def _text(text: str) -> str:
    return escape(encodable(text))
