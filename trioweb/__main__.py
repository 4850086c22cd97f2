"""The command line: ``trioweb run module:app``, ``trioweb routes``, ``trioweb openapi`` and ``trioweb new NAME``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trioweb import __version__
from trioweb.server.command import run
from trioweb.server.loading import NoAppError, find_app
from trioweb.server.logs.setup import complain
from trioweb.server.project import ProjectError, make_project

if TYPE_CHECKING:
    from trioweb import App


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:  # whose options are its own
        return run(given[1:])
    parser = argparse.ArgumentParser(prog="trioweb", description="Run, inspect and start trioweb apps.")
    parser.add_argument("--version", action="version", version=f"trioweb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve an app; trioweb run -h names the options", add_help=False)
    routes = commands.add_parser("routes", help="print an app's routes")
    routes.add_argument("target", metavar="module:app")
    openapi = commands.add_parser("openapi", help="print the description of an app's API, as OpenAPI 3.2")
    openapi.add_argument("target", metavar="module:app")
    openapi.add_argument("--title", default="API", help="the name of the API (%(default)s)")
    openapi.add_argument("--version", default="0.1.0", help="the version of the API (%(default)s)")
    new = commands.add_parser("new", help="start a project in a directory of its name")
    new.add_argument("directory", metavar="NAME", type=Path)
    parsed = parser.parse_args(given)
    try:
        for line in _lines(parsed):
            print(line)  # noqa: T201 - what the command is for
        sys.stdout.flush()
    except BrokenPipeError:  # what reads it, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tells of it at its end
        return 1
    except (NoAppError, ProjectError) as error:
        complain(str(error))
        return 2
    return 0


def _lines(parsed: argparse.Namespace) -> list[str]:
    if parsed.command == "new":
        return _made(parsed.directory)
    app = _load(parsed.target)
    return _route_lines(app) if parsed.command == "routes" else _document(app, parsed.title, parsed.version)


def _load(target: str) -> App:
    from trioweb import App  # noqa: PLC0415 - the command that serves needs no framework before its app does

    app = find_app(target)
    if not isinstance(app, App):
        raise NoAppError(f"{target!r} is not an App but {type(app).__qualname__}: only an App has routes")
    return app


def _made(directory: Path) -> list[str]:
    return [*map(str, make_project(directory)), "", f"cd {directory}, and read README.md"]


def _route_lines(app: App) -> list[str]:
    rows = _rows(app, "", "")
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"{methods:{widths[0]}}  {path:{widths[1]}}  {name}".rstrip() for methods, path, name in rows]


def _rows(app: App, prefix: str, name: str) -> list[tuple[str, str, str]]:
    """Methods, path and name of each route, and of what is mounted; of a mounted App its routes, too."""
    rows = [(" ".join(sorted(route.methods)), prefix + route.path, name + route.name) for route in app.routes]
    for mount in reversed(app.mounts):
        inner = f"{name}{mount.name}:" if mount.name else ""
        rows.append((" ".join(mount.methods), prefix + mount.path, inner.rstrip(":") or repr(mount.handler)))
        if isinstance(mount.handler, type(app)):
            rows += _rows(mount.handler, prefix + mount.path.rstrip("/"), inner)
    return rows


def _document(app: App, title: str, version: str) -> list[str]:
    import json  # noqa: PLC0415 - one command needs it

    return json.dumps(app.openapi(title=title, version=version), indent=2, ensure_ascii=False).split("\n")


if __name__ == "__main__":
    sys.exit(main())
