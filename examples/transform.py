"""A large upload, transformed line by line, and streamed back while it still arrives: in constant memory.

::

    hypercorn -k trio examples.transform:app
    seq -f '{"id": %.0f, "price": 2.5, "count": 3}' 1000000 > orders.jsonl
    curl -N -T orders.jsonl -X POST localhost:8000/totals?least=5
    curl -F file=@orders.jsonl localhost:8000/measure

A client that reads slowly slows its own upload down; one that leaves ends the work; a line that is wrong breaks the
response off where it stands, so that nobody takes it for whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec

from trioweb import App, Query, Request

app = App()


class Order(msgspec.Struct):
    """A line that comes in."""

    id: int
    price: Annotated[float, msgspec.Meta(ge=0)]
    count: int = 1


class Total(msgspec.Struct):
    """A line that goes out."""

    id: int
    total: float


@app.post("/totals")
async def totals(request: Request, least: Annotated[float, Query, msgspec.Meta(ge=0)] = 0) -> AsyncIterator[Total]:
    """Give the total of each order of at least so much, as soon as the order is there."""
    async for order in request.json_lines(Order):
        total = order.price * order.count
        if total >= least:
            yield Total(order.id, total)


@app.post("/measure")
async def measure(request: Request) -> AsyncIterator[dict[str, object]]:
    """Say of each file of a form, as it arrives, how many bytes and lines it has. Nothing of it is kept."""
    async for part in request.parts():
        size = lines = 0
        async for data in part:
            size += len(data)
            lines += data.count(b"\n")
        if part.filename is not None:
            yield {"file": part.filename, "bytes": size, "lines": lines}
