"""Directories of files, to be mounted: which file a path means, and in which coding it is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.resources.abc import Traversable
from typing import Final

from trioweb.app.app import App
from trioweb.app.dispatch import Found, Site, redirect, without_handler
from trioweb.ground.errors import HTTPError
from trioweb.ground.http.asgi import Receive, Scope, Send
from trioweb.ground.http.codings import preferred
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.paths import Place, parse_path
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.signatures import Kind
from trioweb.io.disk import Facts, Readable
from trioweb.messages.files import FileResponse, guess_type
from trioweb.messages.response import Response
from trioweb.messages.tree import is_missing, open_tree

INDEX: Final = "index.html"
"""What stands for its directory, with ``html=True``."""
NOT_FOUND: Final = "404.html"
"""What is sent for a path that leads nowhere, with ``html=True``."""

_CODINGS: Final = {"br": "br", "zst": "zstd", "gz": "gzip"}
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class StaticFiles(Site):
    """The files of a directory, for ``app.mount("/static", StaticFiles("static"))``. An ASGI app by itself, too.

    Conditions, ranges and entity tags are those of ``FileResponse``; what is not there is a 404 by the app's own error
    handlers. Only regular files are served, from inside of the directory; a path has to name one as it is, without
    ``..``, doubled slashes or encoded ones. Nothing of this blocks the event loop.

    A file that was compressed beforehand lies beside the plain one, ``app.js.br`` beside ``app.js``, and is sent to
    clients that want it. Who writes the one writes the other: their times are not compared.

    Args:
        directory: its path; or ``importlib.resources.files("package") / "static"``, which may be in a zip file.
        html: a directory is its ``index.html``, with a redirect to where its path ends in a slash; and ``404.html`` is
            sent for what is not there.
        follow_symlinks: follow symbolic links out of the directory; those that stay within are followed anyway.
        cache_control: the ``cache-control`` of every file, such as ``"max-age=3600"``.
        precompressed: which of ``"br"``, ``"zst"`` and ``"gz"`` to look for, in the order that decides where a client
            has no preference.
        dotfiles: serve what lies behind a name that begins with a dot, such as ``.git`` or ``.env``, too. Unless given
            that is not there, but for ``.well-known`` at the root of the directory (RFC 8615).

    Raises:
        NotADirectoryError: there is no such directory.
        TypeError: it is neither a path nor a package's.
        ValueError: an ending or header is none.
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
        self._endpoint = Endpoint(self._answer, where, where, Kind.COROUTINE, light=True, passes_all=True)
        self._alone: App | None = None

    def __repr__(self) -> str:
        return f"<{self._endpoint.where}>"

    def find(self, scope: Scope, prefix: str, path: str) -> Found | Response:
        """See ``Site``."""
        if scope["method"] not in {"GET", "HEAD"}:
            return without_handler(scope["method"], _METHODS)
        place = parse_path(path[len(prefix) :], scope.get("raw_path"))
        return self._endpoint, {"place": place, "moved": lambda: redirect(scope, path + "/")}

    async def _answer(self, place: Place | None, moved: Callable[[], Response]) -> Response:
        return _SiteFile(self, place, moved)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: by itself, or mounted in another framework's app."""
        if self._alone is None:
            self._alone = App()
            self._alone.mount("/", self)
        await self._alone(scope, receive, send)


class _SiteFile(FileResponse):
    """What a path leads to: a file, a redirect, or a page that says that it leads nowhere."""

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
                self._say_missing(method, request)
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

    def _say_missing(self, method: str, request: Headers) -> None:
        if not self._site.html:
            raise FileNotFoundError
        self.status_code = 404
        self._become((NOT_FOUND,), method, request)

    def _become(self, names: tuple[str, ...], method: str, request: Headers) -> None:
        self._names = names
        self.path = "/".join(names)
        super()._open_in_thread(method, request)

    def _locate(self, method: str, request: Headers) -> tuple[Readable | None, Facts]:
        site, names, read = self._site, self._names, method != "HEAD"
        found: tuple[Readable | None, Facts] | None = None
        headers = Headers(site.headers)
        if site.endings and (wanted := preferred(request.getlist("accept-encoding"), tuple(site.endings))):
            site.tree.open(names, read=False)  # what is not there as it is, is not there in a coding either
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
