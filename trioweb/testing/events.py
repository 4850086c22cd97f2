"""Server-sent events for tests, with a browser's reconnects if the test wants them."""

from __future__ import annotations

from typing import Any, Self

import httpx
import trio

from trioweb.ground.http.events import ServerSentEvent
from trioweb.streams.reader import EventReader


class EventSource:
    """An async iterator of a stream's events, made by ``client.events``. The end of its block disconnects.

    ::

        async with client.events("/clock", last_event_id="6") as events:
            event = await anext(events)
            assert (event.id, events.last_event_id) == ("7", "7")

    Attributes:
        last_event_id: the id of the last event that had one.
        retry: milliseconds until a reconnect.
        response: the current response.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        last_event_id: str | None,
        reconnect: bool,
        headers: dict[str, str],
        options: dict[str, Any],
    ) -> None:
        self.last_event_id = last_event_id
        self.retry = 3000
        self.response: httpx.Response | None = None
        self._client = client
        self._request = (method, url)
        self._reconnect = reconnect
        self._headers = headers
        self._options = options
        self._events: EventReader | None = None
        self._connected_before = False

    def __repr__(self) -> str:
        seen = "" if self.last_event_id is None else f", last id {self.last_event_id!r}"
        return f"<EventSource {' '.join(self._request)}{seen}>"

    async def __aenter__(self) -> Self:
        """Connect, and wait for the head of the response."""
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        while True:
            events = self._events or await self._connect()
            try:
                return await anext(events)
            except (StopAsyncIteration, httpx.RemoteProtocolError):
                await self.aclose()
                if not self._reconnect:
                    raise
            finally:
                self.last_event_id = events.last_event_id
                self.retry = self.retry if events.retry is None else events.retry

    async def _connect(self) -> EventReader:
        if self._connected_before:
            await trio.sleep(self.retry / 1000)
        self._connected_before = True
        headers = {"accept": "text/event-stream", "cache-control": "no-store", **self._headers}
        if self.last_event_id is not None:
            headers["last-event-id"] = self.last_event_id
        method, url = self._request
        request = self._client.build_request(method, url, headers=headers, **self._options)
        self.response = await self._client.send(request, stream=True)
        self._events = EventReader(self.response.aiter_bytes())
        self._events.last_event_id = self.last_event_id
        kind = self.response.headers.get("content-type", "")
        if self.response.status_code != 200 or kind.partition(";")[0].strip() != "text/event-stream":
            self._reconnect = False  # nor does a browser try again
            await self.aclose()
            if self.response.status_code == 204:
                raise StopAsyncIteration
            raise httpx.RemoteProtocolError(
                f"{method} {url} is no event stream: status {self.response.status_code}, content type {kind!r}"
            )
        return self._events

    async def aclose(self) -> None:
        """Disconnect, and wait until the app has returned. Safe to call twice."""
        self._events = None
        if self.response is not None:
            await self.response.aclose()
