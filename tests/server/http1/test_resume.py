"""A request whose own nursery fails or is cancelled under its handler: it is answered, and its connection goes on."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.server.running import read_until, serving
from trioweb import App, HTTPError, JSONResponse, Request, Response

REQUEST = "{} {} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

log: list[str] = []


async def fail(error: Exception) -> None:
    """Fail at once, as a task of the request's."""
    raise error


async def sleeps(request: Request) -> str:
    """Wait for ever, and clean up under the cancellation."""
    request.state.kept = "kept"
    request.nursery.start_soon(fail, HTTPError(418))
    try:
        await trio.sleep_forever()
    finally:
        log.append("cleaned up")
        with trio.move_on_after(5, shield=True):
            await trio.sleep(0)
            log.append("shielded")
        await trio.sleep(0)
        log.append("never")
    return "never"


async def fails_too(request: Request) -> str:
    """Fail while being cancelled."""
    request.nursery.start_soon(fail, HTTPError(418))
    try:
        await trio.sleep_forever()
    except BaseException:
        raise HTTPError(409) from None
    return "never"


async def fails_in_its_own(request: Request) -> str:
    """Fail in a nursery of its own while that is cancelled: what is raised is a group."""

    async def clean() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    request.nursery.start_soon(fail, HTTPError(418))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clean)
        nursery.start_soon(trio.sleep_forever)
    return "never"


async def returns(request: Request) -> str:
    """Return a whole response after the nursery was cancelled, behind a shield."""
    request.nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    return "whole"


async def streams(request: Request) -> AsyncIterator[str]:
    """Yield nothing before the nursery fails."""
    request.nursery.start_soon(fail, HTTPError(418))
    await trio.sleep_forever()
    yield "never"


async def waits(request: Request) -> str:
    """Be cancelled by the user's own code."""
    request.nursery.cancel_scope.cancel()
    await trio.sleep_forever()
    return "never"


HANDLERS: dict[str, tuple[Callable[[Request], Any], int, bytes]] = {
    "sleeps": (sleeps, 418, b"answered: 418"),
    "fails too": (fails_too, 500, b"answered: group"),
    "fails in its own": (fails_in_its_own, 500, b"answered: group"),
    "returns": (returns, 200, b"whole"),
    "streams": (streams, 418, b"answered: 418"),
    "waits": (waits, 500, b"answered: RuntimeError"),
}


def make_app(handler: Callable[[Request], Any]) -> App:
    """An app with such a handler, a plain one, and error handlers that await."""
    app = App()
    app.route("/", methods=["GET", "POST"])(handler)

    @app.get("/next")
    async def following() -> str:
        return "next"

    @app.error_handler(HTTPError)
    async def answer(request: Request, error: HTTPError) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(f"answered: {error.status}", error.status, {"x-state": getattr(request.state, "kept", "")})

    @app.error_handler(Exception)
    async def answer_all(request: Request, error: Exception) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(f"answered: {'group' if isinstance(error, ExceptionGroup) else type(error).__name__}", 500)

    return app


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", HANDLERS)
async def test_it_is_answered_and_the_connection_goes_on(name: str, method: str) -> None:
    """The error handler's response is sent, once; the next request on the connection is answered; so is a pipeline."""
    log.clear()
    handler, status, body = HANDLERS[name]
    async with serving(make_app(handler)) as server, await server.connect() as client:
        for _ in range(3):
            await client.send_all((REQUEST.format(method, "/") + REQUEST.format("GET", "/next")).encode())
            received = await read_until(client, b"\r\n\r\nnext")
            assert received.startswith(b"HTTP/1.1 %d " % status)
            assert received.count(b"HTTP/1.1 ") == 2
            assert received.count(body) == 1
            assert (b"x-state: kept" in received) == (name == "sleeps")
    assert log == (["cleaned up", "shielded"] * 3 if name == "sleeps" else [])


@pytest.mark.parametrize("name", HANDLERS)
async def test_the_access_log_has_one_line_for_it(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It is logged once, with the status that was sent."""
    handler, status, _ = HANDLERS[name]
    async with serving(make_app(handler), accesslog="-") as server:
        await server.ask("/")
    lines = [line for line in capfd.readouterr().out.splitlines() if "GET /" in line]
    assert len(lines) == 1
    assert f" {status} " in lines[0]


async def test_a_client_that_leaves_in_that_moment(caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves while the nursery fails: all is closed, and the server goes on."""
    started, closed = trio.Event(), trio.Event()

    async def handler(request: Request) -> str:
        request.nursery.start_soon(fail_when_told)
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            closed.set()
        return "never"

    async def fail_when_told() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    async with serving(make_app(handler)) as server:
        for _ in range(5):
            started, closed = trio.Event(), trio.Event()
            client = await server.connect()
            await client.send_all(REQUEST.format("GET", "/").encode())
            await started.wait()
            await client.aclose()
            await closed.wait()
        assert (await server.ask("/next")).endswith(b"next")


async def test_a_client_that_leaves_while_the_handler_cleans_up(capfd: pytest.CaptureFixture[str]) -> None:
    """A client that leaves after the failure, while the handler cleans up: all is closed, and logged once."""
    cleaning, go_on = trio.Event(), trio.Event()

    async def handler(request: Request) -> str:
        request.nursery.start_soon(fail, HTTPError(418))
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                cleaning.set()
                await go_on.wait()
        return "never"

    async with serving(make_app(handler), accesslog="-") as server:
        client = await server.connect()
        await client.send_all(REQUEST.format("GET", "/").encode())
        await cleaning.wait()
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await server.ask("/next")).endswith(b"next")
    lines = [line for line in capfd.readouterr().out.splitlines() if '"GET / ' in line]
    assert len(lines) == 1, lines


@pytest.mark.parametrize("gated", [False, True])
async def test_a_limit_of_requests_counts_it_once(gated: bool) -> None:
    """With ``max_requests_in_flight`` as many requests are let in after it as before."""
    async with serving(make_app(sleeps), max_requests_in_flight=1 if gated else None) as server:
        for _ in range(3):
            assert b" 418 " in await server.ask("/")
            assert (await server.ask("/next")).endswith(b"next")


async def test_middleware_around_it_sees_the_error() -> None:
    """Middleware gets the error as a response; ASGI middleware that wraps ``send`` sees one response."""
    seen: list[Any] = []
    app = make_app(sleeps)

    @app.middleware
    async def look(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        seen.append(response.status_code)
        return response

    class Watch:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if "status" in message:
                    seen.append(message["status"])
                await send(message)

            await self.app(scope, receive, sending if scope["type"] == "http" else send)

    app.add_middleware(Watch)
    async with serving(app) as server:
        assert b" 418 " in await server.ask("/")
    assert seen == [418, 418]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_nursery_that_ends_while_middleware_waits(fails: bool) -> None:
    """After the handler has returned, a nursery that fails or is cancelled cancels the middleware around it, too."""
    app = App()

    @app.middleware
    async def wait(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        await trio.sleep_forever()
        return response

    @app.get("/")
    async def handler(request: Request) -> str:
        async def end() -> None:
            if fails:
                raise HTTPError(418)
            request.nursery.cancel_scope.cancel()

        request.nursery.start_soon(end)
        return "whole"

    async with serving(app) as server, await server.connect() as client:
        for _ in range(3):
            await client.send_all(REQUEST.format("GET", "/").encode())
            assert (b" 418 " if fails else b" 500 ") in await read_until(client, b"\r\n\r\n{")


async def test_nothing_of_it_is_left_to_the_collector() -> None:
    """What the handler's variables held is freed when it is answered, with the collector switched off."""
    markers: list[Any] = []

    class Marker:
        def __init__(self) -> None:
            markers.append(id(self))

        def __del__(self) -> None:
            markers.remove(id(self))

    async def handler(request: Request) -> JSONResponse:
        marker = Marker()
        request.nursery.start_soon(fail, HTTPError(418))
        await trio.sleep_forever()
        return JSONResponse(repr(marker))

    async with serving(make_app(handler)) as server, await server.connect() as client:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await client.send_all(REQUEST.format("GET", "/").encode())
                await read_until(client, b"answered: 418")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert markers == []
        finally:
            gc.enable()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The faults of these handlers are meant."""
    caplog.set_level(logging.CRITICAL)
