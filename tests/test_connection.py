"""What a request and a WebSocket's handshake have in common."""

from __future__ import annotations

from typing import Any

from trioweb import App
from trioweb.messages.connection import Connection


def connection(**scope: Any) -> Connection:
    """A connection of a scope without a method."""
    complete = {"type": "websocket", "path": "/a", "http_version": "1.1", "headers": [], "query_string": b"", **scope}
    return Connection(complete, App(), {"id": 5})


def test_it_needs_no_request() -> None:
    """Query, headers, cookies and the rest are there without a body or a method."""
    it = connection(query_string=b"a=1&a=2", headers=[(b"Cookie", b"c=3"), (b"host", b"example")], client=("h", 1))
    assert it.query.getlist("a") == ["1", "2"]
    assert it.cookies == {"c": "3"}
    assert it.headers["host"] == "example"
    assert (it.path, it.http_version, it.client, it.path_params) == ("/a", "1.1", ("h", 1), {"id": 5})
    assert str(it.url) == "http://example/a?a=1&a=2"


def test_what_is_decoded_is_decoded_once() -> None:
    """The same objects come each time that they are asked for."""
    it = connection()
    for name in ("query", "headers", "cookies", "url", "state"):
        assert getattr(it, name) is getattr(it, name)
