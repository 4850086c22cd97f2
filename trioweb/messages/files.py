"""Files as responses. Files are opened, measured and read in worker threads, so that nothing blocks the event loop."""

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

mimetypes.init()  # at import, since it reads files; types that a program adds later are used too


class FileResponse(RangeResponse):
    """A file, or ranges of it (see ``RangeResponse``), read in worker threads while it is sent.

    It is opened once, when the handler has returned the response: ``content-length``, ``last-modified`` and ``etag``
    describe the open file. If it becomes shorter while it is sent, the response is aborted; if it grows, the declared
    length is sent. It is closed when the request ends, however it ends.

    The ``etag`` is strong if the file has not changed for two seconds: file systems may not show a change before that.

    Args:
        path: the file.
        filename: the name to save it under; without one there is no ``content-disposition``.
        media_type: the content type; guessed from the name unless given.
        content_disposition_type: ``"attachment"`` or ``"inline"``.
        status_code: 200 to 999; only 200 has ranges.
        headers: a mapping or pairs.
        options: the limits of the stream.

    Raises (when the response starts, so that error handlers are called):
        OSError: if there is no such file, it is not a regular one, or it cannot be read.
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
        super().__init__(None, None, filename, media_type, content_disposition_type, status_code, headers, **options)

    def _take_source(self, source: object) -> None:
        """Take none: the file is opened for its request."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code} {self.headers.get('content-type', '')}, {self.path!r}>"

    async def _open(self, method: str, request: Headers) -> None:
        await in_file_thread(self._open_in_thread, method, request)

    def _open_in_thread(self, method: str, request: Headers) -> None:
        # All in one hop to a thread: open and measure the file, decide what is sent, and read the beginning.
        self._file, facts = self._locate(method, request)
        self._size = facts.size
        if 200 <= self.status_code < 300:
            self.headers.setdefault("etag", facts.etag)
            if facts.modified is not None:  # RFC 9110, section 8.8.2.1: never later than the response's date
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
        # A body of bytes is sent faster than a stream, but has none of a stream's limits.
        stream = self._stream
        if stream is None or stream.maps or stream.write_timeout != WRITE_TIMEOUT or stream.max_duration is not None:
            return
        if self.headers.get("content-length") == str(len(self._first)):
            self._body, self._first, self._stream = self._first, b"", None

    def _locate(self, method: str, request: Headers) -> tuple[Readable | None, Facts]:
        """Open the file, for a HEAD only look at it. Runs in a worker thread."""
        del request
        file, status = open_regular(self.path, read=method != "HEAD", follow=True)
        return file, Facts.of(status)


def guess_type(name: str) -> str:
    """The content type for a file name."""
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:  # a .tar.gz is sent as it is, not as a tar with a content coding
        return BYTES_TYPE
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
