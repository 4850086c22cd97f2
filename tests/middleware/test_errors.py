"""What middlewares add to errors: whoever answers these, and wherever that is."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from tests.asgi import Exchange, ask, running
from trioweb import (
    CORS,
    App,
    HTTPError,
    RangeResponse,
    Request,
    RequestID,
    Response,
    Router,
    SecurityHeaders,
    StreamingResponse,
    Timing,
)
from trioweb.middleware import CallNext, request_id


class Broken(Exception):
    """Nothing expects it."""


failing = Router()
"""It fails in every way."""


@failing.get("/refuses")
async def refuses() -> str:
    """An answer."""
    raise HTTPError(418)


@failing.get("/breaks")
async def breaks() -> str:
    """A fault."""
    raise Broken


@failing.get("/breaks/request")
async def breaks_with_request(request: Request) -> str:
    """A fault in a task of its own."""
    raise Broken


@failing.get("/breaks/thread")
def breaks_in_thread() -> str:
    """A fault in a thread."""
    raise Broken


@failing.get("/breaks/stream")
async def breaks_at_the_beginning() -> AsyncIterator[str]:
    """A fault before the first chunk."""
    raise Broken
    yield "x"


@failing.get("/breaks/sync")
def breaks_at_the_beginning_in_a_thread() -> Iterator[str]:
    """The same in a thread."""
    raise Broken
    yield "x"


@failing.get("/breaks/response")
async def streams() -> Response:
    """The same in a response that the handler makes."""
    return StreamingResponse(breaks_at_the_beginning())


@failing.get("/breaks/range")
async def ranges() -> Response:
    """The same where a client may ask for parts."""

    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        raise Broken
        yield b"x"

    return RangeResponse(source, size=10)


@failing.get("/breaks/task")
async def starts(request: Request) -> str:
    """A fault in a task of the request's."""

    async def work() -> None:
        raise Broken

    request.nursery.start_soon(work)
    await trio.sleep_forever()
    return "x"


@failing.get("/breaks/wrong")
async def returns_what_cannot_be_sent() -> Any:
    """A value that is no response."""
    return object()


@failing.get("/number")
async def number(limit: int) -> int:
    """An input."""
    return limit


def make(*, handler_of_500: bool = False) -> App:
    """An app that fails, behind all that marks errors."""
    app = App()
    app.middleware(CORS(allow_origins=["https://a.example"], expose_headers=["x-request-id"]))
    app.middleware(RequestID())
    app.middleware(SecurityHeaders())
    app.middleware(Timing())
    app.include(failing)
    if handler_of_500:

        @app.error_handler(500)
        async def answer(request: Request, error: Exception) -> Response:
            return Response("sorry", 500, {"x-frame-options": "SAMEORIGIN", "server-timing": "own;dur=1"})

    return app


PATHS = {
    "/nowhere": 404, "/refuses": 418, "/number?limit=x": 422, "/breaks": 500, "/breaks/request": 500,
    "/breaks/thread": 500, "/breaks/stream": 500, "/breaks/sync": 500, "/breaks/response": 500, "/breaks/range": 500,
    "/breaks/task": 500, "/breaks/wrong": 500,
}  # fmt: skip


@pytest.mark.parametrize("handler_of_500", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_errors_have_what_responses_have(path: str, handler_of_500: bool) -> None:
    """CORS, RequestID, SecurityHeaders and Timing add to each error what they add to a response, and once."""
    app = make(handler_of_500=handler_of_500)
    target, _, query = path.partition("?")
    async with running(app):
        exchange = Exchange("GET", target, [(b"origin", b"https://a.example")], query_string=query.encode())
        await exchange.run(app)
    assert exchange.status == PATHS[path]
    raw = [name for name, _ in exchange.messages[0]["headers"]]
    own = handler_of_500 and exchange.status == 500
    assert exchange.headers["access-control-allow-origin"] == "https://a.example"
    assert exchange.headers["access-control-expose-headers"] == "x-request-id"
    assert exchange.headers["vary"] == "origin"
    assert len(exchange.headers["x-request-id"]) == 32
    assert exchange.headers["x-frame-options"] == ("SAMEORIGIN" if own else "DENY")
    assert raw.count(b"server-timing") == (2 if own else 1)
    assert all(raw.count(name) == 1 for name in raw if name != b"server-timing")
    assert exchange.complete


async def test_405_too() -> None:
    """A method that is not allowed is a response to all of them."""
    answer = await ask(make(), "/refuses", "DELETE", headers=[(b"origin", b"https://a.example")])
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (405, "https://a.example")


async def test_a_fault_is_logged_with_its_request_id() -> None:
    """When a fault is logged, outside of all middleware, the id is still that of its request."""
    ids: list[str | None] = []

    def note(_: logging.LogRecord) -> bool:
        ids.append(request_id.get(None))
        return True

    logger = logging.getLogger("trioweb")
    logger.addFilter(note)
    try:
        for path in ("/breaks", "/breaks/request"):
            answer = await ask(make(), path)
            assert ids.pop() == answer.headers["x-request-id"]
    finally:
        logger.removeFilter(note)
    assert ids == []


async def test_marks_are_made_from_the_inside_out_and_harm_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Marks are made in the order in which responses pass; one that fails is logged, and the error is answered."""
    app = App()

    def marking(name: str) -> Any:
        async def middleware(request: Request, call_next: CallNext) -> Response:
            def mark(response: Response) -> None:
                response.headers.append("x-seen", name)
                if name == "middle":
                    raise KeyError(name)

            request.mark_errors(mark)
            return await call_next(request)

        return middleware

    for name in ("outer", "middle", "inner"):
        app.middleware(marking(name))

    @app.get("/")
    async def root() -> str:
        raise Broken

    exchange = Exchange("GET", "/")
    await exchange.run(app)
    assert exchange.status == 500
    seen = [value for name, value in exchange.messages[0]["headers"] if name == b"x-seen"]
    assert seen == [b"inner", b"middle", b"outer"]
    assert "mark, which marks errors, failed" in caplog.text


async def test_what_passes_as_a_response_is_not_marked() -> None:
    """An error that some middleware sees as a response, or answers itself, is left to that."""
    app = App()

    @app.middleware
    async def mark(request: Request, call_next: CallNext) -> Any:
        request.mark_errors(lambda response: response.headers.append("x-marked", "yes"))
        try:
            return await call_next(request)
        except Broken:
            return "rescued"

    @app.get("/breaks")
    async def breaks() -> str:
        raise Broken

    @app.get("/refuses")
    async def refuses(request: Request) -> str:
        raise HTTPError(418)

    @app.error_handler(404)
    async def missing(request: Request, error: HTTPError) -> Response:
        return Response("nothing", 404)

    for path, status in (("/breaks", 200), ("/nowhere", 404), ("/refuses", 418)):
        answer = await ask(app, path)
        assert (answer.status, "x-marked" in answer.headers) == (status, False)


async def test_a_handler_marks_errors_without_middleware() -> None:
    """The same can be said by a handler, or what it depends on, for the error that it is about to raise."""
    app = App()

    @app.get("/{kind}")
    async def root(request: Request, kind: str) -> str:
        request.mark_errors(lambda response: response.headers.append("x-marked", "yes"))
        raise Broken if kind == "fault" else HTTPError(409)

    for path, status in (("/fault", 500), ("/conflict", 409)):
        answer = await ask(app, path)
        assert (answer.status, answer.headers["x-marked"]) == (status, "yes")
