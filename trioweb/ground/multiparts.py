"""Multipart forms (RFC 7578), taken apart as they arrive. The parser is the ``multipart`` package's.

What is added to it: errors that say whose fault they are and in which part, names of files that are safe to show,
and names in the extended notation (RFC 8187), which some clients send in spite of RFC 7578, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from trioweb.ground.errors import HTTPError

FORM_TYPE: Final = "multipart/form-data"

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,255}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046: up to 70
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_EXTENDED: Final = re.compile(r"; *filename\* *= *([A-Za-z0-9-]+)'[^']*'([^;\s]*)", re.IGNORECASE)


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
        max_head_line: bytes of a line in the head of a part.
        max_head_lines: lines in the head of a part.
    """

    __slots__ = ("_parser", "_parts")

    def __init__(self, boundary: str, max_parts: int, max_head_line: int, max_head_lines: int) -> None:
        self._parser = PushMultipartParser(
            boundary, max_header_size=max_head_line, max_header_count=max_head_lines, max_segment_count=max_parts
        )
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take a piece of the body. To be iterated to its end before the next one.

        What comes after the last boundary is ignored (RFC 2046, section 5.1.1).

        Raises:
            HTTPError: 400 for what is no multipart form, 413 for what is beyond a limit. What was before it is given.
        """
        if not data:
            return
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._parts += 1
                    yield _head(event)
                else:
                    yield event
        except MultipartError as error:
            raise self._failure(error) from None

    def end(self) -> None:
        """There is no more.

        Raises:
            HTTPError: 400 where the last boundary has not come.
        """
        try:
            self._parser.close()  # type: ignore[no-untyped-call]
        except MultipartError as error:
            raise self._failure(error) from None

    def _failure(self, error: MultipartError) -> HTTPError:
        if isinstance(error, ParserLimitReached):
            return HTTPError(413, f"The form has too many parts, or too large a head, at part {self._parts + 1}.")
        where = f"after {self._parts} whole heads of parts"
        return HTTPError(400, f"The request body is not a multipart form, {where}.")


def boundary_of(content_type: str) -> str:
    """The boundary that a content type names.

    Raises:
        HTTPError: 400 where it names none, or one that cannot be (RFC 2046, section 5.1.1).
    """
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")  # type: ignore[no-untyped-call]
    if not _BOUNDARY.fullmatch(boundary):
        raise HTTPError(400, "The content type multipart/form-data names no boundary, or one that cannot be.")
    return boundary


def _head(segment: MultipartSegment) -> PartHead:
    filename = segment.filename
    content_type = None
    for name, value in segment.headerlist:
        if name == "Content-Type":
            content_type = value
        elif name == "Content-Disposition" and "*" in value:
            filename = _extended_name(value, filename)
    name = segment.name or ""
    return PartHead(name, None if filename is None else last_component(filename), content_type, segment.charset)


def _extended_name(disposition: str, plain: str | None) -> str | None:
    found = _EXTENDED.search(_QUOTED.sub('""', disposition))
    if found is None:
        return plain
    charset = found[1].lower()
    if charset not in ("utf-8", "iso-8859-1"):  # RFC 8187, section 3.2.1 knows no other
        return plain
    try:
        return unquote_to_bytes(found[2]).decode(charset)
    except UnicodeDecodeError:
        raise HTTPError(400, "The name of a file in the form is not in the charset that it says.") from None


def last_component(name: str) -> str:
    """What is left of a file's name that a client chose: no directories, no control characters, no ``..``."""
    name = _CONTROL.sub("", name.replace("\\", "/").rpartition("/")[2]).strip()
    return "" if name in {".", ".."} else name
