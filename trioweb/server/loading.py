"""Imports the app that a command line names, or explains why there is none."""

from __future__ import annotations

import importlib
import re
import sys
from contextlib import suppress
from inspect import iscoroutinefunction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from trioweb.ground.http.asgi import ASGIApp

MOST_FILES: Final = 200
"""Files that are searched for an app to suggest: of the working directory, and of the directories in it."""
LONGEST_FILE: Final = 2**18
"""Characters that are read of each of them."""

_MADE: Final = re.compile(
    r"^([A-Za-z]\w*)(?:: *\w+)? *= *(?:\w+\.)?(?:App|Starlette|FastAPI|QuartTrio|Litestar)\(", re.MULTILINE
)


class NoAppError(Exception):
    """There is no such app. The message says what to write."""


def find_app(target: str) -> Any:
    """Import an app.

    Args:
        target: ``module:name``. The module may be a file. The name may have dots, ends with ``()`` for a function that
            returns the app, and is ``app`` unless given.

    Raises:
        NoAppError: if there is no such module, or no such name in it.
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
        # Only for this module: a module that it imports may be missing, too.
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


def _hint(module: ModuleType, module_name: str) -> str:
    found = [f"{module_name}:{key}" for key, value in vars(module).items() if _is_asgi(value)]
    return f": did you mean {' or '.join(found)}?" if found else ": an app is made by `app = trioweb.App()`"


def _check_shadowed(module: ModuleType, name: str) -> None:
    """Refuse a package that was imported instead of the user's file of the same name."""
    file, found = Path.cwd() / f"{name}.py", Path(getattr(module, "__file__", None) or "")
    if "." not in name and file.is_file() and not (found.exists() and file.samefile(found)):
        raise NoAppError(f"{file.name} has the name of the package {name!r}, which comes first: give it another name")


def apps_here() -> list[str]:
    """What looks like an app in the working directory and the directories in it, as ``module:name``."""
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


def _is_asgi(value: object) -> bool:
    return not isinstance(value, type) and iscoroutinefunction(getattr(type(value), "__call__", None))  # noqa: B004


def load_app(target: str, wsgi_max_body_size: int) -> ASGIApp:
    """Import an ASGI app, or, with ``wsgi:`` before the module, a WSGI app.

    Raises:
        NoAppError: if there is none.
        Exception: what the import of the module raised.
    """
    mode, _, rest = target.partition(":")
    if mode not in ("asgi", "wsgi") or ":" not in rest:
        mode, rest = "asgi", target
    found = find_app(rest)
    if mode == "wsgi":
        from trioweb.server.hypercorn.wsgi import as_asgi  # noqa: PLC0415 - rare

        return as_asgi(found, wsgi_max_body_size)
    app: ASGIApp = found
    if not callable(app):
        raise NoAppError(f"{target!r} is not an app but {type(app).__qualname__}: name what `App()` was assigned to")
    if isinstance(app, type):
        raise NoAppError(f"{target!r} is a class: name what {app.__name__}() was assigned to")
    return app
