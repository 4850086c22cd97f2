"""The tour in ``examples/tour``: what it shows, held against a real server, and its page in a real browser."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.tour import activity, download, files, load, pieces, table
from examples.tour.clock import SpringBroke
from tests.servers import ROOT, Server, read_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0
"""Seconds after which a page that does not do what a test waits for has failed it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server under test keeps its database and its large file."""
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def tour(start_server: Callable[..., Server], data: Path) -> Server:
    """The tour, run as its documentation says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOUR_DATA", str(data))
        return start_server("examples.tour:app")


class Activity:
    """A client of the server's own view."""

    def __init__(self, events: Iterator[str]) -> None:
        self._events = events

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line that matches."""
        for line in self._events:
            if line.startswith('data: {"visit"') and (found := re.search(pattern, json.loads(line[6:])["text"])):
                return found
        raise AssertionError(f"the events ended without {pattern!r}")


@pytest.fixture
def server_view(tour: Server) -> Iterator[Activity]:
    """The server's own view, from here on: what was before has been read."""
    with httpx.stream("GET", tour.url + "/activity") as response:
        lines = response.iter_lines()
        next(line for line in lines if line == "event: streams")
        yield Activity(lines)


def test_csv_is_whole(tour: Server) -> None:
    """The CSV export has a header and 200,000 rows that a CSV reader understands."""
    text = httpx.get(tour.url + "/orders.csv").content.decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 200_001
    assert rows[0] == list(table.Order.__struct_fields__)
    assert [int(row[0]) for row in rows[1:]] == list(range(1, 200_001))
    assert {row[5] for row in rows[1:]} == set(table.CITIES)


def test_json_lines_are_whole(tour: Server) -> None:
    """The JSON lines export has the same 200,000 rows, an object a line."""
    with httpx.stream("GET", tour.url + "/orders.jsonl") as response:
        ids = [json.loads(line)["id"] for line in response.iter_lines()]
    assert ids == list(range(1, 200_001))


def test_export_stops_with_its_client(tour: Server, server_view: Activity) -> None:
    """A client that leaves an export in the middle ends it on the server, which says how far it came."""
    client = tour.request("/orders.jsonl")
    read_until(client, b'"id":100,')
    client.close()
    count = server_view.wait_for(r"^JSON lines export: client left after ([\d,]+) rows").group(1)
    assert 100 <= int(count.replace(",", "")) < 200_000


def test_export_goes_at_its_clients_pace(tour: Server, server_view: Activity) -> None:
    """A client that does not read stops the generator: the server's count stands still far from the end."""
    with contextlib.closing(tour.request("/orders.jsonl")) as client:
        read_until(client, b'"id":100,')
        server_view.wait_for("^JSON lines export: started")
        counts: list[int] = []
        for line in httpx_lines(tour.url + "/activity"):
            if line.startswith("data: {") and (found := re.search(r'\["JSON lines export",(\d+),', line)):
                counts.append(int(found.group(1)))
                if counts[-3:] == [counts[-1]] * 3:
                    break
        assert 100 <= counts[-1] < 200_000


def httpx_lines(url: str) -> Iterator[str]:
    """The lines of a stream."""
    with httpx.stream("GET", url) as response:
        yield from response.iter_lines()


def test_load_events_arrive_and_end_with_the_client(tour: Server, server_view: Activity) -> None:
    """The machine's load comes as events with shares, and the server stops reading /proc when the client leaves."""
    with httpx.stream("GET", tour.url + "/load") as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        for _ in range(2):
            event = json.loads(next(lines)[6:])
            assert 0 <= event["processors"] <= 1
            assert 0 <= event["memory"] <= 1
            assert event["load"] >= 0
    server_view.wait_for(r"^load events: client left after \d events")


async def test_no_proc_is_said(tmp_path: Path) -> None:
    """On a system without /proc the load is one event that says so, and then the end."""

    class Unwatched(activity.Visit):
        def __init__(self) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    events = [event async for event in load.samples(Unwatched(), tmp_path)]
    assert [event.event for event in events] == ["unavailable"]


def test_download_is_whole(tour: Server, server_view: Activity) -> None:
    """The large file comes with its length, all of it, and the server counts it as finished."""
    code, printed = tour.curl("/large.bin", "-o", "/dev/null", "-w", "%{size_download} %header{content-length}")
    assert (code, printed.decode().split()) == (0, [str(download.SIZE)] * 2)
    server_view.wait_for("^download: finished after 256 MiB")


def test_page_in_pieces_arrives_in_pieces(tour: Server) -> None:
    """The page in pieces is sent piece by piece, its head first, and long enough for a browser to begin with."""
    with httpx.stream("GET", tour.url + "/pieces") as response:
        parts = list(response.iter_raw())
    assert len(parts) >= len(table.CITIES)
    assert b'class="piece"' not in parts[0]
    assert len(parts[0]) > pieces.PADDING
    page = b"".join(parts).decode()
    assert re.findall(r'<div class="piece">(\w+)<', page) == list(table.CITIES)


def test_clock_breaks_visibly(tour: Server, server_view: Activity) -> None:
    """A clock that breaks has given its ticks, and then its client is told that the response is not whole."""
    code, printed = tour.curl("/clock/breaks-after/3")
    assert code == 18  # curl's "partial file"
    assert len(re.findall(rb"^\d\d:\d\d:\d\d\.\d\d$", printed, re.MULTILINE)) == 3
    server_view.wait_for("^broken clock: failed after 3 ticks: the spring broke")
    tour.wait_for_output(SpringBroke.__name__)


def test_clock_ticks_until_the_client_leaves(tour: Server, server_view: Activity) -> None:
    """The whole clock goes on, and stops when its client leaves."""
    client = tour.request("/clock")
    read_until(client, b":")
    client.close()
    server_view.wait_for("^clock: client left after")


def test_returning_viewer_misses_nothing(tour: Server) -> None:
    """A browser that reconnects to the server's view gets the lines after the last one it has seen."""
    tour.curl("/clock/breaks-after/1")
    with httpx.stream("GET", tour.url + "/activity") as response:
        ids = (line[4:] for line in response.iter_lines() if line.startswith("id: "))
        first, second = next(ids), next(ids)
    with httpx.stream("GET", tour.url + "/activity", headers={"last-event-id": first}) as response:
        assert next(line for line in response.iter_lines() if line.startswith("id: ")) == f"id: {second}"


def test_page_refers_to_this_server_only(tour: Server) -> None:
    """Everything that the page refers to is on this server and there: it needs nothing else."""
    html = httpx.get(tour.url + "/").text
    paths = re.findall(r'(?:src|href|data-start)="(?!data:)([^"]+)"', html)
    assert len(paths) >= 9
    for path in paths:
        assert path.startswith("/")
        assert httpx.head(tour.url + path).status_code == 200, path
    for path in ("/", "/page.css", "/page.js"):
        text = httpx.get(tour.url + path).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"\b(?:https?:)?//\w|@import|\burl\(", re.sub(r"(?m)(^|\s)// .*$", "", text)), path


def test_files_are_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """A start that breaks while it makes a file leaves nothing behind."""

    def make() -> None:
        with files.whole(tmp_path / "file") as unfinished:
            unfinished.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make()
    assert list(tmp_path.iterdir()) == []


def test_data_directory_holds_only_what_is_finished(tour: Server, data: Path) -> None:
    """The tour's files are where TOUR_DATA says, and nothing else is there."""
    assert tour.process.poll() is None
    assert sorted(path.name for path in data.iterdir()) == ["large.bin", "orders.sqlite3"]


class Browser:
    """Chromium with a page, spoken to in its DevTools protocol over a pair of pipes."""

    def __init__(self, profile: Path, *options: str) -> None:
        found = [path for name in BROWSERS if (path := shutil.which(name))]
        assert found, f"this test needs a browser: install one of {', '.join(BROWSERS)}"
        ours_out, ours_in, theirs = _pipes()
        switches = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
            f"--user-data-dir={profile}", *options, "about:blank",
        ]  # fmt: skip
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
        # The protocol wants its pipes to be 3 and 4.
        pipes = [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(theirs, (3, 4), strict=True)]
        self._pid = os.posix_spawn(found[0], [found[0], *switches], os.environ, file_actions=[*quiet, *pipes])
        for fd in theirs:
            os.close(fd)
        self._in, self._out = os.fdopen(ours_in, "rb", buffering=0), os.fdopen(ours_out, "wb", buffering=0)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._second: str | None = None
        self._second_session: str | None = None
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            part = self._in.read(1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    @contextlib.contextmanager
    def another_page(self, *, close: bool = False) -> Iterator[Browser]:
        """Drive the second page, which is opened where there is none, until the block ends."""
        first, self._session = self._session, None
        if self._second is None:
            self._second = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._second_session = self.call("Target.attachToTarget", targetId=self._second, flatten=True)["sessionId"]
        self._session = self._second_session
        yield self
        self._session = None
        if close:
            self.call("Target.closeTarget", targetId=self._second)
            self._second = None
        self._session = first

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}\n{self.run('document.body.innerText')}"
            time.sleep(0.05)

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self._session = None
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self.call("Browser.close")
        end = time.monotonic() + PATIENCE
        while os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self._pid, signal.SIGKILL)
            time.sleep(0.02)
        self._in.close()
        self._out.close()


def _pipes() -> tuple[int, int, tuple[int, int]]:
    """Our ends of two pipes, and the child's: those out of the way of the numbers that they will get."""
    their_in, ours_out = os.pipe()
    ours_in, their_out = os.pipe()
    theirs = fcntl.fcntl(their_in, fcntl.F_DUPFD_CLOEXEC, 10), fcntl.fcntl(their_out, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(their_in)
    os.close(their_out)
    return ours_out, ours_in, theirs


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser."""
    with contextlib.closing(Browser(tmp_path / "profile")) as browser:
        yield browser


def state(card: str, name: str) -> str:
    """An expression: whether a card of the page is in a state."""
    return f"document.getElementById('{card}')?.dataset.state === '{name}'"


def count(card: str) -> str:
    """An expression: what a card has counted."""
    return f"Number(document.getElementById('{card}')?.dataset.count)"


def lines(name: str, kind: str) -> str:
    """An expression: how many lines of a kind the page's log has on a stream."""
    own = f"(line) => line.textContent.startsWith('{name}:')"
    return f"[...document.querySelectorAll('#log .{kind}')].filter({own}).length"


def test_page_runs_every_stream_to_its_end(tour: Server, browser: Browser) -> None:
    """In a browser each card counts what its stream gives, and tells a whole stream from one that broke."""
    browser.call("Page.navigate", url=tour.url + "/#autostart")
    browser.wait_for(f"{count('load')} > 1 && {count('table')} > 0 && {count('download')} > 0")
    browser.run("document.querySelectorAll('.slow:checked').forEach((box) => box.click())")
    browser.wait_for(f"{state('table', 'finished')} && {count('table')} === 200000")
    browser.wait_for(f"{state('download', 'finished')} && {count('download')} === {download.SIZE}")
    browser.wait_for(f"{state('pieces', 'finished')} && {count('pieces')} === {len(table.CITIES)}")
    browser.wait_for(f"{state('clock', 'broken')} && {count('clock')} === 12")
    assert "network error" in browser.run("document.querySelector('#clock .lead').textContent")
    browser.wait_for("document.querySelectorAll('#log .finished').length >= 3")


def test_page_shows_that_the_server_notices(tour: Server, browser: Browser) -> None:
    """What one stops on the page ends on the server, whose own words appear in the log."""
    browser.call("Page.navigate", url=tour.url)
    browser.wait_for(state("pieces", "idle"))
    for card, path, name in (
        ("table", "/orders.jsonl", "JSON lines export"),
        ("download", "/large.bin", "download"),
        ("clock", "/clock", "clock"),
        ("load", "/load", "load events"),
        ("pieces", "/pieces", "page in pieces"),
    ):
        before = browser.run(lines(name, "started"))
        browser.run(f"document.querySelector('[data-start=\"{path}\"]').click()")
        browser.wait_for(f"{count(card)} > 0")
        gone = browser.run(lines(name, "left"))
        browser.run(f"document.querySelector('#{card} .stop').click()")
        browser.wait_for(f"{state(card, 'stopped')} && {lines(name, 'started')} > {before}")
        browser.wait_for(f"{lines(name, 'left')} > {gone}")
    browser.wait_for("document.getElementById('open').children.length === 0")


def lines_of_chat(count: int, *texts: str) -> str:
    """An expression: the chat room shows these lines last, and so many people."""
    seen = "[...document.querySelectorAll('#lines li')].map((line) => line.textContent)"
    shown = f"JSON.stringify({seen}.slice(-{len(texts)})) === {json.dumps(json.dumps(texts, separators=(',', ':')))}"
    return f"{shown} && document.getElementById('present').textContent === '{count}'"


def test_two_pages_chat(tour: Server, browser: Browser) -> None:
    """Two pages in a room see what each says and who comes and goes; a message that is none is a close with 1007."""
    first = browser
    first.call("Page.navigate", url=tour.url + "/chat?name=Ada&room=t")
    first.wait_for(lines_of_chat(1, "Ada: came in"))
    with browser.another_page() as second:
        second.call("Page.navigate", url=tour.url + "/chat?name=Bob&room=t")
        second.wait_for(lines_of_chat(2, "Bob: came in"))
        say = "document.getElementById('text').value = '{}'; document.getElementById('say').requestSubmit()"
        second.run(say.format("hello <b>Ada</b>"))
        second.wait_for(lines_of_chat(2, "Bob: came in", "Bob: hello <b>Ada</b>"))
    first.wait_for(lines_of_chat(2, "Bob: came in", "Bob: hello <b>Ada</b>"))
    first.run(say.format("hello Bob"))
    first.wait_for(lines_of_chat(2, "Bob: hello <b>Ada</b>", "Ada: hello Bob"))
    with browser.another_page(close=True) as second:
        second.wait_for(lines_of_chat(2, "Bob: hello <b>Ada</b>", "Ada: hello Bob"))
    first.wait_for(lines_of_chat(1, "Bob: left"))
    first.run(say.format(""))
    first.wait_for("document.getElementById('state').textContent.startsWith('closed with 1007 text: ')")


def test_tour_runs_on_trio_alone() -> None:
    """No module of the tour uses another event loop."""
    for path in (ROOT / "examples" / "tour").glob("*.py"):
        assert not re.search(r"\b(asyncio|anyio)\b", path.read_text()), path
