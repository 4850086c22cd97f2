"""Files as responses. Nothing here blocks the loop: a file is measured and read in worker threads."""

from __future__ import annotations

import mimetypes
import os
import stat
from typing import Unpack

from trioweb.ground.chunks import BYTES_TYPE, encode_any
from trioweb.ground.headers import HeaderSource, content_disposition
from trioweb.limits import StreamOptions, make_stream
from trioweb.responses import Response
from trioweb.streams import file_chunks
from trioweb.wire.threads import run_in_thread


class FileResponse(Response):
    """A file, read in worker threads while it is sent. Its length is the one that it has when the response starts.

    Args:
        path: the file.
        filename: the name to save it under; without one there is no ``content-disposition``.
        media_type: the content type, else guessed from the name.
        content_disposition_type: ``"attachment"`` or ``"inline"``.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        options: the limits of the stream.

    Raises (when the response starts, so that error handlers answer):
        OSError: there is no such file, or it cannot be read.
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
            media_type = _guess_type(filename or self.path)
        stream = make_stream(lambda: file_chunks(self.path), encode_any, options)
        self._set_up(None, stream, status_code, headers, media_type)
        if filename is not None and "content-disposition" not in self.headers:
            self.headers["content-disposition"] = content_disposition(content_disposition_type, filename)

    async def prepare(self) -> None:
        """Measure the file, in a worker thread: for ``content-length``. What it was given already stays."""
        status = await run_in_thread(os.stat, self.path)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(f"{self.path!r} is not a regular file, which is all that FileResponse can send")
        mapped = self._stream is None or self._stream.maps  # then what is sent is not the file as it is
        if not mapped and "content-length" not in self.headers:
            self.headers["content-length"] = str(status.st_size)


def _guess_type(name: str) -> str:
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:  # a .tar.gz is a file to keep, not a tar to unpack on the way
        return BYTES_TYPE
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
