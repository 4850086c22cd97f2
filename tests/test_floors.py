"""The floors of the house: an import only ever points down."""

from __future__ import annotations

import ast
from pathlib import Path

import trioweb

PACKAGE = Path(trioweb.__file__).parent

# From the ground up. A module may import those of the lines above its own, and those before it on its own line.
FLOORS = """
ground ground.texts ground.annotations ground.asgi ground.errors ground.multidict ground.headers
ground.parameters ground.charsets ground.cookies ground.events
ground.chunks ground.ranges ground.conditions ground.codings ground.paths ground.faults ground.values ground.lines
ground.multiparts ground.closing
ground.escapes ground.urls ground.templates ground.routes ground.problems ground.traces
wire wire.threads wire.sendfile wire.pace wire.transport wire.hypercorn wire.disk wire.channel wire.outbox wire.coding
wire.sources wire.driver wire.producer wire.inbox wire.relay wire.stepping wire.inline wire.duplex
debug resources streams limits responses connection bodies uploads parts forms request websocket streaming ranges
files tree
markers inputs
testing.strict testing.tasks testing.clock testing.conversation testing.transport testing.events testing.lifespan
testing.websocket
testing.client testing
signatures layers arguments planner handlers sweep lifespan policy call deadline watch unread delivery exchange
conversation direct light core chain callables
routing mounted dispatch names stack stopping watchdog app static
middleware.coders middleware.compression middleware.cors middleware.hosts middleware.requestid middleware.security
middleware.sessions middleware.timing middleware
server server.config server.loading server.options server.view server.entries server.logs server.sockets server.gate
server.faults server.rates server.websockets server.http1 server.http1.checks server.protocols
server.streams server.connection server.http1.chunked server.http1.head server.http1.parsing
server.http1.framing server.http1.pathsend
server.http1.poller server.http1.pulse server.http1.writing server.http1.wire server.http1.secure server.http1.line
server.http1.cycle server.http1.access server.http1.connection server.door
server.worker server.process server.watching server.supervisor server.command
project __init__ __main__
"""


def test_imports_point_down() -> None:
    """Every module imports from floors below it, or from modules before it on its own; typing imports too."""
    order = FLOORS.split()
    assert sorted(order) == sorted(_module(path) for path in PACKAGE.rglob("*.py"))
    for index, name in enumerate(order):
        path = PACKAGE / (name.replace(".", "/") + ".py")
        if not path.exists():
            path = PACKAGE / name.replace(".", "/") / "__init__.py"
        wrong = _imports(path) - set(order[:index])
        assert not wrong, f"{name} imports {sorted(wrong)}, which stand above it"


def test_the_ground_floor_is_pure() -> None:
    """The ground floor knows neither trio nor sockets, so it can be tested without a loop."""
    for path in (PACKAGE / "ground").glob("*.py"):
        found = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not found & {"trio", "socket", "threading", "asyncio", "hypercorn"}, path


def test_nothing_else_than_trio_runs_tasks() -> None:
    """No module imports asyncio, anyio or sniffio."""
    for path in PACKAGE.rglob("*.py"):
        assert not {"asyncio", "anyio", "sniffio"} & _top_level(path), path


def test_rooms_are_small() -> None:
    """No module has grown past 320 lines, and no function past 60: then it has more than one purpose."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 320, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno <= 60, (path, node.name)


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trioweb":
            found.add(node.module.removeprefix("trioweb").removeprefix(".") or "__init__")
    return found


def _top_level(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found
