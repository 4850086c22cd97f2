"""Requests that are refused whatever the version of HTTP: what they say, once, and as bytes of HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from typing import Final, NamedTuple


class Refused(NamedTuple):
    """A request that is none.

    Attributes:
        method: its method.
        target: its path, with the query.
        host: its host; without one there is no such field.
        fields: more fields, names as they are sent over HTTP/2.
        body: its body.
    """

    method: bytes = b"GET"
    target: bytes = b"/"
    host: bytes | None = b"x"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def as_http1(self) -> bytes:
        """As HTTP/1.1 says it."""
        hosts = () if self.host is None else ((b"host", self.host),)
        lines = [b"%s: %s\r\n" % field for field in (*hosts, *self.fields)]
        return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (self.method, self.target, b"".join(lines), self.body)

    def as_http2(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields of its head over HTTP/2."""
        authority = () if self.host is None else ((b":authority", self.host),)
        return ((b":method", self.method), (b":scheme", b"http"), *authority, (b":path", self.target), *self.fields)


def _with(name: bytes, value: bytes) -> Refused:
    return Refused(fields=((name, value),))


def _length(*values: bytes, body: bytes = b"abc") -> Refused:
    return Refused(b"POST", fields=tuple((b"content-length", value) for value in values), body=body)


REFUSED: Final = {
    # Hosts: as in http1/test_checks.py
    **{f"the host {host!r}": Refused(host=host) for host in (
        b"x/", b"x@y", b"x y", b"x\ty", b"[::1", b"::1", b"x:a", b"x:80:80", b"\xc3\xbc", b"x?", b'"', b"x\\y",
        b"x, y z",
    )},
    "no host": Refused(host=None),
    "two hosts": _with(b"host", b"y"),
    # Targets
    "a target with a fragment": Refused(target=b"/a#b"),
    "a target with another alphabet": Refused(target=b"/\xff"),
    "a target with a space": Refused(target=b"/a b"),
    "a target with a tab": Refused(target=b"/a\tb"),
    "a target with a NUL": Refused(target=b"/a\0b"),
    "a target with a delete": Refused(target=b"/a\x7fb"),
    "a target with a line end": Refused(target=b"/ HTTP/1.1\r\nX: y\r\n\r\n"),
    "a relative target": Refused(target=b"a"),
    "a target of a query": Refused(target=b"?a"),
    "a URL of another scheme": Refused(target=b"ftp://x/a"),
    "a URL with a user": Refused(target=b"http://u@x/a"),
    "* with GET": Refused(target=b"*"),
    # Methods
    "a method with brackets": Refused(b"(GET)"),
    "a method with a space": Refused(b"GET /hidden"),
    "a method with a NUL": Refused(b"GE\0T"),
    "a long method": Refused(b"G" * 33),
    "CONNECT with a path": Refused(b"CONNECT", b"/x"),
    # Lengths
    "two lengths": _length(b"3", b"4"),
    "the same length twice": _length(b"3", b"3"),
    "a list of lengths": _length(b"3, 3"),
    "a length with a sign": _length(b"+3"),
    "a negative length": _length(b"-3"),
    "a length of two words": _length(b"3 3"),
    "a length with an underscore": _length(b"1_0", body=b"0123456789"),
    "a length in hexadecimal": _length(b"0x3"),
    "an empty length": _length(b""),
    "a length beyond all numbers": _length(b"9" * 30),
    "a length of 19 digits": _length(b"1" * 19),
    "a length in another alphabet": _length("٣".encode()),
    # Fields
    "an empty name": _with(b"", b"b"),
    "a name with a bracket": _with(b"a(b", b"c"),
    "a name with a slash": _with(b"a/b", b"c"),
    "a name with a space": _with(b"a b", b"c"),
    "a name with a space at its end": _with(b"a ", b"c"),
    "a name with an equals sign": _with(b"a=b", b"c"),
    "a name in another alphabet": _with(b"\xe4", b"c"),
    "a name with a NUL": _with(b"a\0b", b"c"),
    "a value with a NUL": _with(b"a", b"b\0c"),
    "a value with a control character": _with(b"a", b"b\x01c"),
    "a value with an escape": _with(b"a", b"\x1b[31m"),
    "a value with a delete": _with(b"a", b"b\x7fc"),
    "a value with a line feed": _with(b"a", b"b\nc"),
    "a value with a carriage return": _with(b"a", b"b\rc: d"),
    "a value that is folded": _with(b"a", b"b\r\n c"),
    "a coding that is no chunked": _with(b"transfer-encoding", b"gzip"),
}  # fmt: skip
