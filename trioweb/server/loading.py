"""The app that a command line names, and what to do where there is none."""

from __future__ import annotations

import importlib
import re
import sys
from contextlib import suppress
from inspect import iscoroutinefunction
from itertools import islice
from pathlib import Path
from typing import Any, Final

from trioweb.ground.http.asgi import ASGIApp

MOST_FILES: Final = 200
"""Files in which an app is looked for when none was found: of a directory, and of the directories in it. A command."""
LONGEST_FILE: Final = 2**18
"""Characters that are read of each."""

_MADE: Final = re.compile(
    r"^([A-Za-z]\w*)(?:: *\w+)? *= *(?:\w+\.)?(?:App|Starlette|FastAPI|QuartTrio|Litestar)\(", re.MULTILINE
)


class NoAppError(Exception):
    """There is no such app. The message says what to write instead."""


def find_app(target: str) -> Any:
    """Import a module and get what it calls its app.

    Args:
        target: ``module:name``; the module may be a file, the name may have dots, ends with ``()`` for a function that
            makes the app, and is ``app`` where it is left out.

    Raises:
        NoAppError: there is no such module, or nothing of that name in it.
        Exception: what the import of the module raised.
    """
    module_name, _, name = target.partition(":")
    path = Path(module_name)
    if path.suffix == ".py" or "/" in module_name:
        sys.path.insert(0, str(path.resolve().parent))
        module_name = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only where it is this very module: a module that it imports may be missing too.
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise NoAppError(f"there is no module {error.name!r} in {Path.cwd()}{_elsewhere()}") from None
    _check_shadowed(module, module_name)
    value: Any = module
    name = name or "app"
    for part in name.removesuffix("()").split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise NoAppError(f"{module_name!r} has no {name!r}{_hint(module, module_name)}") from None
    return value() if name.endswith("()") else value


def _hint(module: Any, module_name: str) -> str:
    found = [f"{module_name}:{key}" for key, value in vars(module).items() if _is_asgi(value)]
    return f": did you mean {' or '.join(found)}?" if found else ": an app is made by `app = trioweb.App()`"


def _check_shadowed(module: Any, name: str) -> None:
    """A file of the user's whose name a package has that was imported before it: it is never found."""
    file = Path.cwd() / f"{name}.py"
    if "." not in name and file.is_file() and not _same(file, getattr(module, "__file__", None)):
        raise NoAppError(f"{file.name} has the name of the package {name!r}, which comes first: give it another name")


def _same(file: Path, other: str | None) -> bool:
    return other is not None and Path(other).exists() and file.samefile(other)


def apps_here() -> list[str]:
    """What looks like an app in the files of this directory and of the directories in it, as ``module:name``."""
    files = [path for pattern in ("*.py", "*/*.py") for path in islice(Path().glob(pattern), MOST_FILES)]
    found = []
    for path in sorted(files, key=lambda path: (len(path.parts), path)):
        with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
            module = ".".join(path.with_suffix("").parts)
            if all(part.isidentifier() for part in module.split(".")):
                found += [f"{module}:{name}" for name in _MADE.findall(file.read(LONGEST_FILE))]
    return found


def _elsewhere() -> str:
    if found := apps_here():
        return f": did you mean {' or '.join(found[:3])}?"
    return ": run this where your file is, or give its path"


def _is_asgi(value: Any) -> bool:
    return not isinstance(value, type) and iscoroutinefunction(getattr(type(value), "__call__", None))  # noqa: B004


def load_app(target: str, wsgi_max_body_size: int) -> ASGIApp:
    """The app: any ASGI app, and with ``wsgi:`` before the module a WSGI app.

    Raises:
        NoAppError: there is none.
        Exception: what the import of the module raised.
    """
    mode, _, rest = target.partition(":")
    if mode not in ("asgi", "wsgi") or ":" not in rest:
        mode, rest = "asgi", target
    app: ASGIApp = find_app(rest)
    if mode == "wsgi":
        from trioweb.server.hypercorn.wsgi import as_asgi  # noqa: PLC0415 - few apps are

        return as_asgi(app, wsgi_max_body_size)
    if not callable(app):
        raise NoAppError(f"{target!r} is not an app but {type(app).__qualname__}: name what `App()` was assigned to")
    if isinstance(app, type):
        raise NoAppError(f"{target!r} is a class: name what {app.__name__}() was assigned to")
    return app
