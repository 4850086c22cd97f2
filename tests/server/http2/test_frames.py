"""The connection, its frames and its streams: RFC 9113, sections 3 to 7, a case for each rule."""

from __future__ import annotations

import pytest

from tests.server.http2.cases import (
    BYSTANDER,
    GOES_ON,
    answered,
    case,
    connection_error,
    late,
    play,
    see_that_the_rest_goes_on,
    stream_error,
    until_answered,
)
from tests.server.http2.peer import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
    Peer,
    block,
    data,
    frame,
    get,
    ping,
    post,
    priority,
    pseudo,
    reset,
    settings,
    update,
)
from tests.servers import Server

PROTOCOL, SIZE, FLOW, CLOSED, COMPRESSION = (
    Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR, Code.STREAM_CLOSED, Code.COMPRESSION_ERROR,
)  # fmt: skip
GET = block(*pseudo())
PADDED_GET = bytes((4,)) + GET + bytes(4)
WAITS = block(*pseudo("GET", "/unread"))
HEADERS_OF_GET = END_STREAM | END_HEADERS


def take_any_table(peer: Peer) -> None:
    """Let the server's table be of any size."""
    peer.decoder.max_allowed_table_size = 2**32


ANSWERED = (get(3), until_answered(3))
RESET = (post(3, "/unread"), reset(3))

CASES = {
    # 3.4: the preface
    "3.4 settings are what comes first": case(
        expected=connection_error(PROTOCOL), first=PREFACE + ping()),
    "3.4 settings of nothing": case(get(3), expected=answered()),
    "3.4 a request before the server has said anything": case(
        get(3), expected=answered(), first=PREFACE + settings({4: 70_000})),
    # 4.1: the format of frames
    "4.1 a frame of an unknown type": case(frame(0xFA, 0, 0, b"abc"), get(3), expected=answered()),
    "4.1 a frame of an unknown type on a stream": case(post(3), frame(0xFA, 0xFF, 3, b"abc"), data(3),
                                                       expected=answered()),
    "4.1 a frame of an unknown type on a stream that is idle": case(frame(0xFA, 0, 7, b""), get(3),
                                                                    expected=answered()),
    "4.1 flags that nobody knows": case(frame(PING, 0xFE, 0, bytes(8)), get(3), expected=answered()),
    "4.1 flags that HEADERS does not know": case(frame(HEADERS, HEADERS_OF_GET | 0xD2, 3, GET), expected=answered()),
    "4.1 the reserved bit": case(frame(HEADERS, HEADERS_OF_GET, 3 | 1 << 31, GET), expected=answered()),
    "4.1 the reserved bit of a ping": case(frame(PING, 0, 1 << 31, bytes(8)), expected=GOES_ON),
    # 4.2: the size of frames
    "4.2 DATA of the largest size": case(post(3), data(3, b"a" * MAX_FRAME), expected=answered()),
    "4.2 DATA that is too large": case(
        post(3), frame(DATA, END_STREAM, 3, bytes(MAX_FRAME + 1)), expected=stream_error(SIZE, may_end=True)),
    "4.2 HEADERS that are too large": case(
        frame(HEADERS, HEADERS_OF_GET, 3, GET + bytes(MAX_FRAME)), expected=connection_error(SIZE)),
    "4.2 SETTINGS that are too large": case(
        frame(SETTINGS, 0, 0, bytes(6 * 2731)), expected=connection_error(SIZE)),
    "4.2 an unknown frame that is too large": case(
        frame(0xFA, 0, 0, bytes(MAX_FRAME + 1)), expected=connection_error(SIZE)),
    "4.2 a frame that says it has 16 MiB": case(
        frame(0xFA, 0, 0, b"", length=2**24 - 1), expected=connection_error(SIZE)),
    # 4.3: blocks of fields
    "4.3 a block that cannot be decoded": case(
        frame(HEADERS, HEADERS_OF_GET, 3, b"\xff\xff\xff\xff\xff\xff\xff"), expected=connection_error(COMPRESSION)),
    "4.3 a block that ends in a field": case(
        frame(HEADERS, HEADERS_OF_GET, 3, GET[:-1]), expected=connection_error(COMPRESSION)),
    "4.3 a block in many frames": case(
        frame(HEADERS, END_STREAM, 3, GET[:5]), *(frame(CONTINUATION, 0, 3, GET[at : at + 5]) for at in (5, 10, 15)),
        frame(CONTINUATION, END_HEADERS, 3, GET[20:]), expected=answered()),
    "4.3 a block whose first frame is empty": case(
        frame(HEADERS, END_STREAM, 3), frame(CONTINUATION, END_HEADERS, 3, GET), expected=answered()),
    "4.3 a block whose last frame is empty": case(
        frame(HEADERS, END_STREAM, 3, GET), frame(CONTINUATION, END_HEADERS, 3), expected=answered()),
    "4.3 another frame within a block": case(
        frame(HEADERS, END_STREAM, 3, GET), data(BYSTANDER, b"a", end=False), expected=connection_error(PROTOCOL)),
    "4.3 a ping within a block": case(
        frame(HEADERS, END_STREAM, 3, GET), ping(), expected=connection_error(PROTOCOL)),
    "4.3 an unknown frame within a block": case(
        frame(HEADERS, END_STREAM, 3, GET), frame(0xFA, 0, 0), expected=connection_error(PROTOCOL)),
    "4.3 a block of another stream within a block": case(
        frame(HEADERS, END_STREAM, 3, GET), get(5), expected=connection_error(PROTOCOL)),
    # 5.1: states
    "5.1 idle: DATA": case(data(3, b"a"), expected=connection_error(PROTOCOL)),
    "5.1 idle: RST_STREAM": case(reset(3), expected=connection_error(PROTOCOL)),
    "5.1 idle: WINDOW_UPDATE": case(update(3, 1), expected=connection_error(PROTOCOL)),
    "5.1 idle: CONTINUATION": case(frame(CONTINUATION, END_HEADERS, 3, GET), expected=connection_error(PROTOCOL)),
    "5.1 idle: PRIORITY": case(priority(3, 0), get(3), expected=answered()),
    "5.1 half-closed: DATA": case(
        get(3, "/unread"), data(3, b"a"), expected=stream_error(CLOSED, may_end=True)),
    "5.1 half-closed: HEADERS": case(
        get(3, "/unread"), get(3), expected=stream_error(CLOSED, may_end=True)),
    "5.1 half-closed: CONTINUATION": case(
        get(3, "/unread"), frame(CONTINUATION, END_HEADERS, 3, GET), expected=connection_error(PROTOCOL, CLOSED)),
    "5.1 half-closed: WINDOW_UPDATE": case(get(3), update(3, 1), expected=answered()),
    "5.1 half-closed: PRIORITY": case(get(3), priority(3, 0), expected=answered()),
    "5.1 half-closed: RST_STREAM": case(get(3, "/waits"), reset(3), expected=GOES_ON),
    "5.1 closed: DATA behind a reset": case(*RESET, data(3, b"a"), expected=late(CLOSED)),
    "5.1 closed: HEADERS behind a reset": case(*RESET, get(3), expected=late(CLOSED, PROTOCOL)),
    "5.1 closed: CONTINUATION behind a reset": case(
        *RESET, frame(CONTINUATION, END_HEADERS, 3, GET), expected=connection_error(PROTOCOL, CLOSED)),
    "5.1 closed: WINDOW_UPDATE behind a reset": case(*RESET, update(3, 1), expected=late(CLOSED)),
    "5.1 closed: PRIORITY behind a reset": case(*RESET, priority(3, 0), expected=GOES_ON),
    "5.1 closed: RST_STREAM behind a reset": case(*RESET, reset(3), expected=late(CLOSED)),
    "5.1 closed: DATA behind the answer": case(*ANSWERED, data(3, b"a"), expected=late(CLOSED)),
    "5.1 closed: HEADERS behind the answer": case(*ANSWERED, get(3), expected=late(CLOSED, PROTOCOL)),
    "5.1 closed: CONTINUATION behind the answer": case(
        *ANSWERED, frame(CONTINUATION, END_HEADERS, 3, GET), expected=connection_error(PROTOCOL, CLOSED)),
    "5.1 closed: WINDOW_UPDATE behind the answer": case(*ANSWERED, update(3, 1), expected=GOES_ON),
    "5.1 closed: PRIORITY behind the answer": case(*ANSWERED, priority(3, 0), expected=GOES_ON),
    "5.1 closed: RST_STREAM behind the answer": case(*ANSWERED, reset(3), expected=GOES_ON),
    # 5.1.1: numbers
    "5.1.1 an even number": case(get(4), expected=connection_error(PROTOCOL)),
    "5.1.1 the number 0": case(frame(HEADERS, HEADERS_OF_GET, 0, GET), expected=connection_error(PROTOCOL)),
    "5.1.1 a number below one that was used": case(
        get(5), until_answered(5), get(3), expected=connection_error(PROTOCOL, CLOSED)),
    "5.1.1 a number below one that is open": case(
        post(5, "/unread"), get(3), expected=connection_error(PROTOCOL, CLOSED)),
    "5.1.1 DATA on a number that was left out": case(
        get(5), until_answered(5), data(3, b"a"), expected=late(PROTOCOL, CLOSED)),
    "5.1.1 numbers with gaps": case(get(3), get(99), expected=answered(stream=99)),
    # 5.3: priorities of RFC 7540, which nobody heeds any more
    "5.3 a priority": case(priority(3, 1), get(3), expected=answered()),
    "5.3 a head with a priority": case(
        frame(HEADERS, HEADERS_OF_GET | PRIORITIZED, 3, b"\0\0\0\1\x10" + GET), expected=answered()),
    "5.3 a head whose priority is cut": case(
        frame(HEADERS, HEADERS_OF_GET | PRIORITIZED, 3, b"\0\0\0"), expected=connection_error(SIZE, PROTOCOL)),
    # 6.1: DATA
    "6.1 DATA on stream 0": case(frame(DATA, END_STREAM, 0, b"a"), expected=connection_error(PROTOCOL)),
    "6.1 DATA with padding": case(
        post(3), frame(DATA, END_STREAM | PADDED, 3, b"\x02ab\0\0"), expected=answered()),
    "6.1 DATA of nothing but padding": case(
        post(3), frame(DATA, END_STREAM | PADDED, 3, b"\xff" + bytes(255)), expected=answered()),
    "6.1 DATA with more padding than content": case(
        post(3), frame(DATA, END_STREAM | PADDED, 3, b"\x06abcde"), expected=connection_error(PROTOCOL)),
    "6.1 DATA with padding as long as all of it": case(
        post(3), frame(DATA, END_STREAM | PADDED, 3, b"\x05abcd"), expected=connection_error(PROTOCOL)),
    "6.1 DATA without the length of its padding": case(
        post(3), frame(DATA, END_STREAM | PADDED, 3), expected=connection_error(SIZE, PROTOCOL)),
    "6.1 DATA of nothing": case(post(3), data(3, end=False), data(3), expected=answered()),
    # 6.2: HEADERS
    "6.2 HEADERS with padding": case(
        frame(HEADERS, HEADERS_OF_GET | PADDED, 3, PADDED_GET), expected=answered()),
    "6.2 HEADERS with more padding than content": case(
        frame(HEADERS, HEADERS_OF_GET | PADDED, 3, b"\xff" + GET), expected=connection_error(PROTOCOL)),
    "6.2 HEADERS without the length of its padding": case(
        frame(HEADERS, HEADERS_OF_GET | PADDED, 3), expected=connection_error(SIZE, PROTOCOL)),
    "6.2 HEADERS with padding and a priority": case(
        frame(HEADERS, HEADERS_OF_GET | PADDED | PRIORITIZED, 3, b"\x02\0\0\0\0\x10" + GET + b"\0\0"),
        expected=answered()),
    # 6.3: PRIORITY
    "6.3 PRIORITY on stream 0": case(frame(PRIORITY, 0, 0, bytes(5)), expected=connection_error(PROTOCOL)),
    "6.3 PRIORITY that is short": case(
        post(3), frame(PRIORITY, 0, 3, bytes(4)), expected=stream_error(SIZE, may_end=True)),
    # 6.4: RST_STREAM
    "6.4 RST_STREAM on stream 0": case(frame(RST_STREAM, 0, 0, bytes(4)), expected=connection_error(PROTOCOL)),
    "6.4 RST_STREAM that is short": case(
        post(3, "/unread"), frame(RST_STREAM, 0, 3, bytes(3)), expected=connection_error(SIZE)),
    "6.4 RST_STREAM that is long": case(
        post(3, "/unread"), frame(RST_STREAM, 0, 3, bytes(5)), expected=connection_error(SIZE)),
    "6.4 RST_STREAM with an unknown code": case(
        post(3, "/unread"), frame(RST_STREAM, 0, 3, b"\xff" * 4), expected=GOES_ON),
    # 6.5: SETTINGS
    "6.5 SETTINGS on a stream": case(frame(SETTINGS, 0, 1), expected=connection_error(PROTOCOL)),
    "6.5 SETTINGS of half a value": case(frame(SETTINGS, 0, 0, bytes(5)), expected=connection_error(SIZE)),
    "6.5 an acknowledgement with content": case(frame(SETTINGS, ACK, 0, bytes(6)), expected=connection_error(SIZE)),
    "6.5 an acknowledgement on a stream": case(frame(SETTINGS, ACK, 1), expected=connection_error(PROTOCOL)),
    "6.5 an acknowledgement of nothing": case(*[frame(SETTINGS, ACK, 0)] * 3, expected=GOES_ON),
    "6.5.2 ENABLE_PUSH of 2": case(settings({2: 2}), expected=connection_error(PROTOCOL)),
    "6.5.2 ENABLE_PUSH of 1": case(settings({2: 1}), get(3), expected=answered()),
    "6.5.2 a window beyond the largest": case(settings({4: 2**31}), expected=connection_error(FLOW)),
    "6.5.2 the largest window": case(settings({4: MAX_WINDOW}), get(3), expected=answered()),
    "6.5.2 frames below the smallest size": case(settings({5: MAX_FRAME - 1}), expected=connection_error(PROTOCOL)),
    "6.5.2 frames beyond the largest size": case(settings({5: 2**24}), expected=connection_error(PROTOCOL)),
    "6.5.2 frames of the largest size": case(settings({5: 2**24 - 1}), get(3), expected=answered()),
    "6.5.2 an unknown setting": case(settings({0xFA: 1, 0: 7}), get(3), expected=answered()),
    "6.5.2 a table of nothing": case(settings({1: 0}), get(3), expected=answered()),
    "6.5.2 a table of 4 GiB": case(take_any_table, settings({1: 2**32 - 1}), get(3), expected=answered()),
    "6.5.2 no streams, which is about pushes": case(settings({3: 0}), get(3), expected=answered()),
    "6.5.2 the same setting twice: the last one holds": case(
        frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0" + b"\0\4\0\0\xff\xff"), get(3), expected=answered()),
    "8441 3 ENABLE_CONNECT_PROTOCOL of 2": case(settings({8: 2}), expected=connection_error(PROTOCOL)),
    # 6.6: PUSH_PROMISE
    "6.6 a push by a client": case(
        post(3, "/unread"), frame(PUSH_PROMISE, END_HEADERS, 3, bytes(3) + b"\2" + GET),
        expected=connection_error(PROTOCOL)),
    # 6.7: PING
    "6.7 PING on a stream": case(frame(PING, 0, 1, bytes(8)), expected=connection_error(PROTOCOL)),
    "6.7 PING that is short": case(frame(PING, 0, 0, bytes(7)), expected=connection_error(SIZE)),
    "6.7 PING that is long": case(frame(PING, 0, 0, bytes(9)), expected=connection_error(SIZE)),
    "6.7 PING of nothing": case(frame(PING, 0, 0), expected=connection_error(SIZE)),
    "6.7 an answer to no ping": case(frame(PING, ACK, 0, bytes(8)), expected=GOES_ON),
    # 6.8: GOAWAY
    "6.8 GOAWAY on a stream": case(frame(GOAWAY, 0, 1, bytes(8)), expected=connection_error(PROTOCOL)),
    "6.8 GOAWAY that is short": case(frame(GOAWAY, 0, 0, bytes(7)), expected=connection_error(SIZE)),
    # 6.9: windows
    "6.9 a window that opens by nothing": case(
        frame(WINDOW_UPDATE, 0, 0, bytes(4)), expected=connection_error(PROTOCOL)),
    "6.9 a stream's window that opens by nothing": case(
        post(3, "/unread"), frame(WINDOW_UPDATE, 0, 3, bytes(4)), expected=stream_error(PROTOCOL, may_end=True)),
    "6.9 WINDOW_UPDATE that is short": case(frame(WINDOW_UPDATE, 0, 0, bytes(3)), expected=connection_error(SIZE)),
    "6.9 WINDOW_UPDATE that is long": case(frame(WINDOW_UPDATE, 0, 0, bytes(5)), expected=connection_error(SIZE)),
    "6.9 the reserved bit": case(
        frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\1"), get(3), expected=answered()),
    "6.9.1 a window that opens too far": case(
        update(0, MAX_WINDOW), expected=connection_error(FLOW)),
    "6.9.1 a stream's window that opens too far": case(
        post(3, "/unread"), update(3, MAX_WINDOW), expected=stream_error(FLOW)),
    "6.9.1 a window that opens too far in two steps": case(
        post(3, "/unread"), update(3, 2**30), update(3, 2**30), expected=stream_error(FLOW)),
    "6.9.2 settings that open a window too far": case(
        post(3, "/unread"), update(3, MAX_WINDOW - 65535), settings({4: 65536}), expected=connection_error(FLOW)),
    # 6.10: CONTINUATION
    "6.10 CONTINUATION on stream 0": case(
        frame(HEADERS, END_STREAM, 3, GET), frame(CONTINUATION, END_HEADERS, 0), expected=connection_error(PROTOCOL)),
    "6.10 CONTINUATION of another stream": case(
        frame(HEADERS, END_STREAM, 3, GET), frame(CONTINUATION, END_HEADERS, 1), expected=connection_error(PROTOCOL)),
    "6.10 CONTINUATION behind the end of a block": case(
        post(3, "/unread"), frame(CONTINUATION, END_HEADERS, 3, b""), expected=connection_error(PROTOCOL)),
    "6.10 CONTINUATION behind DATA": case(
        post(3, "/unread"), data(3, b"a", end=False), frame(CONTINUATION, END_HEADERS, 3, GET),
        expected=connection_error(PROTOCOL)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_frame_does_what_the_rfc_says(server: Server, name: str) -> None:
    """Each is an error of its stream, or of the connection, or none; and after one of a stream the others go on."""
    play(server, CASES[name])


def test_the_server_begins_with_its_settings(server: Server) -> None:
    """Its first frame are its settings, and it acknowledges the client's (RFC 9113, sections 3.4 and 6.5.3)."""
    with Peer(server) as peer:
        assert peer.catch_up()
        assert peer.kinds[0] == "SettingsFrame"
        assert peer.told is not None
        assert peer.told.get(2, 0) == 0
        assert peer.told[3] >= 100
        assert peer.told.get(4, 65535) <= MAX_WINDOW
        assert peer.acknowledged == 1
        peer.send(settings({4: 1}) + settings({4: 2}))
        assert peer.catch_up()
        assert peer.acknowledged == 3


def test_an_idle_stream_that_depends_on_itself(server: Server) -> None:
    """A stream that has not begun is never reset (RFC 9113, section 6.4), and dependencies mean nothing any more."""
    play(server, case(priority(3, 3), get(3), expected=answered()))


def test_the_server_offers_no_extended_connect(server: Server) -> None:
    """WebSockets come over HTTP/1.1 (RFC 8441, section 3: what is not offered, no client sends)."""
    with Peer(server) as peer:
        assert peer.catch_up()
        assert peer.told is not None
        assert 8 not in peer.told


def test_a_preface_byte_by_byte(server: Server) -> None:
    """However the preface and the first request are cut, they are read."""
    with Peer(server, first=b"") as peer:
        for byte in PREFACE + settings() + get(1):
            peer.send(bytes((byte,)))
        assert peer.wait_until_ended(1).status == 200


def test_all_in_one_piece(server: Server) -> None:
    """A preface, settings and 50 requests may come in one segment."""
    with Peer(server, first=PREFACE + settings() + b"".join(get(stream) for stream in range(1, 101, 2))) as peer:
        for stream in range(1, 101, 2):
            assert peer.wait_until_ended(stream).status == 200


@pytest.mark.parametrize("first", [PREFACE[:-8] + b"XX\r\n\r\n" + settings(), PREFACE[:-2] + b"\n\n" + settings()])
def test_a_preface_that_is_none(server: Server, first: bytes) -> None:
    """The connection is closed (RFC 9113, section 3.4), and nothing of what follows is a request."""
    with Peer(server, first=b"") as peer:
        peer.socket.sendall(first + get(1, "/hidden"))
        received = b""
        while part := _receive(peer):
            received += part
    assert b"hidden" not in received
    assert not any("/hidden" in line for line in server.events)


def _receive(peer: Peer) -> bytes:
    try:
        return peer.socket.recv(65536)
    except ConnectionResetError:
        return b""


def test_the_answer_to_a_ping(server: Server) -> None:
    """A ping is answered with what it holds (RFC 9113, section 6.7)."""
    with Peer(server) as peer:
        peer.send(ping(b"\0\1\2\3\4\5\6\7"))
        assert peer.wait(lambda: peer.pongs == [b"\0\1\2\3\4\5\6\7"])


def test_too_many_streams(server: Server) -> None:
    """Beyond MAX_CONCURRENT_STREAMS a stream is refused, and can be tried again (RFC 9113, section 5.1.2)."""
    with Peer(server) as peer:
        peer.catch_up()
        assert peer.told is not None
        limit = peer.told[3]
        peer.send(b"".join(get(2 * number + 1, "/waits") for number in range(limit)))
        assert peer.catch_up()
        beyond = 2 * limit + 1
        peer.send(get(beyond))
        peer.wait_until_ended(beyond)
        assert peer.answer(beyond).reset == Code.REFUSED_STREAM or peer.goaway in {
            Code.PROTOCOL_ERROR, Code.REFUSED_STREAM, Code.ENHANCE_YOUR_CALM,
        }, peer  # fmt: skip
        if not peer.closed:
            peer.send(reset(1))
            server.wait_for_event("waits ended")  # until then its task may count
            see_that_the_rest_goes_on(peer, bystander=False)


@pytest.mark.parametrize("code", [0, 2**32 - 1])
def test_goodbye(server: Server, code: int) -> None:
    """After a GOAWAY, of whatever code, a connection on which nothing is under way ends (RFC 9113, section 6.8)."""
    with Peer(server) as peer:
        peer.send(get(1))
        assert peer.wait_until_ended(1).ended
        peer.send(frame(GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big")))
        peer.wait_until_closed()
        assert peer.goaway in {None, Code.NO_ERROR}


# Windows


def body_of(blocks: int) -> int:
    """Bytes of a body of blocks."""
    return blocks * 16384


def test_a_window_of_nothing(server: Server) -> None:
    """Where a stream's window is shut its head comes, and its body when the window opens (RFC 9113, section 6.9.2)."""
    with Peer(server, first=PREFACE + settings({4: 0})) as peer:
        peer.send(get(1, "/blocks/2"))
        assert peer.wait(lambda: bool(peer.answer(1).heads))
        assert peer.catch_up()
        assert peer.answer(1).body == b""
        peer.send(update(1, 1))
        assert peer.wait(lambda: len(peer.answer(1).body) == 1)
        peer.send(settings({4: 3}))
        assert peer.wait(lambda: len(peer.answer(1).body) == 4)
        peer.send(update(1, 100_000))
        assert peer.wait_until_ended(1).ended
        assert len(peer.answer(1).body) == body_of(2)


def test_a_window_below_nothing(server: Server) -> None:
    """Settings may make a window negative: nothing comes until it is above 0 again (RFC 9113, section 6.9.2)."""
    with Peer(server, first=PREFACE + settings({4: 10_000})) as peer:
        peer.send(get(1, "/blocks/2"))
        assert peer.wait(lambda: len(peer.answer(1).body) == 10_000)
        peer.send(settings({4: 4_000}))  # now it is -6,000
        assert peer.catch_up()
        peer.send(update(1, 6_000))
        assert peer.catch_up()
        assert len(peer.answer(1).body) == 10_000
        peer.send(update(1, 1))
        assert peer.wait(lambda: len(peer.answer(1).body) == 10_001)
        peer.send(update(1, 100_000))
        assert peer.wait_until_ended(1).ended


def test_the_window_of_the_connection(server: Server) -> None:
    """All streams together send no more than the connection's window allows, and then go on when it opens."""
    with Peer(server, first=PREFACE + settings({4: 1_000_000})) as peer:
        for stream in (1, 3, 5):
            peer.send(get(stream, "/blocks/4"))

        def received() -> int:
            return sum(len(peer.answer(stream).body) for stream in (1, 3, 5))

        assert peer.wait(lambda: received() == 65535)
        assert peer.catch_up()
        assert received() == 65535
        peer.send(get(7))
        assert peer.wait(lambda: bool(peer.answer(7).heads))  # a head needs no window
        peer.send(update(0, 1_000_000))
        for stream in (1, 3, 5, 7):
            assert peer.wait_until_ended(stream).ended
        assert received() == 3 * body_of(4)


def test_frames_are_no_larger_than_allowed(server: Server) -> None:
    """The server sends no frame beyond SETTINGS_MAX_FRAME_SIZE (RFC 9113, section 4.2)."""
    with Peer(server, first=PREFACE + settings({4: 2**20, 5: MAX_FRAME}) + update(0, 2**20)) as peer:
        peer.send(get(1, "/blocks/16"))
        assert peer.wait_until_ended(1).ended
        assert peer.largest <= MAX_FRAME


def test_a_body_beyond_the_window(server: Server) -> None:
    """A client that sends more than a stream's window allows is told so (RFC 9113, section 6.9.1)."""
    with Peer(server) as peer:
        peer.send(post(1, "/unread"))
        peer.catch_up()
        assert peer.told is not None
        for _ in range((peer.told.get(4, 65535) + 2**20) // MAX_FRAME):
            peer.send(data(1, bytes(MAX_FRAME), end=False))
            if not peer.catch_up() or peer.answer(1).done:
                break
        assert Code.FLOW_CONTROL_ERROR in {peer.answer(1).reset, peer.goaway}, peer


def test_a_body_that_nobody_reads_stops_no_other(server: Server) -> None:
    """Three bodies that wait for their apps leave the connection's window open to another one."""
    with Peer(server) as peer:
        peer.catch_up()
        assert peer.told is not None
        full = peer.told.get(4, 65535) // MAX_FRAME * MAX_FRAME
        window = 65535 + peer.updates.get(0, 0)
        for stream in (1, 3, 5):
            room = min(full, window + peer.updates.get(0, 0) - 3 * MAX_FRAME)
            peer.send(post(stream, "/unread"))
            for _ in range(min(room, 65535) // MAX_FRAME):
                peer.send(data(stream, bytes(MAX_FRAME), end=False))
            assert peer.catch_up()
        peer.send(post(7) + data(7, b"read"))
        assert peer.wait_until_ended(7).ended, peer
        assert b'"body": "read"' in peer.answer(7).body


def test_a_long_body(server: Server) -> None:
    """Windows open as an app reads: a megabyte goes through, and comes back."""
    with Peer(server, first=PREFACE + settings({4: 2**20}) + update(0, 2**20)) as peer:
        peer.catch_up()
        assert peer.told is not None
        size = 2**20
        peer.send(post(1, "/echo"))
        sent = 0
        while sent < size:
            room = min(65535 + peer.updates.get(0, 0), peer.told.get(4, 65535) + peer.updates.get(1, 0)) - sent
            room = min(room, MAX_FRAME, size - sent)
            if room > 0:
                sent += room
                peer.send(data(1, bytes(room), end=sent == size))
            else:
                peer.take()
                assert not peer.closed, peer
        assert peer.wait_until_ended(1).ended
        assert peer.answer(1).body == bytes(size)
