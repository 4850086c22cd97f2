"""How fast trioweb takes bodies in, beside what its users would run instead: ``python -m tests.benchmarks.inputs``.

As ``tests.benchmarks.run``: every app under ``hypercorn -k trio`` in a process of its own, rounds interleaved, medians,
answers compared. The CPU time of the server is what counts; the client takes its share of the time on the clock. Needs
Linux, Starlette, FastAPI and python-multipart, and wrk for the typed JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.client import PATIENCE, WrongBytes
from tests.benchmarks.run import CONNECTIONS, MIB, Goal, Row, _cpu_seconds, _figure, _forget_peak, _memory, _ratio
from tests.servers import Server, read_until

OURS, BARE, STARLETTE, FASTAPI = "trioweb", "bare", "starlette", "fastapi"
APPS = (OURS, BARE, STARLETTE, FASTAPI)
BLOCK = bytes(range(256)) * 4096
BOUNDARY = b"a boundary of a client"
ORDER = {
    "id": 1, "customer": "Ada", "city": "London", "street": "St James's Square 12", "amount": 12.5, "count": 4,
    "express": True, "note": None, "tags": ["a", "b"], "position": {"lat": 51.5, "lon": -0.1},
}  # fmt: skip


def upload(name: str, size: int, goal: Goal, servers: Mapping[str, Server], rounds: int) -> list[Row]:
    """Send a body of blocks that the handler counts; and how far the worker grows meanwhile."""
    pieces = [BLOCK] * (size // len(BLOCK))
    answer = str(size)
    wall, cpu = Row(name, "ms"), Row("   CPU of it", "ms", (goal,))
    memory = Row("   memory of it", "MiB", (Goal(2.0),), compared=False)
    for number in range(-1, rounds):
        for app in (OURS, BARE, STARLETTE):
            before = _memory(servers[app], "VmRSS")
            _forget_peak(servers[app])
            seconds, used = post(servers[app], "/count", "application/octet-stream", pieces, answer)
            if number >= 0:
                wall.add(app, seconds * 1e3)
                cpu.add(app, used * 1e3)
                memory.add(app, max(0, _memory(servers[app], "VmHWM") - before) / MIB)
    return [wall, cpu, memory]


def forms(
    name: str, pieces: Sequence[bytes], answer: str, goal: Goal, servers: Mapping[str, Server], rounds: int
) -> list[Row]:
    """Send a multipart form that the handler takes whole; ours in a second row as it arrives, without a file."""
    wall, cpu = Row(name, "ms", (goal,)), Row("   CPU of it", "ms")
    parts, parts_cpu = Row("   by request.parts()", "ms", (goal,)), Row("   CPU of it", "ms")
    content_type = f'multipart/form-data; boundary="{BOUNDARY.decode()}"'
    for number in range(-1, rounds):
        for app in (OURS, STARLETTE):
            seconds, used = post(servers[app], "/form", content_type, pieces, answer)
            if number >= 0:
                wall.add(app, seconds * 1e3)
                cpu.add(app, used * 1e3)
            path = "/parts" if app == OURS else "/form"
            seconds, used = post(servers[app], path, content_type, pieces, answer)
            if number >= 0:
                parts.add(app, seconds * 1e3)
                parts_cpu.add(app, used * 1e3)
    return [wall, cpu, parts, parts_cpu]


def post(server: Server, path: str, content_type: str, pieces: Sequence[bytes], answer: str) -> tuple[float, float]:
    """Send a body and check the answer; returns seconds on the clock, and of the server's CPU."""
    size = sum(map(len, pieces))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
    before = _cpu_seconds(server)
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(head.encode())
        for piece in pieces:
            client.sendall(piece)
        response = read_until(client, answer.encode())
        seconds = time.perf_counter() - begin
    if not response.startswith(b"HTTP/1.1 200") or not response.endswith(answer.encode()):
        raise WrongBytes(response.decode())
    return seconds, _cpu_seconds(server) - before


def file_form(size: int) -> tuple[list[bytes], str]:
    """A form with one file."""
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n\r\n' % BOUNDARY
    return [head, *[BLOCK] * (size // len(BLOCK)), b"\r\n--%s--\r\n" % BOUNDARY], f"1 {size}"


def field_form(count: int) -> tuple[list[bytes], str]:
    """A form of many small fields."""
    part = b'--%s\r\nContent-Disposition: form-data; name="field%d"\r\n\r\n%s\r\n'
    body = b"".join(part % (BOUNDARY, number, b"x" * 50) for number in range(count))
    return [body + b"--%s--\r\n" % BOUNDARY], f"{count} {count * 50}"


def typed(servers: Mapping[str, Server], rounds: int, seconds: int, directory: Path) -> list[Row]:
    """Many requests with a typed JSON body of ten fields."""
    script = directory / "post.lua"
    body = json.dumps(ORDER).replace("'", "\\'")
    script.write_text(
        f"wrk.method='POST'\nwrk.body='{body}'\nwrk.headers['Content-Type']='application/json'\n"
        "function response(status, headers, body)\n"
        "  if body:gsub(' ', '') ~= '{\"id\":1,\"total\":50.0}' then os.exit(1) end\nend\n"
    )
    cpu, rate = Row(f"typed JSON, {CONNECTIONS} at a time, CPU", "us"), Row("   requests a second", "")
    rate.goals = (Goal(1.3, FASTAPI),)
    for number in range(-1, rounds):
        for app in (OURS, BARE, FASTAPI):
            before = _cpu_seconds(servers[app])
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds if number >= 0 else 1}s", "-s", str(script)]
            command.append(f"{servers[app].url}/order")
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            if "Non-2xx" in output or "Socket errors" in output:
                raise WrongBytes(output)
            used = _cpu_seconds(servers[app]) - before
            (requests,) = re.findall(r"(\d+) requests in", output)
            (per_second,) = re.findall(r"Requests/sec: +([\d.]+)", output)
            if number >= 0:
                cpu.add(app, used / int(requests) * 1e6)
                rate.add(app, float(per_second))
    return [cpu, rate]


@contextlib.contextmanager
def running() -> Iterator[dict[str, Server]]:
    """All servers, on a core that the clients do not use."""
    cores = sorted(os.sched_getaffinity(0))
    servers: dict[str, Server] = {}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        try:
            os.sched_setaffinity(0, cores[:1])
            for app in APPS:
                place = Path(directory, app)
                place.mkdir()
                servers[app] = Server(f"tests.benchmarks.apps.inputs_{app}_app:app", [], place)
                stack.callback(servers[app].stop)
        finally:
            os.sched_setaffinity(0, cores[1:2] or cores)
        for server in servers.values():
            server.wait_until_ready()
        yield servers


def _say(*cells: str) -> None:
    widths = (36, 14, 14, 14, 14, 12, 12, 12)
    sys.stdout.write("".join(cell.ljust(36) if not i else cell.rjust(widths[i]) for i, cell in enumerate(cells)) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print: ratios are ours to theirs, so below 1 we take less time; of requests a second, above 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.inputs", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    quick = parser.parse_args(arguments).quick
    scale, rounds = (64, 1) if quick else (1, 5)
    with running() as servers, tempfile.TemporaryDirectory() as directory:
        rows = upload(f"{1024 // scale} MiB counted", 1024 * MIB // scale, Goal(1 / 0.9, BARE), servers, rounds)
        rows += forms(f"form: a file of {256 // scale} MiB", *file_form(256 * MIB // scale), Goal(0.5, STARLETTE),
                      servers, rounds)  # fmt: skip
        rows += forms("form: 10,000 fields", *field_form(10_000), Goal(1, STARLETTE), servers, rounds)
        if shutil.which("wrk"):
            rows += typed(servers, rounds, 1 if quick else 3, Path(directory))
        _say("", *APPS, "/ bare", "/ starlette", "/ fastapi")
        for row in rows:
            figures = [_figure(row.median(app), row.unit) for app in APPS]
            ratios = [_ratio(row.ratio(app)) for app in (BARE, STARLETTE, FASTAPI)]
            _say(row.name, *figures, *ratios)


if __name__ == "__main__":
    main()
