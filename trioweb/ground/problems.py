"""The body of an error response: a problem document (RFC 9457), or a page for a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trioweb.ground.chunks import HTML_TYPE
from trioweb.ground.encoding import encode_json
from trioweb.ground.errors import Fault, phrase_of

PROBLEM_TYPE = "application/problem+json"

_KNOWN = frozenset({"type", "title", "status", "detail"})
"""The members that a page shows in its own way, or not."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:52rem;padding:0 1rem;
color-scheme:light dark}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;padding:1rem;
border:1px solid #8888;border-radius:.4rem;font-size:.85rem}}</style></head>
<body><h1>{status} {title}</h1>{body}</body></html>
"""


def wants_page(accept: str) -> bool:
    """Whether an ``accept`` header prefers ``text/html`` to JSON, as browsers do (RFC 9110, section 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        media_type, *parameters = part.split(";")
        weights.setdefault(media_type.strip().lower(), _weight(parameters))
    page = weights.get("text/html", 0.0)
    problem = max(weights.get("application/json", 0.0), weights.get(PROBLEM_TYPE, 0.0))
    return page > problem


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def render_problem(
    status: int, detail: str | Mapping[str, object] | None, trace: str | None, page: bool, errors: Sequence[Fault] = ()
) -> tuple[bytes, str]:
    """The body and media type of an error response.

    Args:
        status: the HTTP status code.
        detail: a sentence about this occurrence, or members of the document: see ``HTTPError``.
        trace: a traceback, in debug mode.
        page: make HTML instead of JSON.
        errors: the invalid inputs.

    Raises:
        TypeError: if a member has no JSON form.
    """
    problem: dict[str, object] = {"type": "about:blank", "title": phrase_of(status), "status": status}
    if isinstance(detail, Mapping):
        problem.update(detail)
    elif detail:
        problem["detail"] = encodable(detail)
    trace = None if trace is None else encodable(trace)
    if page:
        return _page(status, problem, trace), HTML_TYPE
    if errors:
        problem["errors"] = [{"loc": fault["loc"], "msg": fault["msg"]} for fault in errors]
    if trace is not None:
        problem["traceback"] = trace.splitlines()
    return encode_json(problem), PROBLEM_TYPE


def _page(status: int, problem: dict[str, object], trace: str | None) -> bytes:
    from html import escape  # noqa: PLC0415 - it loads the table of HTML entities, and most apps answer in JSON

    def text(value: object) -> str:
        return escape(value if isinstance(value, str) else encode_json(value).decode())

    title = text(problem["title"])
    body = f"<p>{text(problem['detail'])}</p>" if "detail" in problem else ""
    more = "".join(f"<dt>{escape(name)}<dd>{text(problem[name])}" for name in problem if name not in _KNOWN)
    body += f"<dl>{more}</dl>" if more else ""
    if trace is not None:
        body += f"<pre>{escape(trace)}</pre>"
    return _PAGE.format(status=status, title=title, body=body).encode()


def encodable(text: str) -> str:
    """A text without lone surrogates, as the names of files have: UTF-8 cannot encode these."""
    return text.encode("utf-8", "backslashreplace").decode()
