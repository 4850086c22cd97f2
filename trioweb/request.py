"""The request as a handler sees it. What came over the wire is decoded here, once, and only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, overload
from urllib.parse import quote

import msgspec
import trio

from trioweb.ground.asgi import Scope
from trioweb.ground.charsets import CHARSETS, charset_of
from trioweb.ground.cookies import parse_cookies
from trioweb.ground.errors import HTTPError
from trioweb.ground.headers import Headers
from trioweb.ground.multidict import MultiDict
from trioweb.ground.urls import URL, make_url, parse_query

if TYPE_CHECKING:
    from trioweb.wire.inbox import Inbox

T = TypeVar("T")


class State(SimpleNamespace):
    """A place for attributes of the user's own, on the app and on each request."""


class BackgroundNursery(Protocol):
    """What ``app.nursery`` offers: see ``trioweb.lifespan.AppNursery``."""

    def start_soon(self, async_fn: Any, *args: Any, name: object = None) -> None:
        """Start a task."""
        ...

    async def start(self, async_fn: Any, *args: Any, name: object = None) -> Any:
        """Start a task and wait until it says ``task_status.started()``."""
        ...


class Application(Protocol):
    """What a request may ask of its app."""

    @property
    def state(self) -> State:
        """The app's own state."""
        ...

    @property
    def nursery(self) -> BackgroundNursery:
        """For work that outlives the request."""
        ...

    @property
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop."""
        ...

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of a route."""
        ...


class Request:
    """One HTTP request.

    The body can be read whole, any number of times (``body``, ``text``, ``json``), or once as a stream (``stream``).
    Reading waits for the client, and a handler that reads slowly slows the client down.
    """

    __slots__ = (
        "_body", "_cookies", "_headers", "_inbox", "_limit", "_nursery", "_pieces", "_query", "_size", "_state",
        "_streamed", "_url",
        "app", "path_params", "scope",
    )  # fmt: skip

    app: Application
    """The app that answers it."""
    path_params: Mapping[str, Any]
    """The parameters in the path, converted."""
    scope: Scope
    """The ASGI scope, for what ASGI middleware left there."""

    def __init__(
        self,
        scope: Scope,
        app: Application,
        path_params: Mapping[str, Any],
        inbox: Inbox,
        max_body_size: int,
    ) -> None:
        self.scope = scope
        self.app = app
        self.path_params = path_params
        self._inbox = inbox
        self._limit = max_body_size
        self._nursery: trio.Nursery | None = None
        self._body: bytes | None = None
        self._pieces: list[bytes] = []  # of a body that is being gathered, also by a call that was cancelled
        self._size = 0
        self._streamed = False
        self._headers: Headers | None = None
        self._query: MultiDict[str] | None = None
        self._cookies: dict[str, str] | None = None
        self._url: URL | None = None
        self._state: State | None = None

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, decoded, with the prefixes that the app is mounted under."""
        return str(self.scope["path"])

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``."""
        return str(self.scope["http_version"])

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's host and port; ``None`` where the server does not know them (a UNIX socket)."""
        client = self.scope.get("client")
        return None if client is None else (client[0], client[1])

    @property
    def nursery(self) -> trio.Nursery:
        """Open while handler and response run; the request ends when what was started in it has finished."""
        if self._nursery is None:
            raise RuntimeError("the request's nursery is not open: use app.nursery for work that outlives the request")
        return self._nursery

    @property
    def headers(self) -> Headers:
        """The header fields. A change to them is seen by nobody else."""
        if self._headers is None:
            self._headers = Headers.from_raw(self.scope["headers"])
        return self._headers

    @property
    def query(self) -> MultiDict[str]:
        """The query string's fields.

        Raises:
            HTTPError: 400 where it has too many.
        """
        if self._query is None:
            self._query = parse_query(self.scope.get("query_string", b""))
        return self._query

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that the client sent."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.getlist("cookie"))
        return self._cookies

    @property
    def url(self) -> URL:
        """The whole URL, its host as the client named it."""
        if self._url is None:
            raw = self.scope.get("raw_path")
            self._url = make_url(
                self.scope.get("scheme", "http"),
                self.headers.get("host"),
                self.scope.get("server"),
                raw.decode("latin-1") if raw else quote(self.path),
                self.scope.get("query_string", b"").decode("latin-1"),
            )
        return self._url

    @property
    def state(self) -> State:
        """Attributes of the user's own for this request; ASGI middleware's and the lifespan's are there too."""
        if self._state is None:
            self._state = State(**self.scope.get("state", {}))
        return self._state

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that a reconnecting ``EventSource`` has seen, or ``None``."""
        value = self.headers.get("last-event-id")
        # Ids are UTF-8 on the wire (HTML standard), header values Latin-1 in this mapping.
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def is_disconnected(self) -> bool:
        """Whether the client is known to have left. Does not block."""
        return self._inbox.gone

    def stream(self) -> BodyStream:
        """The body as it arrives, once, for ``async for``. No limit to its size but what the handler sets.

        Waits for the client at each chunk. Cancelling it loses nothing: the iteration can go on where it stopped.

        Raises:
            RuntimeError: the body was streamed before.
            ClientDisconnected: in the iteration, when the client leaves before the body is whole.
        """
        if self._streamed:
            raise RuntimeError("the request body was streamed already: read it once, or use await request.body()")
        if self._body is not None:
            return BodyStream(self._inbox, self._body)
        self._streamed = True
        return BodyStream(self._inbox, b"".join(self._pieces))

    async def body(self) -> bytes:
        """The whole body, held in memory up to ``App(max_body_size=...)``; waits until it has arrived.

        Cancelling it loses nothing that a later call wants.

        Raises:
            HTTPError: 413 for a body over the limit, before it is read where its length was announced.
            RuntimeError: the body was streamed before.
            ClientDisconnected: the client left before the body was whole.
        """
        if self._body is None:
            if self._streamed:
                raise RuntimeError("the request body was streamed already: keep what request.stream() gives")
            if self._announced() > self._limit or self._size > self._limit:
                self._refuse()
            while chunk := await self._inbox.read():
                self._pieces.append(chunk)
                self._size += len(chunk)
                if self._size > self._limit:
                    self._pieces.clear()
                    self._refuse()
            if self._body is None:  # else another task that read it was first to see its end
                self._body = b"".join(self._pieces)
                self._pieces.clear()
        return self._body

    def _announced(self) -> int:
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0

    def _refuse(self) -> NoReturn:
        raise HTTPError(413, f"The request body is larger than {self._limit} bytes.")

    async def text(self) -> str:
        """The whole body as text, in the charset that its content type names, else UTF-8.

        Raises:
            HTTPError: 400 where the bytes are not text in that charset, 415 where the charset is unknown; and what
                ``body`` raises.
        """
        body = await self.body()
        charset = charset_of(self.headers.get("content-type", ""))
        if not CHARSETS.fullmatch(charset):
            raise HTTPError(415, f"The charset {charset!r} is not known here: send UTF-8.")
        try:
            return body.decode(charset)
        except UnicodeDecodeError as error:
            raise HTTPError(400, f"The request body is not {charset}: byte {error.start} does not fit.") from None

    @overload
    async def json(self) -> Any: ...
    @overload
    async def json(self, type: type[T]) -> T: ...
    async def json(self, type: Any = Any) -> Any:  # noqa: A002
        """The whole body read as JSON, whatever its content type says.

        Args:
            type: what to make of it, for instance a ``msgspec.Struct`` or ``list[int]``; plain values unless given.

        Raises:
            HTTPError: 400 where it is not JSON, 422 where it does not fit ``type``; and what ``body`` raises.
        """
        body = await self.body()
        try:
            return msgspec.json.decode(body, type=type)
        except msgspec.ValidationError as error:
            raise HTTPError(422, f"The request body does not fit: {error}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HTTPError(400, f"The request body is not JSON: {error}.") from error

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


class BodyStream:
    """The chunks of a request's body: an async iterator that a cancellation does not end."""

    __slots__ = ("_first", "_inbox")

    def __init__(self, inbox: Inbox, first: bytes) -> None:
        self._inbox = inbox
        self._first = first

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if chunk := first or await self._inbox.read():
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Do nothing: what is not read is thrown away when the response starts. Safe to call twice."""
