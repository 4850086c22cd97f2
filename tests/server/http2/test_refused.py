"""What is no request over HTTP/1.1 is none over HTTP/2 either: one table for both, so that neither is a way around."""

from __future__ import annotations

import pytest

from tests.server.http2.cases import MALFORMED, case, play
from tests.server.http2.peer import data, head
from tests.server.refused import REFUSED
from tests.servers import Server, read_all


@pytest.mark.parametrize("name", REFUSED)
def test_refused_over_http_1(server: Server, name: str) -> None:
    """It is answered with an error, and no app sees it."""
    with server.connect() as client:
        client.sendall(REFUSED[name].as_http1())
        received = read_all(client)
    assert received[:10] in {b"HTTP/1.1 4", b"HTTP/1.1 5"}, received
    assert not any("request" in line for line in server.events)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_over_http_2(server: Server, name: str) -> None:
    """Its stream is answered with an error, or reset; no app sees it, and the others go on."""
    request = REFUSED[name]
    parts = [head(3, *request.as_http2(), end=not request.body)] + [data(3, request.body)] * bool(request.body)
    play(server, case(*parts, expected=MALFORMED))
    requests = [line for line in server.events if "request" in line]
    assert len(requests) == 1, requests  # the one behind it
