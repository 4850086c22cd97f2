"""Compression of heads (RFC 7541): what no encoder writes, and what makes much of little."""

from __future__ import annotations

import pytest

from tests.server.http2.cases import answered, case, connection_error, play, see_that_the_rest_goes_on
from tests.server.http2.peer import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    Code,
    Peer,
    block,
    data,
    field,
    frame,
    get,
    integer,
    post,
    pseudo,
    settings,
)
from tests.servers import Server

GET = block(*pseudo())
ERROR = connection_error(Code.COMPRESSION_ERROR)
TABLE = 4096
"""Bytes of a decoder's table where it has not said otherwise."""


def whole(encoded: bytes, stream: int = 3) -> bytes:
    """A head of a block."""
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, encoded)


def resize(size: int) -> bytes:
    """A change of the table's size."""
    return integer(size, 5, 0x20)


def indexed(name: bytes, value: bytes) -> bytes:
    """A literal field that enters the table."""
    return b"\x40" + integer(len(name), 7) + name + integer(len(value), 7) + value


def huffman(encoded: bytes) -> bytes:
    """A literal field with this as its value, in Huffman's code."""
    return b"\0\x01a" + integer(len(encoded), 7, 0x80) + encoded


CASES = {
    "2.3.3 the index 0": case(whole(GET + b"\x80"), expected=ERROR),
    "2.3.3 an index behind the static table": case(whole(GET + b"\xbe"), expected=ERROR),
    "2.3.3 an index far behind it": case(whole(GET + integer(2**20, 7, 0x80)), expected=ERROR),
    "2.3.3 a name's index behind it": case(whole(GET + integer(62, 4) + b"\x01a"), expected=ERROR),
    "2.3.3 an index of what was evicted": case(
        whole(GET + indexed(b"a", b"b")), whole(resize(0) + resize(TABLE) + GET + b"\xbe", 5), expected=ERROR),
    "2.3.3 an index of what is there": case(
        whole(GET + indexed(b"a", b"b")), whole(GET + b"\xbe", 5), expected=answered(stream=5)),
    "4.2 a size within a block": case(whole(GET + resize(0)), expected=ERROR),
    "4.2 sizes first": case(whole(resize(0) + resize(TABLE) + GET), expected=answered()),
    "4.3 a size beyond the setting": case(whole(resize(TABLE * 16 + 1) + GET), expected=ERROR),
    "4.4 a field that is larger than the table": case(
        whole(GET + indexed(b"a", b"b" * 5000)), get(5), expected=answered(stream=5)),
    "5.1 an index without an end": case(whole(GET + b"\xff" + b"\xff" * 20), expected=ERROR),
    "5.1 an index beyond 32 bits": case(whole(GET + integer(2**40, 7, 0x80)), expected=ERROR),
    "5.1 an index of many zeros": case(whole(GET + b"\xff" + b"\x80" * 5000 + b"\0"), expected=ERROR),
    "5.1 a number that is cut": case(whole(GET + b"\xff\x80"), expected=ERROR),
    "5.1 a length beyond 32 bits": case(whole(GET + b"\0\x01a" + integer(2**40, 7)), expected=ERROR),
    "5.2 a name that is cut": case(whole(GET + b"\0\x05ab"), expected=ERROR),
    "5.2 a value that is cut": case(whole(GET + b"\0\x01a\x05bc"), expected=ERROR),
    "5.2 no value": case(whole(GET + b"\0\x01a"), expected=ERROR),
    "5.2 Huffman's code": case(whole(GET + huffman(b"\x1f")), expected=answered()),
    "5.2 Huffman's code with a padding of 8 bits": case(whole(GET + huffman(b"\x1f\xff")), expected=ERROR),
    "5.2 Huffman's code with a padding of zeros": case(whole(GET + huffman(b"\x18")), expected=ERROR),
    "5.2 Huffman's code with its end": case(whole(GET + huffman(b"\xff\xff\xff\xff")), expected=ERROR),
    "6.2.3 a field that is never to be indexed": case(
        whole(GET + b"\x10\x01a\x01b"), expected=answered()),
    "a whole head of the static table": case(
        whole(b"\x82\x86\x84\x41\x01x"), expected=answered()),
    "an empty block": case(post(3), frame(HEADERS, END_STREAM | END_HEADERS, 3), expected=answered()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_block_is_decoded_or_ends_the_connection(server: Server, name: str) -> None:
    """An error in a block is one of the connection: the table would not be the same any more (RFC 9113, 4.3)."""
    play(server, CASES[name])


def test_a_refused_head_has_been_decoded(server: Server) -> None:
    """Of a request that is malformed, or too large, the fields enter the table all the same (RFC 9113, 4.3)."""
    with Peer(server) as peer:
        peer.send(whole(indexed(b"a", b"b") + GET, 1))  # malformed: pseudo fields behind a field
        peer.send(whole(GET + b"\xbe", 3))
        assert peer.wait_until_ended(3).ended, peer
        assert b'["a", "b"]' in peer.answer(3).body


def test_a_table_that_the_client_makes_small(server: Server) -> None:
    """The server's encoder obeys, at once, and says so (RFC 7541, section 4.2)."""
    with Peer(server, first=PREFACE + settings({1: 0})) as peer:
        peer.decoder.max_allowed_table_size = 0
        for stream in (1, 3, 5):
            peer.send(get(stream))
            assert peer.wait_until_ended(stream).status == 200


@pytest.mark.parametrize("times", [4_000, 16_000])
def test_a_bomb(server: Server, times: int) -> None:
    """A field of 4,000 bytes that is named again and again by a byte is refused, and no memory grows with it."""
    with Peer(server) as peer:
        peer.send(post(1, "/echo"))
        assert peer.catch_up()
        before = server.memory
        peer.send(whole(GET + indexed(b"a", b"b" * 4000), 3))
        bomb = GET + b"\xbe" * times
        peer.send(frame(HEADERS, END_STREAM, 5, bomb[:16384]) + frame(CONTINUATION, END_HEADERS, 5, bomb[16384:]))
        answer = peer.wait_until_ended(5)
        assert answer.reset is not None or answer.status in {400, 431} or peer.goaway is not None, peer
        assert server.memory - before < 8192
        if not peer.closed:
            peer.send(data(1, b"x"))
            assert peer.wait_until_ended(1).ended


def test_a_list_of_fields_beyond_the_limit(server: Server) -> None:
    """It is answered with a 431, or its stream is reset; the connection goes on (RFC 9113, section 10.5.1)."""
    with Peer(server) as peer:
        assert peer.catch_up()
        assert peer.told is not None
        assert 6 in peer.told, "no MAX_HEADER_LIST_SIZE"
        peer.send(post(1, "/echo"))
        fields = GET + field("a", "b" * 1000) * (peer.told[6] // 1000 + 1)
        peer.send(frame(HEADERS, END_STREAM, 3, fields[:16384]))
        rest = fields[16384:]
        while rest:
            peer.send(frame(CONTINUATION, END_HEADERS if len(rest) <= 16384 else 0, 3, rest[:16384]))
            rest = rest[16384:]
        answer = peer.wait_until_ended(3)
        assert answer.status == 431 or answer.reset is not None, peer
        see_that_the_rest_goes_on(peer)


def test_a_field_in_pieces_of_a_byte(server: Server) -> None:
    """A block may come in a hundred CONTINUATIONs of a byte each."""
    parts = [frame(CONTINUATION, 0, 3, GET[at : at + 1]) for at in range(1, len(GET))]
    play(server, case(frame(HEADERS, END_STREAM, 3, GET[:1]), *parts, frame(CONTINUATION, END_HEADERS, 3),
                      expected=answered()))  # fmt: skip
