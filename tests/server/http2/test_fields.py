"""Headers of responses as blocks of HTTP/2."""

from __future__ import annotations

import pytest
from hpack import Decoder

from trioweb.server.http2.fields import KNOWN_NAMES, StreamResponse, early_block

FIELDS = b"date: now\r\nserver: trioweb\r\n"


def head(headers: list[tuple[bytes, bytes]], *, size: int = 2, more: bool = False, status: int = 200) -> dict[str, str]:
    """The fields of a response's head."""
    response = StreamResponse("GET", "2", True)
    response.start(status, headers)
    block, after = response.frame(size, FIELDS, more=more, close=False)
    assert after == b""
    return {str(name): str(value) for name, value in Decoder().decode(block)}


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500, 201, 418, 999])
def test_any_status(status: int) -> None:
    """Each status arrives, from the static table or by its digits."""
    assert head([], status=status, size=0)[":status"] == str(status)


def test_a_length_is_added() -> None:
    """A response of one part has its length, a stream has none."""
    assert head([])["content-length"] == "2"
    assert "content-length" not in head([], more=True)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 20_000])
def test_values_of_any_length(size: int) -> None:
    """A value arrives whatever its length, under a name of the table and under any other."""
    value = "v" * size
    fields = head([(b"Location", value.encode()), (b"X-Some", value.encode()), (b"www-authenticate", value.encode())])
    assert fields["location"] == fields["x-some"] == fields["www-authenticate"] == value


def test_what_belongs_to_http_1_is_left_out() -> None:
    """Headers of a connection, which HTTP/2 forbids, are left out (RFC 9113, section 8.2.2)."""
    names = (b"Connection", b"keep-alive", b"proxy-connection", b"upgrade")
    fields = head([*((name, b"x") for name in names), (b"transfer-encoding", b"chunked")])
    assert set(fields) == {":status", "content-length", "date", "server"}


def test_an_app_may_replace_the_servers_own() -> None:
    """A date or a server that the app names is the only one."""
    fields = head([(b"Date", b"then"), (b"server", b"mine")])
    assert (fields["date"], fields["server"]) == ("then", "mine")


@pytest.mark.parametrize(
    "field",
    [(b"a b", b"x"), (b"", b"x"), (b"x", b"a\r\nb"), (b"x", b"a\0"), (b"content-length", b"x"), (b"date", b"a\nb"),
     (b"transfer-encoding", b"gzip")],
)  # fmt: skip
def test_what_cannot_be_sent_is_an_error(field: tuple[bytes, bytes]) -> None:
    """A name that is none, and a value with the end of a line, are errors before a byte is sent."""
    with pytest.raises(ValueError, match=r"header|content-length|transfer-encoding"):
        head([field])


def test_names_are_cached_up_to_a_limit() -> None:
    """Names that an app makes up do not grow the process."""
    for number in range(KNOWN_NAMES * 2):
        assert head([(b"x-%d" % number, b"v")])[f"x-{number}"] == "v"


def test_a_response_before_the_response() -> None:
    """A 103 has its links."""
    fields = [(str(name), str(value)) for name, value in Decoder().decode(early_block(103, [(b"link", b"</a.css>")]))]
    assert fields == [(":status", "103"), ("link", "</a.css>")]
