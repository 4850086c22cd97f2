"""Parse multipart forms (RFC 7578) as they arrive, with the push parser of the ``multipart`` package.

This module adds to it: white space after a boundary; errors that name the part; the names of fields and files, parsed
once from left to right; safe file names; and names in the extended notation (RFC 8187), which some clients send in
spite of RFC 7578, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.parameters import charset_of, parse_parameters, unquoted

if TYPE_CHECKING:
    from multipart import MultipartError, MultipartSegment

MAX_PADDING: Final = 255
"""Bytes of white space after a boundary, which gateways add (RFC 2046, section 5.1.1)."""

_CONTROL: Final = r"[\x00-\x1f\x7f]"
_PLAIN: Final = r'form-data; name="([^"\\%]*+)"(?:; filename="([^"\\%]*+)")?'
"""A disposition without escapes, as browsers usually send it."""


class PartHead(NamedTuple):
    """The headers of a part.

    Attributes:
        name: the name of the field.
        filename: the last component of the file name; ``None`` if the part is not a file.
        content_type: as sent, for instance ``text/plain; charset=utf-8``, or ``None``.
        charset: the charset that the content type names, or ``None``.
    """

    name: str
    filename: str | None
    content_type: str | None
    charset: str | None


Event: TypeAlias = "PartHead | bytes | None"
"""The head of a part, then pieces of its bytes, then ``None`` at its end."""


class MultipartReader:
    """Parses a multipart body in pieces of any size.

    Args:
        boundary: from the content type.
        max_parts: the most parts in the body.
        max_head_line: the most bytes of a header line of a part, with its continuation lines.
        max_head_lines: the most header lines of a part.
    """

    __slots__ = ("_before", "_delimiter", "_held", "_padding", "_parser", "_parts")

    def __init__(self, boundary: str, max_parts: int, max_head_line: int, max_head_lines: int) -> None:
        from multipart import PushMultipartParser  # noqa: PLC0415 - loaded for the first form

        self._parser = PushMultipartParser(
            boundary, max_header_size=max_head_line, max_header_count=max_head_lines, max_segment_count=max_parts
        )
        self._delimiter = b"\r\n--" + boundary.encode()
        self._padding = re.compile(re.escape(self._delimiter) + rb"[ \t]{1,%d}(?=\r)" % MAX_PADDING)
        # The last bytes that the parser got. It begins with a line end, since the first boundary needs none before it.
        self._before = b"\r\n"
        self._held = b""  # white space at the end of a piece, perhaps after a boundary: the parser gets it later
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events of a piece of the body. Exhaust the iterator before the next call.

        Data after the last boundary is ignored (RFC 2046, section 5.1.1).

        Raises:
            HTTPError: 400 if the body is not a multipart form, 413 beyond a limit; after the events before the error.
        """
        from multipart import MultipartError, MultipartSegment  # noqa: PLC0415 - as above

        data = self._unpadded(data)
        if not data:  # the parser takes this for the end of the body
            return
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._parts += 1
                    yield self._head(event)
                else:
                    yield event
        except MultipartError as error:
            raise self._failure(error) from None

    def end(self) -> None:
        """End the body.

        Raises:
            HTTPError: 400 if the last boundary is missing.
        """
        from multipart import MultipartError  # noqa: PLC0415 - as above

        try:
            self._parser.close()  # type: ignore[no-untyped-call]
        except MultipartError as error:
            raise self._failure(error) from None

    def _unpadded(self, data: bytes) -> bytes:
        """Remove the white space after boundaries, which gateways add and the parser refuses."""
        delimiter, before = self._delimiter, self._before
        buffer = before + self._held + data
        self._held = b""
        # A boundary may be cut: look for it in the bytes before this piece too, and hold back white space that ends the
        # piece, until the next one shows whether it was padding.
        if buffer[-1:] in b" \t":
            line = buffer.rstrip(b" \t")
            if line.endswith(delimiter) and len(buffer) - len(line) <= MAX_PADDING:
                buffer, self._held = line, buffer[len(line) :]
        if delimiter + b" " in buffer or delimiter + b"\t" in buffer:
            buffer = self._padding.sub(lambda _: delimiter, buffer)
        self._before = buffer[-len(delimiter) :]
        return buffer[len(before) :]

    def _head(self, segment: MultipartSegment) -> PartHead:
        fields: dict[str, str] = {}
        for name, value in segment.headerlist:
            if name in fields and name.startswith("Content-"):
                raise self._malformed(f"a part has {name.lower()} twice")
            fields[name] = value.strip(" \t")
        name, filename = self._names(fields.get("Content-Disposition", ""))
        content_type = fields.get("Content-Type")
        return PartHead(
            name,
            None if filename is None else last_component(filename),
            content_type,
            None if content_type is None else charset_of(content_type),
        )

    def _failure(self, error: MultipartError) -> HTTPError:
        from multipart import ParserLimitReached  # noqa: PLC0415 - as above

        error.__traceback__ = None  # the parser stores the error, and so the frames of its traceback
        if isinstance(error, ParserLimitReached):
            return HTTPError(413, f"The form has too many parts, or too large a head, at part {self._parts + 1}.")
        return HTTPError(400, f"The request body is not a multipart form, after {self._parts} whole heads of parts.")

    def _names(self, disposition: str) -> tuple[str, str | None]:
        """The name of a field, and its file name."""
        if plain := re.fullmatch(_PLAIN, disposition):
            return plain[1], plain[2]
        if disposition.partition(";")[0].strip(" \t").lower() != "form-data":
            raise self._malformed("a part has no content-disposition of the kind form-data")
        try:
            parameters = parse_parameters(disposition)
        except ValueError as error:
            raise self._malformed(f"the content-disposition of a part cannot be read: {error}") from None
        name, filename = self._text(parameters, "name"), self._text(parameters, "filename")
        if name is None:
            raise self._malformed('a part has no name: send content-disposition: form-data; name="..."')
        return name, filename

    def _text(self, parameters: dict[str, str], key: str) -> str | None:
        """A name in a disposition; the extended notation wins, if its charset is known."""
        plain, extended = parameters.get(key), parameters.get(f"{key}*")
        if extended is not None:
            charset, _, rest = unquoted(extended).partition("'")
            if charset.lower() in ("utf-8", "iso-8859-1"):  # RFC 8187, section 3.2.1 allows no other
                try:
                    return unquote_to_bytes(rest.partition("'")[2]).decode(charset)
                except UnicodeDecodeError:
                    raise self._malformed(f"the {key} of a part is not in the charset that it says") from None
            if plain is None:
                raise self._malformed(f"the {key} of a part is in a charset that is not known here: send UTF-8")
        from multipart import content_disposition_unquote  # noqa: PLC0415 - as above

        return None if plain is None else content_disposition_unquote(plain)  # type: ignore[no-untyped-call]

    def _malformed(self, reason: str) -> HTTPError:
        return HTTPError(400, f"The request body is not a multipart form, at part {self._parts}: {reason}.")


def last_component(name: str) -> str:
    """A client's file name without directories and control characters; ``""`` for ``.`` and ``..``."""
    name = re.sub(_CONTROL, "", name.replace("\\", "/").rpartition("/")[2]).strip()
    return "" if name in {".", ".."} else name
