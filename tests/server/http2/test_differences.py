"""This server's HTTP/2 against Hypercorn's own on trio: the same well-formed traffic, and the same of it."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

import pytest

from tests.conftest import StartServer
from tests.server.http2.conftest import OPTIONS, TARGET
from tests.server.http2.peer import Answer, Peer, data, head, post, pseudo
from tests.server.http2.test_requests import GOOD
from tests.servers import Server

APP: Final = "tests.server.app:app"
OWN: Final = {"date", "server", "alt-svc", "content-length"}
"""Fields in which servers differ: one may know the length of a stream that has ended before its head was sent."""


class Request(NamedTuple):
    """A request, and how its body comes."""

    method: str
    path: str
    body: tuple[bytes, ...] = ()


REQUESTS: Final = [
    *(Request("GET", path) for path in (
        "/", "/lines/100", "/nothing", "/fails-before", "/foreseen", "/text/a%20b", "/header", "/nowhere", "/head-only",
        "/length/3/3", "/large", "/fails-mid/in-band", "/deadline",
    )),
    *(Request("HEAD", path) for path in ("/", "/lines/100", "/head-only", "/length/3/3", "/large", "/nowhere")),
    Request("POST", "/echo", (b"a" * 1000, b"b" * 1000)),
    Request("POST", "/echo", (b"",)),
    Request("POST", "/echo", (b"a" * 16384,) * 3),
    Request("POST", "/ignored-body", (b"a" * 1000,)),
    Request("POST", "/waits", (b"a",)),
    Request("OPTIONS", "/echo"),
    Request("DELETE", "/"),
]  # fmt: skip


@pytest.fixture(scope="module")
def theirs(start_module_server: StartServer) -> dict[str, Server]:
    """Hypercorn's."""
    return {target: start_module_server(target) for target in (TARGET, APP)}


@pytest.fixture(scope="module")
def ours(start_module_server: StartServer) -> Server:
    """This server, with the app of the other tests of servers."""
    return start_module_server(APP, *OPTIONS, runner="trioweb")


def ask(server: Server, request: Request) -> tuple[list[dict[str, str]], bytes, bool]:
    """The heads of an answer, without what is a server's own, its body, and whether it has ended."""
    with Peer(server) as peer:
        peer.send(b"".join(_frames(request)))
        answer = peer.answer(1)
        taken = 0
        while not answer.done and not peer.closed:
            peer.take()
            if len(answer.body) > taken and not answer.done:
                peer.open_windows(1, len(answer.body) - taken)
                taken = len(answer.body)
        lengths = {fields["content-length"] for fields in answer.heads if "content-length" in fields}
        assert request.method == "HEAD" or lengths <= {str(len(answer.body))}
        heads = [{key: value for key, value in fields.items() if key not in OWN} for fields in answer.heads]
        return heads, answer.body, answer.ended


def _frames(request: Request) -> list[bytes]:
    if not request.body:
        return [head(1, *pseudo(request.method, request.path))]
    *first, last = request.body
    return [post(1, request.path), *(data(1, body, end=False) for body in first), data(1, last)]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: f"{one.method} {one.path} {len(one.body)}")
def test_the_same_answers(ours: Server, theirs: dict[str, Server], request_: Request) -> None:
    """A request has the same status, the same fields and the same body on both."""
    if request_.path == "/deadline":  # how much of it there is depends on the time
        assert ask(ours, request_)[2] == ask(theirs[APP], request_)[2]
    else:
        assert ask(ours, request_) == ask(theirs[APP], request_)


@pytest.mark.parametrize("name", GOOD)
def test_the_same_requests(server: Server, theirs: dict[str, Server], name: str) -> None:
    """An app sees the same request on both."""
    assert see(server, name) == see(theirs[TARGET], name)


def see(server: Server, name: str) -> object:
    """What an app has seen, with its fields in the order of their names."""
    with Peer(server) as peer:
        peer.send(b"".join(GOOD[name]))
        answer: Answer = peer.wait_until_ended(3)
        assert answer.status == 200, peer
        seen = json.loads(answer.body)
    seen["headers"].sort()
    return seen
