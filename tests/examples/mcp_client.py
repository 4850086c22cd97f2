"""A client of ``examples/mcp.py`` by the SDK, in a process of its own: it calls a tool and leaves in the middle.

The SDK leaves async generators to the garbage collector, which tests take for an error.
"""

from __future__ import annotations

import sys

import trio
from mcp import Client


async def leave(url: str, mode: str, how: str) -> None:
    """Call a tool that tells of its steps, or one that says nothing; leave when a line of input says so."""

    async def show(progress: float, total: float | None, message: str | None) -> None:
        print(f"step {progress:g} of {total:g}", flush=True)  # noqa: T201 - what the test reads

    async with Client(url, mode=mode) as client, trio.open_nursery() as nursery:

        async def call() -> None:
            await client.call_tool("count", {"to": 1000}, progress_callback=show if how == "tells" else None)

        nursery.start_soon(call)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


address, protocol, way = sys.argv[1:]
trio.run(leave, address, protocol, way)
