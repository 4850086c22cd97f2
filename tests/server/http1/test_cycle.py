"""What an app can send besides a response, and what the framework can ask of a connection."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import GET, PATIENCE, answer, hello, serving
from trioweb.ground.errors import ClientDisconnected
from trioweb.io.disk import DiskFile
from trioweb.io.transport import READ_AHEAD, Transport, own_transport


async def stream_some(send: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send the first part of a stream."""
    await send({"type": "http.response.start", "status": 200, "headers": headers or []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


def transport_of(scope: Any) -> Transport:
    """What the server offers of itself."""
    found = own_transport(scope)
    assert found is not None
    return found


@pytest.fixture
def sent_by_system(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the system has sent without their being read, call by call."""
    sent: list[int] = []

    def note(*args: Any) -> int:
        sent.append(own(*args))
        return sent[-1]

    own = os.sendfile
    monkeypatch.setattr(os, "sendfile", note)
    return sent


async def test_a_body_that_has_come_is_taken_without_a_wait(tls: tuple[str, ssl.SSLContext] | None) -> None:
    """What has come of a body is given once, to who has the server's own `receive`, until the request is answered."""
    asked: list[Any] = []
    come = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def between() -> Any:
            return await receive()

        ask = transport_of(scope).receive_nowait
        if scope["path"] == "/late":
            await answer(send, b"")
            asked.append(ask(receive))
            return
        asked.extend([ask(between), ask(receive), ask(receive)])
        if scope["path"] == "/part":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            await come.wait()
            asked.append(ask(receive))
        else:
            await answer(send, b"")

    head = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    async with serving(app, tls) as site:
        client = await site.connect()
        await client.ask(head % b"whole" + b"hello")
        assert asked == [None, {"type": "http.request", "body": b"hello", "more_body": False}, None]
        asked.clear()
        await client.ask(head % b"late" + b"hello")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert asked == [None]
        asked.clear()
        await client.ask(head % b"part" + b"he")
        await client.send(b"llo")
        await trio.testing.wait_all_tasks_blocked(0.02)
        come.set()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert asked == [None, {"type": "http.request", "body": b"he", "more_body": True}, None, None]


async def test_a_body_at_fault_is_not_taken_without_a_wait() -> None:
    """What is no body gives no message, now or later; the request is answered as one that cannot be read."""
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ask = transport_of(scope).receive_nowait
        asked.extend([ask(receive), ask(receive), (await receive())["type"]])

    async with serving(app) as site:
        client = await site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
    assert asked == [None, None, "http.disconnect"]


@pytest.mark.parametrize("size", [0, 1, 262_144, 700_000, 3_000_000])
async def test_a_file_is_sent_by_its_path(
    tmp_path: Path, size: int, tls: tuple[str, ssl.SSLContext] | None, sent_by_system: list[int]
) -> None:
    """The server sends a file that an app names, with its length, and the connection goes on.

    In clear, a large one is sent by the system.
    """
    path = tmp_path / "link"
    path.symlink_to("file")
    data = os.urandom(size)
    path.write_bytes(data)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with serving(app, tls) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.ask(GET)).partition(b"\r\n\r\n")[2] == data
        by_system = sum(sent_by_system)
        assert size < by_system <= 2 * (size - 2 * 262_144) if size > 700_000 and tls is None else by_system == 0
        with pytest.MonkeyPatch.context() as patch:
            for name in ("read", "read_ready"):
                patch.setattr(DiskFile, name, lambda *_: pytest.fail("read for a HEAD"))
            await client.send(GET.replace(b"GET", b"HEAD"))
            assert b"content-length: %d\r\n" % size in await client.until(b"\r\n\r\n")
        assert (await client.ask(GET)).partition(b"\r\n\r\n")[2] == data


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A path that leads to no regular file is an error of the app before its response starts."""
    (tmp_path / "link").symlink_to("/dev/zero")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / scope["path"][1:])})

    async with serving(app) as site:
        for name in (b"link", b"nothing"):
            client = await site.connect()
            assert (await client.ask(GET.replace(b"/", b"/" + name, 1))).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("cut", [100_000, 1_000_000])
async def test_a_named_file_that_becomes_shorter(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is cut while the server sends it ends the connection short of its length."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    def shorten(*args: Any) -> int:
        os.truncate(path, cut)
        return own(*args)

    own = os.sendfile
    monkeypatch.setattr(os, "sendfile", shorten)
    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        assert b"content-length: 3000000\r\n" in await client.until(b"\r\n\r\n")
        assert len(await client.rest()) == max(cut, 262_144)


async def test_parts_of_files_are_sent_in_their_turn(tmp_path: Path, sent_by_system: list[int]) -> None:
    """The system sends a part of a file between others, unless somebody stands between app and server."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    found: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def wrapper(message: Any) -> None:
            await send(message)

        transport = transport_of(scope)
        with path.open("rb") as file:

            async def part(send: Any, position: int, count: int) -> None:
                found.append(await transport.send_file(send, file.fileno(), position, count))

            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
            await part(send, 0, 1)
            await send({"type": "http.response.body", "body": b"<", "more_body": True})
            await part(wrapper, 0, 1)
            await part(send, 2, 6)
            await part(send, 0, 1)
            await send({"type": "http.response.body", "body": b">", "more_body": False})
            await part(send, 0, 1)

    async with serving(app) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.ask(GET)).endswith(b"\r\n\r\n<234567>")
    assert found == 2 * [0, 0, 6, 0, 0]
    assert sent_by_system == [6, 6]


async def test_early_hints_and_trailers() -> None:
    """Early hints come before the response, trailers behind its chunks."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serving(app) as site:
        client = await site.connect()
        for _ in range(2):
            await client.send(GET[:-2] + b"TE: trailers\r\n\r\n")
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>")
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await client.until(b"1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": b""},
        {"type": "http.response.trailers", "headers": []},
        {"type": "http.response.push", "path": "/", "headers": []},
        {"type": "websocket.accept"},
    ],
)
async def test_what_is_not_its_turn_is_an_error(message: dict[str, Any]) -> None:
    """A message that is none, or not in its turn, is an error that names it; the response can still come."""
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(message)
        except RuntimeError as error:
            errors.append(str(error))
        await answer(send, b"after")

    async with serving(app) as site:
        assert (await (await site.connect()).ask(GET)).endswith(b"after")
    assert message["type"] in errors[0]


async def test_a_message_after_the_end_is_an_error() -> None:
    """Nothing can be sent behind a whole response."""
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"whole")
        assert await receive() == {"type": "http.disconnect"}
        try:
            await send({"type": "http.response.body", "body": b"more"})
        except RuntimeError as error:
            errors.append(error)

    async with serving(app) as site:
        client = await site.connect()
        assert (await client.ask(GET)).endswith(b"whole")
        assert (await client.ask(GET)).endswith(b"whole")
    assert len(errors) == 2


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("begun", [True, False])
async def test_abort_shows_that_a_response_is_broken(version: bytes, begun: bool) -> None:
    """A response that is aborted has a head, and no end; where its end would be the connection's, that is reset."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await stream_some(send)
            await trio.sleep(0.05)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await transport_of(scope).abort()
        with pytest.raises(OSError, match="left"):
            await send({"type": "http.response.body", "body": b"END"})

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET.replace(b"1.1", version))
        if version == b"1.0":
            with pytest.raises(trio.BrokenResourceError):
                await client.rest()
        else:
            found = await client.rest()
            assert found.startswith(b"HTTP/1.1 200 ")
            assert not found.endswith(b"0\r\n\r\n")


async def test_release_has_a_stuck_send_return() -> None:
    """A send that waits for a client who takes nothing returns, without an error, when the framework gives it up."""
    returned = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def give_up() -> None:
            await trio.sleep(0.1)
            transport_of(scope).release(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            with trio.CancelScope(shield=True):
                await stream_some(send)
                await send({"type": "http.response.body", "body": bytes(50_000_000), "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        returned.set()

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        with trio.fail_after(PATIENCE):
            await returned.wait()


async def test_release_after_the_response_is_nothing() -> None:
    """Whoever gives up a response that is over does not harm the next one on the connection."""
    transports: list[Transport] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        transports.append(transport_of(scope))
        if len(transports) > 1:
            transports[0].release(None)
            await transports[0].abort()
        await hello(scope, receive, send)
        transports[-1].release(None)

    async with serving(app) as site:
        client = await site.connect()
        for _ in range(3):
            assert (await client.ask(GET)).endswith(b"/")


async def test_the_system_is_asked_whether_a_client_has_left(tls: Any) -> None:
    """A client that has left is known to have, though nobody reads."""
    asked: list[bool] = []
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        transport = transport_of(scope)
        asked.append(transport.has_left())
        with trio.move_on_after(PATIENCE):
            while not transport.has_left():
                await trio.sleep(0.01)
            asked.append(True)
        done.set()

    async with serving(app, tls) as site:
        client = await site.connect()
        await client.send(GET)
        await trio.testing.wait_all_tasks_blocked(0.005)
        await client.leave()
        await done.wait()
    assert asked == [False, True]


async def test_what_comes_early_is_bounded_and_does_not_hide_a_disconnect() -> None:
    """A client that sends and sends while its request is answered is read up to a bound; its leaving is seen still."""
    left = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        pending = len(transport_of(scope)._line.reader.pending)  # type: ignore[attr-defined]
        assert READ_AHEAD <= pending < 3 * READ_AHEAD
        left.set()

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        with trio.move_on_after(0.3):
            while True:
                await client.send(bytes(65536))
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.leave()
        with trio.fail_after(PATIENCE):
            await left.wait()


async def test_a_stop_is_told_once_with_the_time_that_is_left() -> None:
    """Whoever watches for a stop hears of it, and of the graceful timeout."""
    told: list[float] = []
    heard = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        def on_stop(seconds: float) -> None:
            told.append(seconds)
            heard.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport_of(scope).watch_stop, on_stop)
            await stream_some(send)
            await heard.wait()
            nursery.cancel_scope.cancel()

    async with serving(app, graceful_timeout=7.0) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"half")
        site.worker.stop()
        with trio.fail_after(PATIENCE):
            await heard.wait()
    assert told == [7.0]


async def test_the_error_of_a_client_that_left_is_known_to_the_framework() -> None:
    """What send raises is an OSError, as ASGI has it, and the framework's own word for a client that left."""
    errors: list[Exception] = []
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()
        try:
            await answer(send, b"late")
        except OSError as error:
            errors.append(error)
        done.set()

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.leave()
        with trio.fail_after(PATIENCE):
            await done.wait()
    assert isinstance(errors[0], ClientDisconnected)


async def test_who_listens_hears_of_a_client_that_left_there() -> None:
    """An app that waits in `receive` is told there; its `send` does nothing meanwhile, and lets the other task come
    to its turn. An app in which nobody waits hears it from `send`.
    """
    told: list[str] = []
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()  # the request
        await stream_some(send)
        chunk = {"type": "http.response.body", "body": b"x" * 30_000, "more_body": True}

        async def listen() -> None:
            told.append((await receive())["type"])
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.lowlevel.checkpoint()
            for _ in range(100_000):
                await send(chunk)
            told.append("nothing")
        try:
            await send(chunk)
        except OSError:
            told.append("an error")
        done.set()

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"half")
        await client.leave()
        with trio.fail_after(PATIENCE):
            await done.wait()
    assert told == ["http.disconnect", "an error"]
