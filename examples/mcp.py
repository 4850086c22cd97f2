"""Tools for a language model, by the SDK of MCP: tasks of trio, which are cancelled when their client leaves.

::

    hypercorn -k trio examples.mcp:app
    curl localhost:8000/calls

It needs ``pip install mcp``. ``python -m examples.mcp`` is a client: it asks which tools there are, counts to three,
and leaves in the middle of a longer count.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from trioweb import App

app = App()
tools = MCPServer("examples")
calls: Counter[str] = Counter()


@contextmanager
def counted() -> Iterator[None]:
    """Count how the work inside ends."""
    how = "cancelled"
    calls["running"] += 1
    try:
        yield
        how = "finished"
    finally:
        calls["running"] -= 1
        calls[how] += 1


@tools.tool()
async def count(to: int, ctx: Context) -> str:
    """Count slowly, and tell of each step."""
    with counted():
        for number in range(1, to + 1):
            await trio.sleep(0.1)
            await ctx.report_progress(number, to)
        return f"counted to {to}"


@app.get("/calls")
async def count_calls() -> dict[str, int]:
    """How many calls of tools run, were cancelled, and have finished."""
    return dict(calls)


# The SDK's app opens what it needs in its lifespan, which runs with ours. It has one route, /mcp.
app.mount("/", tools.streamable_http_app())


async def use(url: str) -> None:
    """What a client does."""

    async def show(progress: float, total: float | None, message: str | None) -> None:
        print(f"{progress:g} of {total:g}" if total else message)

    async with Client(url) as client:
        print(*(tool.name for tool in (await client.list_tools()).tools))
        result = await client.call_tool("count", {"to": 3}, progress_callback=show)
        print(result.structured_content)
        with trio.move_on_after(0.5):
            await client.call_tool("count", {"to": 1000}, progress_callback=show)
        print("left")


if __name__ == "__main__":
    trio.run(use, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/mcp")
