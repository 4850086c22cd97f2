"""Forms taken whole: fields in memory, files in a spool, each of them counted and measured as it arrives.

Memory, a request: the fields, at most ``max_body_size`` together; ``SPOOL_SIZE`` bytes of files, and twice that while
they are written.
"""

from __future__ import annotations

from typing import Final, NoReturn, TypedDict
from urllib.parse import unquote_to_bytes

import msgspec
import trio

from trioweb.ground.errors import HTTPError, renewed
from trioweb.ground.http.multidict import MultiDict
from trioweb.ground.http.multiparts import MultipartReader, PartHead, boundary_of
from trioweb.messages.body import BodyStream
from trioweb.messages.limits import MAX_FIELD_SIZE, MAX_FIELDS, MAX_FILES, MAX_PART_LINE, MAX_PART_LINES, check_size
from trioweb.messages.parts import decode_part
from trioweb.messages.uploads import SPOOL_SIZE, Spool, UploadFile

URLENCODED_TYPE: Final = "application/x-www-form-urlencoded"


class FormOptions(TypedDict, total=False):
    """How much of a form is taken: the keywords of ``request.form()``.

    Attributes:
        max_fields: fields that are no files; 1,000 unless given.
        max_field_size: bytes of such a field; 1 MiB unless given.
        max_files: files; 1,000 unless given.
        max_file_size: bytes of a file; no limit but that of the whole body unless given.
        max_part_line: bytes of a line in the head of a part; 8,192 unless given.
        max_part_lines: lines in the head of a part; 16 unless given.
    """

    max_fields: int
    max_field_size: int
    max_files: int
    max_file_size: int | None
    max_part_line: int
    max_part_lines: int


class FormLimits(msgspec.Struct, frozen=True):
    """The same with its defaults.

    Raises:
        ValueError: one of them is no limit.
    """

    max_fields: int = MAX_FIELDS
    max_field_size: int = MAX_FIELD_SIZE
    max_files: int = MAX_FILES
    max_file_size: int | None = None
    max_part_line: int = MAX_PART_LINE
    max_part_lines: int = MAX_PART_LINES

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if (value := getattr(self, name)) is not None:
                check_size(name, value)


class FormData(MultiDict[str | UploadFile]):
    """What a form has brought: fields as ``str``, files as ``UploadFile``, by the names of their fields.

    ``form[name]`` is the last of a name, ``getlist`` gives all of them, ``multi_items`` every pair in its order.
    """

    __slots__ = ()


class FormReader:
    """Takes a multipart form to its end. A call that was cancelled can be repeated, and goes on where it was.

    Args:
        body: its bytes.
        content_type: which names the boundary.
        max_body_size: bytes of all of it.
        limits: of what is in it.

    Raises:
        HTTPError: 400 where the content type names no boundary.
    """

    def __init__(self, body: BodyStream, content_type: str, max_body_size: int, limits: FormLimits) -> None:
        self.spool = Spool()
        """Where the files are, to be closed by whoever reads."""
        self._body = body
        self._limits = limits
        self._max_size = max_body_size
        self._reader = MultipartReader(
            boundary_of(content_type),
            limits.max_fields + limits.max_files,
            limits.max_part_line,
            limits.max_part_lines,
        )
        self._lock = trio.Lock()
        self._pairs: list[tuple[str, str | UploadFile]] = []
        self._head: PartHead | None = None
        self._pieces: list[bytes] = []
        self._field_size = self._file_size = self._size = self._fields = self._files = 0
        self._form: FormData | None = None
        self._failure: HTTPError | None = None

    async def read(self) -> FormData:
        """All of it.

        Raises:
            HTTPError: 400 for what is no form, 413 for what is beyond a limit.
            ClientDisconnected: the client left before it was whole.
            OSError: the temporary file cannot be written.
        """
        async with self._lock:
            if self._failure is not None:
                raise renewed(self._failure)
            while self._form is None:
                try:
                    await self._advance()
                except HTTPError as failure:
                    self._failure = renewed(failure)
                    raise
            return self._form

    async def _advance(self) -> None:
        if self.spool.pending_size > SPOOL_SIZE:
            await self.spool.flush()
        data = await self._body.read()
        self._size += len(data)
        if self._size > self._max_size:
            self._too_large(f"The request body is larger than {self._max_size} bytes")
        if data:
            for event in self._reader.feed(data):
                if isinstance(event, PartHead):
                    self._begin(event)
                elif event is None:
                    self._end()
                else:
                    self._take(event)
        else:
            if self._size:  # no body is a form without fields: some clients send its content type with each request
                self._reader.end()
            self._form = FormData(self._pairs)

    def _begin(self, head: PartHead) -> None:
        self._head = head
        self._field_size = self._file_size = 0
        if head.filename is None:
            self._fields += 1
            if self._fields > self._limits.max_fields:
                self._too_large(f"The form has more than {self._limits.max_fields} fields")
        else:
            self._files += 1
            if self._files > self._limits.max_files:
                self._too_large(f"The form has more than {self._limits.max_files} files")

    def _take(self, data: bytes) -> None:
        if self._head is not None and self._head.filename is not None:
            self._file_size += len(data)
            if self._limits.max_file_size is not None and self._file_size > self._limits.max_file_size:
                self._too_large(f"A file in the form is larger than {self._limits.max_file_size} bytes")
            self.spool.add(data)
        else:
            self._field_size += len(data)
            if self._field_size > self._limits.max_field_size:
                self._too_large(f"A field of the form is larger than {self._limits.max_field_size} bytes")
            self._pieces.append(data)

    def _end(self) -> None:
        head = self._head
        if head is None:
            return
        value: str | UploadFile
        if head.filename is None:
            value = decode_part(b"".join(self._pieces), head)
            self._pieces.clear()
        else:
            size = self._file_size
            value = UploadFile(self.spool, self.spool.size - size, size, head.filename, head.content_type)
        self._pairs.append((head.name, value))

    def _too_large(self, what: str) -> NoReturn:
        raise HTTPError(413, f"{what}.")


def parse_urlencoded(body: bytes, limits: FormLimits) -> FormData:
    """Parse a URL-encoded form (the URL standard's form encoding), which is UTF-8.

    Raises:
        HTTPError: 400 where it is not UTF-8, 413 for what is beyond a limit.
    """
    if body.count(b"&") >= limits.max_fields + 1:
        raise HTTPError(413, f"The form has more than {limits.max_fields} fields.")
    pairs: list[tuple[str, str | UploadFile]] = []
    for field in body.split(b"&"):
        if len(field) > limits.max_field_size * 6 + 1:  # name and value, percent-encoded at the worst
            raise HTTPError(413, f"A field of the form is larger than {limits.max_field_size} bytes.")
        if field:
            name, _, value = field.replace(b"+", b" ").partition(b"=")
            pairs.append((_decoded(name, limits), _decoded(value, limits)))
    if len(pairs) > limits.max_fields:
        raise HTTPError(413, f"The form has more than {limits.max_fields} fields.")
    return FormData(pairs)


def _decoded(text: bytes, limits: FormLimits) -> str:
    if b"%" in text:
        text = unquote_to_bytes(text)
    if len(text) > limits.max_field_size:
        raise HTTPError(413, f"A field of the form is larger than {limits.max_field_size} bytes.")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "The form is not UTF-8.") from None
