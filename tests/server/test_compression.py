"""Compressed streams on a real server: to curl, to a browser, and at a stop."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess

import pytest
from playwright.sync_api import Page

from tests.conftest import StartServer
from tests.servers import PATIENCE, Server, read_all, read_until


@pytest.fixture
def compressing(start_server: StartServer) -> Server:
    """A server whose app compresses."""
    return start_server("tests.server.compressed_app:app")


def test_curl_gets_compressed_events_one_by_one(compressing: Server) -> None:
    """Curl decodes each event when it is sent, though the stream has no end yet."""
    command = ["curl", "-sSN", "--compressed", "-m", "15", compressing.url + "/clock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        for number in range(3):
            compressing.wait_for_event("waits", number + 1)
            assert curl.stdout.readline() == b"data: %d\n" % number
            assert curl.stdout.readline() == b"\n"
            with compressing.request("/clock/next", "POST", "Content-Length: 0\r\n") as client:
                read_until(client, b"\r\n\r\n")
        curl.terminate()
    code, head = compressing.curl("/rows", "--compressed", "-D", "-", "-o", "/dev/null")
    assert (code, re.search(rb"content-encoding: (gzip|br|zstd)", head.lower()) is not None) == (0, True)


def test_a_browser_gets_compressed_events_one_by_one(compressing: Server, page: Page) -> None:
    """Chromium's EventSource hands out each event when it is sent, through a compressed response."""
    page.goto(compressing.url + "/page")
    for number in range(3):
        page.wait_for_function(f"window.seen && window.seen.length === {number + 1}")
        assert page.evaluate("window.seen.join()") == ",".join(map(str, range(number + 1)))
        compressing.wait_for_event("waits", number + 1)
        with compressing.request("/clock/next", "POST", "Content-Length: 0\r\n") as client:
            read_until(client, b"\r\n\r\n")
    assert any("clock accepts" in line and "gzip" in line for line in compressing.events)


def test_a_compressed_event_stream_ends_cleanly_at_a_stop(compressing: Server) -> None:
    """At a stop the last flush and the trailer of gzip arrive, and the terminating chunk after them."""
    with compressing.request("/clock", headers="Accept-Encoding: gzip\r\n") as client:
        compressing.wait_for_event("waits")
        compressing.process.send_signal(signal.SIGTERM)
        body = read_all(client).partition(b"\r\n\r\n")[2]
    compressing.process.wait(PATIENCE)
    assert body.endswith(b"0\r\n\r\n")
    coded = b""
    while found := re.match(rb"([0-9a-f]+)\r\n", body):
        end = found.end() + int(found[1], 16)
        coded, body = coded + body[found.end() : end], body[end + 2 :]
    assert gzip.decompress(coded) == b"data: 0\n\n"  # which fails without the trailer
