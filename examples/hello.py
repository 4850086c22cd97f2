"""What a handler returns is the response, and what it yields is a stream.

::

    hypercorn -k trio examples.hello:app
    curl localhost:8000/hello/Ada
    curl "localhost:8000/sum?a=2&b=3"
    curl -N localhost:8000/ticks
"""

from collections.abc import AsyncIterator

import trio

from trioweb import App

app = App()


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    """Text, from a part of the path."""
    return f"Hello, {name}!\n"


@app.get("/sum")
async def add(a: int, b: int = 1) -> dict[str, int]:
    """JSON, from the query. What is no number is a 422 that says so."""
    return {"sum": a + b}


@app.get("/ticks")
async def ticks() -> AsyncIterator[dict[str, int]]:
    """JSON lines, a line each second. A client that leaves ends the loop, also while it sleeps."""
    for tick in range(10):
        yield {"tick": tick}
        await trio.sleep(1)
