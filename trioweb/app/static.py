"""Mounted directories: which file a path names, and in which content coding it is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources.abc import Traversable
from typing import Final

from trioweb.app.dispatch import redirect, without_handler
from trioweb.app.standing import StandingSite
from trioweb.ground.errors import HTTPError
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.codings import preferred
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.paths import Place, parse_path
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.signatures import Function, Kind
from trioweb.io.disk import Facts, Readable
from trioweb.messages.files import FileResponse, guess_type
from trioweb.messages.response import Response
from trioweb.messages.tree import is_missing, open_tree

INDEX: Final = "index.html"
"""The file that is sent for a directory, with ``html=True``."""
NOT_FOUND: Final = "404.html"
"""The file that is sent for a missing path, with ``html=True``."""

_CODINGS: Final = {"br": "br", "zst": "zstd", "gz": "gzip"}
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class StaticFiles(StandingSite):
    """The files of a directory, for ``app.mount("/static", StaticFiles("static"))``. Also an ASGI app by itself.

    It answers conditional and range requests as ``FileResponse`` does; for a missing file the app's error handler
    answers a 404. It serves only regular files inside of the directory. A path must name one literally: without ``..``,
    double slashes and encoded slashes. File access runs in worker threads.

    A precompressed file stands beside the plain one, ``app.js.br`` beside ``app.js``, and is sent to clients that
    accept it. Write both together: their times are not compared.

    Args:
        directory: its path; or ``importlib.resources.files("package") / "static"``, which may be in a zip file.
        html: send ``index.html`` for a directory, after a redirect to the path with a trailing slash, and ``404.html``
            for a missing path.
        follow_symlinks: also follow symbolic links that lead out of the directory.
        cache_control: the ``cache-control`` of every file, such as ``"max-age=3600"``.
        precompressed: which of ``"br"``, ``"zst"`` and ``"gz"`` to look for; the first counts if the client has no
            preference.
        dotfiles: also serve paths with a name that begins with a dot, such as ``.git`` or ``.env``. Otherwise only
            ``.well-known`` at the root of the directory (RFC 8615).

    Raises:
        NotADirectoryError: if there is no such directory.
        TypeError: if ``directory`` is neither a path nor a directory of a package.
        ValueError: if an ending is unknown, or ``cache_control`` is not a valid header.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | Traversable,
        html: bool = False,
        follow_symlinks: bool = False,
        cache_control: str | None = None,
        precompressed: Sequence[str] = (),
        dotfiles: bool = False,
    ) -> None:
        if isinstance(precompressed, str) or not set(precompressed) <= _CODINGS.keys():
            raise ValueError(f"precompressed is a list of endings out of {', '.join(_CODINGS)}, got {precompressed!r}")
        self.tree = open_tree(directory, follow_symlinks=follow_symlinks)
        self.html = html
        self.dotfiles = dotfiles
        self.headers = Headers({} if cache_control is None else {"cache-control": cache_control})
        if precompressed:
            self.headers["vary"] = "accept-encoding"
        self.endings = {_CODINGS[ending]: ending for ending in precompressed}
        where = f"StaticFiles({str(directory)!r})"
        self.endpoint = Endpoint(self._answer, where, where, Kind.COROUTINE, light=True, passes_all=True)

    def __repr__(self) -> str:
        return f"<{self.endpoint.where}>"

    def find(self, scope: Scope, prefix: str, path: str) -> Function | Response:
        """See ``Site``."""
        if scope["method"] not in {"GET", "HEAD"}:
            return without_handler(scope["method"], _METHODS)
        place = parse_path(path[len(prefix) :], scope.get("raw_path"))
        return partial(self._answer, place, lambda: redirect(scope, path + "/"))

    async def _answer(self, place: Place | None, moved: Callable[[], Response]) -> Response:
        return _SiteFile(self, place, moved)


class _SiteFile(FileResponse):
    """The response for a path: a file, a redirect, or the page for missing ones."""

    __slots__ = ("_moved", "_names", "_place", "_site")

    def __init__(self, site: StaticFiles, place: Place | None, moved: Callable[[], Response]) -> None:
        super().__init__("")
        self._site = site
        self._place = place
        self._moved = moved
        self._names: tuple[str, ...] = ()

    def _open_in_thread(self, method: str, request: Headers) -> None:
        try:
            self._find(method, request)
        except OSError as error:
            if isinstance(error, PermissionError):
                raise HTTPError(403) from None
            if not is_missing(error):
                raise
            try:
                if not self._site.html:
                    raise
                self.status_code = 404
                self._become((NOT_FOUND,), method, request)
            except OSError:
                raise HTTPError(404) from None

    def _find(self, method: str, request: Headers) -> None:
        site, place = self._site, self._place
        if place is None or (place.is_hidden and not site.dotfiles):
            raise FileNotFoundError
        if place.is_directory:
            if not site.html:
                raise IsADirectoryError
            self._become((*place.names, INDEX), method, request)
            return
        try:
            self._become(place.names, method, request)
        except IsADirectoryError:
            if not site.html:
                raise
            site.tree.open((*place.names, INDEX), read=False)
            answer = self._moved()
            self.status_code, self.headers, self._stream = answer.status_code, answer.headers, None

    def _become(self, names: tuple[str, ...], method: str, request: Headers) -> None:
        self._names = names
        self.path = "/".join(names)
        super()._open_in_thread(method, request)

    def _locate(self, method: str, request: Headers) -> tuple[Readable | None, Facts]:
        site, names, read = self._site, self._names, method != "HEAD"
        found: tuple[Readable | None, Facts] | None = None
        headers = Headers(site.headers)
        if site.endings and (wanted := preferred(request.getlist("accept-encoding"), tuple(site.endings))):
            site.tree.open(names, read=False)  # raises if the plain file is missing: then none in a coding counts
            for coding in wanted:
                ending = site.endings[coding]
                try:
                    found = site.tree.open((*names[:-1], f"{names[-1]}.{ending}"), read=read, variant=ending)
                except OSError:
                    continue
                headers["content-encoding"] = coding
                break
        found = found or site.tree.open(names, read=read)
        headers["content-type"] = guess_type(names[-1])
        if self.status_code != 200:
            headers.pop("cache-control", None)
        self.headers = headers
        return found
