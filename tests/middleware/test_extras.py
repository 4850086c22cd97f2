"""What works without the extras, and what says which of them it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.asgi import ask
from trioweb import App, Compression, Sessions


def make(**options: object) -> App:
    """An app that compresses."""
    app = App()
    app.middleware(Compression(**options))  # type: ignore[arg-type]

    @app.get("/")
    async def root() -> str:
        return "x" * 1000

    @app.get("/stream")
    async def stream() -> Iterator[str]:
        return iter(["x" * 1000])

    return app


@pytest.mark.parametrize("path", ["/", "/stream"])
@pytest.mark.parametrize(
    ("missing", "accepted", "coding"),
    [
        (["zstandard", "brotli"], "zstd, br, gzip;q=0.5", "gzip"),
        (["zstandard", "brotli"], "zstd, br", None),
        (["zstandard"], "zstd, br;q=0.9, gzip;q=0.5", "br"),
        (["brotli"], "br, zstd;q=0.9, gzip;q=0.5", "zstd"),
    ],
)
async def test_compression_with_what_is_installed(
    path: str, missing: list[str], accepted: str, coding: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client gets the best of the codings that are installed; gzip always is."""
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    answer = await ask(make(), path, headers=[(b"accept-encoding", accepted.encode())])
    assert answer.headers.get("content-encoding") == coding
    assert (answer.body, answer.headers["vary"]) == (b"x" * 1000, "accept-encoding")


@pytest.mark.parametrize(("coding", "module"), [("br", "brotli"), ("zstd", "zstandard")])
def test_a_coding_that_is_not_installed(coding: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a coding by name is told what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"no coding '{coding}'.*pip install trioweb\\[compression\\]"):
        Compression(codings=["gzip", coding])


def test_sessions_without_itsdangerous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions say what to install."""
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install trioweb\[sessions\]"):
        Sessions("k" * 16)


BARE = """
import sys
for name in ("aioquic", "brotli", "httpx", "itsdangerous", "starlette", "watchfiles", "websockets", "zstandard"):
    sys.modules[name] = None
import trio
import trioweb, trioweb.middleware, trioweb.server.command
from trioweb import App, Compression

app = App()
app.middleware(Compression())

@app.get("/")
async def root():
    yield "x" * 1000

scope = {
    "type": "http", "http_version": "1.1", "method": "GET", "path": "/", "query_string": b"",
    "headers": [(b"accept-encoding", b"zstd, br, gzip")],
}

async def receive():
    await trio.sleep_forever()

async def send(message):
    if message["type"] == "http.response.start":
        print(dict(message["headers"])[b"content-encoding"].decode())

trio.run(app, scope, receive, send)
try:
    app.test_client()
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_bare_installation() -> None:
    """Without a single extra an app runs and compresses; its test client says what it needs."""
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    coding, hint = done.stdout.splitlines()
    assert coding == "gzip"
    assert "pip install trioweb[testing]" in hint
