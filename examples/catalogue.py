"""An API that describes itself: OpenAPI 3.2 with its streams, Swagger UI, and a page that tries the streams.

::

    hypercorn -k trio examples.catalogue:app
    curl localhost:8000/openapi.json
    curl -N localhost:8000/sales

Then open http://localhost:8000/docs, and http://localhost:8000/docs/streams. ``trioweb openapi examples.catalogue:app``
prints the description, for a file.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import trio

from trioweb import App, EventStreamResponse, Header, HTTPError, Provide
from trioweb.openapi import security

app = App()


class Item(msgspec.Struct):
    """Something for sale."""

    name: Annotated[str, msgspec.Meta(min_length=1, description="As it stands on the label.")]
    price: Annotated[float, msgspec.Meta(ge=0, description="In euros.")]


class Sold(msgspec.Struct, tag=True):
    """One of an item was sold."""

    name: str


class Closed(msgspec.Struct, tag=True):
    """The shop has closed."""

    sold: int


items = {1: Item("tea", 4.5), 2: Item("mug", 9.5), 3: Item("spoon", 2)}


@security("token", {"type": "http", "scheme": "bearer"})
async def clerk(authorization: Annotated[str, Header] = "") -> str:
    """Who works here: whoever knows the token."""
    if authorization != "Bearer secret":
        raise HTTPError(401, headers={"www-authenticate": "Bearer"})
    return "ada"


@app.get("/items", tags=["items"])
async def export(
    limit: Annotated[int, msgspec.Meta(ge=1, description="At most so many.")] = 100,
) -> AsyncIterator[Item]:
    """Export the items, one a line."""
    for item in list(items.values())[:limit]:
        yield item


@app.get("/items/{id:int}", tags=["items"], responses={404: "There is no such item."})
async def find(id: int) -> Item:  # noqa: A002 - its name in the path
    """Find an item."""
    if id not in items:
        raise HTTPError(404, "There is no such item.")
    return items[id]


@app.post("/items", tags=["items"])
async def create(item: Item, clerk: Annotated[str, Provide(clerk)]) -> dict[str, int]:  # noqa: ARG001 - it is checked
    """Put an item on sale, as one who works here."""
    items[len(items) + 1] = item
    return {"id": len(items)}


@app.get("/sales", tags=["sales"])
async def sales() -> EventStreamResponse[Sold | Closed]:
    """Tell of today's sales, as they are made."""

    async def events() -> AsyncIterator[Sold | Closed]:
        for item in items.values():
            await trio.sleep(0.5)
            yield Sold(item.name)
        yield Closed(len(items))

    return EventStreamResponse(events())


app.add_docs("/docs", title="Catalogue", version="1.0")
