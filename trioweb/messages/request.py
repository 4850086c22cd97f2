"""The request as a handler sees it: a connection with a body. Each way of reading that body begins here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, Unpack, overload

import trio

from trioweb.ground.errors import HTTPError
from trioweb.ground.faults import decode_json
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.charsets import CHARSETS, charset_of
from trioweb.ground.http.multiparts import FORM_TYPE, MultipartReader, boundary_of
from trioweb.ground.values import json_decoder
from trioweb.io.inbox import Inbox
from trioweb.io.transport import Transport
from trioweb.messages.body import BodyStream, JSONLines
from trioweb.messages.connection import Application, Connection
from trioweb.messages.forms import URLENCODED_TYPE, FormData, FormLimits, FormOptions, FormReader, parse_urlencoded
from trioweb.messages.limits import MAX_LINE_SIZE, MAX_PART_LINE, MAX_PART_LINES, MAX_PARTS
from trioweb.messages.parts import Parts
from trioweb.messages.resources import Provider
from trioweb.messages.response import Response

T = TypeVar("T")


class Origin(Provider, Protocol):
    """Where a request comes from: a ``Call``."""

    @property
    def inbox(self) -> Inbox:
        """Who receives its body: made for the first who asks, since most never do."""
        ...

    @property
    def nursery(self) -> trio.Nursery:
        """Its nursery: opened for the first who asks, since most never do."""
        ...

    def find_transport(self) -> Transport:
        """What the server offers beyond ASGI."""
        ...


class Request(Connection):
    """One HTTP request.

    The body can be read whole, any number of times (``body``, ``text``, ``json``, ``form``), or once as a stream
    (``stream``, ``parts``, ``json_lines``). Reading waits for the client, and a handler that reads slowly slows the
    client down.
    """

    __slots__ = ("_body", "_form", "_gathered", "_limit", "_marks", "_origin", "_reader", "_streamed")

    def __init__(
        self,
        scope: Scope,
        app: Application,
        path_params: Mapping[str, Any],
        origin: Origin,
        max_body_size: int,
    ) -> None:
        super().__init__(scope, app, path_params)
        self._origin = origin
        self._limit = max_body_size
        self._body: bytes | None = None
        self._gathered = bytearray()  # of a body that is being read whole, also by a call that was cancelled
        self._streamed = ""  # what has read it as a stream
        self._form: FormData | None = None
        self._reader: FormReader | None = None
        self._marks: list[Callable[[Response], object]] | None = None

    @property
    def _inbox(self) -> Inbox:
        return self._origin.inbox

    @property
    def nursery(self) -> trio.Nursery:
        """Open while handler and response run; the request ends when what was started in it has finished.

        It runs beside the handler: what fails in it cancels the handler, or breaks the response off.
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
        return self._stream("stream()")

    def _stream(self, name: str) -> BodyStream:
        if self._streamed:
            raise RuntimeError(
                f"the request body was read by request.{self._streamed} already, and it comes only once: "
                "keep what you need of it, or use await request.body()"
            )
        if self._body is not None:
            return BodyStream(self._inbox, self._body)
        self._streamed = name
        return BodyStream(self._inbox, bytes(self._gathered))

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
                raise RuntimeError(
                    f"the request body was read by request.{self._streamed} already: keep what that gives"
                )
            inbox = self._inbox
            announced = self._announced()
            self._refuse_beyond(max(announced, len(self._gathered)))
            inbox.expected = announced or None
            while chunk := await inbox.read():
                if inbox.drained and not self._gathered and len(chunk) <= self._limit:  # most come in one piece
                    self._body = chunk
                    break
                self._gathered += chunk
                self._refuse_beyond(len(self._gathered))
            if self._body is None:  # else another task that read it was first to see its end
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
        """The whole body as text, in the charset that its content type names, else UTF-8.

        Raises:
            HTTPError: 400 where the bytes are not text in that charset, 415 where the charset is unknown; and what
                ``body`` raises.
        """
        body = await self.body()
        charset = charset_of(self.headers.get("content-type", "")) or "utf-8"
        if not CHARSETS.fullmatch(charset):
            raise HTTPError(415, f"The charset {charset!r} is not known here: send UTF-8.")
        try:
            return body.decode(charset)
        except UnicodeDecodeError as error:
            raise HTTPError(400, f"The request body is not {charset}: byte {error.start} does not fit.") from None

    @overload
    async def json(self, type: None = None) -> Any: ...
    @overload
    async def json(self, type: type[T]) -> T: ...
    async def json(self, type: Any = None) -> Any:  # noqa: A002
        """The whole body read as JSON, whatever its content type says.

        Args:
            type: what to make of it, for instance a ``msgspec.Struct`` or ``list[int]``; plain values unless given.

        Raises:
            HTTPError: 400 where it is not JSON, 422 where it does not fit ``type`` (an ``InputError``); and what
                ``body`` raises.
        """
        return decode_json(json_decoder(type), await self.body(), "The request body", ("body",))

    @overload
    def json_lines(self, type: None = None, max_line_size: int = MAX_LINE_SIZE) -> JSONLines[Any]: ...
    @overload
    def json_lines(self, type: type[T], max_line_size: int = MAX_LINE_SIZE) -> JSONLines[T]: ...
    def json_lines(self, type: Any = None, max_line_size: int = MAX_LINE_SIZE) -> JSONLines[Any]:  # noqa: A002
        """The values of a body of JSON lines as they arrive, once, for ``async for``. Blank lines are skipped.

        Waits for the client at each piece. A cancellation loses nothing: the iteration can go on where it stopped. No
        limit to the number of lines, whatever the content type says.

        Args:
            type: what to make of each line; plain values unless given.
            max_line_size: bytes of a line.

        Raises:
            RuntimeError: the body was streamed before.
            HTTPError: in the iteration, when it comes to the line: 400 where it is not JSON, 422 where it does not fit
                ``type``, 413 where it is too long; 408 where nothing comes.
            ClientDisconnected: in the iteration, when the client leaves before the body is whole.
        """
        return JSONLines(self._stream("json_lines()"), json_decoder(type), max_line_size)

    def parts(
        self, max_parts: int = MAX_PARTS, max_part_line: int = MAX_PART_LINE, max_part_lines: int = MAX_PART_LINES
    ) -> Parts:
        """The parts of a multipart form as they arrive, once, for ``async for``; each is iterated for its bytes.

        ::

            async for part in request.parts():
                if part.filename is not None:
                    await part.save(directory / secrets.token_hex())

        Nothing is kept: no part has a limit to its size but what the handler sets, and what it does not read of one is
        skipped at the next. A cancellation loses nothing.

        Args:
            max_parts: how many there may be.
            max_part_line: bytes of a line in the head of a part.
            max_part_lines: lines in the head of a part.

        Raises:
            RuntimeError: the body was streamed before.
            HTTPError: 415 where the body is no multipart form; in the iteration 400 where it is malformed, 413 beyond
                a limit, 408 where nothing comes.
            ClientDisconnected: in the iteration, when the client leaves before the form is whole.
        """
        kind = media_type_of(self)
        if kind != FORM_TYPE:
            raise wrong_type(kind, FORM_TYPE)
        boundary = boundary_of(self.headers["content-type"])
        reader = MultipartReader(boundary, max_parts, max_part_line, max_part_lines)
        return Parts(self._stream("parts()"), reader, self._limit)

    async def form(self, **limits: Unpack[FormOptions]) -> FormData:
        """The body as a form, multipart or URL-encoded, any number of times: a multi-mapping of names to ``str``, and
        to ``UploadFile`` for files. Waits until it has arrived.

        The form as a whole, its files too, is limited by ``max_body_size`` of route, router or app. Files are held in
        memory up to 1 MiB, then on disk, until the request has ended. Cancelling it loses nothing that a later call
        wants.

        Args:
            limits: see ``FormOptions``; those of the first call count.

        Raises:
            HTTPError: 415 where the content type is no form's, 400 where the body is malformed, 413 beyond a limit, 408
                where nothing comes.
            RuntimeError: the body was streamed before.
            ClientDisconnected: the client left before the form was whole.
        """
        if self._form is None:
            kind = media_type_of(self)
            if kind == URLENCODED_TYPE:
                options = FormLimits(**limits)
                self._form = parse_urlencoded(await self.body(), options)
            elif kind == FORM_TYPE:
                if self._reader is None:
                    self._refuse_beyond(self._announced())
                    content_type = self.headers["content-type"]
                    options = FormLimits(**limits)
                    boundary_of(content_type)  # before the body counts as read
                    self._reader = FormReader(self._stream("form()"), content_type, self._limit, options)
                self._form = await self._reader.read()
            else:
                raise wrong_type(kind, FORM_TYPE, URLENCODED_TYPE)
        return self._form

    def mark_errors(self, mark: Callable[[Response], object]) -> None:
        """Have ``mark(response)`` called with the answer to an exception, where that is made outside of all middleware.

        For a middleware that adds something to every response: what ``call_next`` returns it can change itself, and
        what ``call_next`` raises becomes a response only when all middlewares have let it pass. Give it before
        ``call_next`` is called; what was given last, and so stands furthest in, is called first::

            async def add_server_name(request, call_next):
                def mark(response):
                    response.headers["x-served-by"] = "one"

                request.mark_errors(mark)
                response = await call_next(request)
                mark(response)
                return response

        Args:
            mark: a plain function. What it raises is logged, and the answer sent without.
        """
        self._marks = [*(self._marks or ()), mark]

    async def _aclose(self) -> None:
        """The request has ended: remove its files."""
        if self._reader is not None:
            await self._reader.spool.aclose()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


def media_type_of(request: Request) -> str:
    """The media type of a request's body, in lower case; ``""`` where it has none."""
    return request._field(b"content-type").decode("latin-1").partition(";")[0].strip().lower()


def wrong_type(kind: str, *wanted: str) -> HTTPError:
    """The answer to a body of another content type than is asked for."""
    got = f"got {kind[:100]!r}" if kind else "got none"
    return HTTPError(415, f"The content type must be {' or '.join(wanted)}, {got}.")
