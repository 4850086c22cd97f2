"""What stands before the head of a response and after its body, on real servers; and events that may fail at first."""

from __future__ import annotations

import hashlib

import pytest

from tests.conftest import StartServer
from tests.servers import RUNNERS, H2Client, Server, read_all

SUM = hashlib.sha256(b"0,1,2,").hexdigest()
TE = "TE: trailers\r\nConnection: close\r\n"


@pytest.fixture(params=RUNNERS)
def server(request: pytest.FixtureRequest, lend_around: StartServer) -> Server:
    """Both ways of running an app."""
    return lend_around("tests.server.around_app:app", runner=request.param)


@pytest.fixture(scope="module")
def lend_around(lent: tuple[StartServer, dict[object, object]]) -> StartServer:
    """A server for each way, for all tests here."""
    start, kept = lent[0], dict[str, Server]()

    def lend(target: str, runner: str) -> Server:
        if runner not in kept:
            kept[runner] = start(target, runner=runner)
        return kept[runner]

    return lend


def ask(server: Server, path: str, headers: str = TE, version: str = "1.1") -> bytes:
    """All that a client gets on a connection that it has closed after its response."""
    with server.request(path, headers=headers, version=version) as client:
        return read_all(client)


def test_trailers_over_http1(server: Server) -> None:
    """A client that accepts trailers gets those of a whole stream, announced in its head; Hypercorn sends none."""
    head, _, body = ask(server, "/sum").partition(b"\r\n\r\n")
    if server.runner == "trioweb":
        assert b"\r\ntrailer: x-sum, x-fixed\r\n" in head + b"\r\n"
        assert body.endswith(b"0\r\nx-sum: %s\r\nx-fixed: yes\r\n\r\n" % SUM.encode())
    else:
        assert b"trailer" not in head
        assert body.endswith(b"0\r\n\r\n")


def test_no_trailers_to_those_who_do_not_ask(server: Server) -> None:
    """Without TE, and over HTTP/1.0, the stream is whole, and nothing follows it."""
    head, _, body = ask(server, "/sum", "Connection: close\r\n").partition(b"\r\n\r\n")
    assert (b"trailer" in head, b"x-sum" in body) == (False, False)
    assert body in (b"0,1,2,", b"6\r\n0,1,2,\r\n0\r\n\r\n", b"2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n0\r\n\r\n")
    assert ask(server, "/sum", "TE: trailers\r\n", "1.0").endswith(b"\r\n\r\n0,1,2,")


def test_trailers_over_http2(server: Server) -> None:
    """Over HTTP/2 they are a block of fields after the body."""
    client = H2Client(server)
    stream = client.request("/sum", headers=[("te", "trailers")])
    client.pump("ended", stream)
    assert (client.received[stream], client.trailers[stream]) == (b"0,1,2,", {"x-sum": SUM, "x-fixed": "yes"})
    client.close()


@pytest.mark.parametrize("fail", ["stream", "trailer"])
def test_no_trailers_and_no_end_after_an_error(server: Server, fail: str) -> None:
    """A stream that fails, or whose trailer fails, has neither trailers nor an end: it is never taken for whole."""
    answer = ask(server, f"/sum?fail={fail}")
    if fail == "stream" or server.runner == "trioweb":  # Hypercorn has no trailers here, and so none that could fail
        assert (b"x-sum:" in answer, b"\r\n0\r\n\r\n" in answer) == (False, False)
    client = H2Client(server)
    stream = client.request(f"/sum?fail={fail}", headers=[("te", "trailers")])
    client.pump("reset", stream)
    assert (stream in client.reset, stream in client.ended, stream in client.trailers) == (True, False, False)
    client.close()


def test_trailers_need_an_undeclared_length(server: Server) -> None:
    """A declared length with trailers is an error that says so, before anything is sent, where trailers can be sent."""
    client = H2Client(server)
    stream = client.request("/declared", headers=[("te", "trailers")])
    client.pump("ended", stream)
    assert b"500" in client.received[stream]
    client.close()
    assert "content-length has no trailers" in server.output


def test_early_hints(server: Server) -> None:
    """A 103 with the links comes before the response, over HTTP/2 from both servers, over HTTP/1.1 from trioweb's."""
    answer = ask(server, "/hints", "Connection: close\r\n")
    hint = (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style\r\n"
        b"link: </b.js>; rel=preload; as=script\r\n\r\nHTTP/1.1 200"
    )
    assert answer.startswith(hint if server.runner == "trioweb" else b"HTTP/1.1 200")
    assert ask(server, "/hints", "", "1.0")[:12] in (b"HTTP/1.0 200", b"HTTP/1.1 200")
    client = H2Client(server)
    stream = client.request("/hints")
    client.pump("ended", stream)
    assert (client.hints[stream][":status"], client.received[stream]) == ("103", b"page")
    client.close()


def test_hints_that_are_late(server: Server) -> None:
    """After the head has left a hint is an error, and the stream does not look whole, where hints can be sent."""
    client = H2Client(server)
    stream = client.request("/hints?late=1")
    client.pump("reset", stream)
    assert (stream in client.reset, stream in client.ended) == (True, False)
    client.close()
    answer = ask(server, "/hints?late=1", "Connection: close\r\n")
    assert b"103 Early Hints" not in answer
    assert answer.endswith(b"0\r\n\r\n") == (server.runner == "hypercorn")  # which can send none over HTTP/1.1


def test_events_that_fail_at_first(server: Server) -> None:
    """With head="first" an error before the first event has a status of its own, and no ping comes before it."""
    failed = ask(server, "/first?fail=1", "Connection: close\r\n")
    assert (failed[9:12], b"the other side is down" in failed) == (b"502", True)
    whole = ask(server, "/first", "Connection: close\r\n")
    assert whole[9:12] == b"200"
    assert whole.partition(b"\r\n\r\n")[2].startswith(b"b\r\ndata: one\n\n")


def test_events_without_their_class(server: Server) -> None:
    """A handler that yields events has the headers of an EventStreamResponse."""
    head = ask(server, "/yielded", "Connection: close\r\n").partition(b"\r\n\r\n")[0].lower()
    for line in (b"content-type: text/event-stream", b"cache-control: no-store", b"x-accel-buffering: no", b"?1"):
        assert line in head
