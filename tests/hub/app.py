"""An app on a hub that its workers share: where its engine is, the environment says."""

from __future__ import annotations

import os

from trioweb import App, EventStreamResponse, Request
from trioweb.hub import RedisHub

app = App()
hub = RedisHub(os.environ["HUB_URL"], lease=1.0)
app.lifespan(hub)


@app.get("/events")
async def events(request: Request) -> EventStreamResponse:
    """The events of a topic, from where the client has left."""
    return hub.stream("news", after=request.last_event_id)


@app.get("/worker")
async def worker() -> int:
    """Which process answers."""
    return os.getpid()


@app.post("/publish/{number:int}")
async def publish(number: int) -> str:
    """Publish a number."""
    return await hub.publish("news", number)
