"""What a worker holds: told by an app under test at ``/state``, and compared with what it held when it was new."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.servers import Server, read_all

IDLE = "hypercorn.trio.tcp_server.TCPServer._idle_timeout"
CONNECTION = "trio._highlevel_serve_listeners._run_handler"


async def state() -> dict[str, Any]:
    """Tell the worker's tasks by name, its open descriptors, and the memory that it holds in KiB."""
    root = trio.lowlevel.current_root_task()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free is no growth
    status = Path("/proc/self/status").read_text()
    return {
        "pid": os.getpid(),
        "tasks": Counter(_names_below(root)) if root is not None else {},
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - less the one of the list
        "memory": int(re.findall(r"VmRSS:\s+(\d+)", status)[0]),
    }


def _names_below(task: trio.lowlevel.Task) -> Iterator[str]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child.name
            yield from _names_below(child)


def get_state(server: Server, path: str = "/state") -> Any:
    """What a worker says that it holds."""
    with server.request(path, headers="Connection: close\r\n") as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return json.loads(body)


@dataclass
class Load:
    """What a worker holds: its tasks and its open descriptors, without the connections that are idle."""

    tasks: dict[str, int]
    descriptors: int

    @classmethod
    def of(cls, server: Server) -> Load:
        """What it holds now."""
        state = get_state(server)
        tasks, descriptors = dict(state["tasks"]), state["descriptors"]
        # Hypercorn keeps a connection that is idle until its time is up, though its client may have left.
        idle = tasks.pop(IDLE, 0)
        if idle:
            tasks[CONNECTION] = tasks.get(CONNECTION, 0) - idle
        return cls(tasks, descriptors - idle)

    def beyond(self, other: Load) -> dict[str, int]:
        """What there is more of, by name."""
        counts = {**self.tasks, "open descriptors": self.descriptors}
        base = {**other.tasks, "open descriptors": other.descriptors}
        return {name: count - base.get(name, 0) for name, count in counts.items() if count > base.get(name, 0)}


def settle(server: Server) -> Load:
    """What a server holds that has nothing to do: the same twice, a moment apart."""
    last = Load.of(server)
    for _ in range(100):
        time.sleep(0.01)
        now = Load.of(server)
        if now == last:
            break
        last = now
    return last
