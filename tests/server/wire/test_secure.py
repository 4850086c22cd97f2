"""The wire under TLS: what it can do without a wait, which is little, and how it ends."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import PATIENCE, cut_while_somebody_waits
from trioweb.server.wire.secure import SecureWire
from trioweb.server.wire.writing import ClientLeftError

Pair = tuple[SecureWire, "trio.SSLStream[trio.SocketStream]"]
LARGE = 20_000_000


@pytest.fixture
async def secure(certificate: tuple[str, ssl.SSLContext]) -> AsyncIterator[Pair]:
    """A connection after its handshake: the server's end, and the client's."""
    path, trusting = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    raw = await trio.testing.open_stream_to_socket_listener(listener)
    ours = trio.SSLStream(await listener.accept(), context, server_side=True, https_compatible=True)
    client = trio.SSLStream(raw, trusting, server_hostname="localhost", https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(client.do_handshake)
    wire = SecureWire(ours)
    yield wire, client
    wire.close()
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(listener)


async def test_bytes_pass_both_ways(secure: Pair) -> None:
    """Parts are written as one; what comes is decrypted."""
    wire, client = secure
    assert wire.secure
    await wire.write(b"<", b"hello", b">")
    assert await client.receive_some() == b"<hello>"
    await client.send_all(b"hi")
    assert await wire.read() == b"hi"


async def test_nothing_is_done_without_a_wait(secure: Pair) -> None:
    """What has come is encrypted still, what is written waits, the system sends no file, and nobody is watched."""
    wire, client = secure
    await client.send_all(b"hi")
    await trio.testing.wait_all_tasks_blocked()
    assert wire.read_nowait() is None
    assert (wire.is_watched, bool(wire.rest)) == (False, False)
    assert await wire.send_file(0, 0, 1) == 0
    assert await wire.read() == b"hi"


async def test_writers_wait_for_their_turn(secure: Pair) -> None:
    """What two tasks write does not get mixed up, and somebody reads meanwhile."""
    wire, client = secure
    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b"):
            nursery.start_soon(wire.write, b"", letter * 3_000_000, b"")
        nursery.start_soon(wire.read)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.writing
        data = bytearray()
        with trio.fail_after(PATIENCE):
            while len(data) < 6_000_000:
                data += await client.receive_some(1 << 20)
        await client.send_all(b"x")
    assert len({*data[:3_000_000]}) == len({*data[3_000_000:]}) == 1
    assert not wire.writing


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "behind another"])
async def test_a_write_that_is_given_up_breaks_the_connection(secure: Pair, waits: bool) -> None:
    """Half a record may have left, or none of what is counted as sent: nothing can follow."""
    wire, _ = secure

    async def first() -> None:
        with suppress(ClientLeftError):
            await wire.write(b"", bytes(LARGE), b"")

    async with trio.open_nursery() as nursery:
        if waits:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.01) as scope:
            await wire.write(b"", bytes(LARGE), b"")
        assert scope.cancelled_caught
        assert wire.broken
        nursery.cancel_scope.cancel()
    assert wire.read_nowait() == b""
    assert await wire.read() == b""
    with pytest.raises(ClientLeftError):
        await wire.write(b"", b"x", b"")


async def test_whoever_waits_hears_of_a_cut(secure: Pair) -> None:
    """A read and a write that wait end."""
    wire, _ = secure
    await cut_while_somebody_waits(wire, reset=False)


async def test_a_client_that_leaves_is_read(secure: Pair) -> None:
    """With TLS's word of farewell or without it, the end is read as nothing."""
    wire, client = secure
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.aclose_forcefully, client)
        with trio.fail_after(PATIENCE):
            assert await wire.read() == b""
    assert wire.broken
    assert wire.has_left()


async def test_it_ends_in_terms_of_tls(secure: Pair) -> None:
    """The client reads a clean end, and this end is read no more."""
    wire, client = secure
    await wire.write(b"", b"bye", b"")
    await wire.finish()
    assert wire.broken
    assert await client.receive_some() == b"bye"
    assert await client.receive_some() == b""


async def test_a_client_that_takes_no_farewell_is_not_waited_for(secure: Pair) -> None:
    """What it has not read is in the way: the end comes all the same, after a while."""
    wire, _ = secure
    with trio.move_on_after(0.01):
        await wire._stream.transport_stream.send_all(bytes(LARGE))
    with trio.fail_after(PATIENCE):
        await wire.finish()
    assert wire.broken


async def test_the_stream_is_for_others(secure: Pair) -> None:
    """It is released as it is, with its TLS."""
    wire, client = secure
    stream = wire.release_stream()
    await stream.send_all(b"x")
    assert await client.receive_some() == b"x"
