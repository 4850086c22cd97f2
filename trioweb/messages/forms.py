"""Forms that are read whole: fields in memory, files in a spool, within limits that are checked as they arrive.

Memory of a request: the fields, together at most ``max_body_size``; ``SPOOL_SIZE`` bytes of files, and twice that while
they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import msgspec
import trio

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.multidict import MultiDict
from trioweb.ground.http.multiparts import MultipartReader, PartHead
from trioweb.ground.http.urls import unescaped
from trioweb.messages.body import BodyStream, Parsed
from trioweb.messages.limits import MAX_FIELD_SIZE, MAX_FIELDS, MAX_FILES, MAX_PART_LINE, MAX_PART_LINES, check_size
from trioweb.messages.parts import decode_part
from trioweb.messages.uploads import SPOOL_SIZE, Spool, UploadFile


class FormOptions(TypedDict, total=False):
    """The limits of a form: the keywords of ``request.form()``.

    Attributes:
        max_fields: fields that are not files; 1,000 unless given.
        max_field_size: bytes of such a field; 1 MiB unless given.
        max_files: files; 1,000 unless given.
        max_file_size: bytes of a file; only limited by the size of the whole body unless given.
        max_part_line: bytes of a header line of a part; 8,192 unless given.
        max_part_lines: header lines of a part; 16 unless given.
    """

    max_fields: int
    max_field_size: int
    max_files: int
    max_file_size: int | None
    max_part_line: int
    max_part_lines: int


class FormLimits(msgspec.Struct, frozen=True):
    """``FormOptions`` with defaults.

    Raises:
        ValueError: if a limit is not a whole number from zero on.
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
    """The fields of a form by name: ``str``, and ``UploadFile`` for files.

    ``form[name]`` is the last value of a name, ``getlist`` returns all, ``multi_items`` every pair in order.
    """

    __slots__ = ()


class FormReader(Parsed[tuple[str, str | UploadFile]]):
    """Reads a multipart form. ``read`` can be called again after a cancellation, and goes on where it stopped."""

    def __init__(self, body: BodyStream, boundary: str, max_body_size: int, limits: FormLimits) -> None:
        super().__init__(body)
        self.spool = Spool()
        """The bytes of the files; the request closes it."""
        self._limits = limits
        self._max_size = max_body_size
        most = limits.max_fields + limits.max_files
        self._reader = MultipartReader(boundary, most, limits.max_part_line, limits.max_part_lines)
        self._lock = trio.Lock()
        self._form: FormData | None = None
        self._head: PartHead | None = None
        self._pieces: list[bytes] = []
        self._part_size = self._size = self._fields = self._files = 0

    async def read(self) -> FormData:
        """Read to the end. Raises as ``Request.form`` does, and ``OSError`` if the temporary file cannot be written."""
        async with self._lock:
            while True:
                if self.spool.pending_size > SPOOL_SIZE:
                    await self.spool.flush()
                if not await self._advance():
                    self._form = FormData(self._items) if self._form is None else self._form
                    return self._form

    def _parse(self, data: bytes) -> Iterator[tuple[str, str | UploadFile]]:
        self._size += len(data)
        if self._size > self._max_size:
            raise HTTPError(413, f"The request body is larger than {self._max_size} bytes.")
        for event in self._reader.feed(data):
            if isinstance(event, PartHead):
                self._begin(event)
            elif event is not None:
                self._take(event)
            elif self._head is not None:
                yield self._head.name, self._value(self._head)
        if not data and self._size:  # an empty body is a form without fields: some send the type with every request
            self._reader.end()

    def _begin(self, head: PartHead) -> None:
        self._head, self._part_size = head, 0
        if head.filename is None:
            self._fields += 1
            if self._fields > self._limits.max_fields:
                raise HTTPError(413, f"The form has more than {self._limits.max_fields} fields.")
        else:
            self._files += 1
            if self._files > self._limits.max_files:
                raise HTTPError(413, f"The form has more than {self._limits.max_files} files.")

    def _take(self, data: bytes) -> None:
        self._part_size += len(data)
        if self._head is not None and self._head.filename is not None:
            if self._limits.max_file_size is not None and self._part_size > self._limits.max_file_size:
                raise HTTPError(413, f"A file in the form is larger than {self._limits.max_file_size} bytes.")
            self.spool.add(data)
        else:
            if self._part_size > self._limits.max_field_size:
                raise HTTPError(413, f"A field of the form is larger than {self._limits.max_field_size} bytes.")
            self._pieces.append(data)

    def _value(self, head: PartHead) -> str | UploadFile:
        """The field, or file, that has ended."""
        size = self._part_size
        if head.filename is not None:
            return UploadFile(self.spool, self.spool.size - size, size, head.filename, head.content_type)
        text = decode_part(b"".join(self._pieces), head)
        self._pieces.clear()
        return text


def parse_urlencoded(body: bytes, limits: FormLimits) -> FormData:
    """Parse a URL-encoded form (the URL standard's form encoding), which is UTF-8.

    Raises:
        HTTPError: 400 if it is not UTF-8, 413 if it is beyond a limit.
    """
    if body.count(b"&") >= limits.max_fields + 1:  # one `&` may end the form
        raise HTTPError(413, f"The form has more than {limits.max_fields} fields.")
    pairs: list[tuple[str, str | UploadFile]] = []
    for field in body.split(b"&"):
        if len(field) > limits.max_field_size * 6 + 1:  # name and value, every byte percent-encoded
            raise HTTPError(413, f"A field of the form is larger than {limits.max_field_size} bytes.")
        if field:
            name, _, value = field.partition(b"=")
            pairs.append((_decoded(name, limits), _decoded(value, limits)))
    if len(pairs) > limits.max_fields:
        raise HTTPError(413, f"The form has more than {limits.max_fields} fields.")
    return FormData(pairs)


def _decoded(text: bytes, limits: FormLimits) -> str:
    text = unescaped(text)
    if len(text) > limits.max_field_size:
        raise HTTPError(413, f"A field of the form is larger than {limits.max_field_size} bytes.")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "The form is not UTF-8.") from None
