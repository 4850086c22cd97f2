"""Bodies over real sockets: what is refused is answered and nothing hangs; clients that upload files."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from tests.conftest import StartServer
from tests.server.conftest import FAULT_WORDS
from tests.servers import PATIENCE, H2Client, Server, read_all, read_until

MULTIPART = "Content-Type: multipart/form-data; boundary=X\r\n"
JSON = "Content-Type: application/json\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.fixture
def server(lend_server: StartServer) -> Iterator[Server]:
    """A server for bodies, which may have logged no error in the end."""
    server = lend_server("tests.server.inputs_app:app")
    yield server
    assert not any(word in server.output for word in FAULT_WORDS), server.output


def answer(server: Server, path: str, headers: str, body: bytes, *, chunked: bool = False) -> tuple[int, bytes]:
    """Status and body of the answer to a request; the connection is left when it has come."""
    if chunked:
        headers += CHUNKED
        body = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 65536]), body[i : i + 65536])
                        for i in range(0, len(body), 65536)) + b"0\r\n\r\n"  # fmt: skip
    else:
        headers += f"Content-Length: {len(body)}\r\n"
    with server.connect() as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while it was sent
            client.sendall(body)
        head, _, content = read_all(client).partition(b"\r\n\r\n")
        return int(head.split()[1]), content


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/body", "/item", "/form", "/large/tiny"])
def test_a_body_over_the_limit_is_refused(server: Server, path: str, chunked: bool) -> None:
    """A body over the limit is a 413, announced or not, read or not, and its client sees the answer."""
    headers = JSON if path == "/item" else MULTIPART if path == "/form" else ""
    body = b'--X\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n' + b"x" * 3_000_000
    status, content = answer(server, path, headers, body, chunked=chunked)
    assert status == 413
    assert json.loads(content)["status"] == 413
    assert server.curl("/") == (0, b"ok")


def test_a_refused_upload_that_goes_on_ends(server: Server) -> None:
    """A client that does not stop sending what was refused is read to a bound, then its connection is closed."""
    with server.request("/refuses", "POST", "Content-Length: 10000000000\r\n") as client:
        end = time.monotonic() + PATIENCE
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < end:
                client.sendall(b"x" * 65536)
    assert server.curl("/") == (0, b"ok")


@pytest.mark.parametrize("path", ["/body", "/item", "/form", "/stream", "/parts"])
def test_a_body_that_stops_coming(server: Server, path: str) -> None:
    """A body of which nothing comes any more is a 408, and then the connection is closed."""
    headers = (JSON if path == "/item" else MULTIPART) + "Content-Length: 1000\r\n"
    with server.request(path, "POST", headers, b"--X\r\n") as client:
        response = read_all(client)
    assert response.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in response.lower()
    assert server.curl("/") == (0, b"ok")


def test_a_body_that_stops_coming_over_http2(server: Server) -> None:
    """Over HTTP/2 the stream is answered, and others of the connection go on."""
    client = H2Client(server)
    stream = client.request("/body", "POST", end=False)
    client.pump("data", stream)
    assert b'"status":408' in client.received[stream]
    other = client.request("/")
    client.pump("ended", other)
    assert client.received[other] == b"ok"
    client.close()


def test_a_slow_body_is_no_stalled_one(server: Server) -> None:
    """A body that goes on coming, however slowly, is taken; so is one that waits for its slow handler."""
    with server.request("/body", "POST", "Content-Length: 8\r\n") as client:
        for _ in range(8):
            time.sleep(0.15)
            client.sendall(b"x")
        assert read_until(client, b"8").startswith(b"HTTP/1.1 200")
    assert answer(server, "/stream?slow", "", b"x" * 1_500_000)[0] == 200


def test_a_slow_handler_slows_its_client(server: Server) -> None:
    """A client cannot send much more than the handler has read."""
    with server.request("/stream?slow", "POST", "Content-Length: 1000000000\r\n") as client:
        client.settimeout(0.5)
        sent = 0
        begin = time.monotonic()
        while time.monotonic() < begin + 2:
            try:
                sent += client.send(b"x" * 65536)
            except TimeoutError:
                break
        read = server.count("read")
        assert read < sent < read + 16_000_000


def test_a_client_that_leaves_in_the_middle(server: Server) -> None:
    """Its reader is told, nothing is logged, and no part of a body is taken for all of it."""
    with server.request("/stream", "POST", "Content-Length: 1000\r\n", b"x" * 10):
        server.wait_for_event("read 10")
    server.wait_for_event("broken by ClientDisconnected")
    for path, headers in (("/form", MULTIPART), ("/item", JSON), ("/body", ""), ("/parts", MULTIPART)):
        server.request(path, "POST", headers + "Content-Length: 1000\r\n", b"--X\r\n").close()
    assert server.curl("/") == (0, b"ok")


HOSTILE = {
    "fields": ("/form", "Content-Type: application/x-www-form-urlencoded\r\n", b"a=1&" * 249_000, 413),
    "parts": ("/form", MULTIPART, b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 15_000, 413),
    "a head without end": ("/form", MULTIPART, b"--X\r\nA: " + b"x" * 900_000, 413),
    "heads": ("/form", MULTIPART, b"--X\r\n" + b"A: b\r\n" * 100_000, 413),
    "no boundary in it": ("/form", MULTIPART, b"\r\n--Y" * 100_000, 400),
    "no boundary": ("/form", "Content-Type: multipart/form-data\r\n", b"x" * 900_000, 400),
    "cut": ("/form", MULTIPART, b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\nx', 400),
    "no UTF-8": ("/form", "Content-Type: application/x-www-form-urlencoded\r\n", b"a=%ff", 400),
    "nesting": ("/item", JSON, b'{"name": "a", "rest": ' + b"[" * 900_000, 400),
    "closed nesting": ("/item", JSON, b'{"name": "a", "rest": ' + b"[" * 400_000 + b"]" * 400_000 + b"}", 400),
    "objects": ("/item", JSON, b'{"rest":' * 100_000, 400),
    "a number": ("/item", JSON, b'{"name": "a", "rest": ' + b"9" * 900_000 + b"}", 422),
    "latin-1": ("/item", JSON, b'{"name": "\xe9"}', 400),
    "no JSON": ("/item", JSON, b"\xff" * 900_000, 400),
    "a field": ("/item", JSON, b'{"name": 5}', 422),
    "text": ("/item", "Content-Type: text/plain\r\n", b'{"name": "a"}', 415),
    "untyped": ("/item", "", b'{"name": "a"}', 415),
    "lines": ("/lines", "", b"x\n", 400),
    "a line": ("/lines", "", b"1" * 3_000_000, 413),
    "text parts": ("/parts", "Content-Type: text/plain\r\n", b"x" * 2_000_000, 415),
}


def test_what_is_hostile(server: Server) -> None:
    """Each of them is a 4xx, at once, and without much memory; the server serves on."""
    before = server.memory
    for name, (path, headers, body, status) in HOSTILE.items():
        for chunked in (False, True):
            got, content = answer(server, path, headers, body, chunked=chunked)
            assert (name, got) == (name, status)
            assert json.loads(content)["status"] == status
            assert len(content) < 2000
    assert server.memory - before < 60_000
    assert server.curl("/items?limit=3") == (0, b"3")


def test_a_long_query(server: Server) -> None:
    """A query with more parameters than are read is a 400."""
    with server.request("/items?" + "limit=1&" * 6000) as client:
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 4")


def test_a_byte_at_a_time(server: Server) -> None:
    """A form whose bytes come one by one, each a chunk of its own, is the same form."""
    body = b'--X\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\none\r\n--Y\r\n--X--\r\n'
    with server.request("/form", "POST", MULTIPART + CHUNKED) as client:
        for byte in body:
            client.sendall(b"1\r\n%c\r\n" % byte)
        client.sendall(b"0\r\n\r\n")
        assert b'["f","a",null,8,"one\\r\\n--Y"]' in read_until(client, b"]]")


def test_a_stream_in_and_a_stream_out(server: Server) -> None:
    """An answer to the first line comes while the second has not been sent."""
    with server.request("/lines", "POST", CHUNKED) as client:
        for number in range(3):
            client.sendall(b"2\r\n%d\n\r\n" % number)
            assert b'{"twice":%d}' % (2 * number) in read_until(client, b"}\n")
        client.sendall(b"0\r\n\r\n")
        assert read_until(client, b"0\r\n\r\n").endswith(b"0\r\n\r\n")


NAMES = ["größe €.txt", "日本語.bin", "plain.txt", 'with "quotes".txt']


@pytest.fixture
def uploads(tmp_path: Path) -> list[Path]:
    """Files with names that are not easy."""
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(b"%d content" % number * (1 if number else 300_000))
    return [tmp_path / name for name in NAMES]


def test_curl_uploads_files(server: Server, uploads: list[Path], http: list[str]) -> None:
    """Curl's form arrives: several large and small files, names outside of ASCII, over both versions of HTTP."""
    files = [option for path in uploads[:3] for option in ("-F", f"file=@{path}")]
    code, printed = server.curl("/large/form", *http, "-F", "title=zwölf", *files)
    assert code == 0
    assert json.loads(printed) == ["zwölf", *([path.name, path.stat().st_size] for path in uploads[:3])]
    code, printed = server.curl("/parts", *http, *files)
    assert json.loads(printed) == [["file", path.name, path.stat().st_size] for path in uploads[:3]]


def test_files_are_removed(server: Server, uploads: list[Path]) -> None:
    """However a request with files on disk ends, none of them is left open."""
    server.curl("/large/form", "-F", f"file=@{uploads[0]}")
    server.wait_for_event("temporary files 1")
    server.curl("/large/form", "-F", f"wrong=@{uploads[0]}")
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\n'
    server.request("/large/form", "POST", MULTIPART + "Content-Length: 9000000\r\n", head + b"x" * 3_000_000).close()
    end = time.monotonic() + PATIENCE
    while server.curl("/files")[1] != b"0":
        assert time.monotonic() < end


def test_httpx_uploads_files(server: Server, uploads: list[Path]) -> None:
    """What httpx sends arrives, quotes and all."""
    files = [("file", (path.name, path.read_bytes(), "text/plain")) for path in uploads]
    answer = httpx.post(server.url + "/large/form", data={"title": "ä"}, files=files)
    assert answer.json() == ["ä", *([path.name, path.stat().st_size] for path in uploads)]


def test_a_browser_sends_forms(server: Server, uploads: list[Path], page: Page) -> None:
    """A browser's form arrives as it was filled in: several files at once, names outside of ASCII, empty fields."""
    page.goto(server.url + "/page")
    page.set_input_files("#files", uploads[1:])
    page.evaluate("document.forms[0].submit()")
    page.wait_for_function("document.body.innerText.startsWith('[')")
    fields = json.loads(re.sub(r"[^\]]*$", "", page.inner_text("body")))
    assert fields == [
        ["größe", "zwölf €"], ["empty", ""], ["text", "one\r\ntwo"],
        ["files", "日本語.bin", "application/octet-stream", 9, "1 content"],
        ["files", "plain.txt", "text/plain", 9, "2 content"],
        ["files", 'with "quotes".txt', "text/plain", 9, "3 content"],
        ["none", "", "application/octet-stream", 0, ""], ["on", "on"],
    ]  # fmt: skip
    page.goto(server.url + "/page")
    page.evaluate("document.getElementById('plain').submit()")
    page.wait_for_function("document.body.innerText.startsWith('[')")
    assert json.loads(page.inner_text("body")) == [["größe", "a+b & c"]]
