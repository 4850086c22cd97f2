"""The short way: what it leaves out, nobody can tell."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, running
from trioweb import App, FileResponse, HTTPError, Request, Response, StreamingResponse


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


async def test_a_handler_that_returns_at_once_starts_no_task(app: App) -> None:
    """A handler that takes nothing and does not wait costs no task; `receive` is not called."""
    before: list[int] = []
    during: list[int] = []

    @app.get("/")
    async def handler() -> str:
        during.append(trio.lowlevel.current_statistics().tasks_living)
        return "ok"

    async with running(app):
        await ask(app, "/")  # the first of all starts the app's own watch over the server
        during.clear()
        exchange = Exchange("GET", "/")
        before.append(trio.lowlevel.current_statistics().tasks_living)
        await exchange.run(app)
        assert trio.lowlevel.current_statistics().tasks_living == before[0]
    assert during == before
    assert (exchange.body, exchange.complete) == (b"ok", True)


async def test_a_handler_that_waits_is_awaited_as_any_other(app: App) -> None:
    """What is sent and raised into a handler that waits arrives there, and what it returns comes out."""
    steps: list[Any] = []

    @app.get("/")
    async def handler() -> str:
        send, receive = trio.open_memory_channel[int](1)
        send.send_nowait(1)
        steps.append(await receive.receive())
        with trio.move_on_after(0):
            await trio.sleep_forever()
        steps.append("moved on")
        with pytest.raises(trio.WouldBlock):
            receive.receive_nowait()
        return str(steps)

    async with running(app):
        assert (await ask(app, "/")).body == b"[1, 'moved on']"


@pytest.mark.parametrize("wait", [False, True])
async def test_errors_of_a_light_handler(app: App, wait: bool) -> None:
    """An error of such a handler is answered by its error handler, which has a request."""

    @app.get("/{name}")
    async def handler(name: str) -> str:
        if wait:
            await trio.lowlevel.checkpoint()
        raise HTTPError(404, f"no {name}")

    @app.error_handler(404)
    async def answer(request: Request, error: HTTPError) -> Response:
        return Response(f"{request.path_params['name']}: {error.detail}", error.status)

    async with running(app):
        exchange = await ask(app, "/x")
    assert (exchange.status, exchange.body) == (404, b"x: no x")


async def test_a_light_handler_may_return_a_stream(app: App, tmp_path: Any) -> None:
    """A stream or a file that such a handler returns is sent with all the rules."""
    (tmp_path / "file.txt").write_text("file")

    async def letters() -> AsyncIterator[str]:
        yield "a"
        await trio.sleep(0)
        yield "b"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        return letters()

    @app.get("/file")
    async def file() -> Response:
        return FileResponse(tmp_path / "file.txt")

    @app.get("/missing")
    async def missing() -> Response:
        return FileResponse(tmp_path / "missing")

    @app.error_handler(FileNotFoundError)
    async def not_found(request: Request, error: FileNotFoundError) -> Response:
        return Response("gone", 410)

    async with running(app):
        assert (await ask(app, "/stream")).body == b"ab"
        exchange = await ask(app, "/file")
        assert (exchange.body, exchange.headers["content-length"]) == (b"file", "4")
        assert exchange.headers["content-type"] == "text/plain; charset=utf-8"
        assert (await ask(app, "/missing")).status == 410


async def test_a_plain_function_runs_in_a_thread(app: App) -> None:
    """A `def` handler runs in a worker thread, where it can call back into trio."""

    @app.get("/light")
    def light() -> str:
        return str(threading.get_ident() == main)

    @app.post("/request")
    def with_request(request: Request) -> Any:
        return trio.from_thread.run(request.json)

    main = threading.get_ident()
    async with running(app):
        assert (await ask(app, "/light")).body == b"False"
        exchange = await ask(app, "/request", "POST", body=[b'{"a":', b"1}"], headers=[(b"content-length", b"7")])
        assert exchange.body == b'{"a":1}'


async def test_a_wrong_length_is_a_500(app: App) -> None:
    """A content-length that the body does not have is told in the log, and a 500, on the short way and the long one."""

    @app.get("/light")
    async def light() -> Response:
        return Response("abc", headers={"content-length": "10"})

    @app.get("/other")
    async def other(request: Request) -> Response:
        return Response("abc", headers={"content-length": "10"})

    async with running(app):
        for path in ("/light", "/other"):
            assert (await ask(app, path)).status == 500


async def test_an_answer_that_comes_as_the_client_leaves(app: App) -> None:
    """A handler that returns in the moment its client leaves has its response's sends left alone."""
    go_on = trio.Event()

    @app.get("/")
    async def handler() -> str:
        await go_on.wait()
        return "ok"

    async with running(app):
        exchange = Exchange("GET", "/", window=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run, app)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            exchange.leave()
        assert exchange.cancelled_sends == 0


class Order(msgspec.Struct):
    """A typed body."""

    n: int


JSON = [(b"content-type", b"application/json"), (b"content-length", b"10")]


async def test_a_typed_body_needs_no_nursery(app: App) -> None:
    """A handler of a typed JSON body costs no task either: the body is read, and the handler called."""
    during: list[int] = []

    @app.post("/")
    async def handler(order: Order, q: int = 1) -> int:
        during.append(trio.lowlevel.current_statistics().tasks_living)
        return order.n + q

    async with running(app):
        before = trio.lowlevel.current_statistics().tasks_living
        exchange = Exchange("POST", "/", JSON, [b'{"n"', b": 5}"], query_string=b"q=2")
        await exchange.run(app)
    assert during == [before]
    assert (exchange.body, exchange.complete) == (b"7", True)


async def test_a_typed_body_that_is_refused(app: App) -> None:
    """What is wrong with a body is answered in the same way as elsewhere, and its rest is drained."""

    @app.post("/", max_body_size=20)
    async def handler(order: Order) -> int:
        return order.n

    async with running(app):
        for headers, chunks, status in (
            (JSON, [b'{"n": "x"}'], 422),
            (JSON, [b'{"n": '], 400),
            (JSON, [b"[" * 15, b"[" * 15, b"[" * 15], 413),
            ([(b"content-length", b"10")], [b'{"n": 5}'], 415),
            ([], [b""], 422),
        ):
            exchange = Exchange("POST", "/", headers, chunks)
            await exchange.run(app)
            assert (exchange.status, exchange.complete) == (status, True)


async def test_a_client_that_leaves_its_typed_body(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves before its body is whole is not answered, its handler not called, and nothing is logged."""

    @app.post("/")
    async def handler(order: Order) -> None:
        raise AssertionError

    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("POST", "/", JSON, None)
        exchange._body = [b'{"n": 5}']
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
        await exchange.done.wait()
    assert exchange.messages == []
    assert not caplog.records


async def test_a_stream_for_a_typed_body(app: App) -> None:
    """What such a handler returns may be anything, a stream too; and it may raise."""

    @app.post("/")
    async def handler(order: Order) -> StreamingResponse:
        if not order.n:
            raise HTTPError(409)
        return StreamingResponse(str(number) for number in range(order.n))

    async with running(app):
        for body, status, text in ((b'{"n": 3}', 200, b"012"), (b'{"n": 0}', 409, None)):
            exchange = Exchange("POST", "/", JSON, [body])
            await exchange.run(app)
            assert exchange.status == status
            assert text is None or exchange.body == text
