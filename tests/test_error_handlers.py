"""Error handlers that fail, or pass an error on: who answers next, and what the log tells."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.asgi import ask
from trioweb import App, HTTPError, JSONResponse, Request, Response, RouteError, WebSocket
from trioweb.ground.errors import chained
from trioweb.handlers.layers import CallNext
from trioweb.testing import TestClient, WebSocketDenied


class SoldOut(Exception):
    """What the shop has no more of."""


class Special(SoldOut):
    """The same of something special."""


Raise = Callable[[], Exception]


def shop(app: App, raises: Raise) -> App:
    """An app whose handlers of every shape fail."""

    @app.get("/bare")
    async def bare() -> str:
        raise raises()

    @app.get("/request")
    async def with_request(request: Request) -> str:
        raise raises()

    @app.get("/thread")
    def in_thread() -> str:
        raise raises()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        raise raises()
        yield "x"

    @app.get("/group")
    async def group() -> str:
        raise ExceptionGroup("one", [ExceptionGroup("of one", [raises()])])

    return app


SHAPES = ("/bare", "/request", "/thread", "/stream", "/group")


def wrapped(app: App, how: str) -> tuple[App, str]:
    """The app as it stands in a program, and the prefix of its paths."""
    if how == "alone":
        return app, ""
    outer = app if how == "behind middleware" else App()
    if how != "mounted":

        @outer.middleware
        async def mw(request: Request, call_next: CallNext) -> Response:
            response = await call_next(request)
            response.headers["x-seen"] = "yes"
            return response

    if outer is not app:
        outer.mount("/inner", app)
    return outer, "" if outer is app else "/inner"


HOWS = ("alone", "behind middleware", "mounted", "mounted behind middleware")


def faults(caplog: pytest.LogCaptureFixture) -> list[list[str]]:
    """The faults in the log, each with those that it came up in."""
    told = []
    for record in caplog.records:
        if record.levelno >= logging.ERROR and record.exc_info:
            error: BaseException | None = record.exc_info[1]
            names = []
            while error is not None:
                names.append(type(error).__name__)
                error = error.__cause__ or error.__context__
            told.append(names)
    return told


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("general", [Exception, 500])
async def test_a_handler_that_fails_is_followed_by_the_general_one(
    general: Any, path: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raised is answered like any other fault, and logged once, with the error that it was to answer."""
    app = shop(App(), SoldOut)

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> str:
        raise KeyError("a mistake in the handler")

    @app.error_handler(general)
    def anything(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"sorry": type(error).__name__}, 500)

    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + path)
    assert (answer.status, answer.body) == (500, b'{"sorry":"KeyError"}')
    assert faults(caplog) == [["KeyError", "SoldOut"]]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("path", SHAPES)
async def test_a_handler_that_passes_an_error_on(path: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """``raise error`` leads on from the nearest class to that of its base, and at last to that of ``Exception``."""
    app, asked = shop(App(), Special), []

    def note(cls: Any) -> None:
        @app.error_handler(cls)
        async def passes_on(request: Request, error: Exception) -> Response:
            asked.append(cls)
            if cls is not Exception:
                raise error
            return Response("general", 503)

    for cls in (Exception, SoldOut, Special):
        note(cls)
    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + path)
    assert (answer.status, answer.body) == (503, b"general")
    assert asked == [Special, SoldOut, Exception]
    assert faults(caplog) == [["Special"]]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("general", [Exception, 500])
async def test_the_last_handler_passes_an_error_on(
    general: Any, path: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """``raise error`` in the general handler, of which there is none behind it, ends with the plain 500."""
    app, asked = shop(App(), SoldOut), []

    @app.error_handler(general)
    async def passes_on(request: Request, error: Exception) -> Response:
        asked.append(error)
        assert len(asked) == 1  # or it would go on for ever
        raise error

    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + path)
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert faults(caplog) == [["SoldOut"]]


@pytest.mark.parametrize("how", HOWS)
async def test_handlers_that_lead_to_each_other_end(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """No handler is asked again after it has failed with a request: where all have, the answer is the plain 500."""
    app, asked = shop(App(), SoldOut), []

    def fails_with(cls: Any, following: Raise) -> None:
        @app.error_handler(cls)
        async def fails(request: Request, error: Exception) -> str:
            asked.append(cls)
            raise following()

    fails_with(SoldOut, KeyError)
    fails_with(KeyError, SoldOut)
    fails_with(Exception, SoldOut)
    fails_with(500, KeyError)
    outer, prefix = wrapped(app, how)
    for _ in range(2):
        answer = await ask(outer, prefix + "/bare")
        assert answer.status == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert asked == [SoldOut, KeyError, Exception, 500]
        asked.clear()
    assert faults(caplog)[0] == ["SoldOut", "KeyError", "SoldOut"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("status", "path", "method"), [(404, "/nowhere", "GET"), (405, "/bare", "POST"), (409, "/bare", "GET")]
)
async def test_a_handler_of_a_status_that_fails(
    how: str, status: int, path: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler of a status is followed by that of what it raised, and the status is told in the log."""
    app = shop(App(), lambda: HTTPError(409))

    @app.error_handler(status)
    async def fails(request: Request, error: HTTPError) -> str:
        raise KeyError("nothing")

    @app.error_handler(LookupError)
    async def lookup(request: Request, error: LookupError) -> Response:
        return Response("looked up", 410)

    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + path, method)
    assert (answer.status, answer.body) == (410, b"looked up")
    assert faults(caplog) == []  # a KeyError is expected here


@pytest.mark.parametrize("how", HOWS)
async def test_a_deliberate_answer_of_an_error_handler(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """An ``HTTPError`` out of an error handler is that answer, by its own handler where there is one; and one that is
    passed on is answered as if there were no handler.
    """
    app = shop(App(), SoldOut)

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> str:
        raise HTTPError(410 if "gone" in request.query else 409, "all gone")

    @app.error_handler(410)
    async def gone(request: Request, error: HTTPError) -> Response:
        return Response("gone", 410)

    @app.error_handler(404)
    async def missing(request: Request, error: HTTPError) -> str:
        raise error

    @app.error_handler(Exception)
    async def anything(request: Request, error: Exception) -> str:
        return "no fault"

    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + "/bare", query_string=b"gone=1")
    assert (answer.status, answer.body) == (410, b"gone")
    answer = await ask(outer, prefix + "/bare")
    assert (answer.status, b"all gone" in answer.body) == (409, True)
    assert (await ask(outer, prefix + "/nowhere")).status == 404
    assert faults(caplog) == []


@pytest.mark.parametrize("wrong", [lambda: "takes nothing", lambda error: error, lambda a, b, c: (a, b, c), 5])
def test_what_is_no_error_handler(wrong: Any) -> None:
    """What cannot be called with a request and an exception is refused when it is registered."""
    with pytest.raises(RouteError, match=r"the error handler .* must take \(request, exc\): write `async def"):
        App().error_handler(404)(wrong)


@pytest.mark.parametrize("kind", ["partial", "object", "decorated", "method", "class"])
async def test_what_may_be_an_error_handler(kind: str) -> None:
    """Whatever can be called with a request and an exception answers."""

    async def answer(request: Request, error: Exception) -> Response:
        return Response("sorry", 404)

    @functools.wraps(answer)
    def decorated(*args: Any) -> Any:
        return answer(*args)

    class Answers:
        def __init__(self, *_: Any) -> None:
            pass

        async def __call__(self, request: Request, error: Exception) -> Response:
            return await answer(request, error)

    class Sorry(Response):
        def __init__(self, _request: Request, _error: Exception) -> None:
            super().__init__("sorry", 404)

    handlers: dict[str, Any] = {
        "partial": functools.partial(answer),
        "object": Answers(),
        "decorated": decorated,
        "method": Answers().__call__,
        "class": Sorry,
    }
    app = App()
    app.error_handler(404)(handlers[kind])
    assert (await ask(app, "/nowhere")).body == b"sorry"


@pytest.mark.parametrize("wrong", [lambda *_: object(), lambda *_: {"x": object()}, lambda *_: (1, 2)])
async def test_an_error_handler_that_returns_no_answer(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A value that is no response, and a call that fails, are failures of the handler too."""
    app = shop(App(), SoldOut)
    app.error_handler(SoldOut)(wrong)

    @app.error_handler(TypeError)
    async def anything(request: Request, error: TypeError) -> Response:
        return Response("general", 503)

    assert (await ask(app, "/bare")).status == 503
    assert faults(caplog) == []


@pytest.mark.parametrize("how", HOWS)
async def test_an_error_handlers_stream_that_fails_before_its_first_chunk(how: str) -> None:
    """It has failed as a handler does; with a chunk on its way it is broken off, and nobody answers again."""
    app = shop(App(), SoldOut)

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> AsyncIterator[str]:
        if "late" in request.query:
            yield "x"
        raise KeyError

    @app.error_handler(Exception)
    async def anything(request: Request, error: Exception) -> Response:
        return Response(type(error).__name__, 503)

    outer, prefix = wrapped(app, how)
    answer = await ask(outer, prefix + "/bare")
    assert (answer.status, answer.body) == (503, b"KeyError")


async def test_what_middleware_sees_of_a_handler_that_fails() -> None:
    """An exception that no handler expects passes through ``call_next`` as itself, as one of a route's handler does."""
    app, seen = shop(App(), SoldOut), []

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except Exception as error:
            seen.append(("outer", type(error).__name__))
            raise

    @app.middleware
    async def inner(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except KeyError as error:
            seen.append(("inner", type(error).__name__))
            if "save" in request.query:
                return Response("saved")
            raise SoldOut from error  # whose handler has failed already

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> str:
        raise KeyError

    @app.error_handler(500)
    async def anything(request: Request, error: Exception) -> Response:
        return Response(type(error).__name__, 500)

    answer = await ask(app, "/request", query_string=b"save=1")
    assert (answer.status, answer.body, seen) == (200, b"saved", [("inner", "KeyError")])
    seen.clear()
    for path in SHAPES:
        answer = await ask(app, path)
        assert (answer.status, answer.body) == (500, b"SoldOut")
        assert seen == [("inner", "KeyError"), ("outer", "SoldOut")]
        seen.clear()


async def test_a_handler_that_has_answered_may_answer_again() -> None:
    """Only what has failed is passed over: a middleware may raise what was answered once."""
    app = shop(App(), SoldOut)

    @app.middleware
    async def insists(request: Request, call_next: CallNext) -> Response:
        assert (await call_next(request)).status_code == 410
        raise SoldOut

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> Response:
        return Response("sold out", 410)

    for path in SHAPES:
        assert (await ask(app, path)).status == 410


@pytest.mark.parametrize("passes_on", [True, False])
async def test_a_handshake_whose_error_handler_fails(passes_on: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A WebSocket is refused by the general handler then, as a request is answered."""
    app = App()

    @app.websocket("/ws")
    async def ws(ws: WebSocket) -> None:
        raise SoldOut

    @app.error_handler(SoldOut)
    async def sold_out(request: Request, error: SoldOut) -> str:
        raise error if passes_on else KeyError

    @app.error_handler(Exception)
    async def anything(request: Request, error: Exception) -> Response:
        if "again" in request.query:
            raise error
        return Response(type(error).__name__, 503)

    async with TestClient(app, raise_app_exceptions=False) as client:
        for path, status in (("/ws", 503), ("/ws?again=1", 500)):
            caplog.clear()
            with pytest.raises(WebSocketDenied) as caught:
                async with client.websocket(path):
                    pass
            assert caught.value.status_code == status
            assert faults(caplog) == [["SoldOut"] if passes_on else ["KeyError", "SoldOut"]]


def test_errors_are_chained_as_python_does_it() -> None:
    """The earlier error stands at the end of the later one's chain, unless it is there; a circle is left alone."""
    first, second, third = ValueError(), KeyError(), TypeError()
    assert chained(first, first).__context__ is None
    second.__cause__ = third
    assert chained(second, first) is second
    assert third.__context__ is first
    assert chained(second, first) is second
    assert chained(first, second).__context__ is None
    third.__context__ = second
    chained(second, ValueError())
    assert (second.__cause__, third.__context__) == (third, second)


@pytest.mark.parametrize("status", [200, 304, 399, 600, True])
def test_an_error_handler_of_a_status_that_is_no_error(status: int) -> None:
    """It would never be asked, and is refused."""
    with pytest.raises(ValueError, match="statuses 400 to 599"):
        App().error_handler(status)


async def test_members_of_the_problem_document(caplog: pytest.LogCaptureFixture) -> None:
    """A mapping as the detail of an `HTTPError` is in its document, and error handlers have it."""
    app = App()

    @app.get("/sold-out")
    async def sold_out() -> None:
        raise HTTPError(409, {"detail": "It is sold out.", "left": 0, "again": [1, 2]}, {"retry-after": "5"})

    @app.get("/odd")
    async def odd() -> None:
        raise HTTPError(409, {"left": object()})

    @app.error_handler(410)
    async def gone(request: Request, exc: HTTPError) -> dict[str, object]:
        return dict(exc.detail)

    @app.get("/gone")
    async def raise_gone() -> None:
        raise HTTPError(410, {"since": 1999})

    answer = await ask(app, "/sold-out")
    assert (answer.status, answer.headers["retry-after"]) == (409, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "It is sold out.",
        "left": 0,
        "again": [1, 2],
    }
    assert b"<dt>left<dd>0" in (await ask(app, "/sold-out", headers=[(b"accept", b"text/html")])).body
    assert (await ask(app, "/gone")).body == b'{"since":1999}'
    assert (await ask(app, "/odd")).status == 500
    assert "an HTTPError(409) has a detail or headers that cannot be sent" in caplog.text
