"""A fuzzer of HTTP/2: ``python -m tests.server.http2.fuzz MINUTES [--seed N]``, for minutes or for hours.

As ``tests.server.http1.fuzz`` is one, on the same apps: clients send frames in any order, cut anywhere, well formed and
not, in clear and under TLS. At the end nothing may be left of a connection, no fault may have left one, and what a
client has received must be frames in an order that a client can understand. A client that has sent nothing but
well-formed requests must have been answered, on each of its streams.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame
from hypothesis import strategies as st

from tests.server.http1 import fuzz
from tests.server.http1.fuzz import Client, Script, Step, Tls
from tests.server.http1.fuzz_apps import BEHAVIOURS
from tests.server.http2.peer import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_FRAME,
    PREFACE,
    PRIORITY_UPDATE,
    SETTINGS,
    block,
    data,
    fields_of,
    frame,
    get,
    head,
    ping,
    post,
    priority,
    pseudo,
    reset,
    settings,
    update,
)

GET: Final = block(*pseudo())
ACKNOWLEDGED: Final = frame(SETTINGS, ACK, 0)
BEGUN: Final = Step("send", PREFACE + settings() + ACKNOWLEDGED)


class NotHTTP2Error(Exception):
    """What a client has received is not HTTP/2, or is no answer."""


# Frames

_STREAMS: Final = st.sampled_from([1, 1, 1, 3, 3, 5, 7, 9, 0, 2, 101, 2**31 - 1])
_OPEN: Final = _STREAMS.filter(bool)
_NUMBERS: Final = st.sampled_from([0, 1, 2, 5, 100, 16_384, 65_535, 65_536, 2**24, 2**31 - 1, 2**32 - 1])
_PAYLOADS: Final = st.one_of(
    st.sampled_from(
        [b"", b"\0", GET, GET[:-3], GET[5:], b"\xbe" * 50, block(("X", "y")), b"\x3f\xe1\x1f" + GET, bytes(4), bytes(5),
         bytes(6), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x05abc", b"a" * 1000,
         b"a" * MAX_FRAME, b"\0\4\0\0\0\0", b"\0\1\0\0\0\0", b"\0\0\0\3u=1"]
    ),
    st.binary(max_size=40),
)  # fmt: skip
_ANY: Final = st.builds(
    frame,
    st.one_of(st.integers(0, 9), st.sampled_from([PRIORITY_UPDATE, 0xFA])),
    st.one_of(st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS]), st.integers(0, 255)),
    _STREAMS,
    _PAYLOADS,
    length=st.one_of(st.none(), st.none(), st.none(), st.sampled_from([0, 3, 9, 16_385, 2**24 - 1])),
)
_FIELDS: Final = st.lists(
    st.sampled_from(
        [*pseudo(), *pseudo("POST", "/a"), (":method", "CONNECT"), (":protocol", "websocket"), ("content-length", "5"),
         ("content-length", "x"), ("te", "trailers"), ("connection", "close"), ("expect", "100-continue"),
         ("cookie", "a=b"), ("priority", "u=1, i"), ("host", "y"), ("A", "b"), ("a", "b\r\nc"), ("", ""),
         ("a", "b" * 300)]
    ),
    max_size=7,
)  # fmt: skip
_USUAL: Final = st.one_of(
    st.builds(get, _OPEN),
    st.builds(post, _OPEN),
    st.builds(lambda stream: post(stream, "/", ("content-length", "5")) + data(stream, b"hello"), _OPEN),
    st.builds(lambda stream: post(stream, "/", ("expect", "100-continue")), _OPEN),
    st.builds(lambda stream, fields, end: head(stream, *fields, end=end), _OPEN, _FIELDS, st.booleans()),
    st.builds(lambda stream, size, end: data(stream, bytes(size), end=end), _OPEN,
              st.sampled_from([0, 1, 5, 1000, MAX_FRAME]), st.booleans()),
    st.builds(lambda stream, code: frame(3, 0, stream, code.to_bytes(4, "big")), _STREAMS, _NUMBERS),
    st.builds(lambda stream, size: frame(8, 0, stream, size.to_bytes(4, "big")), _STREAMS, _NUMBERS),
    st.builds(lambda key, value: settings({key: value}), st.integers(0, 10), _NUMBERS),
    st.builds(lambda stream, at: frame(HEADERS, END_STREAM, stream, GET[:at])
              + frame(CONTINUATION, END_HEADERS, stream, GET[at:]), _OPEN, st.integers(0, len(GET))),
    st.builds(lambda stream: get(stream) + reset(stream), _OPEN),
    st.builds(lambda first: b"".join(get(stream) for stream in range(first, first + 80, 2)), st.sampled_from([1, 11])),
    st.builds(priority, _OPEN, st.sampled_from([0, 1, 3])),
    st.sampled_from([ping(), ACKNOWLEDGED, PREFACE, frame(7, 0, 0, bytes(8)), update(0, 2**20)]),
)  # fmt: skip


# Scripts


@st.composite
def _cut(draw: st.DrawFn, whole: bytes) -> tuple[Step, ...]:
    """Bytes in pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, min(len(whole), 200)), max_size=3)))
    return tuple(
        Step("send", whole[begin:end])
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
        if end > begin
    )


def _sends(frames: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[Step, ...]]:
    """Some frames, cut anywhere."""
    return st.lists(frames, min_size=1, max_size=5).map(b"".join).flatmap(_cut)


_OTHER: Final = st.one_of(
    st.sampled_from([0.01, 0.3, 1.1, 5.1, 16, 61, 121, 400]).map(lambda seconds: (Step("wait", amount=seconds),)),
    st.sampled_from([1, 300, 50_000, 10_000_000]).map(lambda size: (Step("read", amount=size),)),
    st.sampled_from([(Step("half-close"),), (Step("reset"),), (Step("stop the server"),)]),
)
_FIRST: Final = st.one_of(
    st.just(BEGUN),
    st.just(BEGUN),
    st.builds(lambda key, value: Step("send", PREFACE + settings({key: value})), st.integers(1, 9), _NUMBERS),
    st.sampled_from([Step("send", PREFACE), Step("send", PREFACE[:20]), Step("send", settings())]),
)
_STEPS: Final = st.one_of(_sends(_USUAL), _sends(_USUAL), _sends(_ANY), _sends(st.one_of(_USUAL, _ANY)), _OTHER)
_ODD: Final = st.builds(
    lambda behaviours, first, steps, narrow, greets: Script(
        behaviours, (first, *(step for group in steps for step in group)), narrow, greets
    ),
    st.lists(st.sampled_from(sorted(BEHAVIOURS)), min_size=1, max_size=3).map(tuple),
    _FIRST,
    st.lists(_STEPS, min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)


@st.composite
def _orderly(draw: st.DrawFn) -> Script:
    """Whole requests on streams that follow each other, their frames mixed, and cut anywhere."""
    count = draw(st.integers(1, 6))
    queues: list[list[bytes]] = []
    for number in range(count):
        stream = 2 * number + 1
        kind = draw(st.sampled_from(["get", "post", "length", "trailers", "pieces"]))
        queues.append(
            {
                "get": [get(stream)],
                "post": [post(stream), data(stream, b"abc", end=False), data(stream)],
                "length": [post(stream, "/", ("content-length", "4")), data(stream, b"ab", end=False),
                           data(stream, b"cd")],
                "trailers": [post(stream), data(stream, b"abc", end=False), head(stream, ("x-sum", "1"))],
                "pieces": [frame(HEADERS, END_STREAM, stream, GET[:7]) + frame(CONTINUATION, END_HEADERS, stream,
                                                                               GET[7:])],
            }[kind]
        )  # fmt: skip
    frames = [queue.pop(0) for queue in queues]  # heads come in their order
    while any(queues):
        frames.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    for noise in draw(st.lists(st.sampled_from([ping(), frame(0xFA, 0, 0, b"?"), settings({4: 70_000})]), max_size=3)):
        frames.insert(draw(st.integers(0, len(frames))), noise)
    return Script(("says_hello",), (BEGUN, *draw(_cut(b"".join(frames)))), narrow=False, orderly=True)


SCRIPTS: Final = st.one_of(_ODD, _ODD, _ODD, _orderly())


# What clients receive


class _Stream:
    def __init__(self) -> None:
        self.heads: list[int] = []
        self.ended = self.reset = False


def check_frames(received: bytes) -> dict[int, _Stream]:
    """See that bytes are frames, perhaps the last one in part, of which a client can make sense. Returns their streams.

    Raises:
        NotHTTP2Error: they are not.
    """
    streams: dict[int, _Stream] = {}
    decoder = Decoder(2**20)
    decoder.max_allowed_table_size = 2**32
    pending, first = b"", True
    while len(received) >= 9:
        try:
            found, length = Frame.parse_frame_header(memoryview(received[:9]))
            if len(received) < 9 + length:
                break
            found.parse_body(memoryview(received[9 : 9 + length]))
        except HyperframeError as error:
            raise NotHTTP2Error(f"no frame: {received[:40]!r}") from error
        received = received[9 + length :]
        if first and not isinstance(found, SettingsFrame):
            raise NotHTTP2Error(f"settings are not what comes first: {found!r}")
        first = False
        if pending and not isinstance(found, ContinuationFrame):
            raise NotHTTP2Error(f"a frame within a block: {found!r}")
        if isinstance(found, HeadersFrame | ContinuationFrame):
            pending += found.data
            if "END_HEADERS" not in found.flags:
                continue
        _note(found, streams.setdefault(found.stream_id, _Stream()), decoder, pending)
        pending = b""
    return streams


def _note(found: Frame, stream: _Stream, decoder: Decoder, encoded: bytes) -> None:
    if isinstance(found, RstStreamFrame):
        stream.reset = True
    if not isinstance(found, DataFrame | HeadersFrame | ContinuationFrame):
        return
    if stream.ended or stream.reset:
        raise NotHTTP2Error(f"behind the end of a stream: {found!r}")
    if found.stream_id % 2 == 0:
        raise NotHTTP2Error(f"a stream that no client has opened: {found!r}")
    if not isinstance(found, DataFrame):
        _note_head(found, stream, decoder, encoded)
    elif not stream.heads or stream.heads[-1] < 200:
        raise NotHTTP2Error(f"a body before its head: {found!r}")
    stream.ended |= "END_STREAM" in found.flags


def _note_head(found: Frame, stream: _Stream, decoder: Decoder, encoded: bytes) -> None:
    try:
        fields = fields_of(decoder, encoded)
    except HPACKError as error:
        raise NotHTTP2Error(f"a block that cannot be decoded: {encoded!r}") from error
    if stream.heads and stream.heads[-1] >= 200:
        if ":status" in fields or "END_STREAM" not in found.flags:
            raise NotHTTP2Error(f"a second head: {fields}")
    elif not fields.get(":status", "").isdigit():
        raise NotHTTP2Error(f"a head without a status: {fields}")
    else:
        stream.heads.append(int(fields[":status"]))
    if any(name != name.lower() or name in {"connection", "transfer-encoding"} for name in fields):
        raise NotHTTP2Error(f"a field that HTTP/2 does not have: {fields}")


def check(client: Client, script: Script, methods: list[str]) -> None:
    """See that what a client has received are frames, and that it was answered if it was orderly.

    Raises:
        NotHTTP2Error: that is not so.
    """
    if not script.greets or script.steps[0].data[: len(PREFACE)] != PREFACE:
        return
    streams = check_frames(client.received)
    if script.orderly:
        asked = {2 * number + 1 for number in range(len(methods))}
        wrong = [number for number, stream in streams.items() if number and (stream.heads != [200] or not stream.ended)]
        if wrong or not asked or asked != streams.keys() - {0}:
            raise NotHTTP2Error(f"asked on {sorted(asked)}, answered on {sorted(streams)}, not in full on {wrong}")


def play(scripts: list[Script], tls: Tls | None = None) -> None:
    """Play scripts, side by side, in clear or with this certificate. Raises what ``tests.server.http1.fuzz.run`` does,
    and ``NotHTTP2Error``.
    """
    if tls is not None:
        tls[1].set_alpn_protocols(["h2"])
    stops = any(step.action == "stop the server" for script in scripts for step in script.steps)
    scripts = [script._replace(orderly=script.orderly and not stops) for script in scripts]
    fuzz.run(scripts, tls, check=check, h2c=True, http2="auto")


def make_test(count: int, tls: Tls) -> Callable[[], None]:
    """A test of so many scripts, some with this certificate and some without."""
    return fuzz.make_test(count, tls, SCRIPTS, play)


if __name__ == "__main__":
    fuzz.main(sys.argv[1:], make_test, program="tests.server.http2.fuzz", description=__doc__)
