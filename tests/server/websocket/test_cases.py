"""What the Autobahn test suite asks of a server, by its sections, over frames made by hand."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.running import Running, read_until, serving
from tests.server.websocket.wire import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    HEARD,
    PING,
    PONG,
    TEXT,
    closing,
    deflated,
    dialled,
    echo,
    exchange,
    fragments,
    frame,
    inflated,
    read_frames,
)

DONE = (0x88, b"\x03\xe8")
"""The close that answers one with 1000."""
BROKEN = (0x88, b"\x03\xea")
NOT_UTF8 = (0x88, b"\x03\xef")
KAPPA = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
WAYS = [65536, 1, 3]
"""Bytes that are sent at once."""


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """An echo."""
    HEARD.clear()
    async with serving(echo) as running:
        yield running


@pytest.mark.parametrize("at_once", WAYS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
async def test_1_framing(running: Running, size: int, opcode: int, at_once: int) -> None:
    """1.1, 1.2: messages of all lengths of frames come back whole, however their bytes are cut."""
    data = b"*" * size if opcode == TEXT else bytes(at % 251 for at in range(size))
    if size > 1000 and at_once < 16:
        at_once = 997
    assert await exchange(running, frame(opcode, data), closing(), at_once=at_once) == [(0x80 | opcode, data), DONE]


async def test_2_pings(running: Running) -> None:
    """2: a ping is answered with its data, at once and in order; a pong that nobody has asked for is ignored."""
    async with dialled(running) as client:
        for data in (b"", b"hello", b"\0\xff\xfe\xfd", b"\xfe" * 125):
            await client.send_all(frame(PING, data))
            assert read_frames(await read_until(client, bytes([0x8A, len(data)]) + data)) == [(0x8A, data)]
    pings = b"".join(frame(PING, b"payload-%d" % number) for number in range(10))
    found = await exchange(running, frame(PONG, b"x") + pings + frame(PONG), closing())
    assert found == [*((0x8A, b"payload-%d" % number) for number in range(10)), DONE]


@pytest.mark.parametrize("bad", [frame(PING, bytes(126)), frame(PONG, bytes(126)), frame(CLOSE, bytes(126))])
async def test_2_a_control_frame_of_more_than_125_bytes(running: Running, bad: bytes) -> None:
    """2.5, 7.3.6: it breaks the protocol."""
    assert await exchange(running, bad) == [BROKEN]


@pytest.mark.parametrize("at_once", WAYS)
@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
async def test_3_reserved_bits(running: Running, opcode: int, reserved: int, at_once: int) -> None:
    """3: a bit that no extension defines breaks the protocol; what came before is answered."""
    bad = frame(opcode, b"x", reserved=reserved) + frame(PING)
    assert await exchange(running, frame(TEXT, b"before"), bad, at_once=at_once) == [(0x81, b"before"), BROKEN]
    assert HEARD == [
        {"type": "websocket.disconnect", "code": 1006, "reason": "a reserved bit is set, which no extension defines"}
    ]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
async def test_4_reserved_opcodes(running: Running, opcode: int) -> None:
    """4: an opcode that there is not breaks the protocol."""
    for data in (b"", b"payload"):
        found = await exchange(running, frame(TEXT, b"before"), frame(opcode, data) + frame(PING))
        assert found == [(0x81, b"before"), BROKEN]


@pytest.mark.parametrize("at_once", WAYS)
async def test_5_fragments(running: Running, at_once: int) -> None:
    """5.3 to 5.8: fragments are one message, with control frames in between, which are answered first."""
    first, last = frame(TEXT, b"frag1", end=False), frame(0, b"frag2")
    whole = (0x81, b"frag1frag2")
    assert await exchange(running, first + last, closing(), at_once=at_once) == [whole, DONE]
    assert await exchange(running, first + frame(PING, b"p") + last, closing(), at_once=at_once) == [
        (0x8A, b"p"), whole, DONE,
    ]  # fmt: skip
    empty = fragments(TEXT, [b"", b"", b"x", b""])
    assert await exchange(running, empty, closing(), at_once=at_once) == [(0x81, b"x"), DONE]


BAD_ORDERS = {
    "5.1 a fragmented ping": frame(PING, b"a", end=False) + frame(0, b"b"),
    "5.2 a fragmented pong": frame(PONG, b"a", end=False) + frame(0, b"b"),
    "5.9 nothing to continue": frame(0, b"x"),
    "5.12 nothing to continue, and more of it": frame(0, b"x", end=False) + frame(TEXT, b"y"),
    "5.18 a message in a message": frame(TEXT, b"a", end=False) + frame(TEXT, b"b"),
    "a binary message in a text": frame(TEXT, b"a", end=False) + frame(BINARY, b"b"),
    "a fragmented close": frame(CLOSE, b"\x03\xe8", end=False),
    "a frame that is not masked": frame(TEXT, b"a", mask=None),
    "a ping that is not masked": frame(PING, b"a", mask=None),
    "a length in more bytes than needed": b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
    "a length in many more bytes than needed": b"\x81\xff" + (5).to_bytes(8, "big") + bytes(4) + b"hello",
    "a length of 64 bits": b"\x82\xff\xff" + bytes(7) + bytes(4),
}


@pytest.mark.parametrize("case", BAD_ORDERS)
async def test_5_what_breaks_the_protocol(running: Running, case: str) -> None:
    """5: frames in another order, or of another form, than RFC 6455, section 5, allows."""
    assert await exchange(running, BAD_ORDERS[case]) == [BROKEN]


GOOD_TEXT = [KAPPA, b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xef\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\0"]
BAD_TEXT = [
    KAPPA + b"\xed\xa0\x80edited", KAPPA + b"\xf4\x90\x80\x80edited", b"\xce", b"\xce\xba\xe1", b"\xf8\x88\x80\x80\x80",
    b"\xfe", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\x80", b"\xbf", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"a\xc3a", b"\xf7\xbf\xbf\xbf", b"\xfc\x84\x80\x80\x80\x80",
]  # fmt: skip


@pytest.mark.parametrize("data", GOOD_TEXT)
async def test_6_text(running: Running, data: bytes) -> None:
    """6.1, 6.2, 6.5 and others: UTF-8 comes back, in one frame, and cut in the middle of its characters."""
    pieces = [data[at : at + 1] for at in range(len(data))]
    for sent in (frame(TEXT, data), fragments(TEXT, pieces), fragments(TEXT, [data[:1], data[1:]])):
        assert await exchange(running, sent, closing()) == [(0x81, data), DONE]


@pytest.mark.parametrize("data", BAD_TEXT)
async def test_6_what_is_no_text(running: Running, data: bytes) -> None:
    """6.3, 6.6 to 6.23: what is not UTF-8 is closed with 1007, also behind and in fragments."""
    pieces = [data[at : at + 1] for at in range(len(data))]
    for sent in (frame(TEXT, data), fragments(TEXT, pieces), fragments(TEXT, [b"good", data])):
        assert await exchange(running, sent) == [NOT_UTF8]


async def test_6_what_is_no_text_fails_early(running: Running) -> None:
    """6.4: it is refused before the end of its frame has come."""
    whole = frame(TEXT, KAPPA + b"\xf4\x90\x80\x80edited")
    first = frame(TEXT, KAPPA, end=False) + frame(0, b"\xf4\x90\x80\x80", end=False)
    assert await exchange(running, first) == [NOT_UTF8]
    assert await exchange(running, whole[:-6]) == [NOT_UTF8]


VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", [None, *VALID])
@pytest.mark.parametrize("reason", [b"", b"Hello", b"*" * 123])
async def test_7_closes(running: Running, code: int | None, reason: bytes) -> None:
    """7.1, 7.3, 7.7: a close is repeated and the app gets its code and reason; what comes behind it is nobody's."""
    reason = b"" if code is None else reason
    data = b"" if code is None else code.to_bytes(2, "big") + reason
    found = await exchange(running, closing(code, reason) + frame(PING) + frame(TEXT, b"late") + closing(1001))
    assert found == [(0x88, data)]
    end = {"type": "websocket.disconnect", "code": code or 1005}
    assert [{**end, "reason": reason.decode()} if reason else end] == HEARD


@pytest.mark.parametrize("data", [b"\x03", *(code.to_bytes(2, "big") for code in INVALID)])
async def test_7_invalid_closes(running: Running, data: bytes) -> None:
    """7.3.2, 7.9: half a code, and codes that nobody may send, break the protocol."""
    assert await exchange(running, frame(CLOSE, data)) == [BROKEN]


async def test_7_a_reason_that_is_no_text(running: Running) -> None:
    """7.5.1: a reason that is not UTF-8 is closed with 1007."""
    assert await exchange(running, closing(1000, BAD_TEXT[0])) == [NOT_UTF8]


async def test_7_an_end_without_a_close(running: Running) -> None:
    """A connection that ends without a close is 1006 for the app, behind what came before."""
    for data in (b"", frame(TEXT, b"half")[:-2], frame(TEXT, b"part", end=False)):
        async with dialled(running) as client:
            await client.send_all(data)
    with trio.fail_after(15):
        while len(HEARD) < 3:
            await trio.sleep(0.01)
    assert HEARD == [{"type": "websocket.disconnect", "code": 1006}] * 3


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("pieces", [1, 64, 4096])
async def test_9_large_messages(running: Running, pieces: int, opcode: int) -> None:
    """9: a message of 4 MiB comes back, in one frame, in fragments, and in pieces of the connection."""
    data = b"*" * (4 << 20)
    size = len(data) // pieces
    sent = fragments(opcode, [data[at : at + size] for at in range(0, len(data), size)])
    assert await exchange(running, sent, closing()) == [(0x80 | opcode, data), DONE]


async def test_10_a_large_frame_in_small_pieces(running: Running) -> None:
    """10.1.1: a frame of 65,536 bytes that comes 1,300 at a time."""
    data = b"*" * 65536
    assert await exchange(running, frame(TEXT, data), closing(), at_once=1300) == [(0x81, data), DONE]


@pytest.mark.parametrize("size", [0, 16, 255, 256, 4096, 131072, 1 << 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_12_compressed(size: int, opcode: int) -> None:
    """12: messages go both ways compressed, whole and in fragments, if the server's option allows it."""
    data = (b'{"id": 12345, "name": "a message of JSON"}, ' * (size // 40 + 1))[:size]
    small = deflated(data)
    async with serving(echo, websocket_compression=True) as running:
        for parts in ([small], [small[:1], small[1:]], [small[at : at + 700] for at in range(0, len(small), 700)]):
            found = await exchange(running, fragments(opcode, parts, reserved=4), closing(), fields=OFFER)
            assert found[-1] == DONE
            ((first, got),) = found[:-1]
            assert first == (0x80 | opcode | (0x40 if size >= 256 else 0))
            assert (inflated(got) if size >= 256 else got) == data
            assert len(got) <= max(size, 16)


OFFERS = {
    "permessage-deflate": "",
    "permessage-deflate; client_max_window_bits": "",
    "permessage-deflate; client_max_window_bits=9": "",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover": "",
    "permessage-deflate; server_max_window_bits=9": "; server_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=15": "; server_max_window_bits=12",
    'permessage-deflate; server_max_window_bits="10"': "; server_max_window_bits=10",
    "x-other, permessage-deflate; unknown, permessage-deflate": "",
    "permessage-deflate; server_max_window_bits=8": None,
    "permessage-deflate; server_max_window_bits": None,
    "permessage-deflate; server_max_window_bits=16": None,
    "permessage-deflate; server_max_window_bits=09": None,
    "permessage-deflate; client_no_context_takeover=1": None,
    "permessage-deflate; client_max_window_bits; client_max_window_bits": None,
    "permessage-deflate; unknown": None,
    "x-webkit-deflate-frame": None,
}


@pytest.mark.parametrize("offer", OFFERS)
async def test_13_offers(offer: str) -> None:
    """13: what can be kept to is accepted, without context takeover; all else is declined, and nothing compressed."""
    expected = OFFERS[offer]
    async with serving(echo, websocket_compression=True) as running, await running.connect() as client:
        fields = f"Sec-WebSocket-Extensions: {offer}\r\n"
        await client.send_all(HANDSHAKE.format(path="/", fields=fields).encode())
        head = (await read_until(client, b"\r\n\r\n")).decode().lower()
        accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        assert (f"sec-websocket-extensions: {accepted}{expected}\r\n" in head) == (expected is not None)
        assert ("sec-websocket-extensions" in head) == (expected is not None)
        await client.send_all(frame(TEXT, b"x" * 300))
        data = await read_until(client, b"x" * 300 if expected is None else b"\0")
        assert data[0] == (0x81 if expected is None else 0xC1)


async def test_13_what_cannot_be_inflated() -> None:
    """13: what is no deflate is closed with 1007, and a bit on a frame that cannot have it breaks the protocol."""
    async with serving(echo, websocket_compression=True) as running:
        assert await exchange(running, frame(TEXT, b"\xff\xff\xff", reserved=4), fields=OFFER) == [NOT_UTF8]
        for opcode in (PING, PONG, CLOSE):
            assert await exchange(running, frame(opcode, b"", reserved=4), fields=OFFER) == [BROKEN]
        later = frame(TEXT, b"a", end=False) + frame(0, b"b", reserved=4)
        assert await exchange(running, later, fields=OFFER) == [BROKEN]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        last = deflate.compress(b"one") + deflate.flush(zlib.Z_FINISH) + b"\0"  # RFC 7692, section 7.2.3.4
        assert (await exchange(running, frame(TEXT, last, reserved=4), closing(), fields=OFFER))[0] == (0x81, b"one")
