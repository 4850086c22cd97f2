"""Files as responses. Nothing here blocks the loop: a file is opened, measured and read in worker threads."""

from __future__ import annotations

import mimetypes
import os
import time
from typing import Unpack

from trioweb.ground.chunks import BYTES_TYPE
from trioweb.ground.http.conditions import format_date
from trioweb.ground.http.headers import Headers, HeaderSource
from trioweb.io.disk import READ_AT_ONCE, Facts, Readable, in_file_thread, open_regular
from trioweb.messages.limits import WRITE_TIMEOUT, StreamOptions
from trioweb.messages.ranges import RangeResponse

mimetypes.init()  # now, since it reads files; what a program adds later is known too


class FileResponse(RangeResponse):
    """A file, read in worker threads while it is sent, or parts of it: see ``RangeResponse``.

    It is opened once, when the handler has returned it, and what is open then is what is sent: ``content-length``,
    ``last-modified`` and ``etag`` are about that. A file that becomes shorter meanwhile breaks the response off; of one
    that grows, what was promised is sent. It is closed when the request ends, however it ends.

    The ``etag`` is strong where the file has not changed for two seconds: before that another change could go unseen.

    Args:
        path: the file.
        filename: the name to save it under; without one there is no ``content-disposition``.
        media_type: the content type, else guessed from the name.
        content_disposition_type: ``"attachment"`` or ``"inline"``.
        status_code: 200 to 999; any but 200 has no ranges.
        headers: a mapping or pairs.
        options: the limits of the stream.

    Raises (when the response starts, so that error handlers answer):
        OSError: there is no such file, it is not a regular one, or it cannot be read.
    """

    __slots__ = ("path",)

    def __init__(
        self,
        path: str | os.PathLike[str],
        filename: str | None = None,
        media_type: str | None = None,
        content_disposition_type: str = "attachment",
        status_code: int = 200,
        headers: HeaderSource | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        self.path = os.fspath(path)
        if media_type is None:
            media_type = guess_type(filename or self.path)
        self._set_up_ranges(None, None, filename, media_type, content_disposition_type, status_code, headers, options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code} {self.headers.get('content-type', '')}, {self.path!r}>"

    async def _open(self, method: str, request: Headers) -> None:
        await in_file_thread(self._open_in_thread, method, request)

    def _open_in_thread(self, method: str, request: Headers) -> None:
        # All in one hop: to open and measure it, to decide what is sent, and to read the beginning of that.
        self._file, facts = self._locate(method, request)
        self._size = facts.size
        if 200 <= self.status_code < 300:
            self.headers.setdefault("etag", facts.etag)
            if facts.modified is not None:  # RFC 9110, section 8.8.2.1: never after the response's own date
                self.headers.setdefault("last-modified", format_date(min(facts.modified, time.time())))
        try:
            self._decide(method, request, facts.size)
            if self._file is not None and self._stream is not None and self._plan is not None:
                start, stop = self._plan.spans[0]
                self._first = self._file.read(start, min(READ_AT_ONCE, stop - start))
        finally:
            is_all = self.status_code != 206 and len(self._first) == facts.size
            if self._file is not None and (self._stream is None or is_all):
                self._file.close()
                self._file = None
                if is_all:
                    self._become_whole()

    def _become_whole(self) -> None:
        # A body in one piece needs no task of its own; it has no limits either but the one that all responses have.
        stream = self._stream
        if stream is None or stream.maps or stream.write_timeout != WRITE_TIMEOUT or stream.max_duration is not None:
            return
        if self.headers.get("content-length") == str(len(self._first)):
            self._body, self._first, self._stream = self._first, b"", None

    def _locate(self, method: str, request: Headers) -> tuple[Readable | None, Facts]:
        """Find the file and open it; a HEAD needs no more than to find it. Runs in a worker thread."""
        del request
        file, status = open_regular(self.path, read=method != "HEAD", follow=True)
        return file, Facts.of(status)


def guess_type(name: str) -> str:
    """The content type that the name of a file stands for."""
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:  # a .tar.gz is a file to keep, not a tar to unpack on the way
        return BYTES_TYPE
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
