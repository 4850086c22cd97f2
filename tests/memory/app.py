"""An app whose requests end in every way there is, run with the garbage collector switched off: it tells what is left.

Whatever a request works with is a ``Marker``. Its route, ``GET /left``, counts those that live, and what the collector
would have to find.
"""

# ruff: noqa: D103 - the paths of the handlers say what they do

from __future__ import annotations

import gc
import os
import types
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import trio

from trioweb import (
    App,
    Compression,
    EventStreamResponse,
    FileResponse,
    HTTPError,
    Provide,
    RangeResponse,
    Request,
    Response,
    Router,
    StreamingResponse,
    WebSocket,
)
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send

gc.disable()  # what is freed here is freed by its last reference

markers: weakref.WeakSet[Marker] = weakref.WeakSet()
LARGE = b"x" * 5_000_000
"""A body that no buffer of the system's holds."""


class Marker:
    """Something that a request works with."""

    def __init__(self) -> None:
        markers.add(self)


class Item(msgspec.Struct):
    """A body."""

    name: str


class Expected(Exception):
    """It has an error handler."""


class Rejected(Exception):
    """Its error handler fails."""


class Renamed(Exception):
    """Its error handler raises it once more."""


KEPT = HTTPError(409, "the same each time")
"""An exception that is made once, and raised for each request."""


def left() -> dict[str, Any]:
    """What is left of the requests so far."""
    alive = len(markers)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(_told(each) for each in gc.garbage)
    gc.garbage.clear()
    gc.collect()
    return {"markers": alive, "garbage": dict(found), "after": len(markers)}


def _told(what: object) -> str:
    if isinstance(what, types.FrameType):
        return f"frame of {what.f_code.co_qualname} at {Path(what.f_code.co_filename).name}:{what.f_lineno}"
    if isinstance(what, BaseException):
        return f"{type(what).__name__}({what})"
    cell = ""
    return f"{type(what).__module__}.{type(what).__qualname__}{cell}"


async def fail_in_middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Fail once the handler has answered."""
    marker = Marker()
    await call_next(request)
    kind = request.query.get("kind")
    if kind == "http":
        raise HTTPError(418, "from a middleware")
    if kind == "expected":
        raise Expected("from a middleware")
    if kind == "replace":
        return Response("another")
    del marker
    raise ValueError("from a middleware")


async def pass_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Add something to each response."""
    marker = Marker()
    response = await call_next(request)
    response.headers["x-passed"] = "1"
    del marker
    return response


class Around:
    """ASGI middleware: one that fails for some."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if b"around" not in scope.get("query_string", b""):
            await self._app(scope, receive, send)
            return
        marker = Marker()

        async def told(message: dict[str, Any]) -> None:
            await send(message)

        async def asked() -> Any:
            return await receive()

        await self._app(scope, asked, told)
        del marker


async def opened() -> AsyncIterator[Marker]:
    """A dependency that is closed after the response."""
    marker = Marker()
    try:
        yield marker
    finally:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def managed() -> AsyncIterator[Marker]:
    """The same as a context manager."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield Marker()
        nursery.cancel_scope.cancel()


def plain() -> Marker:
    """A dependency in a thread."""
    return Marker()


async def refusing(kind: str = "") -> Marker:
    """A dependency that fails."""
    marker = Marker()
    await trio.lowlevel.checkpoint()
    fail(kind)
    return marker


async def fails_late() -> AsyncIterator[Marker]:
    """A dependency that fails when it is closed."""
    marker = Marker()
    yield marker
    raise ValueError("closing failed")


def caused() -> Exception:
    """An exception that has a cause."""
    try:
        raise KeyError("the cause")
    except KeyError as error:
        effect = ValueError("the effect")
        effect.__cause__ = error
        return effect


FAULTS: dict[str, Callable[[], Exception]] = {
    "http": lambda: HTTPError(403, "deliberate"),
    "kept": lambda: KEPT,
    "expected": lambda: Expected("it is"),
    "rejected": lambda: Rejected("it is"),
    "renamed": lambda: Renamed("it is"),
    "group": lambda: ExceptionGroup("two", [ValueError("one"), KeyError("two")]),
    "single": lambda: ExceptionGroup("one", [ValueError("one")]),
    "caused": caused,
    "plain": lambda: ValueError("a fault"),
}
"""The ways to fail."""


def fail(kind: str) -> None:
    """Fail in one way or another, or not."""
    marker = Marker()
    if kind in FAULTS:
        raise FAULTS[kind]()  # noqa: RSE102 - it makes the exception
    del marker


async def fail_in_child(kind: str) -> None:
    """Fail as a task of a nursery's."""
    marker = Marker()
    await trio.lowlevel.checkpoint()
    fail(kind)
    del marker


app = App(max_body_size=20_000_000, write_timeout=None)
app.add_middleware(Around)
front = Router(prefix="/front", middleware=[pass_on])
failing = Router(prefix="/failing", middleware=[fail_in_middleware])
double = Router(prefix="/double", middleware=[pass_on, fail_in_middleware])
compressed = Router(prefix="/compressed", middleware=[Compression()])


@app.get("/-/ready")
async def ready() -> str:
    """Answer."""
    return "ready"


@app.get("/left")
async def what_is_left() -> dict[str, Any]:
    """Tell what is left of other requests."""
    return {**left(), "enabled": gc.isenabled(), "pid": os.getpid()}


@app.get("/count")
async def count() -> dict[str, Any]:
    """Tell how many markers there are, and leave the rest to ``/left``."""
    return {"markers": len(markers), "pid": os.getpid()}


@app.error_handler(Expected)
async def answer_expected(request: Request, error: Expected) -> Response:
    """Answer."""
    marker = Marker()
    await trio.lowlevel.checkpoint()
    del marker
    return Response("expected", 409)


@app.error_handler(Rejected)
async def answer_rejected(request: Request, error: Rejected) -> Response:
    """Fail too."""
    marker = Marker()
    await trio.lowlevel.checkpoint()
    del marker
    raise ValueError("the error handler failed")


@app.error_handler(Renamed)
def answer_renamed(request: Request, error: Renamed) -> Response:
    """Raise it once more, in a thread."""
    raise error


SHAPES: list[tuple[str, str, dict[str, Any], Callable[..., Any]]] = []
H = TypeVar("H", bound=Callable[..., Any])


def shape(method: str, path: str, **options: Any) -> Callable[[H], H]:
    """Register a handler at each of the routers."""

    def add(handler: H) -> H:
        SHAPES.append((method, path, options, handler))
        return handler

    return add


@shape("GET", "/nothing/{kind}")
async def nothing(kind: str) -> str:
    marker = Marker()
    fail(kind)
    del marker
    return "ok"


@shape("GET", "/awaits/{kind}")
async def awaits(kind: str) -> str:
    marker = Marker()
    await trio.lowlevel.checkpoint()
    fail(kind)
    del marker
    return "ok"


@shape("GET", "/request/{kind}")
async def takes_request(request: Request, kind: str) -> str:
    request.state.marker = Marker()
    await trio.lowlevel.checkpoint()
    fail(kind)
    return "ok"


@shape("GET", "/nursery/{kind}")
async def takes_nursery(nursery: trio.Nursery, kind: str) -> str:
    marker = Marker()
    nursery.start_soon(fail_in_child, kind)
    await trio.sleep(0.01)
    del marker
    return "ok"


@shape("GET", "/own/{kind}")
async def own_nursery(kind: str) -> str:
    marker = Marker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_in_child, kind)
        nursery.start_soon(fail_in_child, kind)
    del marker
    return "ok"


@shape("GET", "/thread/{kind}")
def thread(kind: str) -> str:
    marker = Marker()
    fail(kind)
    del marker
    return "ok"


@shape("GET", "/dependency/{kind}")
async def dependency(
    kind: str,
    one: Annotated[Marker, Provide(opened)],
    two: Annotated[Marker, Provide(plain)],
) -> str:
    fail(kind)
    return "ok"


@shape("GET", "/managed/{kind}")
async def takes_managed(kind: str, given: Annotated[Marker, Provide(managed)]) -> str:
    marker = Marker()
    fail(kind)
    del marker
    return "ok"


@shape("GET", "/own/waits/{kind}")
async def own_nursery_that_waits(kind: str) -> str:
    marker = Marker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()
        fail(kind)
    del marker
    return "ok"


@shape("POST", "/own/waits/{kind}")
async def own_nursery_with_a_body(kind: str, item: Item) -> str:
    return await own_nursery_that_waits(kind)


@shape("GET", "/local/{kind}")
async def keeps_its_error(kind: str) -> str:
    marker = Marker()
    error = FAULTS[kind]()
    if marker:
        raise error
    return "ok"


@shape("GET", "/refusing/{kind}")
async def refused(given: Annotated[Marker, Provide(refusing)], other: Annotated[Marker, Provide(opened)]) -> str:
    return "ok"


@shape("GET", "/late/{kind}")
async def late(kind: str, given: Annotated[Marker, Provide(fails_late)]) -> str:
    fail(kind)
    return "ok"


@shape("POST", "/body")
async def body(item: Item) -> str:
    return item.name


@shape("POST", "/body/request")
async def body_request(item: Item, request: Request) -> str:
    request.state.marker = Marker()
    return item.name


@shape("POST", "/json")
async def json(request: Request) -> str:
    request.state.marker = Marker()
    return str(await request.json(Item))


@shape("POST", "/json/thread")
def json_in_thread(request: Request) -> str:
    request.state.marker = Marker()
    return str(trio.from_thread.run(request.json, Item))


@shape("GET", "/thread/loop/{kind}")
def thread_on_loop(kind: str) -> str:
    marker = Marker()
    trio.from_thread.run(fail_in_child, kind)
    trio.from_thread.run_sync(fail, kind)
    del marker
    return "ok"


@shape("POST", "/lines")
async def lines(request: Request) -> str:
    request.state.marker = Marker()
    async for _ in request.json_lines(Item):
        pass
    return "ok"


@shape("POST", "/form")
async def form(request: Request) -> str:
    request.state.marker = Marker()
    return str(len(await request.form(max_fields=2)))


@shape("POST", "/unread/{kind}")
async def unread(request: Request, kind: str) -> str:
    request.state.marker = Marker()
    fail(kind)
    return "ok"


@shape("POST", "/small", max_body_size=10)
async def small(request: Request) -> str:
    request.state.marker = Marker()
    return str(len(await request.body()))


@shape("GET", "/input")
async def takes_input(number: int) -> int:
    return number


@shape("GET", "/timeout", timeout=0.05)
async def timeout(request: Request) -> str:
    request.state.marker = Marker()
    await trio.sleep_forever()
    return "never"


@shape("GET", "/cancels")
async def cancels(request: Request) -> str:
    request.state.marker = Marker()
    request.nursery.cancel_scope.cancel()
    await trio.sleep_forever()
    return "never"


@shape("GET", "/waits")
async def waits() -> str:
    marker = Marker()
    await trio.sleep_forever()
    del marker
    return "never"


@shape("GET", "/waits/request")
async def waits_request(request: Request, given: Annotated[Marker, Provide(opened)]) -> str:
    request.state.marker = Marker()
    await trio.sleep_forever()
    return "never"


@shape("GET", "/waits/nursery")
async def waits_nursery(nursery: trio.Nursery) -> str:
    marker = Marker()
    nursery.start_soon(fail_in_child, "")
    await trio.sleep_forever()
    del marker
    return "never"


@shape("GET", "/large")
async def large() -> bytes:
    marker = Marker()
    await trio.lowlevel.checkpoint()
    del marker
    return LARGE


@shape("GET", "/large/request")
async def large_request(request: Request) -> bytes:
    request.state.marker = Marker()
    return LARGE


@shape("GET", "/file")
async def file() -> FileResponse:
    return FileResponse(__file__)


@shape("GET", "/file/missing")
async def missing(request: Request) -> FileResponse:
    request.state.marker = Marker()
    return FileResponse("/nowhere/at/all")


# Streams


@shape("GET", "/stream/{kind}")
async def stream(kind: str) -> AsyncIterator[str]:
    marker = Marker()
    fail(kind)
    yield "start"
    await trio.lowlevel.checkpoint()
    fail(kind.removeprefix("late-"))
    await endless(kind)
    del marker


@shape("GET", "/stream/request/{kind}")
async def stream_request(request: Request, kind: str) -> AsyncIterator[str]:
    request.state.marker = Marker()
    try:
        fail(kind)
        yield "start"
        await trio.lowlevel.checkpoint()
        fail(kind.removeprefix("late-"))
        await endless(kind)
    finally:
        if kind.endswith("finally"):
            raise ValueError("in finally")


@shape("GET", "/stream/dependency/{kind}")
async def stream_dependency(kind: str, given: Annotated[Marker, Provide(opened)]) -> AsyncIterator[str]:
    fail(kind)
    yield "start"
    fail(kind.removeprefix("late-"))
    await endless(kind)


@shape("GET", "/events/{kind}")
async def events(kind: str) -> EventStreamResponse:
    async def events() -> AsyncIterator[str]:
        marker = Marker()
        fail(kind)
        yield "start"
        fail(kind.removeprefix("late-"))
        await endless(kind)
        del marker

    return EventStreamResponse(events(), ping=0.01)


class Words:
    """An iterator that keeps what it works with for as long as it is there."""

    def __init__(self) -> None:
        self._marker = Marker()
        self._given = False

    def __aiter__(self) -> Words:
        """Itself."""
        return self

    async def __anext__(self) -> str:
        """Give one, and wait."""
        if self._given:
            await trio.sleep_forever()
        self._given = True
        return "start"


@shape("GET", "/iterator")
async def iterator() -> Words:
    return Words()


@shape("GET", "/sync/{kind}")
def sync(kind: str) -> Iterator[str]:
    marker = Marker()
    fail(kind)
    yield "start"
    fail(kind.removeprefix("late-"))
    del marker


@shape("GET", "/sync/large/{kind}")
def sync_large(kind: str) -> Iterator[bytes]:
    marker = Marker()
    for _ in range(100):
        yield b"x" * 65536
    del marker


@shape("GET", "/large/stream/{kind}")
async def large_stream(kind: str) -> AsyncIterator[bytes]:
    marker = Marker()
    for _ in range(100):
        yield b"x" * 65536
    del marker


@shape("GET", "/large/stream/request/{kind}")
async def large_stream_request(request: Request, kind: str) -> AsyncIterator[bytes]:
    request.state.marker = Marker()
    for _ in range(100):
        yield b"x" * 65536


@shape("GET", "/ranges/{kind}")
async def ranges(kind: str) -> RangeResponse:
    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        marker = Marker()
        fail(kind.removeprefix("late-") if start else kind)
        for _ in range(stop - start):
            yield b"x"
            await endless(kind)
        del marker

    return RangeResponse(source, size=1000)


@shape("GET", "/limited/{limit}")
async def limited(limit: str, request: Request) -> StreamingResponse:
    request.state.marker = Marker()

    async def chunks() -> AsyncIterator[bytes]:
        marker = Marker()
        yield b"start"
        if limit == "write_timeout":
            for _ in range(100):
                yield b"x" * 65536
        await trio.sleep_forever()
        del marker

    return StreamingResponse(chunks(), **{limit: 0.05})  # type: ignore[arg-type]


@shape("GET", "/simple/{limit}")
async def simple(limit: str) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        marker = Marker()
        yield b"start"
        if limit == "write_timeout":
            for _ in range(100):
                yield b"x" * 65536
        await trio.sleep_forever()
        del marker

    return StreamingResponse(chunks(), **{limit: 0.05})  # type: ignore[arg-type]


@shape("GET", "/farewell/{kind}")
async def farewell(kind: str) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        marker = Marker()
        yield "start"
        fail(kind)
        del marker

    return StreamingResponse(chunks(), on_error=lambda error: f"sorry: {error}")


@shape("GET", "/wrong")
async def wrong() -> AsyncIterator[Any]:
    marker = Marker()
    yield "start"
    yield object()
    del marker


@shape("GET", "/channel/{kind}")
async def channel(nursery: trio.Nursery, kind: str) -> StreamingResponse:
    send, receive = trio.open_memory_channel[str](0)

    async def feed() -> None:
        marker = Marker()
        async with send:
            await send.send("start")
            await send.send("more")
            fail(kind)
            await endless(kind)
        del marker

    nursery.start_soon(feed)
    return StreamingResponse(receive)


@shape("GET", "/unsendable")
async def unsendable() -> object:
    return Marker()


async def endless(kind: str) -> None:
    """Wait for ever, where that is asked for."""
    if kind.startswith("wait"):
        await trio.sleep_forever()


@app.websocket("/socket/{kind}")
@front.websocket("/socket/{kind}")
@failing.websocket("/socket/{kind}")
@double.websocket("/socket/{kind}")
async def socket(ws: WebSocket, kind: str, given: Annotated[Marker, Provide(opened)]) -> None:
    """A WebSocket that fails, before its handshake's answer or behind it."""
    ws.state.marker = Marker()
    marker = Marker()
    fail(kind)
    await ws.accept()
    fail(kind.removeprefix("late-"))
    if kind == "nursery":
        ws.nursery.start_soon(fail_in_child, "plain")
    if kind in ("receive", "nursery"):
        async for message in ws:
            await ws.send(message)
    if kind == "json":
        await ws.receive_json(Item)
    if kind == "sleep":
        ws.nursery.start_soon(trio.sleep_forever)
        await ws.receive()
        await ws.receive()
    del marker


@app.websocket("/socket/cancel/{kind}", cancel_on_disconnect=True)
async def socket_cancelled(ws: WebSocket, kind: str) -> None:
    """A WebSocket that waits for something else."""
    marker = Marker()
    await ws.accept()
    await trio.sleep_forever()
    del marker


for router in (app, front, failing, double, compressed):
    for method, path, options, handler in SHAPES:
        router.route(path, methods=[method], **options)(handler)
for included in (front, failing, double, compressed):
    app.include(included)
