"""A feed of news for each person: a browser that was away gets what it has missed.

::

    hypercorn -k trio examples.notifications:app
    curl localhost:8000/people/ada -H "Content-Type: application/json" -d '{"text": "Your order has left."}'
    curl -N localhost:8000/feed -H "Authorization: Bearer ada" -H "Last-Event-ID: 0"

Each event has an id, after which ``Last-Event-ID`` goes on; ``0`` is none, and gets a gap and all that is kept. With
``REDIS_URL`` set it works with several workers.
"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec

from trioweb import App, EventStreamResponse, Header, HTTPError, Provide, Request
from trioweb.hub import Hub, HubUnavailable, MemoryHub, RedisHub

app = App()
hub: Hub = (
    RedisHub(os.environ["REDIS_URL"], prefix="news:", history_seconds=3600)
    if "REDIS_URL" in os.environ
    else MemoryHub(history_seconds=3600)
)
app.lifespan(hub)


class News(msgspec.Struct):
    """What is told to somebody."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


def person(authorization: Annotated[str, Header()] = "") -> str:
    """Who asks. A real app would look a token up."""
    scheme, _, name = authorization.partition(" ")
    if scheme != "Bearer" or not name:
        raise HTTPError(401, "say who you are", {"www-authenticate": "Bearer"})
    return name


@app.get("/feed")
async def feed(request: Request, person: Annotated[str, Provide(person)]) -> EventStreamResponse:
    """The news of one person, and of all: nobody can ask for those of another."""
    return hub.stream(f"person:{person}", "all", after=request.last_event_id)


@app.post("/people/{name}")
async def tell(name: str, news: News) -> dict[str, str]:
    """Tell somebody."""
    return {"id": await hub.publish(f"person:{name}", news, event="news")}


@app.post("/all")
async def tell_all(news: News) -> dict[str, str]:
    """Tell everybody."""
    return {"id": await hub.publish("all", news, event="news")}


@app.error_handler(HubUnavailable)
async def unavailable(_request: Request, _error: HubUnavailable) -> None:
    """Nobody was told: the client may try again."""
    raise HTTPError(503, "try again", {"retry-after": "5"})
