"""What streams need from a server, where it is plain ASGI."""

from __future__ import annotations

from typing import Any

from trioweb.io.transport import PLAIN


async def test_a_small_response_is_two_messages() -> None:
    """A small response is a head and a body that ends it."""
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    sending = PLAIN.respond(send, 200, [(b"a", b"b")], b"1234")
    assert sending is not None
    await sending
    assert messages == [
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
        {"type": "http.response.body", "body": b"1234", "more_body": False},
    ]
