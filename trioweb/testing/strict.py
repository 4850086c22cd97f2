"""What ASGI allows an app to send: a table for the order of messages, and rules for their contents.

Pure code, without client and loop. Some servers accept what is refused here, others do not. What all servers accept
is only a warning.
"""

from __future__ import annotations

import warnings
from typing import Final

from trioweb.ground.http.asgi import Message


class ASGIViolation(Exception):
    """The app sent a message that ASGI or HTTP does not allow. The error names the rule.

    ::

        async def wrong(scope, receive, send):
            await send({"type": "http.response.body"})

        with pytest.raises(ASGIViolation, match="the first message is 'http.response.start'"):
            await TestClient(wrong).get("/")
    """


_ORDER: Final = {
    ("idle", "http.response.early_hint"): "idle",
    ("idle", "http.response.start"): "started",
    ("started", "http.response.body"): "started",
    ("started", "end"): "ended",
    ("started", "end before trailers"): "at its trailers",
    ("at its trailers", "http.response.trailers"): "at its trailers",
    ("at its trailers", "end"): "ended",
}
_RULES: Final = {
    "idle": "the first message is 'http.response.start'",
    "started": "after the start come 'http.response.body' messages only",
    "at its trailers": "after a body with trailers=True in its start come 'http.response.trailers' messages only",
    "ended": "nothing comes after a body with more_body=False",
}


class HTTPRules:
    """Checks the messages of one response."""

    __slots__ = ("_declared", "_method", "_sent", "_state", "_status", "_trailers")

    def __init__(self, method: str) -> None:
        self._method = method
        self._state = "idle"
        self._status = 0
        self._declared: int | None = None
        self._sent = 0
        self._trailers = False

    def check(self, message: Message) -> None:
        """Check the next message.

        Raises:
            ASGIViolation: if it breaks a rule: do not send it.
        """
        kind = message.get("type")
        ends = kind == "http.response.body" and not message.get("more_body", False)
        last = ends or (kind == "http.response.trailers" and not message.get("more_trailers", False))
        event = str(kind) if not last else "end before trailers" if ends and self._trailers else "end"
        state = _ORDER.get((self._state, event))
        if state is None:
            raise ASGIViolation(f"the app sent {kind!r} to a response that is {self._state}: {_RULES[self._state]}")
        if kind == "http.response.start":
            self._check_start(message)
        elif kind == "http.response.body":
            self._check_body(message, ends)
        elif kind == "http.response.trailers":
            _check_headers(message)
        self._state = state

    def _check_start(self, message: Message) -> None:
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise ASGIViolation(f"a response's status is a whole number from 200 to 999, got {status!r}")
        self._status = status
        self._trailers = bool(message.get("trailers", False))
        for name, value in _check_headers(message):
            if name.lower() == b"content-length":
                if not value.isdigit():
                    raise ASGIViolation(f"a content-length is a number, got {value!r}")
                self._declared = int(value)

    def _check_body(self, message: Message, ends: bool) -> None:
        body = message.get("body", b"")
        if not isinstance(body, bytes):
            raise ASGIViolation(f"a body is bytes, got {type(body).__qualname__}")
        if self._method == "HEAD":  # servers send no body, and content-length is that of a GET
            return
        if body and self._status in (204, 304):
            raise ASGIViolation(f"a {self._status} has no body (RFC 9110, section 15), got {len(body)} bytes")
        self._sent += len(body)
        if self._declared is None or self._status == 304:
            return
        if self._sent > self._declared:
            raise ASGIViolation(f"the body is longer than its content-length of {self._declared}: {self._sent} bytes")
        if ends and self._sent < self._declared:
            raise ASGIViolation(f"the body ended after {self._sent} bytes of a content-length of {self._declared}")


def _check_headers(message: Message) -> list[tuple[bytes, bytes]]:
    headers = list(message.get("headers", ()))
    for pair in headers:
        name, value = pair
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ASGIViolation(f"headers are pairs of bytes, got {pair!r}")
        if name != name.lower():
            warnings.warn(f"header names are lower case in ASGI, got {name!r}: servers take it", stacklevel=5)
        if not name or any(byte in b"\r\n\0 :" for byte in name) or any(byte in b"\r\n\0" for byte in value):
            raise ASGIViolation(f"a header must not hold what would split the message, got {pair!r}")
    return headers
