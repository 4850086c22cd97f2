"""The rules of streams on a real server, seen from sockets and from curl, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import re
import time

import pytest

from tests.conftest import StartServer
from tests.servers import H2Client, Server, read_all, read_until

TRUNCATED = {"1.1": 18, "2": 92}


WAYS = [("app", "hypercorn"), ("layered_app", "hypercorn"), ("layered_app", "trioweb")]


@pytest.fixture(params=WAYS, ids="-".join)
def server(request: pytest.FixtureRequest, lend_server: StartServer) -> Server:
    """A server of the app, and of the same behind two function middlewares and compression, whose clients decode."""
    app, runner = request.param
    server = lend_server(f"tests.server.{app}:app", runner=runner)
    server.decodes = app == "layered_app"
    return server


def task_ids(server: Server) -> set[str]:
    """The tasks in which the generator was opened, resumed and closed."""
    return {line.split()[-1] for line in server.events if line.startswith("task ")}


# Rule 1: one task


@pytest.mark.parametrize("ending", ["end", "error"])
def test_a_generator_lives_in_one_task(server: Server, http: list[str], ending: str) -> None:
    """A generator that ends, well or badly, was started, resumed and closed in one task, its resource given back."""
    server.curl(f"/one-task/{ending}", *http)
    server.wait_for_event("task closed")
    assert len(task_ids(server)) == 1


@pytest.mark.parametrize("ending", ["leave", "flood"])
def test_a_generator_whose_http2_stream_is_reset_is_closed_in_its_task(quiet_server: Server, ending: str) -> None:
    """A reset HTTP/2 stream has its generator closed in the task it lived in."""
    client = H2Client(quiet_server)
    stream = client.request(f"/one-task/{ending}")
    client.pump("data", stream)
    client.cancel(stream)
    quiet_server.wait_for_event("task closed")
    assert len(task_ids(quiet_server)) == 1
    client.close()


# Rule 2: `yield` is an await


def test_a_deadline_around_a_yield_over_http2(quiet_server: Server) -> None:
    """The same over HTTP/2, where the client's window is what does not open."""
    client = H2Client(quiet_server)
    stream = client.request("/deadline")
    client.pump("time", stream, open_windows=False, seconds=0.2)
    quiet_server.wait_for_event("deadline over")
    client.close()
    code, body = quiet_server.curl("/deadline", "--http2-prior-knowledge", "--limit-rate", "300K")
    assert code == 0
    assert body.endswith(b"[END]")
    numbers = [int(found) for found in re.findall(rb"\[(\d{7})\]", body)]
    assert numbers == list(range(1, len(numbers) + 1))


# Rule 3: bounded in bytes


def settled(server: Server, name: str) -> int:
    """How far a producer got when it made no more progress for a while."""
    server.wait_for_event(name)
    count = -1
    while count != server.count(name):
        count = server.count(name)
        time.sleep(0.5)
    return count


@pytest.mark.parametrize(("path", "name"), [("/flood", "flood"), ("/flood/sync", "flood-sync")])
def test_a_client_that_does_not_read_stops_the_producer(quiet_server: Server, path: str, name: str) -> None:
    """Only what the kernel's buffers take is produced for a client that does not read; leaving ends the producer."""
    with quiet_server.request(path):
        blocks = settled(quiet_server, name)
        assert 3 <= blocks < 200  # of 64 KiB; loopback sockets hold some 4 to 6 MiB
    quiet_server.wait_for_event(f"{name} closed")


def test_a_closed_http2_window_stops_the_producer(quiet_server: Server) -> None:
    """Over HTTP/2 a window of 65,535 bytes bounds a stream to that and its buffer, and its neighbours go on."""
    client = H2Client(quiet_server)
    flood = client.request("/flood")
    client.pump("time", flood, open_windows=False, seconds=0.5)
    assert settled(quiet_server, "flood") <= 6
    assert 65535 - 64 <= len(client.received[flood]) <= 65535  # of what is stored in gzip a few bytes are its own
    client.cancel(flood)
    quiet_server.wait_for_event("flood closed")
    client.close()


def test_a_huge_chunk_is_handed_on_in_slices(quiet_server: Server) -> None:
    """A chunk of 32 MiB costs its own memory and no copy of it, on HTTP/1.1 and HTTP/2."""
    quiet_server.curl("/")
    before = quiet_server.memory
    with quiet_server.request("/huge") as client:
        read_until(client, b"hh")
        assert quiet_server.memory - before < 44 * 1024
    code, body = quiet_server.curl("/huge", "--http2-prior-knowledge")
    assert (code, len(body)) == (0, 32 * 2**20)


# Rule 4: coalesced, never delayed


def test_short_chunks_leave_together(quiet_server: Server) -> None:
    """100,000 short lines leave in a few messages, whole and in order."""
    with quiet_server.request("/lines/100000") as client:
        data = read_until(client, b"\r\n0\r\n\r\n")
    body = data.partition(b"\r\n\r\n")[2]
    sizes = re.findall(rb"(?:^|\r\n)([0-9a-f]+)\r\n", body)
    assert 2 <= len(sizes) <= 250
    assert re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n(?:\r\n$)?", b"", body) == b"".join(b"%d\n" % n for n in range(100_000))


def test_a_chunk_waits_for_no_other(quiet_server: Server, http: list[str]) -> None:
    """A chunk arrives though the next one is an hour away."""
    code, body = quiet_server.curl("/sleepy", "--max-time", "0.7", "--no-buffer", *http)
    assert (code, body) == (28, b"first\n")


def test_a_producer_that_never_waits_delays_no_chunk(quiet_server: Server) -> None:
    """The first chunk of a generator that only computes arrives long before its last one is made."""
    with quiet_server.request("/busy") as client:
        read_until(client, b"0\n")
        assert quiet_server.count("busy") < 50
        read_until(client, b"199\n")


# Rule 5: an error before the first chunk is an ordinary error


def test_an_error_before_the_first_chunk_has_its_status(quiet_server: Server, http: list[str]) -> None:
    """An HTTPError before the first chunk is answered with its status, and not logged."""
    code, body = quiet_server.curl("/fails-before", "-w", "%{http_code}", *http)
    assert code == 0
    assert body.endswith(b"418")
    assert b"no coffee" in body


def test_a_fault_before_the_first_chunk_is_a_500(server: Server, http: list[str]) -> None:
    """A fault before the first chunk is a 500 that tells the client nothing, and the log everything."""
    code, body = server.curl("/breaks-before", "-w", "%{http_code}", *http)
    assert (code, body[-3:]) == (0, b"500")
    assert b"secret" not in body
    assert "Unforeseen: a secret" in server.output
    assert "GET /breaks-before" in server.output


def test_an_error_handler_answers_for_a_generator(quiet_server: Server, http: list[str]) -> None:
    """An error handler answers an error before the first chunk, when the request's nursery has closed."""
    code, body = quiet_server.curl("/foreseen", "-w", "%{http_code}", *http)
    assert (code, body) == (0, b"/foreseen: as foreseen409")
    assert "work ended" in quiet_server.events


# Rule 6: an error after the first chunk is never mistaken for the end


def test_a_stream_without_a_chunk_is_an_empty_200(quiet_server: Server, http: list[str]) -> None:
    """A generator that ends without a chunk is a 200 with an empty body and no content type."""
    assert quiet_server.curl("/nothing", "-w", "%{http_code}[%{content_type}]", *http) == (0, b"200[]")


@pytest.mark.parametrize("path", ["/fails-mid", "/fails-mid/sync", "/child-breaks"])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_an_error_after_the_first_chunk_breaks_the_response(server: Server, path: str, version: str) -> None:
    """What was accepted is sent, then the response is cut: curl exits 18, over HTTP/2 92; the log has the figures."""
    options = ["--http2-prior-knowledge"] if version == "2" else []
    assert server.curl(path, *options) == (TRUNCATED[version], b"accepted")
    if version == "2":
        assert received_over_http2(server, path) == b"accepted"
    server.wait_for_output(f"GET {path}: the response was broken off after {28 if server.decodes else 8} bytes")
    assert "Unforeseen: in" in server.output
    assert server.curl("/", *options) == (0, b"ok")


def received_over_http2(server: Server, path: str) -> bytes:
    """What came before the reset, frame by frame."""
    client = H2Client(server)
    stream = client.request(path)
    client.pump("reset", stream)
    client.close()
    return client.received[stream]


def test_what_was_accepted_before_an_error_is_sent_first(server: Server) -> None:
    """A thousand chunks that were accepted before an error all arrive, over HTTP/1.1 and HTTP/2."""
    accepted = b"".join(b"%063d\n" % number for number in range(1000))
    assert server.curl("/fails-mid/at-once") == (18, accepted)
    assert received_over_http2(server, "/fails-mid/at-once") == accepted


# Rule 7: a client that leaves cancels the stream


def test_an_error_can_be_told_in_band(server: Server, http: list[str]) -> None:
    """`on_error` makes the last chunk of a stream that ends cleanly; the error is logged all the same."""
    assert server.curl("/fails-mid/in-band", *http) == (0, b'{"n":1}\n{"error":"in the middle"}\n')
    server.wait_for_output("Unforeseen: in the middle")


def test_a_wrong_chunk_is_raised_at_the_yield(quiet_server: Server, http: list[str]) -> None:
    """A chunk that cannot be sent is raised inside the generator, which may go on."""
    assert quiet_server.curl("/wrong-chunk", *http) == (0, b"ab")
    assert any("wrong chunk: GET /wrong-chunk" in line and "object" in line for line in quiet_server.events)


def test_a_client_that_half_closes_and_does_not_read(quiet_server: Server) -> None:
    """A client that ends its own side and reads nothing frees the write that waits for it."""
    with quiet_server.request("/flood") as client:
        settled(quiet_server, "flood")
        client.shutdown(1)
        quiet_server.wait_for_event("flood closed")


# HEAD, and content-length


def test_a_head_request_never_starts_the_producer(quiet_server: Server, http: list[str]) -> None:
    """HEAD answers with the head of the GET and starts nothing; an endless stream leaves the connection usable."""
    code, head = quiet_server.curl("/head-only", "--head", *http)
    assert (code, b"200" in head, b"content-type: text/plain" in head.lower()) == (0, True, True)
    code, head = quiet_server.curl("/flood", "--head", *http)
    assert (code, b"content-type" in head.lower()) == (0, False)
    assert not any("head-only started" in line or line.startswith("flood") for line in quiet_server.events)


@pytest.mark.parametrize(
    ("given", "declared", "code", "body"), [(5, 5, 0, b"xxxxx"), (3, 5, 18, b"xxx"), (9, 5, 0, b"xxxxx")]
)
def test_a_declared_length_is_kept(server: Server, given: int, declared: int, code: int, body: bytes) -> None:
    """A stream sends never more than its content-length, and ends badly when it has fewer."""
    server.decodes = False  # what is compressed has no length; the tests of compression count its plain bytes
    with server.request(f"/length/{given}/{declared}", headers="Connection: keep-alive\r\n") as client:
        received = read_until(client, body).partition(b"\r\n\r\n")[2]
        if given != declared:
            received += read_all(client)
    assert received == body
    assert server.curl(f"/length/{given}/{declared}") == (code, body)
    assert ("content-length" in server.output) is (given != declared)
