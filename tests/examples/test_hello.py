"""The example ``examples/hello.py``."""

from __future__ import annotations

import json

from tests.servers import Server, read_until

EXAMPLE = "hello"


def test_text_and_json(server: Server) -> None:
    """What a handler returns is the response, and what is no number is a 422 that names it."""
    assert server.curl("/hello/Ada") == (0, b"Hello, Ada!\n")
    assert server.curl("/sum?a=2&b=3") == (0, b'{"sum":5}')
    assert server.curl("/sum?a=2") == (0, b'{"sum":3}')
    wrong = json.loads(server.curl("/sum?a=two")[1])
    assert (wrong["status"], wrong["errors"][0]["loc"]) == (422, ["query", "a"])


def test_a_stream_comes_line_by_line(server: Server) -> None:
    """The first lines are there while the handler still sleeps for the others."""
    with server.request("/ticks") as client:
        received = read_until(client, b'{"tick":1}\n')
    assert b'{"tick":0}\n' in received
    assert b'"tick":9' not in received
