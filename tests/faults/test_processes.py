"""What happens to the processes themselves: one is killed, or may open no more descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.faults.conftest import TARGET
from tests.servers import PATIENCE, Server, read_all, read_until
from tests.state import get_state, settle


def test_no_more_descriptors(start_server: StartServer, runner: str) -> None:
    """A server that may open no more descriptors serves those that it has, and all others once there are some again."""
    # Our own server accepts no more connections than it has descriptors for, unless it is told to.
    options = ("--max-connections", "1000") if runner == "trioweb" else ()
    server = start_server(TARGET, "--keep-alive", "1", *options, runner=runner, descriptors=64)
    before = settle(server)
    with server.request("/events") as first:
        read_until(first, b"data: ")
        crowd = [server.connect() for _ in range(100)]
        for client in crowd:
            client.sendall(b"GET /sleepy HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_output("Too many open files")
        read_until(first, b"data: ")
        for client in crowd:
            client.close()
    end = time.monotonic() + PATIENCE
    while more := settle(server).beyond(before):
        assert time.monotonic() < end, more
    assert server.curl("/") == (0, b"ok")


@pytest.fixture
def load() -> threading.Event:
    """Set it to end what ``ask_on`` does."""
    return threading.Event()


def ask_on(server: Server, over: threading.Event, answers: list[bool]) -> None:
    """Ask again and again until it is over; note whether each was answered."""
    while not over.is_set():
        data = b""
        with contextlib.suppress(OSError), server.request("/small/10", headers="Connection: close\r\n") as client:
            data = read_all(client)
        answers.append(data.endswith(b"\r\n\r\nssssssssss"))


# Under Hypercorn's own command all workers stop when one has died, which only its master could change.
def test_a_worker_is_killed(start_server: StartServer, load: threading.Event) -> None:
    """Of three workers under load one is killed: the others go on with their streams, and it has a successor."""
    server = start_server(TARGET, "--workers", "3", runner="trioweb")
    wait_for_workers(server, 3)
    streams = {worker: stream_of(server, worker) for worker in server.workers}
    answers: list[bool] = []
    asking = [threading.Thread(target=ask_on, args=(server, load, answers)) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        killed = server.workers[1]
        os.kill(killed, signal.SIGKILL)
        wait_for_workers(server, 3, without=killed)
        for worker, stream in streams.items():
            if worker == killed:
                with contextlib.suppress(ConnectionResetError):
                    assert not read_all(stream).endswith(b"0\r\n\r\n")
            else:
                read_until(stream, b"data: ")
    finally:
        load.set()
        for thread in asking:
            thread.join()
        for stream in streams.values():
            stream.close()
    assert server.process.poll() is None
    # Cut can be only what the killed one had in its hands, or had accepted.
    assert answers.count(False) <= len(asking) + 5
    assert answers.count(True) > len(asking)
    assert server.curl("/") == (0, b"ok")


def wait_for_workers(server: Server, count: int, without: int | None = None) -> None:
    """Wait until so many workers have answered, that one not among them."""
    end = time.monotonic() + PATIENCE
    seen: set[int] = set()
    while len(seen) < count:
        assert time.monotonic() < end, f"{seen} of {server.workers}\n{server.output}"
        with contextlib.suppress(OSError, AssertionError):
            seen.add(get_state(server)["pid"])
        seen &= set(server.workers) - {without}


def stream_of(server: Server, worker: int) -> socket.socket:
    """An event stream from that worker."""
    for _ in range(200):
        before = inodes(worker)
        client = server.request("/events")
        read_until(client, b"data: ")
        if len(inodes(worker)) > len(before):
            return client
        client.close()
    raise AssertionError(f"{worker} does not answer")


def inodes(worker: int) -> set[str]:
    """The sockets that a process has open."""
    found = set()
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return {name for name in found if name.startswith("socket:")}
