"""Request ids in logs."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
import trio

from tests.asgi import ask
from tests.sites import MOMENT, PATIENCE, SITES
from trioweb import App, Provide, RequestID
from trioweb.middleware import RequestIDFilter, request_id

logger = logging.getLogger("shop")


class Lines(logging.Handler):
    """Keeps what it has formatted."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(request_id)s %(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        self.lines.append(self.format(record).partition("\n")[0])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged, each line with the id of its request."""
    handler, root = Lines(), logging.getLogger()
    handler.addFilter(RequestIDFilter())
    root.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    root.removeHandler(handler)


def dependency() -> int:
    """A dependency that logs."""
    logger.info("dependency")
    return 1


def make() -> App:
    """An app whose requests log in each place where a user's code runs."""
    app = App()
    app.middleware(RequestID())

    async def task() -> None:
        logger.info("task")
        await trio.to_thread.run_sync(logger.info, "thread")

    @app.get("/async")
    async def waits(one: Annotated[int, Provide(dependency)], nursery: trio.Nursery) -> str:
        nursery.start_soon(task)
        logger.info("handler")
        app.nursery.start_soon(task)
        return "x"

    @app.get("/sync")
    def blocks() -> str:
        logger.info("handler")
        return "x"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        logger.info("begin")
        yield "a"
        await trio.sleep(0)
        logger.info("more")
        yield "b"

    @app.get("/rows")
    def rows() -> Iterator[str]:
        logger.info("begin")
        yield "a"
        logger.info("more")
        yield "b"

    @app.get("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "a"
        await trio.sleep(0)
        raise ValueError("late")

    @app.get("/fails")
    async def fails() -> str:
        raise ValueError("soon")

    return app


@pytest.mark.parametrize("where", [name for name in SITES if name != "in process, no lifespan"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/async", ["dependency", "handler", "task", "task", "thread", "thread"]),
        ("/sync", ["handler"]),
        ("/stream", ["begin", "more"]),
        ("/rows", ["begin", "more"]),
        ("/breaks", ["GET /breaks: the response was broken off after 1 bytes"]),
        ("/fails", ["GET /fails: tests.middleware.test_requestid.make.<locals>.fails failed"]),
    ],
)
async def test_every_line_of_a_request_has_its_id(lines: list[str], where: str, path: str, expected: list[str]) -> None:
    """Whatever a request runs logs with its id, and so is its fault logged, a late one too."""
    site: Any = SITES[where]
    app = make()
    async with site(app) as here:
        for number in ("one", "two"):
            await (await here.request(path, "GET", {"x-request-id": number}, b"")).end()
            await here.quiet()
            with trio.fail_after(PATIENCE):
                while len([line for line in lines if line.startswith(f"{number} ")]) < len(expected):
                    await trio.sleep(MOMENT)
            found = sorted(line for line in lines if " shop " in line or " trioweb " in line)
            lines.clear()
            names = ["shop" if path not in {"/breaks", "/fails"} else "trioweb"] * len(expected)
            assert found == [f"{number} {name} {text}" for name, text in zip(names, expected, strict=True)]


async def test_outside_of_a_request(lines: list[str]) -> None:
    """Outside of requests there is no id, and a record says so; the lifespan, too."""
    app = make()

    @app.lifespan
    async def lifespan(app: App) -> AsyncIterator[None]:
        logger.info("starts")
        yield

    assert request_id.get() is None
    async with app.test_client() as client:
        await client.get("/sync")
        logger.info("test")
    assert request_id.get() is None
    assert [line for line in lines if " shop " in line][::2] == ["- shop starts", "- shop test"]


async def test_the_filter_in_a_configuration() -> None:
    """The filter can be named in a logging configuration, with a default; an id that a record has already stays."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"id": {"()": "trioweb.middleware.RequestIDFilter", "default": "none"}},
            "formatters": {"id": {"format": "%(request_id)s %(message)s"}},
            "handlers": {"lines": {"()": Lines, "filters": ["id"], "formatter": "id"}},
            "loggers": {"shop.till": {"handlers": ["lines"], "level": "INFO"}},
        }
    )
    till = logging.getLogger("shop.till")
    [handler] = till.handlers
    assert isinstance(handler, Lines)
    try:
        till.info("outside")
        till.info("given", extra={"request_id": "own"})
        app = make()

        @app.get("/")
        async def root() -> None:
            till.info("inside")

        await ask(app, "/", headers=[(b"x-request-id", b"abc")])
    finally:
        till.removeHandler(handler)
    assert handler.lines == ["none outside", "own given", "abc inside"]
