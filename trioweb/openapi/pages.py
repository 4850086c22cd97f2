"""The pages that show a description: Swagger UI, and one of our own that tries the streams.

All that they load comes from this package, and no script stands in a page: their policy (Content-Security-Policy)
forbids everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Final

from trioweb.ground.chunks import JSON_TYPE
from trioweb.ground.encoding import encode_json
from trioweb.handlers.signatures import Function
from trioweb.messages.files import FileResponse
from trioweb.messages.request import Request
from trioweb.messages.response import HTMLResponse, Response
from trioweb.openapi.schemas import Schema

FILES: Final = Path(__file__).parent / "ui"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
}  # fmt: skip
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "streams.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "streams.css": "text/css; charset=utf-8",
}
_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
{styles}</head>
<body data-openapi="{openapi}">
"""
_DOCS: Final = """<nav><a href="{path}/streams">Try the streams</a> <a href="{openapi}">OpenAPI</a></nav>
<div id="docs"></div>
"""
_STREAMS: Final = """<h1 id="title">Streams</h1>
<p><a href="{path}">All operations</a></p>
<form id="form">
<label>Operation <select id="operation"></select><small id="about"></small></label>
<div id="parameters"></div>
<label id="body" hidden>Body <textarea id="json" spellcheck="false"></textarea></label>
<div class="buttons"><button id="start" disabled>Start</button>
<button id="stop" type="button" disabled>Stop</button> <span id="status"></span></div>
</form>
<dl><div><dt>Items</dt><dd id="count">0</dd></div><div><dt>Bytes</dt><dd id="bytes">0</dd></div>
<div><dt>Rate</dt><dd id="rate">0 bytes/s</dd></div><div><dt>Time</dt><dd id="time">0.0 s</dd></div></dl>
<div id="end" role="status"></div>
<ol id="items"></ol>
"""


class Pages:
    """Handlers for a description and its pages.

    Args:
        path: where the pages are.
        openapi_path: where the description is.
        title: the title of the pages.
        describe: makes the description, with the path that the app has at a proxy.
    """

    def __init__(self, path: str, openapi_path: str, title: str, describe: Callable[[], Schema]) -> None:
        self._path, self._openapi_path, self._title, self._describe = path, openapi_path, title, describe

    def handlers(self) -> Iterator[tuple[str, Function]]:
        """The paths and their handlers."""
        yield self._openapi_path, self.document
        yield self._path or "/", self.docs
        yield self._path + "/streams", self.streams
        for name in _ASSETS:
            yield f"{self._path}/{name}", self._asset(name)

    def document(self, request: Request) -> Response:
        """The description, for the place at which the client sees the app."""
        described = self._describe()
        if root := request.scope.get("root_path"):
            described = {**described, "servers": [{"url": root}]}
        return Response(encode_json(described), media_type=JSON_TYPE, headers={"cache-control": "no-cache"})

    async def docs(self, request: Request) -> Response:
        """The page with all operations."""
        return self._page(request, _DOCS, ["swagger-ui.css", "docs.css"], ["swagger-ui-bundle.js", "docs.js"])

    async def streams(self, request: Request) -> Response:
        """The page that tries the streams."""
        return self._page(request, _STREAMS, ["streams.css"], ["streams.js"])

    def _page(self, request: Request, body: str, styles: list[str], scripts: list[str]) -> Response:
        root = escape(request.scope.get("root_path", ""))
        path, openapi = root + escape(self._path), root + escape(self._openapi_path)
        links = "".join(f'<link rel="stylesheet" href="{path}/{name}">\n' for name in styles)
        head = _HEAD.format(title=escape(self._title), styles=links, openapi=openapi)
        tail = "".join(f'<script src="{path}/{name}"></script>\n' for name in scripts)
        return HTMLResponse(
            head + body.format(path=path, openapi=openapi) + tail + "</body></html>\n", headers=_HEADERS
        )

    @staticmethod
    def _asset(name: str) -> Function:
        async def asset() -> Response:
            """Send a file of this package."""
            file = FileResponse(FILES / name, media_type=_ASSETS[name], content_disposition_type="inline")
            file.headers["x-content-type-options"] = "nosniff"
            return file

        return asset
