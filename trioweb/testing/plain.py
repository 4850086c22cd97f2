"""The sessions of the test client for plain functions: each method waits in the loop of the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from trioweb.ground.http.events import ServerSentEvent
from trioweb.ground.http.headers import Headers
from trioweb.testing.events import EventSource
from trioweb.testing.portal import Portal
from trioweb.testing.websocket import WebSocketClosed, WebSocketSession


class SyncWebSocketSession:
    """The client's side of a WebSocket, opened by ``SyncTestClient.websocket``: see ``WebSocketSession``.

    ::

        with client.websocket("/echo") as ws:
            ws.send_json({"a": 1})
            assert ws.receive() == '{"a": 1}'
    """

    def __init__(self, portal: Portal, session: WebSocketSession) -> None:
        self._portal = portal
        self._session = session

    @property
    def subprotocol(self) -> str | None:
        """The one that the app has accepted."""
        return self._session.subprotocol

    @property
    def headers(self) -> Headers:
        """Those that the app has accepted with."""
        return self._session.headers

    def send(self, message: str | bytes) -> None:
        """Send text or bytes. Waits until the app receives it."""
        self._portal.call(self._session.send, message)

    def send_json(self, value: object) -> None:
        """Send a value as JSON text."""
        self._portal.call(self._session.send_json, value)

    def receive(self) -> str | bytes:
        """Wait for the next message. Raises as ``WebSocketSession.receive``."""
        return self._portal.call(self._session.receive)

    def receive_json(self) -> Any:
        """Wait for the next message, and decode it from JSON."""
        return self._portal.call(self._session.receive_json)

    def __iter__(self) -> Iterator[str | bytes]:
        while True:
            try:
                message = self.receive()
            except WebSocketClosed:
                return
            yield message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""
        self._portal.call(self._session.close, code, reason)


class SyncEventSource:
    """An iterator of a stream's events, made by ``SyncTestClient.events``: see ``EventSource``.

    ::

        with client.events("/clock", last_event_id="6") as events:
            assert next(events).id == "7"
    """

    def __init__(self, portal: Portal, source: EventSource) -> None:
        self._portal = portal
        self._source = source

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that had one."""
        return self._source.last_event_id

    @property
    def retry(self) -> int:
        """Milliseconds until a reconnect."""
        return self._source.retry

    @property
    def response(self) -> httpx.Response | None:
        """The current response."""
        return self._source.response

    def __iter__(self) -> Iterator[ServerSentEvent]:
        return self

    def __next__(self) -> ServerSentEvent:
        event = self._portal.call(self._following)
        if event is None:
            raise StopIteration
        return event

    async def _following(self) -> ServerSentEvent | None:
        return await anext(self._source, None)
