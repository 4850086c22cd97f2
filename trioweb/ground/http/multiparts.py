"""Multipart forms (RFC 7578), taken apart as they arrive. The parser is the ``multipart`` package's.

What is added to it: white space behind a boundary, errors that say whose fault they are and in which part, the names of
fields and files, read once from left to right, names of files that are safe to show, and names in the extended notation
(RFC 8187), which some clients send in spite of RFC 7578, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.charsets import charset_of
from trioweb.ground.http.parameters import parse_parameters, unquoted

FORM_TYPE: Final = "multipart/form-data"
MAX_BOUNDARY: Final = 255
"""Characters of a boundary. RFC 2046, section 5.1.1, has 70, and fewer kinds of them than programs send."""
MAX_PADDING: Final = 255
"""Bytes of white space behind a boundary (RFC 2046, section 5.1.1: what gateways have added)."""

_BOUNDARY: Final = re.compile(rf"[\x20-\x7e]{{0,{MAX_BOUNDARY - 1}}}[\x21-\x7e]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN: Final = re.compile(r'form-data; name="([^"\\%]*+)"(?:; filename="([^"\\%]*+)")?')
"""What browsers send, most of the time: nothing in it is quoted."""
_BROWSERS: Final = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))


class PartHead(NamedTuple):
    """What stands before the bytes of one part.

    Attributes:
        name: the field's.
        filename: the last component of the file's name; ``None`` for a part that is no file.
        content_type: as it was sent, for instance ``text/plain; charset=utf-8``; ``None`` where it was not.
        charset: the charset that the content type names.
    """

    name: str
    filename: str | None
    content_type: str | None
    charset: str | None


Event: TypeAlias = "PartHead | bytes | None"
"""The head of a part, then pieces of its bytes, then ``None`` for its end."""


class MultipartReader:
    """Takes a multipart body in pieces of any size and gives what they bring to an end.

    Args:
        boundary: from the content type.
        max_parts: parts in one body.
        max_head_line: bytes of a line in the head of a part, those that continue it included.
        max_head_lines: lines in the head of a part.
    """

    __slots__ = ("_before", "_delimiter", "_held", "_padding", "_parser", "_parts")

    def __init__(self, boundary: str, max_parts: int, max_head_line: int, max_head_lines: int) -> None:
        self._parser = PushMultipartParser(
            boundary, max_header_size=max_head_line, max_header_count=max_head_lines, max_segment_count=max_parts
        )
        self._delimiter = b"\r\n--" + boundary.encode()
        self._padding = re.compile(re.escape(self._delimiter) + rb"[ \t]{1,%d}(?=\r)" % MAX_PADDING)
        self._before = b"\r\n"  # what the parser has last; as if before the body: its first boundary needs no line
        self._held = b""  # white space behind a boundary, which the parser has not got yet
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take a piece of the body. To be iterated to its end before the next one.

        What comes after the last boundary is ignored (RFC 2046, section 5.1.1).

        Raises:
            HTTPError: 400 for what is no multipart form, 413 for what is beyond a limit. What was before it is given.
        """
        yield from self._parse(self._unpadded(data))

    def end(self) -> None:
        """There is no more.

        Raises:
            HTTPError: 400 where the last boundary has not come.
        """
        try:
            self._parser.close()  # type: ignore[no-untyped-call]
        except MultipartError as error:
            raise self._failure(error) from None

    def _parse(self, data: bytes) -> Iterator[Event]:
        if not data:
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

    def _unpadded(self, data: bytes) -> bytes:
        """Take off the white space behind boundaries, which gateways add (RFC 2046, section 5.1.1)."""
        delimiter, before = self._delimiter, self._before
        buffer = before + self._held + data
        self._held = b""
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
        error.__traceback__ = None  # the parser keeps it, and would keep what its traceback holds
        if isinstance(error, ParserLimitReached):
            return HTTPError(413, f"The form has too many parts, or too large a head, at part {self._parts + 1}.")
        return HTTPError(400, f"The request body is not a multipart form, after {self._parts} whole heads of parts.")

    def _names(self, disposition: str) -> tuple[str, str | None]:
        """The names of a field and of its file."""
        if plain := _PLAIN.fullmatch(disposition):
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
        """One of the names in a disposition: in the extended notation where it is there and can be read."""
        plain, extended = parameters.get(key), parameters.get(f"{key}*")
        if extended is not None:
            charset, _, rest = unquoted(extended).partition("'")
            if charset.lower() in ("utf-8", "iso-8859-1"):  # RFC 8187, section 3.2.1 knows no other
                try:
                    return unquote_to_bytes(rest.partition("'")[2]).decode(charset)
                except UnicodeDecodeError:
                    raise self._malformed(f"the {key} of a part is not in the charset that it says") from None
            if plain is None:
                raise self._malformed(f"the {key} of a part is in a charset that is not known here: send UTF-8")
        return None if plain is None else _unquoted_name(plain)

    def _malformed(self, reason: str) -> HTTPError:
        return HTTPError(400, f"The request body is not a multipart form, at part {self._parts}: {reason}.")


def boundary_of(content_type: str) -> str:
    """The boundary that a content type names: printable ASCII, quoted or not, that ends with no space.

    Raises:
        HTTPError: 400 where it names none, or one that cannot be.
    """
    try:
        boundary = unquoted(parse_parameters(content_type).get("boundary", ""))
    except ValueError as error:
        raise HTTPError(400, f"The content type multipart/form-data has no clear boundary: {error}.") from None
    if not _BOUNDARY.fullmatch(boundary):
        raise HTTPError(400, "The content type multipart/form-data names no boundary, or one that cannot be.")
    return boundary


def _unquoted_name(text: str) -> str:
    """A name as browsers quote it (the HTML standard, "multipart form data"), or as other clients do.

    Browsers write ``%22`` for a quotation mark and leave backslashes as they are; so these are escapes only where one
    stands before a quotation mark.
    """
    if text[:1] == '"':
        if '\\"' in text[1:-1]:
            return unquoted(text)
        text = text[1:-1]
    if "%" in text:
        for code, character in _BROWSERS:
            text = text.replace(code, character)
    return text


def last_component(name: str) -> str:
    """What is left of a file's name that a client chose: no directories, no control characters, no ``..``."""
    name = _CONTROL.sub("", name.replace("\\", "/").rpartition("/")[2]).strip()
    return "" if name in {".", ".."} else name
