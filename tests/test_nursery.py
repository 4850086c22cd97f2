"""The request's nursery, and what dependencies hold beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, running
from trioweb import App, HTTPError, Provide, Request, Response, StreamingResponse
from trioweb.middleware import CallNext

TASKS: list[object] = []


async def workers() -> AsyncIterator[trio.Nursery]:
    """A dependency that opens a nursery."""
    TASKS.append(trio.lowlevel.current_task())
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()
    TASKS.append(trio.lowlevel.current_task())


async def fails() -> AsyncIterator[None]:
    """A dependency that cannot be had."""
    raise HTTPError(418)
    yield


async def test_a_scope_of_a_middleware_may_end_before_what_a_dependency_opens() -> None:
    """What a dependency holds is entered and left in one task, beside the scopes that middleware opens."""
    TASKS.clear()
    app = App()

    @app.middleware
    async def in_time(request: Request, call_next: CallNext) -> Response:
        with trio.move_on_after(5):
            return await call_next(request)
        raise HTTPError(503)

    @app.get("/")
    async def root(nursery: Annotated[trio.Nursery, Provide(workers)]) -> StreamingResponse:
        nursery.start_soon(trio.sleep_forever)

        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep(0)
            yield "b"

        return StreamingResponse(chunks())

    async with running(app):
        assert (await ask(app, "/")).body == b"ab"
    assert TASKS[0] is TASKS[1]


async def test_a_dependency_s_error_is_the_request_s() -> None:
    """What a dependency raises while it is entered is answered as the handler's own errors are."""
    app = App()

    @app.get("/")
    async def root(_: Annotated[None, Provide(fails)]) -> str:
        return "x"

    async with running(app):
        assert (await ask(app, "/")).status == 418


@pytest.mark.parametrize("takes", ["parameter", "attribute"])
async def test_a_task_that_fails_cancels_the_handler(takes: str) -> None:
    """What fails in the request's nursery interrupts a handler that waits, and is its failure."""
    app, log = App(), []

    async def fail() -> None:
        raise KeyError("in the nursery")

    async def work(nursery: Any) -> None:
        nursery.start_soon(fail)
        try:
            await trio.sleep_forever()
        finally:
            log.append("interrupted")

    if takes == "parameter":

        @app.get("/")
        async def with_nursery(nursery: trio.Nursery) -> None:
            await work(nursery)
    else:

        @app.get("/")
        async def with_request(request: Request) -> None:
            await work(request.nursery)

    @app.error_handler(KeyError)
    async def on_error(request: Request, error: KeyError) -> Response:
        log.append("answered")
        return Response(str(error), 500)

    async with running(app):
        answer = await ask(app, "/")
    assert (answer.status, answer.body, log) == (500, b"'in the nursery'", ["interrupted", "answered"])


async def test_a_request_s_nursery_can_start_a_task_and_wait_for_it() -> None:
    """``request.nursery`` has ``start`` and its scope before it is open, as any nursery."""
    app = App()

    @app.get("/")
    async def root(request: Request) -> str:
        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            task_status.started("started")
            await trio.sleep_forever()

        assert not request.nursery.cancel_scope.cancel_called
        value: str = await request.nursery.start(serve)
        assert len(request.nursery.child_tasks) == 1
        request.nursery.cancel_scope.cancel()
        return value

    async with running(app):
        assert (await ask(app, "/")).body == b"started"


@pytest.mark.parametrize("middleware", [False, True])
async def test_a_task_that_fails_while_its_request_is_cancelled_is_logged(
    middleware: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that leaves cancels the request's tasks; what one of them then fails with is not lost."""
    app = App()
    if middleware:
        app.middleware(passing)

    @app.get("/")
    async def root(request: Request) -> None:
        async def work() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("while it cleans up")

        request.nursery.start_soon(work)
        await trio.sleep_forever()

    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/")
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
    [record] = caplog.records
    assert record.getMessage().endswith("root failed")
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def passing(request: Request, call_next: CallNext) -> Response:
    """A middleware that changes nothing."""
    return await call_next(request)
