"""The app under test in the tests of bodies over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio

from tests.notes import note
from tests.state import state
from trioweb import App, Form, HTMLResponse, HTTPError, Query, Request, Router, UploadFile

app = App(max_body_size=1_000_000, body_timeout=1)
app.get("/state")(state)


class Item(msgspec.Struct):
    """A JSON body."""

    name: str
    rest: Any = None


@app.get("/")
async def root() -> str:
    """Answer at once."""
    return "ok"


@app.get("/items")
async def items(limit: Annotated[int, Query, msgspec.Meta(ge=1)] = 10) -> int:
    """A query parameter."""
    return limit


@app.post("/item")
async def item(item: Item) -> str:
    """A typed body."""
    return item.name


@app.post("/body")
async def body(request: Request) -> int:
    """A whole body."""
    return len(await request.body())


@app.post("/stream")
async def stream(request: Request) -> int:
    """A body as it comes, at the pace of the handler."""
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            note("read", size)
            if "slow" in request.query:
                await trio.sleep(0.05)
    except BaseException as error:
        note("broken by", type(error).__name__)
        raise
    return size


@app.post("/form")
async def form(request: Request) -> list[Any]:
    """A form, and what is in it."""
    return await shown(await request.form())


async def shown(form: Any) -> list[Any]:
    """What is in a form."""
    found: list[Any] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            data = await value.read()
            found.append([name, value.filename, value.content_type, len(data), data[:10].decode("latin-1")])
        else:
            found.append([name, value])
    return found


large = Router("/large", max_body_size=50_000_000)


@large.post("/form")
async def large_form(file: list[UploadFile], title: Annotated[str, Form] = "") -> list[Any]:
    """A form with large files, which is allowed here."""
    note("temporary files", temporary_files())
    return [title, *([each.filename, each.size] for each in file)]


@large.post("/tiny", max_body_size=10)
async def tiny(request: Request) -> int:
    """A route whose own limit is smaller than its router's."""
    return len(await request.body())


app.include(large)


@app.post("/parts")
async def parts(request: Request) -> list[Any]:
    """The parts of a form as they come."""
    return [[part.name, part.filename, sum([len(data) async for data in part])] async for part in request.parts()]


@app.post("/lines")
async def lines(request: Request) -> AsyncIterator[dict[str, int]]:
    """Read a stream and give one."""
    async for value in request.json_lines(int):
        yield {"twice": 2 * value}


@app.post("/refuses")
async def refuses(request: Request) -> None:
    """An upload that is refused unread."""
    raise HTTPError(403)


def temporary_files() -> int:
    """How many files without a name this process has open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # of the directory itself
            links.append(str(link.readlink()))
    return sum("(deleted)" in link for link in links)


@app.get("/files")
async def files() -> int:
    """The same."""
    return temporary_files()


PAGE = """<!doctype html><meta charset="utf-8"><title>form</title>
<form method="post" enctype="multipart/form-data" action="/form">
<input name="größe" value="zwölf €"><input name="empty"><textarea name="text">one
two</textarea><input type="file" name="files" id="files" multiple><input type="file" name="none">
<input type="checkbox" name="on" checked></form>
<form id="plain" method="post" action="/form"><input name="größe" value="a+b &amp; c"></form>"""


@app.get("/page")
async def page() -> Any:
    """A form for a browser."""
    return HTMLResponse(PAGE)
