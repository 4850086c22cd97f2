"""The transport of the test client: passes httpx's requests to an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, TypeVar, cast
from urllib.parse import unquote

import httpx
import trio

from trioweb.ground.http.asgi import ASGIApp, LifespanState, MutableScope
from trioweb.io.threads import beside
from trioweb.testing.clock import hold_clock
from trioweb.testing.conversation import Conversation

T = TypeVar("T")

MAX_BUFFERED: Final = 64 * 2**20
"""Bytes of a response that a call without ``stream`` buffers: so an endless response raises an error."""

BUFFERED: Final = "trioweb.buffered"
"""The extension of requests whose responses are buffered."""


_EXTENSIONS: Final[dict[str, object]] = {"http.response.early_hint": {}, "http.response.trailers": {}}


class ASGITransport(httpx.AsyncBaseTransport):
    """Answers httpx's requests with an ASGI app: in a task of ``nursery`` each, or to the end if there is none."""

    def __init__(self, app: ASGIApp, scope: MutableScope, *, raise_app_exceptions: bool, max_buffered: int) -> None:
        self.nursery: trio.Nursery | None = None
        self.conversations: set[Conversation] = set()
        self.state: LifespanState = {}
        self.stopping = trio.Event()
        self._app = app
        self._scope = scope
        self._raises = raise_app_exceptions
        self._max_buffered = max_buffered

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and wait for the head of the response.

        Raises:
            httpx.ReadTimeout: if the head does not come within the read timeout, by trio's clock.
            Exception: the app's error before the head.
        """
        scope = self.scope_of(
            request, type="http", method=request.method, scheme=request.url.scheme, extensions=dict(_EXTENSIONS)
        )
        conversation = Conversation(scope, request, self.stopping, raise_app_exceptions=self._raises)
        if request.extensions.get(BUFFERED) or self.nursery is None:
            conversation.limit = self._max_buffered
        if self.nursery is None:
            return await self._to_the_end(conversation, request)
        self.nursery.start_soon(self._run, conversation)
        await conversation.wait_for_head()
        return _response(Response, conversation, conversation, request)

    async def _to_the_end(self, conversation: Conversation, request: httpx.Request) -> httpx.Response:
        hold_clock()
        whole = await beside(_read(conversation), conversation.run, self._app)
        conversation.raise_error()
        return _response(httpx.Response, conversation, httpx.ByteStream(whole), request)

    async def _run(self, conversation: Conversation) -> None:
        self.conversations.add(conversation)
        await conversation.run(self._app)
        if conversation.error is None:
            self.conversations.discard(conversation)

    def scope_of(self, request: httpx.Request, **own: object) -> MutableScope:
        """The scope of a request, with the keys of its type."""
        raw_path, _, query = request.url.raw_path.partition(b"?")
        return {
            **self._scope,
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)),
            "state": self.state.copy(),
            **own,
        }


async def _read(conversation: Conversation) -> bytes:
    await conversation.wait_for_head()
    whole = b"".join([chunk async for chunk in conversation])
    await conversation.wait_for_end()
    return whole


def _response(
    cls: type[httpx.Response], conversation: Conversation, body: httpx.AsyncByteStream, request: httpx.Request
) -> httpx.Response:
    extensions: dict[str, object] = {
        "conversation": conversation,
        "early_hints": conversation.early_hints,
        "trailers": conversation.trailers,
    }
    # `content=` instead of `stream=` would add headers that the app did not send.
    return cls(conversation.status, headers=conversation.headers, stream=body, request=request, extensions=extensions)


class Response(httpx.Response):
    """A response that closes its iterators: a loop that is left early leaves no generator to the garbage collector."""

    _opened: list[AsyncGenerator[object, None]]
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
        """Close the response and its iterators."""
        while self._opened:
            iterator = self._opened.pop(0)  # the outermost first: each is iterated by the one before it
            if not getattr(iterator, "ag_running", False):  # httpx calls this from inside the last of them as well
                await iterator.aclose()
        await super().aclose()

    def _track(self, iterator: AsyncIterator[T]) -> AsyncIterator[T]:
        self._opened.append(cast("AsyncGenerator[object, None]", iterator))
        return iterator


class _Tracked(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, opened: list[AsyncGenerator[object, None]]) -> None:
        self._stream = stream
        self._opened = opened

    def __aiter__(self) -> AsyncIterator[bytes]:
        iterator = self._stream.__aiter__()
        if hasattr(iterator, "aclose"):
            self._opened.append(cast("AsyncGenerator[object, None]", iterator))
        return iterator

    async def aclose(self) -> None:
        await self._stream.aclose()
