"""Pages from Jinja's templates, sent while they are made.

Rules that this module alone enforces:

* Values are escaped, whatever the name of a template, and a name that was not given is an error.
* A template is read in a thread, with those that it extends, includes and imports by a constant name.
* Nothing is held back for a page that waits for its values, and a small page is whole before it is sent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from inspect import iscoroutinefunction
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, cast

from trioweb.io.threads import in_thread
from trioweb.messages.request import Request
from trioweb.messages.response import HTMLResponse
from trioweb.streams.closing import close_generators

try:
    import jinja2
    from jinja2 import meta
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "trioweb.contrib.jinja needs Jinja2: pip install trioweb[templates]", name=error.name, path=error.path
    ) from error

if TYPE_CHECKING:
    from trioweb.app.app import App

__all__ = ["Templates"]

PIECE: Final = 16_384
"""Characters of a page that are sent together, if it waits for nothing: an error in the first so many is a 500."""


class Templates:
    """The templates of a directory, for ``return templates.page(request, "index.html", items=items)``.

    Args:
        directory: its path, or several, of which the first that has a template counts; or a loader of Jinja.
        options: of Jinja's ``Environment``, such as ``trim_blocks=True``.

    Raises:
        NotADirectoryError: if there is no such directory.
        TypeError: if an option is none of Jinja's, or one that is set here: ``autoescape`` and ``enable_async`` are on.

    Attributes:
        environment: Jinja's, for filters, tests and globals.
    """

    def __init__(
        self, directory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | jinja2.BaseLoader, **options: Any
    ) -> None:
        if isinstance(directory, jinja2.BaseLoader):
            loader = directory
        else:
            paths = [directory] if isinstance(directory, (str, os.PathLike)) else list(directory)
            for path in paths:
                if not Path(path).is_dir():
                    raise NotADirectoryError(f"there is no directory {str(path)!r} with templates")
            loader = jinja2.FileSystemLoader(paths)
        defaults = {"undefined": jinja2.StrictUndefined, "auto_reload": False, "cache_size": -1}
        self.environment = jinja2.Environment(
            loader=loader, autoescape=True, enable_async=True, **{**defaults, **options}
        )
        self._loader = loader
        self._loaded: set[str] = set()

    def page(
        self, request: Request, name: str, /, *, block: str | None = None, status_code: int = 200, **values: object
    ) -> HTMLResponse:
        """A response with the page of a template, which is made while it is sent, and no faster. Does not block.

        The template also has ``request`` and its ``url_for``, and may iterate async iterables and call async functions.
        If one of either is among its values, each piece is sent as it is made. Async generators among the values are
        closed at the end. A cancellation is raised where the template waits. With ``App(debug=True)`` changed
        templates are read again.

        Args:
            request: the request.
            name: of the template.
            block: send only this block of the template, without those that it extends.
            status_code: of the response.
            values: what the template may use.

        Raises:
            jinja2.TemplateError: in the response, if the template is missing, has an error or lacks a value; a 500 if
                nothing of the page was sent.
            LookupError: in the response, if the template has no such block.
        """
        values = {"request": request, "url_for": request.url_for, **values}
        return HTMLResponse(self._pieces(name, block, values, reload=cast("App", request.app).debug), status_code)

    async def text(self, name: str, /, *, block: str | None = None, **values: object) -> str:
        """The page of a template, or one of its blocks, as text: for an event, a mail, a message of a WebSocket.

        Waits as the template does. Raises as ``page`` does.
        """
        async with aclosing(self._pieces(name, block, values, reload=False)) as pieces:
            return "".join([piece async for piece in pieces])

    async def _pieces(
        self, name: str, block: str | None, values: dict[str, object], *, reload: bool
    ) -> AsyncGenerator[str, None]:
        generators = [value for value in values.values() if isinstance(value, AsyncGenerator)]
        waits = any(hasattr(value, "__aiter__") or iscoroutinefunction(value) for value in values.values())
        least = 1 if waits else PIECE
        waiting, size = [], 0
        name = "/".join(each for each in name.split("/") if each not in {"", "."})  # one entry in the cache for a file
        try:
            if reload or name not in self._loaded:
                await in_thread(self._load, name, reload)
            async with aclosing(self._generate(name, block, values)) as pieces:
                async for piece in pieces:
                    waiting.append(piece)
                    size += len(piece)
                    if size >= least:
                        yield "".join(waiting)
                        waiting, size = [], 0
            if waiting:
                yield "".join(waiting)
        except Exception as error:
            for frame, _ in walk_tb(error.__traceback__):
                frame.f_globals.pop("__jinja_exception__", None)  # Jinja's frames for templates refer to the error
            raise
        finally:
            if generators:
                await close_generators(generators)

    def _generate(self, name: str, block: str | None, values: dict[str, object]) -> AsyncGenerator[str, None]:
        template = self.environment.get_template(name)
        if block is None:
            return cast("AsyncGenerator[str, None]", template.generate_async(values))
        if block not in template.blocks:
            known = ", ".join(template.blocks) or "none"
            raise LookupError(f"the template {name!r} has no block {block!r}: there are {known}")
        return cast("AsyncGenerator[str, None]", template.blocks[block](template.new_context(values)))

    def _load(self, name: str, reload: bool) -> None:
        """Read a template, and those that it names, into Jinja's cache. Blocks."""
        environment = self.environment
        environment.auto_reload = environment.auto_reload or reload
        todo, seen = [name], set()
        while todo:
            each = todo.pop()
            if each in seen:
                continue
            seen.add(each)
            try:
                environment.get_template(each)
                source = self._loader.get_source(environment, each)[0]
            except jinja2.TemplateNotFound:
                if each == name:
                    raise
                continue  # `include` may ignore that
            todo += [found for found in meta.find_referenced_templates(environment.parse(source)) if found]
        self._loaded.add(name)
