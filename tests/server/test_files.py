"""Files on a real server, as curl, httpx, a browser and a linter of HTTP see them."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import math
import os
import re
import signal
import stat
import struct
import time
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from httplint import HttpRequestLinter, HttpResponseLinter, levels
from playwright.sync_api import Page

from tests.conftest import StartServer, starting
from tests.server.conftest import FAULT_WORDS
from tests.servers import PATIENCE, RUNNERS, H2Client, Server, read_all

PAGE = b"<!doctype html><title>A page</title>" + b"<p>Text of a page." * 500
LONG_AGO = 784111777
SPARSE = 64 * 2**20
SECONDS = 600
"""How long the audio file plays: longer than what a browser fetches ahead."""


def write_audio(path: Path) -> None:
    """A tone."""
    rate = 44_100
    tone = b"".join(struct.pack("<h", int(8000 * math.sin(number / 16))) for number in range(rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        for _ in range(SECONDS):
            file.writeframes(tone)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    root = tmp_path_factory.mktemp("site")
    (root / "index.html").write_bytes(PAGE)
    (root / "page.html").write_bytes(PAGE)
    (root / "page.html.gz").write_bytes(gzip.compress(PAGE))
    (root / "404.html").write_bytes(PAGE)
    (root / "player.html").write_text('<!doctype html><title>x</title><audio src="tone.wav" preload="auto"></audio>')
    (root / "sub").mkdir()
    (root / "sub" / "index.html").write_bytes(PAGE)
    (root / "empty.txt").touch()
    (root / ".env").write_text("KEY=1")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("Contact: mailto:a@example.org")
    (root / "large.txt").write_text("".join(f"line {number} of a text\n" for number in range(100_000)))
    (root / "random.bin").write_bytes(os.urandom(3_000_000))
    (root / "million.bin").write_bytes(bytes(number % 251 for number in range(1_000_000)))
    (root / "out").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    (root / "zero").symlink_to("/dev/zero")
    with contextlib.suppress(PermissionError):  # only root may
        os.mknod(root / "device", stat.S_IFCHR | 0o644, os.makedev(1, 5))
    with zipfile.ZipFile(root.with_name("packed.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed/__init__.py", "")
        archive.writestr("packed/static/page.html", PAGE)
        archive.writestr("packed/static/large.bin", bytes(range(256)) * 4000)
    write_audio(root / "tone.wav")
    with (root / "sparse.bin").open("wb") as file:
        file.truncate(SPARSE)
    for path in root.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    time.sleep(2.1)  # so long their tags are weak
    return root


@pytest.fixture(scope="module", params=sorted(RUNNERS))
def files(request: pytest.FixtureRequest, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests here, of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITE", str(site))
        for start in starting(tmp_path_factory):
            yield start("tests.server.files_app:app", runner=request.param)


@pytest.fixture(autouse=True)
def _nothing_stays_open(files: Server, site: Path) -> Iterator[None]:
    """After each test no file of the site is open in the server; what it has printed is no answer to the next one."""
    files.forget()
    yield
    end = time.monotonic() + PATIENCE
    while left := open_files(files, site):
        assert time.monotonic() < end, left
        time.sleep(0.01)


def open_files(server: Server, site: Path) -> list[str]:
    """The files of the site that the server has open."""
    found = []
    for pid in server.workers:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(entry)  # noqa: PTH115 - as text
                if target.startswith(str(site)):
                    found.append(target)
    return found


@pytest.mark.parametrize("version", [[], ["--http2-prior-knowledge"], ["--http1.0"]])
@pytest.mark.parametrize("path", ["/file/random.bin", "/static/random.bin"])
def test_a_download(files: Server, site: Path, version: list[str], path: str) -> None:
    """A file comes whole over every version of HTTP."""
    assert files.curl(path, *version) == (0, (site / "random.bin").read_bytes())


def by_system(server: Server) -> int:
    """How many bytes the system has sent so far without their being read."""
    return sum(int(size) for size in re.findall(r"sent by the system: (\d+)", "\n".join(server.events)))


def test_the_system_sends_large_files(files: Server, site: Path) -> None:
    """In clear and over HTTP/1 the system sends a large file by itself, also a part of one; what is small is read."""
    data = (site / "random.bin").read_bytes()
    for options, expected in (
        ([], data),
        (["--http1.0"], data),
        (["-r", "100-2500000"], data[100:2_500_001]),
        (["-r", "-2500000"], data[-2_500_000:]),
    ):
        before = by_system(files)
        assert files.curl("/file/random.bin", *options) == (0, expected)
        assert len(expected) / 2 < by_system(files) - before < len(expected)
    before = by_system(files)
    assert files.curl("/file/random.bin", "--http2-prior-knowledge") == (0, data)
    assert files.curl("/file/random.bin", "-r", "100-99999") == (0, data[100:100_000])
    assert files.curl("/static/page.html") == (0, PAGE)
    assert by_system(files) == before


def test_many_large_parts(files: Server, site: Path) -> None:
    """Parts of which each is long come framed, all of them, over every version of HTTP."""
    data = (site / "random.bin").read_bytes()
    for version in ([], ["--http2-prior-knowledge"], ["--http1.0"]):
        code, body = files.curl("/file/random.bin", "-r", "0-999999,1500000-2999999", *version)
        assert code == 0
        [_, first, second, _] = re.split(rb"\r?\n?--[0-9a-f]{32}(?:--)?\r\n", body)
        assert [part.partition(b"\r\n\r\n")[2] for part in (first, second)] == [data[:1_000_000], data[1_500_000:]]


@pytest.mark.parametrize("version", [[], ["--http2-prior-knowledge"]])
def test_a_large_file_is_compressed_on_its_way(files: Server, site: Path, version: list[str]) -> None:
    """What is compressed is read, all of it; what is not, behind the same middleware, the system sends."""
    data = (site / "large.txt").read_bytes()
    before = by_system(files)
    assert files.curl("/compressed/file/large.txt", "--compressed", *version) == (0, data)
    code, packed = files.curl("/compressed/file/large.txt", "-H", "accept-encoding: gzip", *version)
    assert (code, gzip.decompress(packed)) == (0, data)
    assert by_system(files) == before
    assert files.curl("/compressed/file/large.txt", *version) == (0, data)
    assert (by_system(files) > before) is not bool(version)


def test_who_stands_between_sees_all_of_it(files: Server, site: Path) -> None:
    """ASGI middleware that changes a body has each byte of a file pass through it, also of a large one."""
    data = (site / "random.bin").read_bytes()
    assert files.curl("/inverted/file/random.bin") == (0, bytes(255 - byte for byte in data))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_takes_nothing(files: Server, site: Path, version: str) -> None:
    """A client that takes nothing of a file for its write timeout is given up, and the file closed."""
    with files.request("/impatient", version=version) as client:
        assert client.recv(1000)
        files.wait_for_output("took nothing for the write_timeout of 0.5 s")
        end = time.monotonic() + PATIENCE
        while open_files(files, site):
            assert time.monotonic() < end
            time.sleep(0.01)
        with contextlib.suppress(ConnectionResetError):
            size = 0
            while part := client.recv(1 << 20):
                size += len(part)
            assert size < SPARSE


def test_a_file_has_no_more_time_than_its_route(files: Server, site: Path) -> None:
    """A client that reads too slowly for a route's timeout has its file broken off."""
    with files.request("/short") as client:
        end = time.monotonic() + PATIENCE
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                assert time.monotonic() < end
                time.sleep(0.02)
    files.wait_for_output("took longer than its timeout of 1 s")


def test_a_stop_is_not_held_up(files: Server, start_server: StartServer) -> None:
    """Clients that take nothing of a file, also of one whose request is cancelled, hold up no stop of the server."""
    server = start_server("tests.server.files_app:app", "--graceful-timeout", "1", runner=files.runner)
    paths = ("/file/sparse.bin", "/static/sparse.bin", "/own-cancel")
    clients = [server.request(path, version=version) for path in paths for version in ("1.0", "1.1")]
    for client in clients:
        assert client.recv(1000)
    server.wait_for_event("own cancelled", 2)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    assert "was killed" not in server.output
    for client in clients:
        client.close()


def test_a_file_may_finish_before_a_stop(files: Server, start_server: StartServer, site: Path) -> None:
    """A file whose client reads on is sent whole after a stop has begun."""
    server = start_server("tests.server.files_app:app", "--graceful-timeout", "60", runner=files.runner)
    with server.request("/file/sparse.bin", headers="Connection: close\r\n") as client:
        data = client.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        data += read_all(client)
    assert len(data.partition(b"\r\n\r\n")[2]) == SPARSE
    server.process.wait(PATIENCE)


@pytest.mark.parametrize("version", [[], ["--http2-prior-knowledge"]])
@pytest.mark.parametrize("have", [0, 1, 1_234_567, 2_999_999])
def test_curl_resumes(files: Server, site: Path, tmp_path: Path, version: list[str], have: int) -> None:
    """``curl -C -`` gets the rest of what it has a part of, and only that."""
    data = (site / "random.bin").read_bytes()
    part = tmp_path / "part"
    part.write_bytes(data[:have])
    code, printed = files.curl("/file/random.bin", *version, "-C", "-", "-o", str(part), "-w", "%{size_download}")
    assert (code, int(printed)) == (0, len(data) - have)
    assert part.read_bytes() == data


def test_curl_resumes_what_it_has(files: Server, site: Path, tmp_path: Path) -> None:
    """``curl -C -`` of a whole file downloads nothing, and does not spoil it: its error is the 416's."""
    data = (site / "random.bin").read_bytes()
    part = tmp_path / "part"
    part.write_bytes(data)
    code, printed = files.curl("/file/random.bin", "-C", "-", "-o", str(part), "-w", "%{http_code}")
    assert (code, printed) == (0, b"416") or code == 33  # older versions of curl say "cannot resume"
    assert part.read_bytes() == data


def test_curl_resumes_after_a_cut(files: Server, site: Path, tmp_path: Path) -> None:
    """A download that was cut by its client is completed by the next one."""
    data = (site / "random.bin").read_bytes()
    part = tmp_path / "part"
    with files.request("/file/random.bin") as client:
        part.write_bytes(client.recv(300_000).partition(b"\r\n\r\n")[2])
    assert files.curl("/file/random.bin", "-C", "-", "-o", str(part))[0] == 0
    assert part.read_bytes() == data


def test_curl_ranges(files: Server, site: Path) -> None:
    """Curl gets the parts that it asks for, of a file and of what is made on the way."""
    data = (site / "random.bin").read_bytes()
    assert files.curl("/file/random.bin", "-r", "5-9") == (0, data[5:10])
    assert files.curl("/file/random.bin", "-r", "-7") == (0, data[-7:])
    assert files.curl("/blob/1000000", "-r", "500000-500009") == (
        0,
        bytes(number % 251 for number in range(500_000, 500_010)),
    )
    code, printed = files.curl("/file/random.bin", "-r", "0-1,4-5,3-3", "-D", "-")
    head, _, body = printed.partition(b"\r\n\r\n")
    [length] = re.findall(rb"content-length: (\d+)", head)
    assert (code, int(length)) == (0, len(body))
    assert [data[0:2] in body, data[3:6] in body] == [True, True]


def test_curl_asks_whether_it_changed(files: Server, tmp_path: Path) -> None:
    """Curl's own conditions are answered: by the tag that it saved, and by the time of its file."""
    tag, saved = tmp_path / "tag", tmp_path / "saved"
    options = ("--etag-save", str(tag), "--etag-compare", str(tag), "-o", str(saved), "-w", "%{http_code}")
    assert files.curl("/static/page.html", *options) == (0, b"200")
    assert files.curl("/static/page.html", *options) == (0, b"304")
    assert files.curl("/static/page.html", "-R", "-o", str(saved)) == (0, b"")
    assert files.curl("/static/page.html", "-z", str(saved), "-w", "%{http_code}") == (0, b"304")


def test_curl_decodes(files: Server) -> None:
    """What was compressed beforehand, and what is compressed on the way, is what curl decodes to the page."""
    assert files.curl("/static/page.html", "--compressed") == (0, PAGE)
    assert files.curl("/packed", "--compressed") == (0, PAGE)
    code, printed = files.curl("/static/page.html", "-H", "accept-encoding: gzip")
    assert (code, gzip.decompress(printed)) == (0, PAGE)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/static/../../etc/passwd", 404),
        ("/static/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/static/..%2f..%2fetc%2fpasswd", 404),
        ("/static/sub%2findex.html", 404),
        ("/static//etc/passwd", 404),
        ("/static/out", 404),
        ("/static/fifo", 404),
        ("/static/zero", 404),
        ("/static/device", 404),
        ("/static/PAGE.HTML", 404),
        ("/Static/page.html", 404),
        ("/static/" + "x" * 5000, 404),
        ("/linked/out", 200),
        ("/linked/zero", 404),
        ("/linked/fifo", 404),
        ("/linked/device", 404),
        ("/linked/../../etc/passwd", 404),
        ("/zipped/page.html", 200),
        ("/zipped/", 404),
        ("/zipped/../__init__.py", 404),
        ("/zipped/%2e%2e/__init__.py", 404),
        ("/zipped/page.html/x", 404),
        ("/zipped/page.html%00", 404),
        ("/file/zero", 500),
        ("/file/device", 500),
        ("/static/page.html%00.png", 404),
        ("/static/%ff", 400),
        ("/static/.env", 404),
        ("/static/%2eenv", 404),
        ("/static/.well-known/security.txt", 200),
        ("/static/sub", 308),
        ("/static/sub/", 200),
        ("/static", 308),
        ("/file/fifo", 500),
        ("/file/nothing", 500),
    ],
)
def test_odd_paths(files: Server, path: str, status: int) -> None:
    """What leads out of the directory, or to what is no file, is answered at once and is not there."""
    code, printed = files.curl(path, "--path-as-is", "-o", os.devnull, "-w", "%{http_code}")
    assert (code, int(printed)) == (0, status)


def test_a_head_is_small(files: Server) -> None:
    """A HEAD has the length and no byte of it, and the connection goes on."""
    with httpx.Client(base_url=files.url) as client:
        for _ in range(3):
            response = client.head("/file/sparse.bin", headers={"range": "bytes=0-1"})
            assert (response.status_code, response.headers["content-length"]) == (200, str(SPARSE))
            assert client.get("/file/empty.txt").content == b""


def test_a_file_that_becomes_shorter(files: Server) -> None:
    """A file that is cut while it is sent ends visibly: in HTTP/1.1 short of its length, in HTTP/2 with a reset."""
    assert files.curl("/cut", "-o", os.devnull)[0] == 18
    assert files.curl("/cut", "-o", os.devnull, "--http1.0")[0] in {18, 56}
    assert files.curl("/cut", "-o", os.devnull, "--http2-prior-knowledge")[0] == 92
    end = time.monotonic() + PATIENCE
    while files.output.count("the file became shorter while it was sent") < 3:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_that_grows(files: Server, site: Path) -> None:
    """Of a file that grows while it is sent comes what was promised, also where the system sends it."""
    path = site / "growing.bin"
    for version in ("1.0", "1.1", "2"):
        path.write_bytes(bytes(8 * 2**20))
        if version == "2":
            other = H2Client(files)
            stream = other.request("/file/growing.bin")
            other.pump("data", stream, open_windows=False)
            with path.open("ab") as file:
                file.write(b"more" * 1_000_000)
            other.pump("ended", stream)
            data = other.received[stream]
            other.close()
        else:
            with files.request("/file/growing.bin", headers="Connection: close\r\n", version=version) as client:
                head, _, data = client.recv(1000).partition(b"\r\n\r\n")
                assert b"content-length: 8388608" in head
                with path.open("ab") as file:
                    file.write(b"more" * 1_000_000)
                data += read_all(client)
        assert data == bytes(8 * 2**20)


def test_a_client_that_leaves(files: Server, site: Path) -> None:
    """The file of a client that leaves is closed, over HTTP/1.1 and HTTP/2, and nothing is logged."""
    before = files.output
    client = files.request("/file/sparse.bin")
    client.recv(1000)
    assert open_files(files, site) == [str(site / "sparse.bin")]
    client.close()
    other = H2Client(files)
    stream = other.request("/file/sparse.bin")
    other.pump("data", stream, open_windows=False)
    other.cancel(stream)
    other.close()
    end = time.monotonic() + PATIENCE
    while open_files(files, site):
        assert time.monotonic() < end
        time.sleep(0.01)
    said = files.output.removeprefix(before)
    assert not any(word in said for word in FAULT_WORDS), said


def test_many_slow_clients(files: Server, site: Path) -> None:
    """200 clients that read slowly take no thread each, little memory, and hold up no other."""
    count = 200
    (pid,) = files.workers
    before = files.memory
    clients = [files.request("/file/sparse.bin") for _ in range(count)]
    try:
        for _ in range(5):
            for client in clients:
                assert client.recv(4096)
        assert len(open_files(files, site)) == count
        threads = int(re.findall(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
        assert threads < 40
        assert files.memory - before < 150 * 1024
        assert files.curl("/static/page.html") == (0, PAGE)
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("version", [[], ["--http2-prior-knowledge"]])
@pytest.mark.parametrize("path", ["/file/sparse.bin", "/inverted/file/sparse.bin"])
def test_memory_of_a_download(files: Server, path: str, version: list[str]) -> None:
    """A download of a large file leaves the server's memory as it was, whether the system sends it or it is read."""
    files.curl(path, *version, "-o", os.devnull)
    (pid,) = files.workers
    before = files.memory
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    for _ in range(3):
        assert files.curl(path, *version, "-o", os.devnull)[0] == 0
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    assert peak - before < 4096


def test_a_browser_plays_and_seeks(files: Server, page: Page) -> None:
    """A browser plays an audio file, and goes on from where its user sends it."""
    page.goto(files.url + "/static/player.html")
    page.wait_for_function("document.querySelector('audio')?.readyState >= 3")
    assert page.evaluate("document.querySelector('audio').duration") == SECONDS
    assert page.evaluate("document.querySelector('audio').seekable.end(0)") == SECONDS
    page.evaluate("document.querySelector('audio').play()")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.1")
    assert page.evaluate("document.querySelector('audio').buffered.end(0)") < SECONDS / 2  # the rest is yet to come
    page.evaluate(f"document.querySelector('audio').currentTime = {SECONDS - 20}")
    page.wait_for_function(
        f"(({{currentTime, seeking, error}}) => currentTime > {SECONDS - 19.9} && !seeking && !error)"
        "(document.querySelector('audio'))"
    )
    assert page.evaluate("document.querySelector('audio').buffered.length") > 1


CONDITIONS = {
    # In the order of RFC 9110, section 13.2.2: what comes first decides.
    "if-match": ({"if-match": '"other"', "if-none-match": "{tag}"}, 412),
    "if-match holds": ({"if-match": '"other", {tag}', "if-unmodified-since": "{before}"}, 200),
    "if-match any": ({"if-match": "*"}, 200),
    "if-match weak": ({"if-match": "W/{tag}"}, 412),
    "if-unmodified-since": ({"if-unmodified-since": "{before}", "if-none-match": "{tag}"}, 412),
    "if-unmodified-since holds": ({"if-unmodified-since": "{date}"}, 200),
    "if-none-match": ({"if-none-match": 'W/{tag}, "other"', "if-modified-since": "{before}"}, 304),
    "if-none-match holds": ({"if-none-match": '"other"', "if-modified-since": "{date}"}, 200),
    "if-modified-since": ({"if-modified-since": "{date}"}, 304),
    "if-modified-since holds": ({"if-modified-since": "{before}"}, 200),
    "no date": ({"if-modified-since": "yesterday", "if-unmodified-since": "{date} or so"}, 200),
    "before the range": ({"if-none-match": "{tag}", "range": "bytes=99999999-"}, 304),
    "if-range": ({"if-range": "{tag}", "range": "bytes=1-2"}, 206),
    "if-range date": ({"if-range": "{date}", "range": "bytes=1-2"}, 206),
    "if-range other": ({"if-range": '"other"', "range": "bytes=1-2"}, 200),
    "if-range weak": ({"if-range": "W/{tag}", "range": "bytes=1-2"}, 200),
    "if-range other date": ({"if-range": "{before}", "range": "bytes=1-2"}, 200),
    "if-range without a part": ({"if-range": '"other"', "range": "bytes=99999999-"}, 200),
}


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions(files: Server, name: str, http2: bool) -> None:
    """Conditions are weighed in the order of RFC 9110, each with its own comparison, whatever the version."""
    given, status = CONDITIONS[name]
    plain = {"accept-encoding": "identity"}
    with httpx.Client(base_url=files.url, http1=not http2, http2=http2, headers=plain) as client:
        known = client.get("/static/page.html").headers
        assert not known["etag"].startswith("W/")
        before = "Sun, 06 Nov 1994 08:49:36 GMT"
        headers = {
            field: value.format(tag=known["etag"], date=known["last-modified"], before=before)
            for field, value in given.items()
        }
        response = client.get("/static/page.html", headers=headers)
    assert (response.status_code, response.http_version) == (status, "HTTP/2" if http2 else "HTTP/1.1")
    assert (response.content == PAGE) is (status == 200)
    if status == 304:
        assert response.headers["etag"] == known["etag"]
        assert response.content == b""


RANGES = {
    "one": ("bytes=5-9", 206, "bytes 5-9/1000000"),
    "suffix": ("bytes=-5", 206, "bytes 999995-999999/1000000"),
    "long suffix": ("bytes=-9999999", 206, "bytes 0-999999/1000000"),
    "to the end": ("bytes=999990-", 206, "bytes 999990-999999/1000000"),
    "beyond the end": ("bytes=999990-2000000", 206, "bytes 999990-999999/1000000"),
    "merged": ("bytes=5-9,8-20,21-30", 206, "bytes 5-30/1000000"),
    "one is there": ("bytes=1000000-,5-9,-0", 206, "bytes 5-9/1000000"),
    "unit in capitals": ("BYTES=5-9", 206, "bytes 5-9/1000000"),
    "none is there": ("bytes=1000000-,-0", 416, "bytes */1000000"),
    "unknown unit": ("items=5-9", 200, None),
    "no range": ("bytes=9-5", 200, None),
    "one is no range": ("bytes=5-9,x", 200, None),
    "too many": ("bytes=" + ",".join(f"{at}-{at}" for at in range(0, 202, 2)), 200, None),
}


@pytest.mark.parametrize("path", ["/blob/1000000", "/static/million.bin"])
@pytest.mark.parametrize("name", RANGES)
def test_ranges(files: Server, name: str, path: str) -> None:
    """A range gets its part, what is none is ignored, and only where no part is there that is a 416 which says so."""
    value, status, content_range = RANGES[name]
    with httpx.Client(base_url=files.url) as client:
        response = client.get(path, headers={"range": value})
    assert (response.status_code, response.headers.get("content-range")) == (status, content_range)
    whole = bytes(number % 251 for number in range(1_000_000))
    if status == 206 and content_range:
        first, last = (int(number) for number in re.findall(r"\d+", content_range)[:2])
        assert response.content == whole[first : last + 1]
    elif status == 200:
        assert response.content == whole


@pytest.mark.parametrize("path", ["/blob/1000000", "/static/million.bin", "/zipped/large.bin"])
def test_the_sum_of_ranges_is_bounded(files: Server, path: str) -> None:
    """However often a byte is asked for it comes once: a body is no longer than the whole and its framing."""
    values = [",".join("0-" for _ in range(100)), ",".join(f"{at}-" for at in range(0, 1000, 10)),
              ",".join(f"0-{at}" for at in range(100)), ",".join(f"{at}-{at}" for at in range(0, 200, 2))]  # fmt: skip
    with httpx.Client(base_url=files.url) as client:
        size = len(client.get(path).content)
        for value in values:
            response = client.get(path, headers={"range": f"bytes={value}"})
            assert response.status_code == 206
            assert len(response.content) <= size + 100 * 150


def test_a_package_in_a_zip_file(files: Server) -> None:
    """What lies in a zip file has conditions and ranges like what lies in a directory, but for a time."""
    whole = bytes(range(256)) * 4000
    with httpx.Client(base_url=files.url) as client:
        response = client.get("/zipped/large.bin")
        assert response.content == whole
        etag = response.headers["etag"]
        assert not etag.startswith("W/")
        assert "last-modified" not in response.headers
        for name, value in client.head("/zipped/large.bin").headers.items():
            assert name == "date" or response.headers[name] == value
        assert client.get("/zipped/large.bin", headers={"if-none-match": etag}).status_code == 304
        part = client.get("/zipped/large.bin", headers={"range": "bytes=-300", "if-range": etag})
        assert (part.status_code, part.content) == (206, whole[-300:])


# What a linter of HTTP says


class Asked:
    """A request, what came, and what the linter has to say of it."""

    def __init__(self, server: Server, path: str, method: str, headers: dict[str, str]) -> None:
        fields = {"Host": urlsplit(server.url).netloc, "User-Agent": "tests", "Connection": "close", **headers}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in fields.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
        self.status = response.status
        self.raw = [(name.encode(), value.encode("latin-1")) for name, value in response.getheaders()]
        request = HttpRequestLinter()
        request.process_request_topline(method.encode(), (server.url + path).encode(), b"HTTP/1.1")
        request.process_headers([(name.encode(), value.encode()) for name, value in fields.items()])
        request.finish_content(complete=True)
        linter = HttpResponseLinter(start_time=time.time(), _related=request)
        linter.is_head_response = method == "HEAD"
        linter.process_response_topline(b"HTTP/1.1", str(response.status).encode(), response.reason.encode())
        linter.process_headers(self.raw)
        linter.feed_content(body)
        linter.finish_content(complete=True)
        self.complaints = [
            f"{note.level.name}: {note.summary}" for note in linter.notes if note.level in {levels.WARN, levels.BAD}
        ]


ASKED = {
    "all": ("/static/page.html", {}, 200),
    "compressed": ("/static/page.html", {"Accept-Encoding": "gzip"}, 200),
    "part": ("/static/page.html", {"Range": "bytes=5-9"}, 206),
    "part of compressed": ("/static/page.html", {"Accept-Encoding": "gzip", "Range": "bytes=5-9"}, 206),
    "parts": ("/static/page.html", {"Range": "bytes=5-9,20-29"}, 206),
    "no part": ("/static/page.html", {"Range": "bytes=99999999-"}, 416),
    "not modified": ("/static/page.html", {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 304),
    "failed": ("/static/page.html", {"If-Match": '"other"'}, 412),
    "redirect": ("/static/sub", {}, 308),
    "index": ("/static/sub/", {}, 200),
    "missing": ("/static/nothing", {}, 404),
    "empty": ("/static/empty.txt", {}, 200),
    "audio": ("/static/tone.wav", {"Range": "bytes=0-99"}, 206),
    "download": ("/file/random.bin", {}, 200),
    "resumed": ("/file/random.bin", {"Range": "bytes=2999990-"}, 206),
    "made": ("/blob/1000", {}, 200),
    "part of what is made": ("/blob/1000", {"Range": "bytes=-10"}, 206),
    "same of what is made": ("/blob/1000", {"If-None-Match": '"blob"'}, 304),
    "packed": ("/packed", {"Accept-Encoding": "gzip"}, 200),
    "well-known": ("/static/.well-known/security.txt", {}, 200),
    "hidden": ("/static/.env", {}, 404),
    "from a zip file": ("/zipped/page.html", {}, 200),
    "part from a zip file": ("/zipped/large.bin", {"Range": "bytes=5-9"}, 206),
    "parts from a zip file": ("/zipped/large.bin", {"Range": "bytes=5-9,20-29"}, 206),
    "a link out": ("/linked/out", {}, 200),
    "through middleware": ("/inverted/file/random.bin", {}, 200),
    "no such route": ("/nothing", {}, 404),
}


MISTAKEN = {
    # RFC 9110, section 15.3.7.2: a response of several parts must not have one, since each part has its own.
    (name, "GET"): {"BAD: This response is partial, but doesn't have a Content-Range header."}
    for name in ("parts", "parts from a zip file")
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ASKED)
def test_a_linter_has_no_complaints(files: Server, name: str, method: str) -> None:
    """The linter finds nothing wrong, and nothing to warn of, in any answer."""
    path, headers, status = ASKED[name]
    asked = Asked(files, path, method, headers)
    assert asked.status == (200 if method == "HEAD" and "Range" in headers else status)
    assert set(asked.complaints) <= MISTAKEN.get((name, method), set()), asked.raw


def test_the_linter_would_complain(files: Server) -> None:
    """The linter sees a response that is wrong: this is no test that cannot fail."""
    asked = Asked(files, "/static/page.html", "GET", {})
    assert asked.complaints == []
    linter = HttpResponseLinter()
    linter.process_response_topline(b"HTTP/1.1", b"206", b"Partial Content")
    linter.process_headers([(b"content-range", b"bytes 9-0/5"), (b"content-length", b"3")])
    linter.finish_content(complete=True)
    assert any(note.level in {levels.WARN, levels.BAD} for note in linter.notes)
