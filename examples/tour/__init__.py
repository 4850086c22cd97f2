"""The tour: what streaming is for, on one page, with real input.

Run it from the root of the checkout, then open http://localhost:8000 in a browser::

    hypercorn -k trio examples.tour:app
    curl -N localhost:8000/orders.csv
    curl -N localhost:8000/load

The first start makes a database and a large file next to this code, or in the directory that ``TOUR_DATA`` names.
A browser opens at most six connections to a server that speaks HTTP/1.1, and this page has five streams: look at it in
one window at a time, or give Hypercorn a certificate, since over HTTP/2 there is no such limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from examples.chat import hub as room
from examples.tour import activity, chat, clock, download, load, pieces, table
from examples.tour.files import PAGE
from examples.tour.meter import Meter
from examples.tour.visits import board
from trioweb import App, StaticFiles

app = App(min_rate=None)  # who pulls a slider down to nothing watches the producer wait: a minute, and not ten seconds
app.add_middleware(Meter)

for part in (activity, table, download, load, pieces, clock, chat):
    app.include(part.router)

app.mount("/", StaticFiles(PAGE, html=True, cache_control="no-cache"))


app.lifespan(room)
app.lifespan(board.hub)


@app.lifespan
async def publish_lines(_: App) -> AsyncIterator[None]:
    """Have the lines of the board published."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.publish)
        yield
        nursery.cancel_scope.cancel()


@app.lifespan
async def make_files(_: App) -> AsyncIterator[None]:
    """Make what is not there yet, before the first request; in threads, so that a Ctrl-C is heard meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, table.make)
        nursery.start_soon(trio.to_thread.run_sync, download.make)
    yield
