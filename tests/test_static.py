"""Directories of files, mounted in an app."""

from __future__ import annotations

import gzip
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.asgi import Answer, Exchange, ask
from tests.io.test_disk import descriptors, wait_for_strong_tags
from tests.servers import PATIENCE
from tests.test_tree import make_root
from trioweb import App, HTTPError, Request, StaticFiles
from trioweb.io.disk import DiskFile
from trioweb.testing import TestClient

PAGE = b"<p>page"
SCRIPT = b"console.log('script');" * 100
LONG_AGO = 784111777


@pytest.fixture(autouse=True)
def _no_backstop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not closed stays open here: the collection of garbage closes nothing."""
    monkeypatch.delattr(DiskFile, "__del__")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with pages, and a script in several codings."""
    root = tmp_path / "site"
    (root / "docs" / "empty").mkdir(parents=True)
    (root / "index.html").write_bytes(b"<p>home")
    (root / "page.html").write_bytes(PAGE)
    (root / "docs" / "index.html").write_bytes(b"<p>docs")
    (root / "docs" / "a b.txt").write_bytes(b"a b")
    (root / "404.html").write_bytes(b"<p>nothing here")
    (root / "app.js").write_bytes(SCRIPT)
    (root / "app.js.gz").write_bytes(gzip.compress(SCRIPT))
    (root / "app.js.br").write_bytes(b"pretend this is brotli")
    (root / "only.js.gz").write_bytes(gzip.compress(b"gone"))
    (root / "docs.gz").write_bytes(b"not a directory")
    (root / "large.bin").write_bytes(bytes(300_000))
    (root / "secret").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    for path in root.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    wait_for_strong_tags(monkeypatch)
    return root


def mounted(site: Any, **options: Any) -> App:
    """An app with a site at /static."""
    app = App()
    app.mount("/static", StaticFiles(site, **options))
    return app


async def get(app: App, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for it."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await ask(app, path, method, headers=pairs)


async def test_a_file(site: Path) -> None:
    """A file under the mount's path is a file response: with its type, its validators, its ranges."""
    app = mounted(site, cache_control="public, max-age=60")
    answer = await get(app, "/static/page.html")
    assert (answer.status, answer.body) == (200, PAGE)
    etag = answer.headers["etag"]
    assert {**answer.headers, "etag": ""} == {
        "content-type": "text/html; charset=utf-8",
        "content-length": "7",
        "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "accept-ranges": "bytes",
        "cache-control": "public, max-age=60",
        "etag": "",
    }
    part = await get(app, "/static/page.html", range="bytes=1-2", if_range=etag)
    assert (part.status, part.body, part.headers["cache-control"]) == (206, PAGE[1:3], "public, max-age=60")
    same = await get(app, "/static/page.html", if_none_match=etag)
    assert (same.status, dict(same.headers)) == (304, {"etag": etag, "cache-control": "public, max-age=60"})
    assert (await get(app, "/static/docs/a%20b.txt")).body == b"a b"
    assert (await get(app, "/static/large.bin")).body == bytes(300_000)
    assert descriptors(site / "large.bin") == 0


async def test_a_head(site: Path) -> None:
    """A HEAD has the headers of the GET."""
    app = mounted(site, precompressed=["gz"])
    for path in ("/static/page.html", "/static/app.js", "/static/large.bin"):
        whole, head = await get(app, path, accept_encoding="gzip"), await get(app, path, "HEAD", accept_encoding="gzip")
        assert (head.status, head.body, dict(head.headers)) == (200, b"", dict(whole.headers))
    assert (await get(app, "/static/nothing", "HEAD")).status == 404


async def test_a_head_opens_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a HEAD no file is opened, nor is another one than the one that is sent for a GET."""
    app = mounted(site, html=True, precompressed=["br", "gz"])
    opened: list[str] = []
    own_open = os.open

    def note(name: Any, *args: Any, **options: Any) -> int:
        descriptor = own_open(name, *args, **options)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            opened.append(str(name))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    for method, expected in (("HEAD", []), ("GET", ["app.js.gz", "index.html", "404.html"])):
        opened.clear()
        for path, status in (
            ("/static/app.js", 200),
            ("/static/docs/", 200),
            ("/static/no", 404),
            ("/static/docs", 308),
        ):
            assert (await get(app, path, method, accept_encoding="gzip")).status == status
        assert opened == expected


@pytest.mark.parametrize("follow", [True, False])
async def test_the_loop_looks_at_no_disk(site: Path, follow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for, all that may wait for a disk is done in threads, and the loop goes on meanwhile."""
    (site / "inner").symlink_to("page.html")
    app = mounted(site, html=True, precompressed=["gz"], follow_symlinks=follow)
    asked: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        own = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != loop:
                asked.append(name)
                return own(*args, **options)
            return pytest.fail(f"os.{name}{args} on the loop")

        return call

    loop = threading.get_ident()
    with monkeypatch.context() as patch:
        for name in ("open", "stat", "lstat", "fstat", "access", "readlink", "pread", "listdir", "scandir"):
            patch.setattr(os, name, watched(name))
        patch.setattr(DiskFile, "close", _closing_in_a_thread(loop))
        for path in (
            "page.html",
            "app.js",
            "large.bin",
            "inner",
            "secret",
            "fifo",
            "nothing",
            "docs",
            "docs/",
            "a/b/c",
        ):
            for method in ("GET", "HEAD"):
                assert (await get(app, f"/static/{path}", method, accept_encoding="gzip")).status in {200, 308, 404}
    assert {"open", "stat", "fstat", "pread"} <= set(asked)


def _closing_in_a_thread(loop: int) -> Callable[[DiskFile], None]:
    own = DiskFile.close

    def close(file: DiskFile) -> None:
        assert threading.get_ident() != loop
        own(file)

    return close


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods(site: Path, method: str) -> None:
    """Files are only read: other methods are a 405 that says so, and OPTIONS says it too."""
    answer = await get(mounted(site), "/static/page.html", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = await get(mounted(site), "/static/page.html", "OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    "path",
    [
        "/static/nothing", "/static/docs", "/static/docs/", "/static", "/static/", "/static/page.html/",
        "/static/PAGE.HTML", "/static//page.html", "/static/./page.html", "/static/docs/../page.html",
        "/static/%2e%2e/site/page.html", "/static/docs%2fa%20b.txt", "/static/docs%2Findex.html",
        "/static/..%2f..%2fetc%2fpasswd", "/static/%5c..%5cpage.html", "/static/page.html%00", "/static/%00",
        "/static/secret", "/static/fifo", "/static/" + "x" * 300, "/static/page.html/x", "/static/%252e%252e/x",
        "/static//etc/passwd", "/static/%2fetc%2fpasswd",
    ],
)  # fmt: skip
async def test_what_is_not_there(site: Path, path: str) -> None:
    """What is no file of the directory by its one name is a 404, a problem document like any other of the app's."""
    exchange = Exchange("GET", unquote(path), raw_path=path.encode())
    with trio.fail_after(PATIENCE):
        await exchange.run(mounted(site))
    assert exchange.status == 404
    assert exchange.headers["content-type"] == "application/problem+json"


async def test_what_may_not_be_read(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the server may not read is a 403; a fault of the system is a 500, not a file that is missing."""
    app = mounted(site, html=True)
    for error, status in ((PermissionError(13, "no"), 403), (OSError(24, "too many open files"), 500)):

        def refuse(*_: object, error: OSError = error, **__: object) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("trioweb.io.disk.os.stat", refuse)
            assert (await get(app, "/static/page.html")).status == status


async def test_the_apps_own_error_handlers(site: Path) -> None:
    """What is not there is answered by the error handlers of the app in which the directory is mounted."""
    app = mounted(site)

    @app.error_handler(404)
    async def missing(request: Request, error: HTTPError) -> str:
        return f"{request.path} is nowhere"

    assert (await get(app, "/static/nothing")).body == b"/static/nothing is nowhere"
    assert (await get(app, "/nothing")).body == b"/nothing is nowhere"


async def test_pages(site: Path) -> None:
    """With html=True a directory is its index, behind a slash; and what is not there is a page of the site's own."""
    app = mounted(site, html=True, cache_control="max-age=60")
    assert (await get(app, "/static/")).body == b"<p>home"
    assert (await get(app, "/static/docs/")).body == b"<p>docs"
    for path, location in (
        ("/static", "/static/"),
        ("/static/docs", "/static/docs/"),
        ("/static/docs?a=b&c", "/static/docs/?a=b&c"),
    ):
        for method in ("GET", "HEAD"):
            answer = await ask(app, path.partition("?")[0], method, query_string=path.partition("?")[2].encode())
            assert (answer.status, answer.body, answer.headers["location"]) == (308, b"", location)
            assert "cache-control" not in answer.headers
    for path in ("/static/nothing", "/static/docs/empty", "/static/docs/empty/", "/static/page.html/", "/static/fifo"):
        answer = await get(app, path, range="bytes=0-1")
        assert (answer.status, answer.body) == (404, b"<p>nothing here")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert set(answer.headers) == {"content-type", "content-length"}
    (site / "404.html").unlink()
    answer = await get(app, "/static/nothing")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_redirect_stays_on_this_host(tmp_path: Path) -> None:
    """No path redirects to another host, and special characters are encoded again."""
    (tmp_path / "a ?\xe9").mkdir()
    (tmp_path / "a ?\xe9" / "index.html").touch()
    app = App()
    app.mount("/", StaticFiles(tmp_path, html=True))
    answer = await get(app, "/a%20%3F%C3%A9")
    assert (answer.status, answer.headers["location"]) == (308, "/a%20%3F%C3%A9/")
    exchange = Exchange("GET", "//a ?\xe9")
    await exchange.run(app)
    assert exchange.status == 404


@pytest.mark.parametrize(
    ("accept", "coding", "ending"),
    [
        (None, None, ""),
        ("", None, ""),
        ("gzip", "gzip", ".gz"),
        ("gzip, br", "br", ".br"),
        ("gzip, br;q=0.5", "gzip", ".gz"),
        ("zstd, gzip;q=0.1", "gzip", ".gz"),
        ("zstd", None, ""),
        ("*", "br", ".br"),
        ("gzip;q=0, *;q=0", None, ""),
        ("identity, gzip;q=0.5", None, ""),
    ],
)
async def test_precompressed(site: Path, accept: str | None, coding: str | None, ending: str) -> None:
    """The file in the coding that a client wants most is sent as that, with a tag of its own and ranges of its own."""
    app = mounted(site, precompressed=("br", "zst", "gz"))
    headers = {} if accept is None else {"accept_encoding": accept}
    exchange = Exchange("GET", "/static/app.js", [(b"accept-encoding", accept.encode())] if accept is not None else [])
    await exchange.run(app)
    data = (site / f"app.js{ending}").read_bytes()
    assert (exchange.status, exchange.body) == (200, data)
    assert exchange.headers.get("content-encoding") == coding
    assert exchange.headers["vary"] == "accept-encoding"
    assert exchange.headers["content-type"] == "text/javascript; charset=utf-8"
    assert exchange.headers["content-length"] == str(len(data))
    etag = exchange.headers["etag"]
    assert etag.endswith(f'-{ending[1:]}"' if ending else '"')
    same = await get(app, "/static/app.js", if_none_match=etag, **(headers or {"accept_encoding": "identity"}))
    assert (same.status, dict(same.headers)) == (304, {"etag": etag, "vary": "accept-encoding"})
    other = await get(app, "/static/app.js", if_none_match=etag, accept_encoding="identity" if ending else "gzip")
    assert other.status == 200
    request = [(b"range", b"bytes=3-7"), (b"if-range", etag.encode())]
    exchange = Exchange("GET", "/static/app.js", [*request, (b"accept-encoding", (accept or "").encode())])
    await exchange.run(app)
    assert (exchange.status, exchange.body) == (206, data[3:8])
    assert exchange.headers.get("content-encoding") == coding


async def test_what_is_precompressed_alone(site: Path) -> None:
    """A compressed file is another form of one that is there; by its own name it is a file like any other."""
    app = mounted(site, html=True, precompressed=["gz"])
    assert (await get(app, "/static/only.js", accept_encoding="gzip")).status == 404
    assert (await get(app, "/static/docs", accept_encoding="gzip")).status == 308
    answer = await get(app, "/static/app.js.gz", accept_encoding="identity")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("precompressed", ["br", ["bz2"], ["gzip"]])
def test_endings_that_are_none(site: Path, precompressed: Any) -> None:
    """An ending that stands for no coding is refused where the site is made."""
    with pytest.raises(ValueError, match="precompressed is a list of endings out of br, zst, gz"):
        StaticFiles(site, precompressed=precompressed)
    with pytest.raises(NotADirectoryError):
        StaticFiles(site / "nothing")
    with pytest.raises(ValueError, match="control character"):
        StaticFiles(site, cache_control="a\r\nb: c")


async def test_links(site: Path) -> None:
    """A link out of the directory is followed only where that is asked for."""
    assert (await get(mounted(site), "/static/secret")).status == 404
    answer = await get(mounted(site, follow_symlinks=True), "/static/secret")
    assert (answer.status, answer.body) == (200, Path("/etc/passwd").read_bytes())


@pytest.mark.parametrize("html", [True, False])
async def test_dotfiles(site: Path, html: bool) -> None:
    """What lies behind a name with a dot before it is not there unless that is asked for; .well-known always is."""
    names = {".env": b"key", ".git/config": b"x", "docs/.env": b"x", ".well-known/security.txt": b"me"}
    for name, data in names.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(data)
    (site / ".git" / "index.html").write_bytes(b"x")
    (site / ".well-known" / ".env").write_bytes(b"x")
    (site / ".env.gz").write_bytes(gzip.compress(b"key"))
    hidden = ["/.env", "/%2eenv", "/.git/config", "/.git", "/.git/", "/docs/.env", "/.well-known/.env", "/.nothing"]
    app, open_app = (mounted(site, html=html, precompressed=["gz"], dotfiles=shown) for shown in (False, True))
    for path in hidden:
        for method in ("GET", "HEAD"):
            answer = await get(app, "/static" + path, method, accept_encoding="gzip")
            assert answer.status == 404
            assert method == "HEAD" or (answer.body == b"<p>nothing here") is html
    for either in (app, open_app):
        assert (await get(either, "/static/.well-known/security.txt")).body == b"me"
    assert (await get(open_app, "/static/.env", accept_encoding="identity")).body == b"key"
    assert (await get(open_app, "/static/.git/config")).body == b"x"
    assert (await get(open_app, "/static/.git")).status == (308 if html else 404)


async def test_routes_come_first(site: Path) -> None:
    """A route under the mount's path is the app's own, and a deeper mount wins."""
    app = mounted(site)
    app.mount("/static/docs", StaticFiles(site))

    @app.get("/static/page.html")
    async def page() -> str:
        return "a route"

    assert (await get(app, "/static/page.html")).body == b"a route"
    assert (await get(app, "/static/docs/page.html")).body == PAGE
    assert (await get(app, "/staticpage.html")).status == 404


@pytest.mark.parametrize("framework", ["by itself", "trioweb", "trioweb twice", "starlette"])
async def test_wherever_it_is_mounted(site: Path, framework: str) -> None:
    """It is an ASGI app by itself, in an app of an app, and in another framework's, and redirects to where it is."""
    files = StaticFiles(site, html=True)
    prefix = {"by itself": "", "trioweb": "/a", "trioweb twice": "/a/b", "starlette": "/a"}[framework]
    app: Any = files
    if framework == "starlette":
        app = Starlette(routes=[Mount("/a", files)])
    elif framework != "by itself":
        for part in reversed(prefix[1:].split("/")):
            outer = App()
            outer.mount("/" + part, app)
            app = outer
    async with TestClient(app) as client:
        response = await client.get(f"{prefix}/page.html")
        assert (response.status_code, response.content) == (200, PAGE)
        assert (await client.get(f"{prefix}/page.html", headers={"range": "bytes=1-2"})).content == PAGE[1:3]
        assert (await client.get(f"{prefix}/large.bin")).content == bytes(300_000)
        assert (await client.head(f"{prefix}/large.bin")).headers["content-length"] == "300000"
        response = await client.get(f"{prefix}/docs")
        assert (response.status_code, response.headers["location"]) == (308, f"{prefix}/docs/")
        response = await client.get(f"{prefix}/nothing")
        assert (response.status_code, response.content) == (404, b"<p>nothing here")
        response = await client.post(f"{prefix}/page.html")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert descriptors(site / "large.bin") == 0


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tree for all the paths that are tried."""
    return make_root(tmp_path_factory.mktemp("fuzz"))


PIECES = ["a", "b", "top", "deep", "..", ".", "/", "//", "link", "out", "out-dir", "file", "itself", "secret", "root",
          "%2e", "%2e%2e", "%2f", "%5c", "%00", "\\", "~", "etc/passwd", "%c0%ae", "%ff", "%25", "zero", "fifo", ";",
          "?", "..;", "%u002e", "passwd", "\xe9", " "]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.booleans())
@settings(max_examples=250, deadline=None)
def test_no_request_leads_out(fuzzed: Path, path: str, html: bool) -> None:
    """Whatever is asked for, the answer is a file of the tree, a redirect within it, or that it is not there."""
    raw = quote("/static/" + path.partition("?")[0], safe="/%\\;~")

    async def main() -> Exchange:
        exchange = Exchange("GET", unquote(raw), raw_path=raw.encode())
        with trio.fail_after(PATIENCE):
            await exchange.run(mounted(fuzzed, html=html))
        return exchange

    exchange = trio.run(main)
    assert exchange.status in {200, 400, 404}
    assert exchange.status != 200 or exchange.body in {b"top", b"deep"}
