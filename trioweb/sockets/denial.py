"""A handshake as a request, and the response that denies it."""

from __future__ import annotations

from typing import Final

from trioweb.exchange.answers import answer_error, mark_error
from trioweb.exchange.call import Call
from trioweb.ground.http.asgi import Message
from trioweb.messages.request import Request
from trioweb.messages.response import Response

_SCHEMES: Final = {"ws": "http", "wss": "https"}


def handshake_request(call: Call) -> Request:
    """The handshake as a request: a GET without a body (RFC 6455, section 4.1).

    Args:
        call: its ``receive`` is never awaited, but by a reader of the body.
    """
    scheme = call.scope.get("scheme", "ws")
    scope = {**call.scope, "method": "GET", "scheme": _SCHEMES.get(scheme, scheme)}
    return Request(scope, call.policy.app, call.params, call, call.policy.limits.max_body_size)


async def no_body() -> Message:
    """The body of a handshake."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def answer_failure(call: Call, failure: Exception) -> Response:
    """Answer the failure of a handshake, outside of all middleware: by an error handler, or by the default response.

    Args:
        call: its request is the handshake.
        failure: its failure.
    """
    answering = answer_error(call, failure, outermost=True)
    del failure
    answer, _ = await answering
    mark_error(call.the_request(), answer)
    return answer


def denial(call: Call, response: Response) -> list[Message]:
    """The messages that deny a handshake by a response; by a 403 where the server can send no other."""
    if "websocket.http.response" not in (call.scope.get("extensions") or {}):
        return [{"type": "websocket.close", "code": 1000, "reason": ""}]
    if call.scope.get("http_version", "1.1")[0] == "1":
        response.headers["connection"] = "close"  # the server cannot read another request after a handshake
    return [
        {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.headers.raw},
        {"type": "websocket.http.response.body", "body": response.body or b"", "more_body": False},
    ]
