"""What a worker serves with ``--reload`` instead of an app that cannot be started: the reason, for every request."""

from __future__ import annotations

from trioweb.ground.chunks import HTML_TYPE, TEXT_TYPE
from trioweb.ground.faultpage import render_fault
from trioweb.ground.http.asgi import ASGIApp, Message, Receive, Scope, Send
from trioweb.ground.http.headers import Headers
from trioweb.ground.problems import encodable, render_problem, wants_page
from trioweb.ground.traces import format_trace


def unloaded(reason: str, error: Exception | None = None) -> ASGIApp:
    """An app that answers every request with a 500: a page for browsers, else plain text.

    Args:
        reason: what has failed, as a sentence without a full stop.
        error: the error, unless the reason says all.
    """
    text = encodable(f"{reason}\n" + ("" if error is None else "\n" + format_trace(error))).encode()
    page = render_problem(500, reason, None, page=True)[0] if error is None else render_fault(error, reason, [], [])
    del error

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        prefix = "http.response"
        if scope["type"] == "websocket":
            await receive()
            prefix = "websocket.http.response"
        html = wants_page(Headers.from_raw(scope["headers"]).get("accept", ""))
        body, media_type = (page, HTML_TYPE) if html else (text, TEXT_TYPE)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        start: Message = {"type": f"{prefix}.start", "status": 500, "headers": headers}
        await send(start)
        await send({"type": f"{prefix}.body", "body": body})

    return app
