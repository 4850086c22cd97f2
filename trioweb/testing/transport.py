"""The transport of the test client: httpx on one side, conversations with an ASGI app on the other."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote

import httpx
import trio

from trioweb.ground.http.asgi import ASGIApp
from trioweb.testing.clock import hold_clock
from trioweb.testing.conversation import Conversation

T = TypeVar("T")

MAX_BUFFERED: Final = 64 * 2**20
"""Bytes of a response that a call without ``stream`` gathers: an endless one ends there. A response."""
SMALLEST: Final = 512
"""Bytes that one message counts at least: 64 MiB are some 131,000 of the smallest."""

BUFFERED: Final = "trioweb.buffered"
"""The extension of requests whose responses are gathered as a whole."""

TURNS: Final = 50
"""Turns of the loop that an app gets to return in before the end of a body is told: after a response was read, what its
dependencies held is closed, unless that waits for something.
"""


class ASGITransport(httpx.AsyncBaseTransport):
    """Answers httpx's requests with an ASGI app: each in a task of ``nursery``, or to its end where there is none."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], *, raise_app_exceptions: bool, max_buffered: int) -> None:
        self.nursery: trio.Nursery | None = None
        self.conversations: set[Conversation] = set()
        self.state: dict[str, Any] = {}
        self.stopping = trio.Event()
        self._app = app
        self._scope = scope
        self._raises = raise_app_exceptions
        self._max_buffered = max_buffered

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; returns with the head of the response.

        Raises:
            httpx.ReadTimeout: nothing came for the read timeout, by trio's clock.
            Exception: what went wrong in the app before the head.
        """
        conversation = Conversation(
            self._scope_of(request),
            cast("AsyncIterator[bytes]", request.stream),
            self.stopping,
            raise_app_exceptions=self._raises,
        )
        seconds = (request.extensions.get("timeout") or {}).get("read")
        stream = BodyStream(conversation, request, math.inf if seconds is None else seconds)
        if request.extensions.get(BUFFERED) or self.nursery is None:
            stream.limit = self._max_buffered
        if self.nursery is not None:
            self.nursery.start_soon(self._run, conversation)
            await stream.wait_for_head()
            return Response(
                conversation.status,
                headers=conversation.headers,
                stream=stream,
                request=request,
                extensions={"conversation": conversation},
            )
        return await self._to_the_end(conversation, stream, request)

    async def _to_the_end(
        self, conversation: Conversation, stream: BodyStream, request: httpx.Request
    ) -> httpx.Response:
        hold_clock()
        chunks: list[bytes] = []
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.run, self._app)
            try:
                await stream.wait_for_head()
                chunks = [chunk async for chunk in stream]
                await stream.in_time(conversation.done)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        failure = failure or conversation.take_error()
        if failure is not None:
            raise failure
        whole = httpx.ByteStream(b"".join(chunks))  # given as `content` it would get headers that the app did not send
        return httpx.Response(conversation.status, headers=conversation.headers, stream=whole, request=request)

    async def _run(self, conversation: Conversation) -> None:
        self.conversations.add(conversation)
        await conversation.run(self._app)
        if conversation.error is None:
            self.conversations.discard(conversation)

    def _scope_of(self, request: httpx.Request) -> dict[str, Any]:
        raw_path, _, query = request.url.raw_path.partition(b"?")
        return {
            **self._scope,
            "type": "http",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)),
            "state": self.state.copy(),
        }


class BodyStream(httpx.AsyncByteStream):
    """A response's body as httpx reads it. Closing it before the end is a client that leaves."""

    def __init__(self, conversation: Conversation, request: httpx.Request, seconds: float) -> None:
        self.limit: float = math.inf
        self._conversation = conversation
        self._request = request
        self._seconds = seconds
        self._counted = 0

    async def wait_for_head(self) -> None:
        """Wait for the head. A cancellation, and a time-out, is a client that leaves."""
        try:
            with trio.move_on_after(self._seconds):
                await self._conversation.wait_for_head()
                return
        except BaseException:
            self._conversation.leave()
            raise
        self._conversation.leave()
        raise self._timeout("the app sent no response")

    async def in_time(self, event: trio.Event) -> None:
        """Wait for an event, no longer than for any other thing."""
        with trio.move_on_after(self._seconds):
            await event.wait()
            return
        raise self._timeout("the app did not return")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._read()
        if chunk is None:
            for _ in range(TURNS):
                if self._conversation.done.is_set():
                    break
                await trio.lowlevel.checkpoint()
            raise StopAsyncIteration
        self._counted += max(len(chunk), SMALLEST)
        if self._counted > self.limit:
            self._conversation.leave()
            raise httpx.ReadError(
                f"{self._conversation.where}: no end after {self._conversation.sent} bytes: read it with "
                "client.stream(...), or give TestClient a larger max_buffered",
                request=self._request,
            )
        return chunk

    async def _read(self) -> bytes | None:
        with trio.move_on_after(self._seconds):
            return await self._conversation.read()
        raise self._timeout(f"nothing came after {self._conversation.sent} bytes")

    async def aclose(self) -> None:
        """Leave, where the response is not at its end, and wait until the app has dealt with that."""
        conversation = self._conversation
        if conversation.complete or conversation.done.is_set():
            return
        conversation.leave()
        await self.in_time(conversation.done)

    def _timeout(self, what: str) -> httpx.ReadTimeout:
        return httpx.ReadTimeout(f"{self._conversation.where}: {what} for {self._seconds:g} s", request=self._request)


class Response(httpx.Response):
    """A response that closes what was opened to read it: leaving a loop early leaves no generator to the collector."""

    _opened: list[AsyncGenerator[Any, None]]
    _stream: httpx.AsyncByteStream

    @property
    def stream(self) -> httpx.AsyncByteStream:
        """The raw body."""
        return self._stream

    @stream.setter
    def stream(self, stream: httpx.AsyncByteStream) -> None:
        self._opened = getattr(self, "_opened", [])
        self._stream = _Tracked(stream, self._opened)

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """See httpx."""
        return self._track(super().aiter_raw(chunk_size))

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """See httpx."""
        return self._track(super().aiter_bytes(chunk_size))

    def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """See httpx."""
        return self._track(super().aiter_text(chunk_size))

    def aiter_lines(self) -> AsyncIterator[str]:
        """See httpx."""
        return self._track(super().aiter_lines())

    async def aclose(self) -> None:
        """Close the response and all its iterators."""
        while self._opened:
            iterator = self._opened.pop(0)  # outermost first: each stands in a loop of the one before
            if not getattr(
                iterator, "ag_running", False
            ):  # httpx closes a response from inside the last of them as well
                await iterator.aclose()
        await super().aclose()

    def _track(self, iterator: AsyncIterator[T]) -> AsyncIterator[T]:
        self._opened.append(cast("AsyncGenerator[Any, None]", iterator))
        return iterator


class _Tracked(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, opened: list[AsyncGenerator[Any, None]]) -> None:
        self._stream = stream
        self._opened = opened

    def __aiter__(self) -> AsyncIterator[bytes]:
        iterator = self._stream.__aiter__()
        if hasattr(iterator, "aclose"):
            self._opened.append(cast("AsyncGenerator[Any, None]", iterator))
        return iterator

    async def aclose(self) -> None:
        await self._stream.aclose()
