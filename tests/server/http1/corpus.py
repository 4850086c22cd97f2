"""Requests as bytes, well formed and not: what a server of HTTP/1.1 meets in public."""

from __future__ import annotations

from typing import Final

from tests.server.http1.test_parsing import ACCEPTED, CHUNKED, GET, POST, REFUSED

_LATER: Final = b"PUT /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"


def _get(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


MORE: Final = {
    # Framing that two servers could read in two ways
    "a length with leading zeros": POST + b"Content-Length: 0003\r\n\r\nabc",
    "a length with a tab behind it": POST + b"Content-Length: 3\t\r\n\r\nabc",
    "a length and a coding that is no chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc",
    "a length in another alphabet": POST + "Content-Length: ٣\r\n\r\nabc".encode(),
    "a length of three, and a request behind it": POST + b"Content-Length: 3\r\n\r\nabc" + _LATER,
    "a length that is too short": POST + b"Content-Length: 2\r\n\r\nabc" + _LATER,
    "a length that hides a request": POST + b"Content-Length: %d\r\n\r\n" % len(_LATER) + _LATER + _LATER,
    "a length with HTTP/1.0": b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    "no length with POST": POST + b"\r\n" + _LATER,
    "a body with GET": GET + b"Content-Length: 3\r\n\r\nabc" + _LATER,
    "chunks with GET": GET + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + _LATER,
    "chunked in capitals": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunked with a space behind it": POST + b"Transfer-Encoding: chunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunked and a comma": POST + b"Transfer-Encoding: chunked,\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a comma and chunked": POST + b"Transfer-Encoding: ,chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n1\r\na\r\n0\r\n\r\n',
    "chunked before another coding": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a coding with a name of its own": POST + b"Transfer-Encoding: cow\r\n\r\nabc",
    "an underscore for a hyphen": POST + b"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    "a length behind a space": POST + b" Content-Length: 3\r\n\r\nabc",
    "a name behind a tab": GET + b"\tA: b\r\n\r\n",
    # Chunks
    "chunks in capitals": CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n",
    "a chunk size with leading zeros": CHUNKED + b"00003\r\nabc\r\n0\r\n\r\n",
    "a last chunk of many zeros": CHUNKED + b"1\r\na\r\n0000\r\n\r\n" + _LATER,
    "a chunk size with an empty extension": CHUNKED + b"3;\r\nabc\r\n0\r\n\r\n",
    "an extension with a space before it": CHUNKED + b"3 ;a=b\r\nabc\r\n0\r\n\r\n",
    "an extension with spaces and tabs": CHUNKED + b'3 ;\ta\t=\t"b" ; c\r\nabc\r\n0 ; d = e\r\n\r\n' + _LATER,
    "an extension with a value in quotes": CHUNKED + b'3;a="b;c"\r\nabc\r\n0\r\n\r\n',
    "an extension with a line in quotes": CHUNKED + b'3;a="\r\nabc\r\n0\r\n\r\n"\r\n',
    "an extension at the last chunk": CHUNKED + b"3\r\nabc\r\n0;a=b\r\n\r\n" + _LATER,
    "a chunk that is longer than it says": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk that is shorter than it says": CHUNKED + b"4\r\nabc\r\n0\r\n\r\n" + _LATER,
    "letters that are no chunk size": CHUNKED + b"g\r\nabc\r\n0\r\n\r\n",
    "a chunk size of sixteen digits": CHUNKED + b"0000000000000003\r\nabc\r\n0\r\n\r\n",
    "trailers and a request behind them": CHUNKED + b"1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n" + _LATER,
    "a trailer that names a coding": CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + _LATER,
    "a trailer that names a host": CHUNKED + b"0\r\nHost: evil\r\n\r\n" + _LATER,
    "a trailer without a colon": CHUNKED + b"0\r\nabc\r\n\r\n",
    "a last chunk without its end": CHUNKED + b"1\r\na\r\n0\r\n" + _LATER,
    # The request line
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.0 with a Host": b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    "HTTP/1.0 that would stay, and a request behind it": (
        b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" + _LATER
    ),
    "HTTP/1.0 that would not, and bytes behind it": b"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 1\r\n\r\na" + b"b",
    "HTTP/1.01": b"GET / HTTP/1.01\r\nHost: x\r\n\r\n",
    "HTTP/11": b"GET / HTTP/11\r\nHost: x\r\n\r\n",
    "HTTP 1.1 with a space": b"GET / HTTP /1.1\r\nHost: x\r\n\r\n",
    "a leading space": b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "two slashes": _get(b"GET //a//b HTTP/1.1"),
    "dots": _get(b"GET /a/../b/./c HTTP/1.1"),
    "a question mark alone": _get(b"GET /? HTTP/1.1"),
    "percent encodings": _get(b"GET /%41%c3%a4%2F%2e%3f?%41=%3D HTTP/1.1"),
    "a percent encoding that is none": _get(b"GET /%zz%4 HTTP/1.1"),
    "percent encoded bytes that are no UTF-8": _get(b"GET /%ff%fe HTTP/1.1"),
    "a percent encoded NUL": _get(b"GET /%00 HTTP/1.1"),
    "a percent encoded line end": _get(b"GET /%0d%0aHost:%20y HTTP/1.1"),
    "all that a target may hold": _get(b"GET /-._~!$&'()*+,;=:@/?-._~!$&'()*+,;=:@/? HTTP/1.1"),
    "what a target may not hold": _get(b'GET /"<>[]^`{|}\\ HTTP/1.1'),
    "a control character in the target": _get(b"GET /a\x01b HTTP/1.1"),
    "a delete in the target": _get(b"GET /a\x7fb HTTP/1.1"),
    "a URL with a query and no path": _get(b"GET http://y?a=b HTTP/1.1"),
    "a URL in capitals": _get(b"GET HTTP://Y/A HTTP/1.1"),
    "a URL of https": _get(b"GET https://y/a HTTP/1.1"),
    "a URL with a path and the same host": _get(b"GET http://x/a?b HTTP/1.1"),
    "a URL with an address of IPv6": _get(b"GET http://[::1]:8000/a HTTP/1.1"),
    "an authority with GET": _get(b"GET x:80 HTTP/1.1"),
    "OPTIONS of a path": _get(b"OPTIONS /a HTTP/1.1"),
    "HEAD": _get(b"HEAD /a HTTP/1.1") + _LATER,
    "TRACE": _get(b"TRACE / HTTP/1.1"),
    "all that a method may hold": _get(b"A!#$%&'*+-.^_`|~9 / HTTP/1.1"),
    "a method with a colon": _get(b"A:B / HTTP/1.1"),
    "PRI with HTTP/1.1": _get(b"PRI * HTTP/1.1"),
    # Fields
    "an empty field": _get(b"GET / HTTP/1.1", b"A:"),
    "a field of spaces": _get(b"GET / HTTP/1.1", b"A:   "),
    "spaces and tabs around a value": _get(b"GET / HTTP/1.1", b"A: \t b c \t "),
    "no space before a value": _get(b"GET / HTTP/1.1", b"A:b"),
    "colons in a value": _get(b"GET / HTTP/1.1", b"A: b:c::d"),
    "a value in another alphabet": _get(b"GET / HTTP/1.1", b"A: \xe4\xff"),
    "a value in UTF-8": _get(b"GET / HTTP/1.1", "A: ä".encode()),
    "a name in another alphabet": _get(b"GET / HTTP/1.1", b"\xe4: a"),
    "a delete in a value": _get(b"GET / HTTP/1.1", b"A: \x7f"),
    "a vertical tab in a value": _get(b"GET / HTTP/1.1", b"A: b\x0bc"),
    "an escape in a value": _get(b"GET / HTTP/1.1", b"A: \x1b[31m"),
    "all that a name may hold": _get(b"GET / HTTP/1.1", b"A!#$%&'*+-.^_`|~9: b"),
    "a name with a slash": _get(b"GET / HTTP/1.1", b"A/b: c"),
    "a name with a space": _get(b"GET / HTTP/1.1", b"A b: c"),
    "a name with an equals sign": _get(b"GET / HTTP/1.1", b"A=b: c"),
    "the same field twice": _get(b"GET / HTTP/1.1", b"A: b", b"a: c"),
    "a cookie twice": _get(b"GET / HTTP/1.1", b"Cookie: a=b", b"Cookie: c=d"),
    "a line end and no field": GET + b"\r\n\r\n",
    # Host
    "a Host with a port": _get(host=b"Host: x:8000\r\n"),
    "a Host with an empty port": _get(host=b"Host: x:\r\n"),
    "a Host of an IPv6 address without brackets": _get(host=b"Host: ::1\r\n"),
    "a Host with a space": _get(host=b"Host: x y\r\n"),
    "a Host with a comma": _get(host=b"Host: x,y\r\n"),
    "a Host with a query": _get(host=b"Host: x?y\r\n"),
    "a Host with a backslash": _get(host=b"Host: x\\y\r\n"),
    "a Host in another alphabet": _get(host=b"Host: \xc3\xa4\r\n"),
    "a Host with a percent encoding": _get(host=b"Host: %61\r\n"),
    "a Host in capitals": _get(host=b"HOST: EXAMPLE.com\r\n"),
    "three Hosts": _get(host=b"Host: x\r\nhost: x\r\nHOST: x\r\n"),
    # What a client expects and offers
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + _LATER,
    "an expectation without a body": GET + b"Expect: 100-continue\r\n\r\n" + _LATER,
    "another expectation": POST + b"Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc",
    "an expectation in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
    "the end of the connection, and bytes behind it": GET + b"Connection: close\r\n\r\n" + _LATER,
    "keep-alive and close": GET + b"Connection: keep-alive, close\r\n\r\n" + _LATER,
    "a Connection of many words": GET + b"Connection: a, b ,c\r\n\r\n" + _LATER,
    "an upgrade that is declined": GET + b"Connection: upgrade\r\nUpgrade: foo\r\n\r\n" + _LATER,
    "an upgrade without a Connection": GET + b"Upgrade: websocket\r\n\r\n" + _LATER,
    "an upgrade to WebSockets with POST": (
        POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\na" + _LATER
    ),
    "trailers that are welcome": GET + b"TE: trailers\r\n\r\n",
    # One behind the other
    "two requests": GET + b"\r\n" + _LATER,
    "three requests with bodies": POST + b"Content-Length: 1\r\n\r\na" + CHUNKED + b"1\r\nb\r\n0\r\n\r\n" + _LATER,
    "empty lines between requests": GET + b"\r\n\r\n\r\n" + _LATER,
    "an empty line behind a body": POST + b"Content-Length: 1\r\n\r\na\r\n" + _LATER,
    "a request and nonsense": GET + b"\r\nnonsense\r\n\r\n",
    "a request and half of one": GET + b"\r\nGET /half HT",
    "a request and the preface of HTTP/2": GET + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nothing": b"",
    "an empty line": b"\r\n",
    "half of a head": b"GET / HTTP/1.1\r\nHost",
    "half of a body": POST + b"Content-Length: 5\r\n\r\nab",
    "half of a chunk": CHUNKED + b"5\r\nab",
    "no HTTP at all": b"EHLO example.com\r\n",
    "binary": bytes(range(256)),
}
"""What the tests of the parser do not have."""

CORPUS: Final[dict[str, bytes]] = (
    {name: data for name, (data, _) in REFUSED.items()} | {name: data for name, (data, _) in ACCEPTED.items()} | MORE
)
