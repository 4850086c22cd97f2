"""Who is measured: what each installs, how each is started, and what each cannot do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

OURS, OUR_SERVER, BARE, STARLETTE = "trioweb", "trioweb-run", "bare", "starlette"
UVICORN, GRANIAN, ROBYN, SPIKARD, NODE = "starlette-uvicorn", "starlette-granian", "robyn", "spikard", "node"
FASTAPI, FASTAPI_UVICORN, LITESTAR, QUART = "fastapi", "fastapi-uvicorn", "litestar", "quart-trio"

HYPERCORN_SERVER = ("-m", "hypercorn", "-k", "trio", "--bind", "127.0.0.1:{port}", "{target}")
OWN_SERVER = ("-m", "trioweb", "run", "--bind", "127.0.0.1:{port}", "{target}")
UVICORN_SERVER = (
    "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools",
    "--no-access-log", "--log-level", "warning", "{target}",
)  # fmt: skip
GRANIAN_SERVER = (
    "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1",
    "--loop", "uvloop", "--backpressure", "20000", "--log-level", "warning", "{target}",
)  # fmt: skip
ROBYN_SERVER = ("-m", "tests.benchmarks.apps.robyn_app", "--log-level", "WARN", "--disable-openapi")

NO_STREAMS = "cannot stream"
STREAMS = ("async", "sync", "json", "csv", "large", "small", "file", "idle", "asleep", "ticking", "memory", "unread")


@dataclass(frozen=True)
class Contender:
    """One column of the table.

    Attributes:
        key: its name in data.
        label: its name in the table.
        packages: what pip installs for it; two with the same share an environment. None: not of Python.
        shown: those packages whose versions are named.
        module: its app, in ``tests.benchmarks.apps``.
        server: what follows the interpreter on the command line that starts it, with ``{port}`` and ``{target}``.
        same_server: it runs on ``hypercorn -k trio``, as the others that do.
        imports: the statement whose time is taken, "" for none.
        cannot: pieces of work that it cannot do, and why.
        only: the pieces of work that it is there for, if not all.
    """

    key: str
    label: str
    packages: tuple[str, ...] | None
    shown: tuple[str, ...]
    module: str
    server: tuple[str, ...] = HYPERCORN_SERVER
    same_server: bool = True
    imports: str = ""
    cannot: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] | None = None

    def command(self, python: Path, port: int) -> list[str]:
        """What starts it on a port."""
        target = f"tests.benchmarks.apps.{self.module}:app"
        return [str(python), *(part.format(port=port, target=target) for part in self.server)]


def _needs_of_trioweb() -> tuple[str, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return tuple(project["dependencies"])


TRIOWEB = (*_needs_of_trioweb(), "pydantic")
ON_HYPERCORN = ("hypercorn", "trio", "msgspec")
FAST_LOOP = ("uvloop", "httptools", "msgspec")

CONTENDERS: Sequence[Contender] = (
    Contender(BARE, "bare ASGI", TRIOWEB, (), "bare_app", cannot={"file_form": "no parser", "field_form": "no parser"}),
    Contender(OURS, "trioweb", TRIOWEB, ("trio", "hypercorn"), "trioweb_app", imports="import trioweb"),
    Contender(
        STARLETTE, "Starlette", ("starlette", "python-multipart", *ON_HYPERCORN), ("starlette",), "starlette_app",
        imports="import starlette.applications, starlette.responses, starlette.routing",
    ),
    Contender(
        FASTAPI, "FastAPI", ("fastapi", *ON_HYPERCORN), ("fastapi",), "fastapi_app", imports="import fastapi",
    ),
    Contender(
        LITESTAR, "Litestar", ("litestar", *ON_HYPERCORN), ("litestar",), "litestar_app", imports="import litestar",
    ),
    Contender(
        QUART, "Quart-Trio", ("quart-trio", *ON_HYPERCORN), ("quart-trio",), "quart_app", imports="import quart_trio",
        cannot={"sync": "needs asyncio"},
    ),
    Contender(OUR_SERVER, "trioweb run", TRIOWEB, (), "trioweb_app", OWN_SERVER, same_server=False),
    Contender(
        UVICORN, "Starlette, uvicorn", ("starlette", "uvicorn", *FAST_LOOP), ("uvicorn", "uvloop"), "starlette_app",
        UVICORN_SERVER, same_server=False,
    ),
    Contender(
        FASTAPI_UVICORN, "FastAPI, uvicorn", ("fastapi", "uvicorn", *FAST_LOOP), (), "fastapi_app", UVICORN_SERVER,
        same_server=False, only=("pydantic",),
    ),
    Contender(
        GRANIAN, "Starlette, granian", ("starlette", "granian", *FAST_LOOP), ("granian",), "starlette_app",
        GRANIAN_SERVER, same_server=False,
    ),
    Contender(
        ROBYN, "Robyn", ("robyn", "msgspec"), ("robyn",), "robyn_app", ROBYN_SERVER, same_server=False,
        imports="import robyn", cannot=dict.fromkeys(("idle", "idle_request"), "at most 512"),
    ),
    Contender(
        SPIKARD, "Spikard", ("spikard", "msgspec"), ("spikard",), "spikard_app",
        ("-m", "tests.benchmarks.apps.spikard_app"), same_server=False, imports="import spikard",
        cannot=dict.fromkeys(STREAMS, NO_STREAMS),
    ),
    Contender(
        NODE, "Node http", None, ("node",), "", ("tests/benchmarks/apps/node_app.js",), same_server=False,
        cannot={"sync": "has no threads"},
    ),
)  # fmt: skip
TWINS = tuple(each.key for each in CONTENDERS if each.only is None and each.key not in {SPIKARD, NODE})
"""Those whose handlers have the twins: the same routes, of handlers that mention more."""
BY_KEY: Mapping[str, Contender] = {contender.key: contender for contender in CONTENDERS}
ON_UVICORN: Mapping[str, Contender] = {STARLETTE: BY_KEY[UVICORN], FASTAPI: BY_KEY[FASTAPI_UVICORN]}
"""Frameworks on the server that most run them on, by their keys."""
