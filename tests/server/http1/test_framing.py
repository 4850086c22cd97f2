"""Responses as bytes, as an independent client reads them."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioweb.server.http1.framing import DONE, STARTED, WAITING, Response, early_hint

FIELDS = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: trioweb\r\n"
Headers = list[tuple[bytes, bytes]]


def send(
    parts: list[bytes],
    *,
    method: str = "GET",
    version: str = "1.1",
    status: int = 200,
    headers: Headers | None = None,
    keep_alive: bool = True,
    close: bool = False,
    **options: Any,
) -> tuple[bytes, Response]:
    """The bytes of a response whose body is in these parts."""
    response = Response(method, version, keep_alive=keep_alive)
    response.start(status, headers or [], **options)
    sent = b"".join(
        b"".join(response.body(part, FIELDS, more=number < len(parts), close=close))
        for number, part in enumerate(parts, 1)
    )
    return sent, response


def receive(sent: bytes, method: str = "GET", *, closed: bool = False) -> tuple[Any, bytes, Headers, bool]:
    """What h11 reads: the head, the body, the trailers, and whether the connection can go on."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    if closed:
        client.receive_data(b"")
    head, body = None, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
            assert client.trailing_data[0] == b""
            return head, body, trailers, client.their_state is h11.DONE
        else:
            assert isinstance(event, h11.InformationalResponse), event


def names(sent: bytes) -> list[bytes]:
    """The names of the headers, in order."""
    return [line.partition(b":")[0] for line in sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]


def test_a_whole_response_gets_its_length() -> None:
    """One part that is all of the body leaves with its head, and with a length of its own."""
    sent, response = send([b"hello"], headers=[(b"content-type", b"text/plain")])
    assert sent == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n" + FIELDS + b"\r\nhello"
    assert response.state is DONE
    assert response.keep_alive


@pytest.mark.parametrize("parts", [[b"a", b"bc", b""], [b"", b"a", b"b"], [b"", b""]])
@pytest.mark.parametrize("headers", [[], [(b"transfer-encoding", b"chunked")]])
def test_a_body_in_parts_is_chunked(parts: list[bytes], headers: Headers) -> None:
    """A body whose length nobody knows is chunked, once; an empty part is no end."""
    sent, response = send(parts, headers=headers)
    head, body, _, goes_on = receive(sent)
    assert body == b"".join(parts)
    assert names(sent).count(b"transfer-encoding") == 1
    assert head.status_code == 200
    assert goes_on
    assert response.keep_alive


@pytest.mark.parametrize("parts", [[b"abc"], [b"a", b"bc"], [b"ab", b"", b"c", b""]])
def test_a_length_that_is_given_is_kept(parts: list[bytes]) -> None:
    """A body of a declared length is sent as it is."""
    sent, _ = send(parts, headers=[(b"Content-Length", b"3")])
    assert sent.endswith(b"\r\n\r\nabc")
    assert receive(sent)[1] == b"abc"
    assert names(sent).count(b"content-length") == 1


@pytest.mark.parametrize(
    ("parts", "match"), [([b"abcd"], "more"), ([b"ab"], "fewer"), ([b"ab", b"cd"], "more"), ([b"ab", b""], "fewer")]
)
def test_a_body_of_another_length_is_an_error(parts: list[bytes], match: str) -> None:
    """Not a byte more than declared leaves, and no end after fewer."""
    with pytest.raises(ValueError, match=match):
        send(parts, headers=[(b"content-length", b"3")])


def test_a_first_part_of_another_length_leaves_the_response_unsent() -> None:
    """Nothing of it has left, and another answer can be given."""
    response = Response("GET", "1.1", keep_alive=True)
    response.start(200, [(b"content-length", b"3")])
    with pytest.raises(ValueError, match="more"):
        response.body(b"abcd", b"", more=False, close=False)
    assert response.state is STARTED


@pytest.mark.parametrize("values", [[b"x"], [b"-1"], [b"1", b"2"], [b"1, 1"], [b""]])
def test_a_length_is_one_number(values: list[bytes]) -> None:
    """What is no length is not sent as one."""
    with pytest.raises(ValueError, match="content-length"):
        send([b"a"], headers=[(b"content-length", value) for value in values])


@pytest.mark.parametrize("parts", [[b"abc"], [b"a", b"bc"]])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204), ("HEAD", 404)])
def test_responses_without_a_body_have_none(parts: list[bytes], method: str, status: int) -> None:
    """HEAD, 204 and 304 end with their head, whatever the app sends, and the connection goes on."""
    sent, response = send(parts, method=method, status=status, headers=[(b"content-length", b"7")])
    head, body, _, goes_on = receive(sent, method)
    assert sent.endswith(b"\r\n\r\n")
    assert (body, goes_on, response.state) == (b"", True, DONE)
    assert (b"content-length" in names(sent)) == (status != 204)
    assert head.status_code == status


@pytest.mark.parametrize("keep_alive", [True, False])
def test_http_1_0_ends_a_body_with_the_connection_or_its_length(keep_alive: bool) -> None:
    """HTTP/1.0 has no chunks; it goes on only after a length, and says so."""
    sent, response = send([b"a", b"b"], version="1.0", keep_alive=keep_alive)
    assert receive(sent, closed=True)[1] == b"ab"
    assert b"transfer-encoding" not in names(sent)
    assert not response.keep_alive
    assert b"connection: close\r\n" in sent
    sent, response = send([b"ab"], version="1.0", keep_alive=keep_alive)
    assert response.keep_alive == keep_alive
    assert (b"connection: keep-alive\r\n" in sent) == keep_alive


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
def test_the_end_of_the_connection_as_the_end_of_a_body_is_known(headers: list[tuple[bytes, bytes]]) -> None:
    """A broken body of HTTP/1.0, whose length few clients look at, must be broken by a reset: who asks is told."""
    for version, expected in (("1.0", True), ("1.1", False)):
        response = Response("GET", version, keep_alive=True)
        response.start(200, headers)
        assert not response.broken_by_reset
        response.body(b"a", b"", more=True, close=False)
        assert response.broken_by_reset is expected


@pytest.mark.parametrize(
    ("options", "headers"),
    [({"keep_alive": False}, []), ({"close": True}, []), ({}, [(b"Connection", b"Close")])],
)
def test_the_last_response_of_a_connection_says_so(options: dict[str, Any], headers: Headers) -> None:
    """Whoever wants the connection closed, client, server or app: the response says it, once."""
    sent, response = send([b"a"], headers=headers, **options)
    assert names(sent).count(b"connection") == 1
    assert not response.keep_alive
    assert not receive(sent)[3]


def test_headers_of_the_app_take_the_place_of_the_servers() -> None:
    """There is one date, and one server; alt-svc stays."""
    fields = FIELDS + b"alt-svc: h3=\r\n"
    response = Response("GET", "1.1", keep_alive=True)
    response.start(200, [(b"Date", b"today"), (b"server", b"me"), (b"connection", b"foo")])
    sent = b"".join(response.body(b"", fields, more=False, close=False))
    assert sorted(names(sent)) == [b"alt-svc", b"connection", b"content-length", b"date", b"server"]
    assert b"date: today\r\n" in sent
    assert b"server: me\r\n" in sent
    assert b"connection: foo\r\n" in sent


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x", b"a\nb", b"a\rb", b"a\0b", b"\r\n"])
@pytest.mark.parametrize("name", [b"x-a", b"connection", b"date"])
def test_no_header_holds_the_end_of_its_line(name: bytes, value: bytes) -> None:
    """What would be a second header, or a second response, is an error before anything is sent."""
    with pytest.raises(ValueError, match="end of a line"):
        send([b""], headers=[(name, value), (b"x-b", b"c")])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b":status"])
def test_names_of_headers_are_tokens(name: bytes) -> None:
    """A name that is none is an error that shows it."""
    with pytest.raises(ValueError, match="no name of a header"):
        send([b""], headers=[(name, b"x")])


def test_another_transfer_encoding_is_an_error() -> None:
    """The coding of a body is the server's business."""
    with pytest.raises(ValueError, match="leave it out"):
        send([b""], headers=[(b"transfer-encoding", b"gzip")])


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000, "200", None])
def test_a_status_is_one_of_a_final_response(status: Any) -> None:
    """A status that is none of a final response is an error that shows it."""
    with pytest.raises(ValueError, match="from 200 to 999"):
        Response("GET", "1.1", keep_alive=True).start(status, [])


def test_messages_have_one_order() -> None:
    """A start, parts, and an end: what comes out of turn is an error that says when."""
    response = Response("GET", "1.1", keep_alive=True)
    with pytest.raises(RuntimeError, match="waiting"):
        response.body(b"", b"", more=True, close=False)
    response.start(200, [])
    with pytest.raises(RuntimeError, match="started"):
        response.start(200, [])
    with pytest.raises(RuntimeError, match="started takes no"):
        response.trailers([], more=False)
    response.body(b"", b"", more=False, close=False)
    with pytest.raises(RuntimeError, match="done"):
        response.body(b"", b"", more=False, close=False)
    assert response.state is DONE


def test_an_unsent_head_is_no_response() -> None:
    """A head that could not be sent has not left: something else can be answered."""
    response = Response("GET", "1.1", keep_alive=True)
    assert response.state is WAITING
    response.start(200, [(b"a", b"\n")])
    with pytest.raises(ValueError, match="end of a line"):
        response.body(b"", b"", more=False, close=False)
    assert response.state == "started"


@pytest.mark.parametrize("takes", [True, False])
def test_trailers_follow_chunks_for_who_takes_them(takes: bool) -> None:
    """Trailers stand behind the last chunk; a client that has not asked for them gets none, and no half of a body."""
    response = Response("GET", "1.1", keep_alive=True, takes_trailers=takes)
    response.start(200, [], trailers=True)
    sent = b"".join(response.body(b"a", FIELDS, more=False, close=False))
    sent += response.trailers([(b"x-a", b"b")], more=True)
    sent += response.trailers([(b"x-c", b"d")], more=False)
    _, body, trailers, goes_on = receive(sent)
    assert (body, goes_on) == (b"a", True)
    assert trailers == ([(b"x-a", b"b"), (b"x-c", b"d")] if takes else [])


def test_trailers_without_chunks_are_left_out() -> None:
    """A body of a known length has no place for trailers (RFC 9110, section 6.5.1)."""
    response = Response("GET", "1.1", keep_alive=True, takes_trailers=True)
    response.start(200, [(b"content-length", b"1")], trailers=True)
    sent = b"".join(response.body(b"a", FIELDS, more=False, close=False))
    sent += response.trailers([(b"x-a", b"b")], more=False)
    assert receive(sent)[1:] == (b"a", [], True)


def test_a_file_can_announce_its_length() -> None:
    """A length that is known before the body is sent, where the app gives none; its own is kept."""
    for headers in ([], [(b"content-length", b"2")], [(b"x-a", b"b")]):
        response = Response("GET", "1.1", keep_alive=True)
        response.announce(2)
        response.start(200, headers)
        sent = b"".join(response.body(b"a", FIELDS, more=True, close=False))
        sent += b"".join(response.body(b"b", FIELDS, more=False, close=False))
        assert names(sent).count(b"content-length") == 1
        assert receive(sent)[1] == b"ab"


def test_early_hints_come_before_the_response() -> None:
    """A 103 with its links is read as one, and the response after it."""
    sent = early_hint([b"</a>; rel=preload"]) + send([b"a"])[0]
    assert sent.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n")
    assert receive(sent)[1] == b"a"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from(["1.0", "1.1"]),
    st.sampled_from([200, 204, 304, 404, 599]),
    st.booleans(),
    st.booleans(),
)
def test_every_response_reads_as_it_was(
    parts: list[bytes], method: str, version: str, status: int, declared: bool, keep_alive: bool
) -> None:
    """Whatever is sent, an independent client reads that body, and knows whether the connection goes on."""
    body = b"".join(parts)
    headers = [(b"content-length", b"%d" % len(body))] if declared else []
    sent, response = send(parts, method=method, version=version, status=status, headers=headers, keep_alive=keep_alive)
    head, read, _, goes_on = receive(sent, method, closed=not response.keep_alive)
    bodiless = method == "HEAD" or status in {204, 304}
    assert read == (b"" if bodiless else body)
    assert head.status_code == status
    assert goes_on == response.keep_alive or (version == "1.0" and not response.keep_alive)


def test_what_leaves_by_another_way() -> None:
    """Bytes that the system sends count for a declared length; there is room for all but the last of them."""
    response = Response("GET", "1.1", keep_alive=True)
    response.start(200, [(b"content-length", b"10")])
    assert not response.has_room(1)  # the head has not left
    response.body(b"ab", FIELDS, more=True, close=False)
    assert response.has_room(7)
    assert not response.has_room(8)
    response.pass_over(5)
    assert not response.has_room(3)
    with pytest.raises(ValueError, match="4 of the 3"):
        response.body(b"abcd", FIELDS, more=True, close=False)
    assert response.body(b"abc", FIELDS, more=False, close=False) == (b"", b"abc", b"")
    assert response.state is DONE
    assert not response.has_room(0)


@pytest.mark.parametrize(
    ("method", "version", "headers"),
    [("GET", "1.1", []), ("GET", "1.0", []), ("HEAD", "1.1", [(b"content-length", b"10")])],
)
def test_no_other_way(method: str, version: str, headers: Headers) -> None:
    """There is no room for bytes as they are in a chunked body, in one without a length, and in none at all."""
    response = Response(method, version, keep_alive=True)
    response.start(200, headers)
    response.body(b"ab", FIELDS, more=True, close=False)
    assert not response.has_room(1)
