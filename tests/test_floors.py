"""The floors of the house: an import only ever points down."""

from __future__ import annotations

import ast
from pathlib import Path

import trioweb

PACKAGE = Path(trioweb.__file__).parent

# From the ground up. A module may import those of its own folder and of the folders before it.
FLOORS = [
    "ground.http", "ground", "io", "streams", "messages", "testing", "handlers", "openapi", "exchange", "sockets",
    "app", "middleware", "security", "hub", "contrib", "server.wire", "server.websocket", "server.http1",
    "server.http2", "server.hypercorn", "server.logs", "server.process", "server",
]  # fmt: skip
# In these two the order of folders is that of use, and a folder may know the others.
GROUND, SERVER = FLOORS[:2], FLOORS[-8:]

# What the server may know of the package: the ground floor, what stands between it and an app, and what the system does
# with files and connections. None of these knows the framework.
BELOW_SERVER = {
    "ground", "ground.http", "server", "io.disk", "io.poller", "io.sendfile", "io.tcp", "io.threads", "io.transport",
}  # fmt: skip
# Who may import Hypercorn: its configuration and logger are public; what reaches into its protocols has a folder.
LIBRARIES = {"hypercorn", "h2", "wsproto", "aioquic"}
HYPERCORN = {"server.config": {"hypercorn.config"}, "server.logs.logs": {"hypercorn.logging"}}


def test_imports_point_down() -> None:
    """Every folder imports from folders below it only; typing imports too."""
    folders = {_folder(module) for module in MODULES if "." in module}
    assert folders == set(FLOORS)
    for module, found in MODULES.items():
        if "." in module:
            floor = FLOORS.index(_folder(module))
            wrong = {each for each in found if FLOORS.index(_folder(each)) > floor and not _together(module, each)}
            assert not wrong, f"{module} imports {sorted(wrong)}, which stand above it"


def test_imports_make_no_cycles() -> None:
    """No module imports, by way of others, itself; typing imports too."""
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"{' -> '.join((*way, module))}"
        if module not in done:
            for each in sorted(MODULES[module]):
                visit(each, (*way, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_every_module_is_in_a_folder() -> None:
    """Beside the folders are the public names and the command line; a folder has at most 20 modules and a door sign."""
    assert {module for module in MODULES if "." not in module} - {*FLOORS, *FOLDERS} == {"__init__", "__main__"}
    for folder in FOLDERS:
        assert len(list((PACKAGE / folder.replace(".", "/")).glob("*.py"))) <= 20, folder
        assert ast.get_docstring(ast.parse((PACKAGE / folder.replace(".", "/") / "__init__.py").read_text())), folder


def test_the_ground_floor_is_pure() -> None:
    """The ground floor knows neither trio nor sockets, so it can be tested without a loop."""
    for path in (PACKAGE / "ground").rglob("*.py"):
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


def test_the_server_knows_no_framework() -> None:
    """The server imports none of the framework's insides, only what stands below both; its Hypercorn's, one more."""
    for module, found in MODULES.items():
        if module.split(".")[0] == "server":
            allowed = BELOW_SERVER | ({"io.hypercorn"} if _folder(module) == "server.hypercorn" else set())
            wrong = {each for each in found if not {each, _folder(each), each.split(".")[0]} & allowed}
            assert not wrong, f"{module} imports {sorted(wrong)}"
    known = {each for module in BELOW_SERVER if module.startswith("io.") for each in MODULES[module]}
    assert not {each for each in known if not {each, _folder(each)} & BELOW_SERVER}


def test_one_folder_reaches_into_hypercorn() -> None:
    """Hypercorn is imported by the folder of that name, but for its configuration and logger; its libraries as well."""
    for module, path in ALL.items():
        if _folder(module) != "server.hypercorn":
            found = {
                each for each in _imported(path) if each.split(".")[0] in {"hypercorn", "h2", "wsproto", "aioquic"}
            }
            assert found == HYPERCORN.get(module, set()), module


def test_one_module_decodes_the_heads_of_http2() -> None:
    """The package that decodes the heads of HTTP/2 is known to one module, so that a faster one can take its place."""
    assert {module for module, path in ALL.items() if "hpack" in _top_level(path)} == {"server.http2.blocks"}


def test_rooms_are_small() -> None:
    """No module has grown past 330 lines, and no function past 60: then it has more than one purpose."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 330, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno <= 60, (path, node.name)


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _folder(module: str) -> str:
    return module if module in FOLDERS else module.rpartition(".")[0]


def _together(module: str, other: str) -> bool:
    return any({_folder(module), _folder(other)} <= set(group) for group in (GROUND, SERVER))


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trioweb":
            name = node.module.removeprefix("trioweb").removeprefix(".")
            modules = {f"{name}.{alias.name}" for alias in node.names}
            found |= {each for each in modules if each in ALL} or {name or "__init__"}
    return found


def _top_level(path: Path) -> set[str]:
    return {module.split(".")[0] for module in _imported(path)}


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


ALL = {_module(path): path for path in PACKAGE.rglob("*.py")}
FOLDERS = {module for module, path in ALL.items() if path.name == "__init__.py" and module != "__init__"}
MODULES = {module: _imports(path) for module, path in ALL.items()}
