"""What apps do with a request: what they should, and what they should not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from tests.server.http1.conftest import answer
from trioweb import App, EventStreamResponse, Request, ServerSentEvent

Behave = Callable[[Any, Any, Any], Awaitable[None]]
BEHAVIOURS: Final[dict[str, Behave]] = {}


class MeantError(Exception):
    """What an app under test fails with."""


def behaviour(function: Behave) -> Behave:
    """Register one."""
    BEHAVIOURS[function.__name__] = function
    return function


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> dict[str, Any]:
    """The head of a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def part(data: bytes, *, more: bool = True) -> dict[str, Any]:
    """A part of a body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


async def read(receive: Any) -> bytes | None:
    """The whole body; ``None`` where it does not come."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


@behaviour
async def says_hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    await answer(send, b"hello")


@behaviour
async def echoes(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body."""
    body = await read(receive)
    if body is not None:
        await answer(send, body)


@behaviour
async def streams(scope: Any, receive: Any, send: Any) -> None:
    """Answer in parts, and wait between them."""
    await send(start())
    for number in range(4):
        await send(part(b"%d\n" % number * 10))
        await trio.sleep(0.3)
    await send(part(b"", more=False))


@behaviour
async def streams_while_it_reads(scope: Any, receive: Any, send: Any) -> None:
    """Send back each part of the body as it comes."""
    await send(start())
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send(part(message["body"], more=more))


@behaviour
async def floods(scope: Any, receive: Any, send: Any) -> None:
    """Send more than any client takes, until it leaves."""
    await send(start())
    for _ in range(400):
        await send(part(bytes(65536)))


@behaviour
async def sends_much(scope: Any, receive: Any, send: Any) -> None:
    """A large response in one part."""
    await answer(send, bytes(3_000_000))


@behaviour
async def reads_a_part(scope: Any, receive: Any, send: Any) -> None:
    """Take one message of the body, and answer."""
    await receive()
    await answer(send, b"enough", status=413)


@behaviour
async def fails_before(scope: Any, receive: Any, send: Any) -> None:
    """Raise before anything was sent."""
    raise MeantError


@behaviour
async def fails_after_the_head(scope: Any, receive: Any, send: Any) -> None:
    """Raise when nothing has left yet."""
    await send(start())
    raise MeantError


@behaviour
async def fails_in_the_body(scope: Any, receive: Any, send: Any) -> None:
    """Raise in the middle of a response."""
    await send(start())
    await send(part(b"half"))
    raise MeantError


@behaviour
async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    """Return without an answer."""


@behaviour
async def forgets_the_end(scope: Any, receive: Any, send: Any) -> None:
    """Return in the middle of a response."""
    await send(start())
    await send(part(b"half"))


@behaviour
async def waits_for_the_end(scope: Any, receive: Any, send: Any) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


@behaviour
async def goes_on_after_it(scope: Any, receive: Any, send: Any) -> None:
    """Answer, and work on."""
    await answer(send, b"now")
    await trio.sleep(30)


@behaviour
async def listens_after_it(scope: Any, receive: Any, send: Any) -> None:
    """Answer, and ask for more messages."""
    await answer(send, b"now")
    for _ in range(3):
        await receive()


@behaviour
async def listens_meanwhile(scope: Any, receive: Any, send: Any) -> None:
    """Two tasks receive while a third one sends."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            await trio.sleep(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(listen)
        await streams(scope, receive, send)


@behaviour
async def gives_up_a_write(scope: Any, receive: Any, send: Any) -> None:
    """Cancel a send, and go on as if nothing had happened."""
    await send(start())
    with trio.move_on_after(0.2):
        for _ in range(100):
            await send(part(bytes(200_000)))
    with suppress(OSError):
        await send(part(b"end", more=False))


@behaviour
async def gives_up_a_read(scope: Any, receive: Any, send: Any) -> None:
    """Cancel a receive again and again."""
    for _ in range(5):
        with trio.move_on_after(0.05):
            await receive()
    await answer(send, b"had enough")


@behaviour
async def sends_all_there_is(scope: Any, receive: Any, send: Any) -> None:
    """Early hints, trailers."""
    if "http.response.early_hint" in scope["extensions"]:
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
    trailers = "http.response.trailers" in scope["extensions"]
    await send(start(trailers=trailers))
    await send(part(b"body", more=False))
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})


@behaviour
async def says_it_in_the_wrong_order(scope: Any, receive: Any, send: Any) -> None:
    """A body before its head, a second head, a message that is none."""
    for message in (part(b"x"), {"type": "nothing"}, start(), start()):
        with suppress(RuntimeError):
            await send(message)
    await send(part(b"after all", more=False))


@behaviour
async def sends_wrong_headers(scope: Any, receive: Any, send: Any) -> None:
    """A header that would be two."""
    await send(start((b"x", b"a\r\nb: c")))
    await send(part(b"x", more=False))


@behaviour
async def sends_too_little(scope: Any, receive: Any, send: Any) -> None:
    """Less than it has said."""
    await send(start((b"content-length", b"10")))
    await send(part(b"abc"))


@behaviour
async def sends_too_much(scope: Any, receive: Any, send: Any) -> None:
    """More than it has said."""
    await send(start((b"content-length", b"2")))
    await send(part(b"a"))
    await send(part(b"bcd", more=False))


@behaviour
async def has_nothing_to_say(scope: Any, receive: Any, send: Any) -> None:
    """204, with a body all the same."""
    await answer(send, b"body", status=204)


@behaviour
async def closes(scope: Any, receive: Any, send: Any) -> None:
    """Say that the connection ends."""
    await answer(send, b"bye", (b"connection", b"close"))


@behaviour
async def swallows(scope: Any, receive: Any, send: Any) -> None:
    """Take every exception for nothing."""
    with suppress(Exception):
        await send(start())
    for _ in range(10):
        with suppress(Exception):
            await send(part(bytes(100_000)))
        with trio.move_on_after(1):
            await trio.sleep(2)


# Our own framework

app = App()


@app.get("/events")
async def events() -> EventStreamResponse:
    """Some events, and then none for long."""

    async def some() -> AsyncIterator[Any]:
        yield "first"
        await trio.sleep(0.2)
        yield ServerSentEvent("second", id="2")
        await trio.sleep(200)
        yield "third"

    return EventStreamResponse(some(), retry=1000)


@app.get("/rows")
async def rows() -> AsyncIterator[dict[str, int]]:
    """Many rows, now and then with a wait."""
    for number in range(3000):
        yield {"row": number}
        if number % 500 == 0:
            await trio.sleep(0)
        if number % 1000 == 0:
            await trio.sleep(0.1)


@app.get("/blocks")
async def blocks() -> AsyncIterator[bytes]:
    """Large blocks without a wait."""
    for _ in range(60):
        yield bytes(100_000)


@app.get("/breaks")
async def breaks() -> AsyncIterator[str]:
    """Fail in the middle."""
    yield "half"
    await trio.sleep(0.1)
    yield "half"
    raise MeantError


@app.get("/breaks-at-once")
async def breaks_at_once() -> AsyncIterator[str]:
    """Fail before the first chunk."""
    raise MeantError
    yield ""


@app.get("/minds-itself")
async def minds_itself() -> AsyncIterator[str]:
    """A scope around its yields."""
    with trio.move_on_after(0.5):
        while True:
            yield "x" * 10_000
            await trio.sleep(0.05)
    yield "end"


@app.get("/ignores-it")
async def ignores_it() -> AsyncIterator[str]:
    """Swallow what ends it, some times."""
    for _ in range(20):
        try:
            yield "x" * 50_000
            await trio.sleep(0.1)
        except GeneratorExit:
            raise
        except BaseException:
            continue


@app.get("/waits")
async def waits() -> str:
    """Answer after a while."""
    await trio.sleep(3)
    return "waited"


@app.get("/with-request")
async def with_request(request: Request) -> AsyncIterator[str]:
    """A stream with a nursery."""
    request.nursery.start_soon(trio.sleep, 1)
    yield "first"
    await trio.sleep(20)
    yield "second"


def _of_ours(name: str) -> Behave:
    async def behave(scope: Any, receive: Any, send: Any) -> None:
        scope["path"], scope["raw_path"] = f"/{name}", f"/{name}".encode()
        await app(scope, receive, send)

    return behave


BEHAVIOURS.update(
    {
        f"trioweb {name}": _of_ours(name)
        for name in ("events", "rows", "blocks", "breaks", "breaks-at-once", "minds-itself", "ignores-it", "waits",
                     "with-request", "nowhere")
    }
)  # fmt: skip


class Behaviours:
    """An app that does with each client's requests what was chosen.

    Attributes:
        of: by the client's port, what to do with its next requests.
        methods: by the same, the methods of the requests that have come.
    """

    lifespans = True

    def __init__(self) -> None:
        self.of: dict[int, list[str]] = {}
        self.methods: dict[int, list[str]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope."""
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        port = scope["client"][1]
        chosen = self.of[port]
        chosen.append(chosen.pop(0))
        self.methods.setdefault(port, []).append(scope["method"])
        await BEHAVIOURS[chosen[-1]](scope, receive, send)
