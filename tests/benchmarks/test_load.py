"""What a response is compared with, and how it is read."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.benchmarks import payload
from tests.benchmarks.crowd import Crowd
from tests.benchmarks.load import Body, Small
from tests.benchmarks.payload import POOL, expected
from tests.benchmarks.servers import Broken

PATHS = (
    "/async/5",
    "/request/async/5",
    "/json/3",
    "/csv/2",
    "/blocks/1000/3",
    "/blocks/65536/2",
    f"/json/{POOL + 1}",
    f"/csv/{POOL + 1}",
)


def whole(path: str) -> bytes:
    """The body at a path, as ``expected`` describes it."""
    wanted = expected(path)
    times = wanted.length // len(wanted.period) + 1
    return (wanted.head + wanted.period * times)[: wanted.length]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [257, 4096, 1 << 20])
def test_a_body_holds_in_whatever_pieces_it_comes(path: str, size: int) -> None:
    """Every piece of the right body is recognised at its place, however it is cut."""
    body = memoryview(whole(path))
    assert all(expected(path).holds(at, body[at : at + size]) for at in range(0, len(body), size))


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_byte_is_noticed(path: str) -> None:
    """A body with one wrong byte, at its begin, in its middle or at its end, does not hold; nor does a longer one."""
    right = whole(path)
    for at in (0, len(right) // 2, len(right) - 1):
        wrong = bytearray(right)
        wrong[at] ^= 1
        assert not expected(path).holds(0, memoryview(wrong))
    more = expected(path).period * 2
    longer = right + more[(len(right) - len(expected(path).head)) % len(expected(path).period) :][:1]
    assert not expected(path).holds(0, memoryview(longer)), "what would come next, if there were more"


def test_the_bodies_are_what_their_values_say() -> None:
    """JSON lines and CSV are those of the records, also where the pool of values begins anew."""
    lines = whole(f"/json/{POOL + 1}").decode().splitlines()
    assert [json.loads(line)["id"] for line in (lines[0], lines[-2], lines[-1])] == [0, POOL - 1, 0]
    table_lines = whole(f"/csv/{POOL + 1}").decode().split("\r\n")
    assert (table_lines[0], table_lines[-3].split(",")[0], table_lines[-2]) == (
        "id,name,score,new", str(POOL - 1), "0,user 0,0.0625,0",
    )  # fmt: skip
    assert len(list(payload.text_rows(POOL + 2))) == POOL + 2


def chunked(body: bytes, size: int) -> bytes:
    """A response in chunks of so many bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def take(response: bytes, path: str, cut: int) -> None:
    """Have a response compared, cut into pieces."""
    body = Body(expected(path))
    data = memoryview(response)
    for at in range(0, len(data), cut):
        body.feed(data[at : at + cut])
    body.check()


@pytest.mark.parametrize("cut", [1, 2, 3, 17, 1000])
def test_a_response_is_read_however_it_is_cut(cut: int) -> None:
    """Framing is taken off whatever pieces arrive; with chunks, and with a length."""
    right = whole("/async/5")
    take(chunked(right, 40), "/async/5", cut)
    take(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(right), right), "/async/5", cut)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda response: response[:-5],
        lambda response: response + b"x",
        lambda response: response.replace(b"0000000003", b"0000000004"),
        lambda response: response.replace(b" 200 ", b" 500 "),
        lambda response: response.replace(b"2e\r\n0000000002 is the number of one of these rows\n\r\n", b""),
        lambda response: response.replace(b"2e\r\n0000000004 is the number of one of these rows\n\r\n", b""),
    ],
)
def test_a_response_that_is_not_right_has_no_time(spoil: object) -> None:
    """One that is cut, too long, altered, an error, or short of a row is refused."""
    assert callable(spoil)
    response = chunked(whole("/async/5"), payload.ROW_SIZE)
    take(response, "/async/5", 1000)
    assert spoil(response) != response
    with pytest.raises(Broken):
        take(spoil(response), "/async/5", 1000)


def test_what_wrk_runs_refuses_wrong_answers() -> None:
    """The script asks for each path in turn and ends at an answer that does not match."""
    script = Small("^%d+ 7$", "/section{}/items/7", 300, {"a": 1}).script()
    assert "[==[/section{}/items/7]==], 300, 0" in script
    assert "status ~= 200 or not body:find([==[^%d+ 7$]==])" in script
    assert "os.exit(1)" in script
    assert '[==[{"a": 1}]==]' in script


@pytest.fixture
def board() -> Iterator[ThreadingHTTPServer]:
    """A server of event streams that says twice what it is asked to say, if the number is odd."""
    listeners: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/events":
                self.end_headers()
                listeners.append(self)  # before the client could ask for an event
                self.wfile.write(payload.OPENING.encode())
                done.wait()
                return
            number = int(self.path.rpartition("/")[2])
            for listener in listeners:
                listener.wfile.write(payload.event(number).encode() * (1 + number % 2))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    done = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    done.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_crowd_hears_all_and_nothing_else(board: ThreadingHTTPServer) -> None:
    """Each client has its events, whenever it came; what none has asked for is noticed."""
    with contextlib.closing(Crowd(board.server_address[1])) as crowd:
        crowd.grow(3)
        assert crowd.publish(2) > 0
        crowd.grow(5)
        crowd.publish(4)
        crowd.check()
        crowd.publish(5)
        with pytest.raises(Broken, match="event 5"):
            crowd.check()
