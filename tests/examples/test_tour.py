"""The tour in ``examples/tour``: its streams, and what the server says of them. Its page has tests of its own."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.tour import download, files, load, pieces, table, visits
from examples.tour.clock import SpringBroke
from tests.servers import ROOT, Server, read_until

CHANNEL = 65536
"""Bytes that wait in a channel, besides one chunk."""


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


def levels(url: str) -> Iterator[Any]:
    """What the server reports on the first stream that is open, again and again."""
    for line in httpx_lines(url + "/activity"):
        if line.startswith("data: [{"):
            yield json.loads(line[6:])[0]


@pytest.mark.parametrize(
    ("path", "chunk", "whole"), [("/orders.jsonl", 1000, table.ROWS), ("/large.bin", CHANNEL, download.SIZE)]
)
def test_a_stream_goes_at_its_clients_pace(
    tour: Server, server_view: Activity, path: str, chunk: int, whole: int
) -> None:
    """A client that does not read stops the producer, with a full channel and no more than that: rule 3."""
    with contextlib.closing(tour.request(path)) as client:
        client.recv(100)
        server_view.wait_for("started")
        seen: list[Any] = []
        for level in levels(tour.url):
            seen.append(level)
            waiting = (level["made"] - level["handed"]) * (level["sent"] / max(level["handed"], 1))
            assert waiting <= CHANNEL + 2 * chunk
            if waiting > 0.9 * CHANNEL and seen[-5:] == [level] * 5:
                break
        assert 0 < seen[-1]["made"] < whole
    server_view.wait_for("client left")


def test_a_stream_breaks_when_it_is_told_to(tour: Server, server_view: Activity) -> None:
    """Somebody may have any open stream fail: its client is told that it is not whole."""
    with httpx.stream("GET", tour.url + "/load") as response:
        number = response.headers["x-visit"]
        assert httpx.post(f"{tour.url}/visits/{number}/break").status_code == 204
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            response.read()
    server_view.wait_for("load events: failed after . events: broken on purpose")
    assert httpx.post(f"{tour.url}/visits/{number}/break").status_code == 404


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

    class Unwatched(visits.Visit):
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
    """All that the page and its scripts refer to is on this server, and there: it needs nothing else."""
    found = {"/", "/chat", "/style.css"}
    for path in sorted((ROOT / "examples" / "tour" / "page").iterdir()):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"\b(?:https?:)?//\w|@import|\burl\(", re.sub(r"(?m)(^|\s)// .*$", "", text)), path
        found |= set(re.findall(r'(?:src|href|data-url|value)="(/[^"]*)"', text))
        found |= {"/" + name for name in re.findall(r'from "\./([^"]+)"', text)}
        found.add("/" + path.name)
    assert len(found) >= 15
    for path_ in sorted(found):
        assert httpx.head(tour.url + path_).status_code == 200, path_


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


def test_tour_runs_on_trio_alone() -> None:
    """No module of the tour uses another event loop."""
    for path in (ROOT / "examples" / "tour").glob("*.py"):
        assert not re.search(r"\b(asyncio|anyio)\b", path.read_text()), path
