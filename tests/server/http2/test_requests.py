"""Requests over HTTP/2: RFC 9113, section 8, extended CONNECT (RFC 8441) and priorities (RFC 9218), rule by rule."""

from __future__ import annotations

import json

import pytest

from tests.server.http2.cases import GOES_ON, MALFORMED, Expected, answered, case, connection_error, play
from tests.server.http2.peer import (
    END_HEADERS,
    HEADERS,
    PREFACE,
    PRIORITY_UPDATE,
    Code,
    Field,
    Peer,
    block,
    data,
    frame,
    get,
    head,
    post,
    pseudo,
    settings,
    update,
)
from tests.servers import Server

METHOD, SCHEME, AUTHORITY, PATH = pseudo()
CONNECT = (":method", "CONNECT")
WEBSOCKET = (":protocol", "websocket")
TRAILERS = head(3, ("x-sum", "1"))
LENGTH_OF_3: Field = ("content-length", "3")


def request(*fields: Field) -> tuple[bytes]:
    """A request of these fields alone."""
    return (head(3, *fields),)


def with_field(name: str | bytes, value: str | bytes) -> tuple[bytes]:
    """A request with one field more."""
    return (get(3, "/", (name, value)),)


BAD = {
    # 8.1: framing
    "8.1 trailers without an end": (post(3), head(3, ("x-sum", "1"), end=False)),
    "8.1 trailers with a method": (post(3), head(3, METHOD, ("x-sum", "1"))),
    "8.1 trailers with a status": (post(3), head(3, (":status", "200"))),
    "8.1 trailers with a capital": (post(3), head(3, ("X-Sum", "1"))),
    "8.1 trailers with a Connection": (post(3), head(3, ("connection", "close"))),
    "8.1 trailers with a line end": (post(3), head(3, ("x-sum", "1\r\nx: y"))),
    # 8.1.1: lengths
    "8.1.1 a body that is longer than its length": (post(3, "/", LENGTH_OF_3), data(3, b"abcd")),
    "8.1.1 a body that is longer, in two pieces": (
        post(3, "/", LENGTH_OF_3), data(3, b"abc", end=False), data(3, b"d")),
    "8.1.1 a body that is shorter than its length": (post(3, "/", LENGTH_OF_3), data(3, b"ab")),
    "8.1.1 a body that is shorter, with trailers": (post(3, "/", LENGTH_OF_3), data(3, b"ab", end=False), TRAILERS),
    "8.1.1 no body, and a length": with_field(*LENGTH_OF_3),
    "8.1.1 two lengths": (post(3, "/", LENGTH_OF_3, ("content-length", "4")), data(3, b"abc")),
    "8.1.1 the same length twice": (post(3, "/", LENGTH_OF_3, LENGTH_OF_3), data(3, b"abc")),
    # 8.2.1: fields
    "8.2.1 a name with a capital": with_field("X-Name", "a"),
    "8.2.1 an empty name": with_field("", "a"),
    **{f"8.2.1 a name with {byte:#04x}": with_field(b"a" + bytes((byte,)) + b"b", "a")
       for byte in (0, 9, 10, 13, 0x1F, 0x20, 0x28, 0x2F, 0x3A, 0x3D, 0x5A, 0x7F, 0x80, 0xFF)},
    "8.2.1 a value with a NUL": with_field("a", b"b\0c"),
    "8.2.1 a value with a line feed": with_field("a", b"b\nc"),
    "8.2.1 a value with a carriage return": with_field("a", b"b\rc"),
    "8.2.1 a value that hides a request": with_field("a", b"b\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"),
    "8.2.1 a space before a value": with_field("a", " b"),
    "8.2.1 a space behind a value": with_field("a", "b "),
    "8.2.1 a tab before a value": with_field("a", "\tb"),
    "8.2.1 a tab behind a value": with_field("a", "b\t"),
    # 8.2.2: what is the connection's in HTTP/1.1
    "8.2.2 Connection": with_field("connection", "keep-alive"),
    "8.2.2 Proxy-Connection": with_field("proxy-connection", "keep-alive"),
    "8.2.2 Keep-Alive": with_field("keep-alive", "timeout=5"),
    "8.2.2 Transfer-Encoding": (post(3, "/", ("transfer-encoding", "chunked")), data(3, b"0\r\n\r\n")),
    "8.2.2 Upgrade": with_field("upgrade", "h2c"),
    "8.2.2 TE of something else": with_field("te", "gzip"),
    "8.2.2 TE of trailers and something else": with_field("te", "trailers, gzip"),
    # 8.3: pseudo fields
    "8.3 one that nobody knows": request(*pseudo(), (":test", "a")),
    "8.3 one of responses": request(*pseudo(), (":status", "200")),
    "8.3 a name of a colon": request(*pseudo(), (":", "a")),
    "8.3 one behind a field": request(METHOD, SCHEME, AUTHORITY, ("a", "b"), PATH),
    "8.3 one with a capital": request((":Method", "GET"), SCHEME, AUTHORITY, PATH),
    "8.3.1 two methods": request(METHOD, *pseudo()),
    "8.3.1 two schemes": request(SCHEME, *pseudo()),
    "8.3.1 two authorities": request(AUTHORITY, *pseudo()),
    "8.3.1 two paths": request(PATH, *pseudo()),
    "8.3.1 no method": request(SCHEME, AUTHORITY, PATH),
    "8.3.1 no scheme": request(METHOD, AUTHORITY, PATH),
    "8.3.1 no path": request(METHOD, SCHEME, AUTHORITY),
    "8.3.1 nothing at all": request(),
    "8.3.1 no authority and no Host": request(METHOD, SCHEME, PATH),
    "8.3.1 an empty path": request(*pseudo("GET", "")),
    "8.3.1 an empty method": request(*pseudo("")),
    "8.3.1 an empty scheme": request(METHOD, (":scheme", ""), AUTHORITY, PATH),
    "8.3.1 an authority with a user": request(METHOD, SCHEME, (":authority", "u@x"), PATH),
    "8.3.1 a Host that is another": (get(3, "/", ("host", "y")),),
    "8.3.1 two Hosts": request(METHOD, SCHEME, PATH, ("host", "x"), ("host", "x")),
    # 8.5: CONNECT
    "8.5 CONNECT": request(CONNECT, (":authority", "x:80")),
    "8.5 CONNECT with a path": request(CONNECT, (":authority", "x:80"), PATH),
    "8.5 CONNECT with a scheme": request(CONNECT, (":authority", "x:80"), SCHEME),
    "8.5 CONNECT without an authority": request(CONNECT),
    "8441 4 an extended one without a path": request(CONNECT, WEBSOCKET, SCHEME, AUTHORITY),
    "8441 4 an extended one without a scheme": request(CONNECT, WEBSOCKET, PATH, AUTHORITY),
    "8441 4 an extended one without an authority": request(CONNECT, WEBSOCKET, SCHEME, PATH),
    "8441 4 an extended one to a protocol that nobody knows": request(
        CONNECT, (":protocol", "gopher"), SCHEME, AUTHORITY, PATH),
    "8441 4 a protocol with GET": request(*pseudo(), WEBSOCKET),
    "8441 4 two protocols": request(CONNECT, WEBSOCKET, WEBSOCKET, SCHEME, AUTHORITY, PATH),
}  # fmt: skip

GOOD = {
    "8.1 a body and trailers": (post(3), data(3, b"abc", end=False), TRAILERS),
    "8.1 trailers without a body": (post(3), TRAILERS),
    "8.1 trailers of nothing": (post(3), head(3)),
    "8.1 a body in many frames": (post(3), *(data(3, b"a", end=False) for _ in range(50)), data(3)),
    "8.1.1 a length that is right": (post(3, "/", LENGTH_OF_3), data(3, b"ab", end=False), data(3, b"c")),
    "8.1.1 a length that is right, with trailers": (post(3, "/", LENGTH_OF_3), data(3, b"abc", end=False), TRAILERS),
    "8.1.1 a length of 0 and no body": with_field("content-length", "0"),
    "8.1.1 a body with GET": (head(3, *pseudo(), end=False), data(3, b"abc")),
    "8.2.1 all that a name may hold": with_field("a!#$%&'*+-.^_`|~9", "b"),
    "8.2.1 an empty value": with_field("a", ""),
    "8.2.1 a value of other alphabets": with_field("a", b"\xc3\xa4\xff"),
    "8.2.1 a value with spaces and tabs within": with_field("a", "b \t c"),
    "8.2.1 a value with colons": with_field("a", ":b:"),
    "8.2.2 TE of trailers": with_field("te", "trailers"),
    "8.3.1 in another order": request(PATH, AUTHORITY, SCHEME, METHOD),
    "8.3.1 a Host and no authority": request(METHOD, SCHEME, PATH, ("host", "x")),
    "8.3.1 a Host that is the same": (get(3, "/", ("host", "x")),),
    "8.3.1 the scheme of TLS, as proxies send it": request(METHOD, (":scheme", "https"), AUTHORITY, PATH),
    "8.3.1 OPTIONS of the whole server": request((":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")),
    "8.3.1 a method of somebody's own": request((":method", "BREW"), SCHEME, AUTHORITY, PATH),
    "9218 4 a priority": with_field("priority", "u=0, i"),
    "9218 4 a priority that is none": with_field("priority", "u=9;;=,"),
}  # fmt: skip

PRIORITIES = {
    "9218 7.1 a stream that is open": case(
        post(3), frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=1, i"), data(3), expected=answered()),
    "9218 7.1 a stream that is idle": case(
        frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=1"), get(3), expected=answered()),
    "9218 7.1 a stream that is closed": case(
        get(3), frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=1"), expected=answered()),
    "9218 7.1 what is no structured field": case(
        frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3\xff\0,,"), get(3), expected=Expected(
            3, (), (200,), may_end=True)),
    "9218 7.1 on a stream": case(
        frame(PRIORITY_UPDATE, 0, 1, b"\0\0\0\3u=1"), expected=Expected(0, (Code.PROTOCOL_ERROR,), may_end=True,
                                                                       may_pass=True)),
    "9218 7.1 without a stream": case(
        frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"), expected=Expected(0, (Code.PROTOCOL_ERROR,), may_end=True,
                                                                       may_pass=True)),
    "9218 7.1 that is short": case(
        frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0"), expected=Expected(0, (Code.FRAME_SIZE_ERROR,), may_end=True,
                                                                  may_pass=True)),
    "9218 2.1 no priorities of RFC 7540": case(get(3), expected=answered(), first=PREFACE + settings({9: 1})),
    "9218 2.1 a setting that is out of range": case(
        expected=connection_error(Code.PROTOCOL_ERROR), first=PREFACE + settings({9: 2})),
    "9113 8.4 pushes that the client does not want": case(
        get(3), expected=answered(), first=PREFACE + settings({2: 0})),
    "9113 8.1 a client that has enough of an answer": case(
        post(3, "/unread"), frame(3, 0, 3, bytes(4)), expected=GOES_ON),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_ends_its_own_stream_alone(server: Server, name: str) -> None:
    """It is answered with a 4xx, or reset (RFC 9113, section 8.1.1), it reaches no app, and other streams go on."""
    play(server, case(*BAD[name], expected=MALFORMED))
    requests = [line for line in server.events if "request" in line]
    assert len(requests) == 1, requests  # the one behind it


@pytest.mark.parametrize("name", GOOD)
def test_a_request_that_is_well_formed_is_answered(server: Server, name: str) -> None:
    """What looks odd, and is allowed, reaches the app."""
    play(server, case(*GOOD[name], expected=answered()))


@pytest.mark.parametrize("name", PRIORITIES)
def test_priorities(server: Server, name: str) -> None:
    """Signals of priority change nothing but an order."""
    play(server, PRIORITIES[name])


def ask(server: Server, *parts: bytes) -> dict[str, object]:
    """What the app has seen of a request on stream 1."""
    with Peer(server) as peer:
        peer.send(b"".join(parts))
        answer = peer.wait_until_ended(1)
        assert answer.status == 200, peer
        seen: dict[str, object] = json.loads(answer.body)
        return seen


def test_cookies_are_joined(server: Server) -> None:
    """Crumbs of a cookie are one field to the app, joined with "; " (RFC 9113, section 8.2.3)."""
    seen = ask(server, get(1, "/", ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")))
    headers = seen["headers"]
    assert isinstance(headers, list)
    assert [value for name, value in headers if name == "cookie"] == ["a=b; c=d; e=f"]
    assert ["x", "y"] in headers


def test_the_authority_is_the_host(server: Server) -> None:
    """An app finds the authority as its one ``host`` header, and no pseudo field."""
    seen = ask(server, get(1, "/a%20b?c=d", ("host", "x")))
    headers = seen["headers"]
    assert isinstance(headers, list)
    assert [value for name, value in headers if name == "host"] == ["x"]
    assert not [name for name, _ in headers if name.startswith(":")]
    assert (seen["method"], seen["path"], seen["query"]) == ("GET", "/a b", "c=d")


def test_a_head_in_frames_and_a_body_with_trailers(server: Server) -> None:
    """A request in many frames is one request, with its body whole."""
    encoded = block(*pseudo("POST", "/whole"))
    seen = ask(
        server, frame(HEADERS, 0, 1, encoded[:9]), frame(9, END_HEADERS, 1, encoded[9:]),
        data(1, b"ab", end=False), data(1, b"c", end=False), head(1, ("x-sum", "1")),
    )  # fmt: skip
    assert (seen["path"], seen["body"]) == ("/whole", "abc")


def test_the_answer_to_head_has_no_body(server: Server) -> None:
    """It ends with its head."""
    with Peer(server) as peer:
        peer.send(head(1, *pseudo("HEAD")))
        answer = peer.wait_until_ended(1)
        assert (answer.status, answer.ended, answer.body) == (200, True, b"")


def test_names_of_responses_are_small(server: Server) -> None:
    """A response has names in small letters, and none of those of a connection (RFC 9113, section 8.2)."""
    with Peer(server) as peer:
        peer.send(get(1))
        (fields,) = peer.wait_until_ended(1).heads
        assert next(iter(fields)) == ":status"
        assert all(name == name.lower() for name in fields)
        assert not {"connection", "keep-alive", "transfer-encoding", "upgrade"} & set(fields)


def test_what_is_urgent_comes_first(server: Server) -> None:
    """Where there is room for one only, it is for the stream that is more urgent (RFC 9218, section 10)."""
    with Peer(server, first=PREFACE + settings({4: 2**20})) as peer:
        peer.send(get(1, "/blocks/16", ("priority", "u=7")))
        assert peer.wait(lambda: len(peer.answer(1).body) == 65535)
        peer.send(get(3, "/blocks/16", ("priority", "u=0")))
        assert peer.wait(lambda: bool(peer.answer(3).heads))
        assert peer.catch_up()
        peer.send(update(0, 32_768))
        assert peer.wait(lambda: len(peer.answer(1).body + peer.answer(3).body) == 65535 + 32_768)
        assert len(peer.answer(3).body) >= 16_384, peer
        peer.send(update(0, 2**20))
        assert peer.wait_until_ended(1).ended
        assert peer.wait_until_ended(3).ended


def test_no_stream_starves_another(server: Server) -> None:
    """Streams of the same priority, whose order is not said to matter not, all come to their end."""
    streams = range(1, 41, 2)
    with Peer(server, first=PREFACE + settings({4: 2**20}) + update(0, 2**24)) as peer:
        peer.send(b"".join(get(stream, "/blocks/8", ("priority", "i")) for stream in streams))
        for stream in streams:
            assert peer.wait_until_ended(stream).ended
            assert len(peer.answer(stream).body) == 8 * 16_384
