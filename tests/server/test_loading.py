"""The app that a command line names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from trioweb import App
from trioweb.server.loading import NoAppError, apps_here, find_app, load_app


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules, as the working directory."""
    (tmp_path / "shop.py").write_text(
        "from trioweb import App\nweb = App()\nnumber = 3\ndef make(): return web\n"
        "class Holder:\n    web = web\nasync def plain(scope, receive, send): ...\n"
    )
    (tmp_path / "broken.py").write_text("import not_installed\n")
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    (tmp_path / "json.py").write_text("from trioweb import App\nsite: App = App()\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "inner.py").write_text("from trioweb import App\napp = App()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("shop", "broken", "wrong", "pkg", "pkg.inner", "inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("target", ["shop:web", "shop:make()", "shop:Holder.web", "shop.py:web", "pkg.inner"])
def test_an_app_that_is_there(target: str) -> None:
    """A module or its file, and a name, a call of it, or what is inside of it, lead to the app."""
    assert isinstance(find_app(target), App)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing:app", r"there is no module 'nothing' in .*: did you mean json:site or shop:web or pkg.inner:app\?"),
        ("nothing.py", "there is no module 'nothing'"),
        ("json:app", "json.py has the name of the package 'json', which comes first: give it another name"),
        ("shop:app", r"'shop' has no 'app': did you mean shop:web\?"),
        ("shop:web.nothing", r"'shop' has no 'web.nothing'"),
        ("shop:number", "'shop:number' is not an app but int"),
        ("shop:Holder", r"'shop:Holder' is a class: name what Holder\(\) was assigned to"),
    ],
)
def test_an_app_that_is_not_there(target: str, message: str) -> None:
    """What was named and is not there, or is no app, is told with what to write instead."""
    with pytest.raises(NoAppError, match=message):
        load_app(target, 0)


def test_where_there_is_nothing(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no app is to be seen the error says where to run it instead."""
    (shop / "empty").mkdir()
    monkeypatch.chdir(shop / "empty")
    with pytest.raises(NoAppError, match=r"in .*/empty: run this where your file is, or give its path"):
        find_app("nothing:app")


def test_apps_that_are_to_be_seen(shop: Path) -> None:
    """What is called like an app is found in the files here and one directory down, whatever a file holds."""
    (shop / "other.py").write_bytes(b"\xff\xfe\x00")
    (shop / "not-a-module.py").write_text("app = App()\n")
    (shop / "many.py").write_text(
        "first = FastAPI()\n  inner = App()\nx = Apple()\nsecond: App = trioweb.App(debug=True)\n"
    )
    (shop / "locked.py").mkdir()
    assert apps_here() == ["json:site", "many:first", "many:second", "shop:web", "pkg.inner:app"]


@pytest.mark.parametrize(("target", "error"), [("broken:app", ModuleNotFoundError), ("wrong:app", ZeroDivisionError)])
def test_a_module_that_fails(target: str, error: type[Exception]) -> None:
    """What goes wrong in the user's module is its own error: also an import of a module that is not installed."""
    with pytest.raises(error):
        find_app(target)


async def test_wsgi(shop: Path) -> None:
    """With `wsgi:` before it the app is called as a WSGI app, and with `asgi:` as it is."""
    (shop / "old.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['PATH_INFO'].encode()]\n"
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/old", "query_string": b"", "http_version": "1.1"}
    await load_app("wsgi:old:app", 0)(scope, receive, send)
    assert sent[1]["body"] == b"/old"
    assert isinstance(load_app("asgi:shop:web", 0), App)
