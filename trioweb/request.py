"""The request as a handler sees it: a connection with a body. Each way of reading that body begins here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, overload

import msgspec

from trioweb.bodies import BodyStream
from trioweb.connection import Application, Connection
from trioweb.ground.asgi import Scope
from trioweb.ground.charsets import CHARSETS, charset_of
from trioweb.ground.errors import HTTPError
from trioweb.wire.inbox import Inbox

T = TypeVar("T")


class Request(Connection):
    """One HTTP request.

    The body can be read whole, any number of times (``body``, ``text``, ``json``), or once as a stream (``stream``).
    Reading waits for the client, and a handler that reads slowly slows the client down.
    """

    __slots__ = ("_body", "_inbox", "_limit", "_pieces", "_size", "_streamed")

    def __init__(
        self,
        scope: Scope,
        app: Application,
        path_params: Mapping[str, Any],
        inbox: Inbox,
        max_body_size: int,
    ) -> None:
        super().__init__(scope, app, path_params)
        self._inbox = inbox
        self._limit = max_body_size
        self._body: bytes | None = None
        self._pieces: list[bytes] = []  # of a body that is being gathered, also by a call that was cancelled
        self._size = 0
        self._streamed = False

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

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
