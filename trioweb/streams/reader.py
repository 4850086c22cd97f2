"""Reads what another service streams: the opposite of ``formats``."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator
from typing import Self

from trioweb.ground.http.events import MAX_EVENT_SIZE, EventParser, ServerSentEvent


class EventReader:
    """An async iterator over the server-sent events of another service, of a language model for instance.

    ::

        async with client.stream("POST", url, json=question) as response:      # httpx
            async for event in EventReader(response.aiter_bytes()):
                print(event.event, event.data)

    It reads as a browser does (the HTML standard, section 9.2.6), and holds one event and one piece at a time. The data
    of each event is a ``str``. Events without data are left out, but their ``id`` and ``retry`` count; an event that is
    cut by the end of the stream is dropped. It waits for ``chunks`` alone, in the task that iterates.

    Args:
        chunks: bytes in pieces of any size, such as ``response.aiter_bytes()``; whoever has opened them closes them.
            Not lines: what ends one for Python, U+2028 for instance, does not in an event.
        max_size: the most bytes of an event, each of its lines counted as 64 at least; 8 MiB unless given.

    Attributes:
        last_event_id: the id of the last event that had one, to be sent as ``last-event-id`` by who connects again.
        retry: milliseconds that the service asks for before that.

    Raises (in the iteration):
        ValueError: if an event is larger than ``max_size``.
        TypeError: if a piece is no bytes.
        Exception: what ``chunks`` raises.
    """

    def __init__(self, chunks: AsyncIterable[bytes], *, max_size: int = MAX_EVENT_SIZE) -> None:
        if not isinstance(chunks, AsyncIterable):
            raise TypeError(
                f"EventReader takes an async iterable of bytes, got {type(chunks).__qualname__}: write "
                "EventReader(response.aiter_bytes())"
            )
        self.last_event_id: str | None = None
        self.retry: int | None = None
        self._chunks = aiter(chunks)
        self._parser = EventParser(max_size)
        self._events: Iterator[ServerSentEvent] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        while True:
            for event in self._events:
                if event.id is not None:
                    self.last_event_id = str(event.id)
                if event.retry is not None:
                    self.retry = event.retry
                if event.data is not None:
                    return event
            chunk = await anext(self._chunks)
            if isinstance(chunk, str):
                raise TypeError("EventReader takes bytes, got str: write response.aiter_bytes(), and not aiter_lines()")
            self._events = self._parser.feed(chunk)
