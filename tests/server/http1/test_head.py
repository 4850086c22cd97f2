"""What the fields of a head decide, whatever a parser has let through."""

from __future__ import annotations

import pytest

from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.head import Head, read_fields

HOST = (b"host", b"x")


def make_head(*fields: tuple[bytes, bytes], version: str = "1.1") -> Head:
    """A head with these fields."""
    return Head("POST", b"/", b"", version, [HOST, *fields], version == "1.1")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"0")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"1,1")],
        [(b"transfer-encoding", b"chunked, chunked")],
        [HOST],
    ],
)
def test_a_request_has_one_end_and_one_host(fields: list[tuple[bytes, bytes]]) -> None:
    """Two lengths, or two hosts, are refused here too: another version of the parser may see nothing in them."""
    with pytest.raises(BadRequest):
        read_fields(make_head(*fields), None, upgrades=False)


def test_an_upgrade_is_offered_by_name() -> None:
    """The protocol is that of the Upgrade, and only where the Connection says so."""
    for upgrades, expected in ((True, b"h2c"), (False, b"")):
        head = make_head((b"upgrade", b"H2C"))
        read_fields(head, None, upgrades=upgrades)
        assert head.upgrade == expected
