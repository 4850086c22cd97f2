"""A proxy that passes each chunk on when it comes, up and down, and keeps none.

::

    UPSTREAM=http://localhost:9000 hypercorn -k trio examples.proxy:app
    curl -N localhost:8000/ticks

A client that leaves, or does not read, is felt upstream; an upstream that breaks off is not taken for whole. Needs
``httpx``.
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Final

import httpx

from trioweb import App, HTTPError, Provide, Request, StreamingResponse

UPSTREAM: Final = os.environ.get("UPSTREAM", "http://localhost:9000")
HOP_BY_HOP: Final = {b"connection", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
"""Headers that are about one connection (RFC 9110, section 7.6.1): each side has its own."""
LIMITS: Final = {"timeout": {"connect": 10}}
"""Seconds to connect. After that a stream may be silent, and go on, for as long as it likes."""

app = App()


@app.lifespan
async def keep_connections(app: App) -> AsyncIterator[None]:
    """Connections to the upstream, and no more: a client of httpx's would have cookies and redirects of its own."""
    async with httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None)) as app.state.upstream:
        yield


async def ask(request: Request) -> AsyncIterator[httpx.Response]:
    """The upstream's answer, its body still to come. It is closed when ours has ended, whatever ended it."""
    url = UPSTREAM + request.scope["raw_path"].decode() + "?" + request.scope["query_string"].decode()
    has_body = {"content-length", "transfer-encoding"} & set(request.headers)
    body = request.stream() if has_body else None
    asked = httpx.Request(request.method, url, headers=end_to_end(request.headers.raw), content=body, extensions=LIMITS)
    try:
        answer = await request.app.state.upstream.handle_async_request(asked)
    except httpx.TransportError as error:
        raise HTTPError(502, f"the upstream does not answer: {error}") from error
    try:
        yield answer
    finally:
        await answer.aclose()


@app.route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def proxy(answer: Annotated[httpx.Response, Provide(ask)]) -> StreamingResponse:
    """Whatever the upstream says."""
    headers = [(name.decode(), value.decode("latin-1")) for name, value in end_to_end(answer.headers.raw)]
    return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)


def end_to_end(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that are for the other end, and not for who is in between."""
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
