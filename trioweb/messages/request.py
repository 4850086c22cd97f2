"""The request that a handler gets, and all ways to read its body."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import trio

from trioweb.ground.annotations import Annotation
from trioweb.ground.errors import HTTPError
from trioweb.ground.faults import decode_json
from trioweb.ground.http.asgi import PathParams, Scope
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.parameters import CHARSETS, boundary_of, charset_of
from trioweb.ground.values import json_decoder
from trioweb.messages.body import BodyStream, JSONLines
from trioweb.messages.connection import FORM_TYPE, URLENCODED_TYPE, Application, Connection, media_type_of, wrong_type
from trioweb.messages.limits import MAX_LINE_SIZE, MAX_PART_LINE, MAX_PART_LINES, MAX_PARTS
from trioweb.messages.origin import Origin
from trioweb.messages.resources import Provider
from trioweb.messages.response import Response

if TYPE_CHECKING:
    from trioweb.messages.forms import FormData, FormOptions, FormReader
    from trioweb.messages.parts import Parts

T = TypeVar("T")


class Request(Connection):
    """One HTTP request.

    The body can be read whole, any number of times (``body``, ``text``, ``json``, ``form``), or once as a stream
    (``stream``, ``parts``, ``json_lines``). Reading waits for the client; the client waits for a handler that reads
    slowly.
    """

    __slots__ = ("_body", "_ends", "_form", "_gathered", "_limit", "_marks", "_origin", "_reader", "_streamed")

    def __init__(
        self, scope: Scope, app: Application, path_params: PathParams, origin: Origin, max_body_size: int
    ) -> None:
        # Without a call of the base: most requests make one of these.
        self.scope, self.app, self.path_params = scope, app, path_params
        self._headers = self._query = self._cookies = self._url = self._state = None
        self._origin = origin
        self._limit = max_body_size
        self._body: bytes | None = None
        self._gathered = bytearray()  # of a body that is read whole: kept when `body` is cancelled
        self._streamed = ""  # the method that has read the body as a stream
        self._form: FormData | None = None
        self._reader: FormReader | None = None
        self._ends: tuple[Callable[[], Awaitable[object]], ...] = ()
        self._marks: list[Callable[[Response], object]] | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """Open while handler and response run; the request ends when its tasks have finished.

        A task that fails cancels the handler, or aborts the response.
        """
        return self._origin.nursery

    @property
    def _resources(self) -> Provider:
        return self._origin

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

    @property
    def is_websocket(self) -> bool:
        """Whether it is the handshake of a WebSocket, which middleware and error handlers get as a GET."""
        return bool(self.scope["type"] == "websocket")

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that a reconnecting ``EventSource`` received, or ``None``."""
        value = self.headers.get("last-event-id")
        # Ids are UTF-8 on the wire (HTML standard), header values Latin-1 in this mapping.
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def is_disconnected(self) -> bool:
        """Whether the client is known to have left. Does not block."""
        return self._origin.inbox.gone

    async def early_hints(self, links: Sequence[str]) -> None:
        """Send a 103 response with ``link`` fields (RFC 8297), so that a browser loads what the page will need.

        ::

            await request.early_hints(["</style.css>; rel=preload; as=style"])

        Call it before the response starts. Without effect if the server cannot: over HTTP/1.0, and HTTP/1.1 under
        Hypercorn. Waits until the server has taken it.

        Raises:
            TypeError: if ``links`` is one ``str``.
            ValueError: if a link holds what cannot be sent.
            ClientDisconnected: if the client has left.
        """
        if isinstance(links, str):
            raise TypeError(f"early_hints takes a list of links: write request.early_hints([{links!r}])")
        await self._origin.hint([value for _, value in Headers([("link", link) for link in links]).raw])

    def stream(self) -> BodyStream:
        """The body as it arrives, once, for ``async for``. Its size is not limited.

        Waits for the client at each chunk. After a cancellation the iteration can go on where it stopped.

        Raises:
            RuntimeError: if the body was streamed before.
            ClientDisconnected: in the iteration, if the client leaves before the body is complete.
        """
        return self._stream("stream()")

    def _stream(self, name: str) -> BodyStream:
        if self._streamed:
            raise RuntimeError(
                f"the request body was read by request.{self._streamed} already, and it comes only once: "
                "keep what you need of it, or use await request.body()"
            )
        if self._body is not None:
            return BodyStream(self._origin.inbox, self._body)
        self._streamed = name
        return BodyStream(self._origin.inbox, bytes(self._gathered))

    async def body(self) -> bytes:
        """The whole body in memory, at most ``App(max_body_size=...)``; waits until it has arrived.

        After a cancellation it can be called again, and goes on where it stopped.

        Raises:
            HTTPError: 413 if the body is over the limit; before it is read if it has a ``content-length``.
            RuntimeError: if the body was streamed before.
            ClientDisconnected: if the client left before the body was complete.
        """
        if self._body is None:
            if self._streamed:
                raise RuntimeError(
                    f"the request body was read by request.{self._streamed} already: keep what that gives"
                )
            inbox = self._origin.inbox
            announced = self._announced()
            if announced > self._limit or self._gathered:
                self._refuse_beyond(max(announced, len(self._gathered)))
            inbox.expected = announced or None
            while chunk := inbox.take() or await inbox.wait():
                if inbox.drained and not self._gathered and len(chunk) <= self._limit:  # all in one chunk: no copy
                    self._body = chunk
                    break
                self._gathered += chunk
                self._refuse_beyond(len(self._gathered))
            if self._body is None:  # else another task that reads the body has seen its end first
                self._body = bytes(self._gathered)
                self._gathered.clear()
        return self._body

    def _announced(self) -> int:
        length = self._field(b"content-length")
        return int(length) if length.isdigit() and len(length) < 20 else 0

    def _refuse_beyond(self, size: int) -> None:
        if size > self._limit:
            del self._gathered[self._limit + 1 :]
            raise HTTPError(413, f"The request body is larger than {self._limit} bytes.")

    async def text(self) -> str:
        """The whole body as text, in the charset of its content type, by default UTF-8.

        Raises:
            HTTPError: 400 if the body is not text in that charset, 415 if the charset is unknown; and as ``body``.
        """
        body = await self.body()
        charset = charset_of(self.headers.get("content-type", "")) or "utf-8"
        if not re.fullmatch(CHARSETS, charset):
            raise HTTPError(415, f"The charset {charset!r} is not known here: send UTF-8.")
        try:
            return body.decode(charset)
        except UnicodeDecodeError as error:
            raise HTTPError(400, f"The request body is not {charset}: byte {error.start} does not fit.") from None

    @overload
    async def json(self, type: None = None) -> Any: ...
    @overload
    async def json(self, type: type[T]) -> T: ...
    async def json(self, type: Annotation = None) -> object:  # noqa: A002
        """The whole body decoded from JSON, whatever its content type.

        Args:
            type: the type of the value, for instance a ``msgspec.Struct`` or ``list[int]``; plain values unless given.

        Raises:
            HTTPError: 400 if the body is not JSON, 422 if it is not of ``type`` (an ``InputError``); and as ``body``.
        """
        return decode_json(json_decoder(type), await self.body(), "The request body", ("body",))

    @overload
    def json_lines(self, type: None = None, max_line_size: int = MAX_LINE_SIZE) -> JSONLines[Any]: ...
    @overload
    def json_lines(self, type: type[T], max_line_size: int = MAX_LINE_SIZE) -> JSONLines[T]: ...
    def json_lines(self, type: Annotation = None, max_line_size: int = MAX_LINE_SIZE) -> object:  # noqa: A002
        """The values of a body of JSON lines as they arrive, once, for ``async for``. Blank lines are skipped.

        Waits for the client. After a cancellation the iteration can go on where it stopped. The number of lines is not
        limited, and the content type does not matter.

        Args:
            type: the type of each value; plain values unless given.
            max_line_size: the most bytes of a line.

        Raises:
            RuntimeError: if the body was streamed before.
            HTTPError: in the iteration, at the line concerned: 400 if it is not JSON, 422 if it is not of ``type``, 413
                if it is too long; 408 if the client sends nothing.
            ClientDisconnected: in the iteration, if the client leaves before the body is complete.
        """
        return JSONLines(self._stream("json_lines()"), json_decoder(type), max_line_size)

    def parts(
        self, max_parts: int = MAX_PARTS, max_part_line: int = MAX_PART_LINE, max_part_lines: int = MAX_PART_LINES
    ) -> Parts:
        """The parts of a multipart form as they arrive, once, for ``async for``; each is iterated in turn.

        ::

            async for part in request.parts():
                if part.filename is not None:
                    await part.save(directory / secrets.token_hex())

        The size of a part is not limited, and its unread rest is skipped when the next one is requested. After a
        cancellation the iteration can go on where it stopped.

        Args:
            max_parts: the most parts.
            max_part_line: the most bytes of a header line of a part.
            max_part_lines: the most header lines of a part.

        Raises:
            RuntimeError: if the body was streamed before.
            HTTPError: 415 if the body is not a multipart form; in the iteration 400 if it is malformed, 413 beyond a
                limit, 408 if the client sends nothing.
            ClientDisconnected: in the iteration, if the client leaves before the form is complete.
        """
        from trioweb.ground.http.multiparts import MultipartReader  # noqa: PLC0415 - rarely needed
        from trioweb.messages.parts import Parts  # noqa: PLC0415

        if (kind := media_type_of(self)) != FORM_TYPE:
            raise wrong_type(kind, FORM_TYPE)
        boundary = boundary_of(self.headers["content-type"])
        reader = MultipartReader(boundary, max_parts, max_part_line, max_part_lines)
        return Parts(self._stream("parts()"), reader, self._limit)

    async def form(self, **limits: Unpack[FormOptions]) -> FormData:
        """The body as a form, multipart or URL-encoded, any number of times: a multi-mapping of names to ``str``, and
        to ``UploadFile`` for files. Waits until it has arrived.

        ``max_body_size`` of route, router or app limits the whole form with its files. Files are held in memory up to
        1 MiB, then on disk, until the request has ended. After a cancellation it can be called again, and goes on where
        it stopped.

        Args:
            limits: see ``FormOptions``; only those of the first call count.

        Raises:
            HTTPError: 415 if the content type is not a form's, 400 if the body is malformed, 413 beyond a limit, 408 if
                the client sends nothing.
            RuntimeError: if the body was streamed before.
            ClientDisconnected: if the client left before the form was complete.
        """
        if self._form is None:
            from trioweb.messages.forms import FormLimits, FormReader, parse_urlencoded  # noqa: PLC0415 - rarely needed

            if (kind := media_type_of(self)) == URLENCODED_TYPE:
                self._form = parse_urlencoded(await self.body(), FormLimits(**limits))
            elif kind == FORM_TYPE:
                if self._reader is None:
                    self._refuse_beyond(self._announced())
                    boundary, options = boundary_of(self.headers["content-type"]), FormLimits(**limits)
                    self._reader = FormReader(self._stream("form()"), boundary, self._limit, options)
                    self.on_end(self._reader.spool.aclose)
                self._form = await self._reader.read()
            else:
                raise wrong_type(kind, FORM_TYPE, URLENCODED_TYPE)
        return self._form

    def mark_errors(self, mark: Callable[[Response], object]) -> None:
        """Call ``mark(response)`` with the response to an exception that passes through all middleware.

        For a middleware that changes every response: it can change what ``call_next`` returns, but an exception that
        ``call_next`` raises becomes a response outside of all middleware. Call it before ``call_next``. The last
        function is called first, since its middleware is the innermost::

            async def add_server_name(request, call_next):
                def mark(response):
                    response.headers["x-served-by"] = "one"

                request.mark_errors(mark)
                response = await call_next(request)
                mark(response)
                return response

        Args:
            mark: a plain function. If it raises, the error is logged and the response sent as it is.
        """
        self._marks = [*(self._marks or ()), mark]

    def on_end(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await ``function()`` when the request has ended: all is sent; nursery, dependencies, WebSocket are closed.
        The last function is called first; an error is logged.
        """
        self._ends = (function, *self._ends)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"
