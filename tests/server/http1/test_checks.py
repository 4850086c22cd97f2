"""Hosts, lengths and targets."""

from __future__ import annotations

import pytest

from trioweb.server.http1 import checks
from trioweb.server.http1.checks import KNOWN_HOSTS, BadRequest, check_host, decode_path, parse_length, split_target


@pytest.mark.parametrize(
    "value", [b"", b"x", b"x:", b"x:80", b"a.b-c_d~e", b"%C3%BC", b"[::1]", b"[::ffff:1.2.3.4]:443", b"1.2.3.4", b"a,b"]
)
def test_hosts(value: bytes) -> None:
    """A name, or an address, and perhaps a port (RFC 3986, section 3.2.2)."""
    check_host(value)


@pytest.mark.parametrize(
    "value", [b"x/", b"x@y", b"x y", b"x\ty", b"[::1", b"::1", b"x:a", b"x:80:80", b"\xc3\xbc", b"x?", b'"']
)
def test_what_is_no_host(value: bytes) -> None:
    """All else is refused."""
    with pytest.raises(BadRequest) as caught:
        check_host(value)
    assert caught.value.status == 400


def test_hosts_that_are_remembered_are_bounded() -> None:
    """A client that sends one name after the other does not fill the memory."""
    for number in range(3 * KNOWN_HOSTS):
        check_host(b"host-%d" % number)
    check_host(b"x" * 300)
    assert len(checks._known_hosts) <= KNOWN_HOSTS
    assert b"x" * 300 not in checks._known_hosts


def test_lengths() -> None:
    """A length is digits, and no more than a file can have."""
    assert parse_length(b"0") == 0
    assert parse_length(b"007") == 7
    assert parse_length(b"9" * 18) == 10**18 - 1
    for value in (b"9" * 19, b"", b"+1", b"1 ", b"\xb2"):
        with pytest.raises(BadRequest):
            parse_length(value)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", (b"/", b"", None)),
        (b"//a", (b"//a", b"", None)),
        (b"/a?b?c", (b"/a", b"b?c", None)),
        (b"*", (b"*", b"", None)),
        (b"HTTP://x/a?b", (b"/a", b"b", b"x")),
        (b"https://x:1", (b"*", b"", b"x:1")),
        (b"http://x?q", (b"/", b"q", b"x")),
    ],
)
def test_targets(target: bytes, expected: tuple[bytes, bytes, bytes | None]) -> None:
    """A path, a URL, or the whole server (RFC 9112, section 3.2)."""
    assert split_target(target, "OPTIONS") == expected


def test_paths_are_decoded_once() -> None:
    """A percent that was encoded is a percent; what is no UTF-8 is shown as such."""
    assert decode_path(b"/a%2525%C3%BC") == "/a%25\u00fc"
    assert decode_path(b"/%ff") == "/\ufffd"
