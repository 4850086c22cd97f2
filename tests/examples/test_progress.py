"""The example ``examples/progress.py``."""

from __future__ import annotations

import json
import re
import socket

from tests.servers import Server, read_until

EXAMPLE = "progress"


def start(server: Server) -> str:
    """Start a job. Returns its path."""
    code, printed = server.curl("/jobs", "-X", "POST")
    assert code == 0
    return f"/jobs/{json.loads(printed)['job']}"


def steps(events: bytes) -> list[int]:
    """How far the job had come in each event that says that it runs."""
    return [int(done) for done in re.findall(rb'event: running\nid: running\ndata: {"done":(\d+)}\n\n', events)]


def watch(client: socket.socket, count: int) -> list[int]:
    """The next steps, so many at least."""
    events = b""
    while len(steps(events)) < count:
        events += read_until(client, b"\n\n")
    return steps(events)


def test_a_job_tells_how_far_it_is(server: Server) -> None:
    """Each step is an event, for all who watch; who comes late begins where the job stands."""
    path = start(server)
    with server.request(path) as first:
        seen = watch(first, 4)
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        with server.request(path) as late:
            assert watch(late, 2)[0] >= seen[-1]
    server.curl(path, "-X", "DELETE")


def test_who_leaves_harms_nothing(server: Server) -> None:
    """A job goes on when nobody watches it, and who comes back sees that."""
    path = start(server)
    with server.request(path) as client:
        [seen, *_] = watch(client, 1)
    with server.request(path) as client:
        assert watch(client, 3)[-1] > seen
    server.curl(path, "-X", "DELETE")


def test_a_job_that_is_cancelled_says_so(server: Server) -> None:
    """A cancellation ends the job where it stands; the response ends with the event that tells of it."""
    path = start(server)
    with server.request(path) as client:
        watch(client, 2)
        assert server.curl(path, "-X", "DELETE", "-w", "%{http_code}") == (0, b"204")
        end = read_until(client, b"\r\n0\r\n\r\n")
    found = re.search(rb'event: cancelled\nid: cancelled\ndata: {"done":(\d+)}', end)
    assert found is not None
    assert 1 <= int(found[1]) < 100
    again = server.curl(path)[1]
    assert b"event: cancelled" in again
    assert steps(again) == []


def test_a_job_that_is_done_says_so(server: Server) -> None:
    """Its steps come, each once, then the end; a browser that has seen that is told not to come back."""
    path = start(server)
    code, events = server.curl(path, "-m", "60")
    assert code == 0
    assert len(steps(events)) > 50
    assert steps(events) == sorted(set(steps(events)))
    assert b'event: finished\nid: finished\ndata: {"done":100}\n\n' in events
    assert server.curl(path, "-H", "Last-Event-ID: finished", "-w", "%{http_code}") == (0, b"204")


def test_no_job(server: Server) -> None:
    """A job that was never started is a 404."""
    assert json.loads(server.curl("/jobs/99")[1])["detail"] == "there is no job 99"
