"""The command line: ``trioweb run module:app`` and ``trioweb routes module:app``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from hypercorn.__main__ import main as run_hypercorn

from trioweb.app import App


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="trioweb", description="Run and inspect trioweb apps.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve an app with Hypercorn's trio worker", add_help=False)
    run.add_argument("rest", nargs=argparse.REMAINDER, help="the app as module:name, and any of Hypercorn's options")
    routes = commands.add_parser("routes", help="print an app's routes")
    routes.add_argument("target", metavar="module:app")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:  # every option of Hypercorn's passes through, -h among them
        return run_hypercorn(["-k", "trio", *given[1:]])
    try:
        for line in _route_lines(_load(parser.parse_args(given).target)):
            print(line)  # noqa: T201 - what the command is for
    except _NotFoundError as error:
        print(f"trioweb: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


class _NotFoundError(Exception):
    """There is no such app."""


def _load(target: str) -> App:
    module_name, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise _NotFoundError(f"there is no module {module_name!r} here: run it where your file is") from None
    app = getattr(module, name or "app", None)
    if not isinstance(app, App):
        apps = ", ".join(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, App))
        raise _NotFoundError(f"{target!r} is not an App{f': did you mean {apps}?' if apps else ''}")
    return app


def _route_lines(app: App) -> list[str]:
    rows = [(" ".join(sorted(route.methods)), route.path, route.name) for route in app.routes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"{methods:{widths[0]}}  {path:{widths[1]}}  {name}" for methods, path, name in rows]


if __name__ == "__main__":
    sys.exit(main())
