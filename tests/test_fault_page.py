"""The page of a fault, in debug mode."""

from __future__ import annotations

import functools
import html
import logging
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from playwright.sync_api import Browser

from tests.asgi import Answer, ask
from tests.servers import Server
from trioweb import App, Request, Response, StreamingResponse
from trioweb.ground.faultpage import FRAMES, render_fault
from trioweb.io.tasks import LISTED
from trioweb.middleware import CallNext

HTML = (b"accept", b"text/html")
SECRET = b"hush-"
MARKUP = '<script>alert("x")</script>'


def text_of(answer: Answer) -> str:
    """What a reader sees of a page, without its style."""
    page = answer.body.decode()
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))


async def test_source_lines() -> None:
    """The page shows the lines around that of the user's which failed, with that one marked, and the frames to it."""
    app = App(debug=True)

    def price(item: str) -> int:
        return {"tea": 3}[item]  # this line

    @app.get("/{item}")
    async def order(item: str) -> int:
        # before
        return price(item)

    page = (await ask(app, "/milk", headers=[HTML])).body.decode()
    assert "<h1>KeyError: &#x27;milk&#x27;</h1>" in page
    assert re.findall(r"<b>(\w+)</b> ([^<]+):\d+<", page) == [("order", __file__), ("price", __file__)]
    marked = re.findall(r'<div class="line here"><i>\d+</i><pre>([^<]*)</pre>', page)
    assert [html.unescape(line).strip() for line in marked] == [
        "return price(item)",
        'return {"tea": 3}[item]  # this line',
    ]
    assert "# before" in page
    assert "site-packages" not in page


async def test_the_request_is_shown_and_secrets_are_not() -> None:
    """The page shows route, handler, query and headers; the values that prove who a client is are hidden."""
    app = App(debug=True)

    @app.get("/orders/{n}")
    async def order(n: int) -> None:
        raise ValueError(n)

    secrets = [
        (name, SECRET + name) for name in (b"authorization", b"cookie", b"x-api-key", b"x-csrf-token", b"referer")
    ]
    query = b"page=3&access_token=%shush&empty=&code=%s&zipcode=1234" % (SECRET, SECRET)
    answer = await ask(app, "/orders/7", headers=[HTML, (b"x-shop", b"tea"), *secrets], query_string=query)
    text = text_of(answer)
    assert "GET /orders/7" in text
    assert "routeGET /orders/{n}handlertests.test_fault_page." in text
    assert "page3access_token(9 characters, hidden)emptycode(5 characters, hidden)zipcode1234" in text
    assert "x-shoptea" in text
    assert "authorization(18 characters, hidden)" in text
    assert SECRET not in answer.body
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("behind", [False, True])
async def test_the_tasks_of_the_request(behind: bool) -> None:
    """The page shows the tasks that ran in the request's nursery when its handler failed, and where each waited."""
    app = App(debug=True)

    async def inner() -> None:
        await trio.sleep_forever()

    async def outer() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)

    async def pass_on(request: Request, call_next: CallNext) -> object:
        return await call_next(request)

    if behind:
        app.middleware(pass_on)

    @app.get("/")
    async def root(nursery: trio.Nursery) -> None:
        nursery.start_soon(outer)
        nursery.start_soon(inner)
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("no")

    @app.get("/many")
    async def many(nursery: trio.Nursery) -> None:
        for _ in range(LISTED + 7):
            nursery.start_soon(inner)
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("no")

    text = text_of(await ask(app, "/", headers=[HTML]))
    _, _, tree = text.partition("Tasks in the request's nursery when it failed")
    place = re.compile(re.escape(__file__) + r":\d+")
    name = "tests.test_fault_page.test_the_tasks_of_the_request.<locals>."
    assert place.sub("HERE", tree.partition("Request")[0]) == (
        f"{name}inner (HERE, in inner)\n{name}outer (HERE, in outer)\n    {name}inner (HERE, in inner)"
    )
    assert "\nand 7 more" in text_of(await ask(app, "/many", headers=[HTML]))


async def waits() -> None:
    """Fail when it is cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("since it was cancelled")


async def fails(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Fail when all others wait."""
    task_status.started()
    await trio.testing.wait_all_tasks_blocked()
    raise ValueError("no")


async def refuses(*, task_status: trio.TaskStatus[None]) -> None:
    """Fail before it has started."""
    raise ValueError("refused")


@pytest.mark.parametrize("how", ["start_soon", "start", "stream"])
@pytest.mark.parametrize("behind", [False, True])
async def test_the_tasks_beside_one_that_failed(behind: bool, how: str) -> None:
    """Where a task of the nursery has failed, the page shows that, and what the others did then."""
    app = App(debug=True)

    async def pass_on(request: Request, call_next: CallNext) -> object:
        return await call_next(request)

    if behind:
        app.middleware(pass_on)

    async def run(nursery: trio.Nursery) -> None:
        with pytest.raises(ValueError, match="refused"):
            await nursery.start(refuses)
        nursery.start_soon(waits)
        if how == "start":
            await nursery.start(fails)
        else:
            nursery.start_soon(functools.partial(fails))
        await trio.sleep_forever()

    @app.get("/")
    async def root(nursery: trio.Nursery) -> Response | None:
        async def chunks() -> AsyncIterator[str]:
            await run(nursery)
            yield "x"

        if how == "stream":
            return StreamingResponse(chunks())
        await run(nursery)
        return None

    text = text_of(await ask(app, "/", headers=[HTML]))
    _, _, tree = text.partition("Tasks in the request's nursery when it failed")
    shown = re.sub(re.escape(__file__) + r":\d+", "HERE", tree.partition("Request")[0]).splitlines()
    own = [line for line in shown if not line.startswith("a stream's producer")]
    failed = "tests.test_fault_page.fails has failed"
    assert own[0] == failed
    assert own[-1] == "tests.test_fault_page.waits (HERE, in waits)"


async def test_mistakes_with_a_nursery_are_told_as_ever() -> None:
    """Debug mode has trio say what is wrong with what is started, where it is started."""
    app, told = App(debug=True), []

    async def two(a: int, b: int) -> None: ...

    def plain() -> None: ...

    @app.get("/")
    async def root(nursery: trio.Nursery) -> str:
        wrong: Any = nursery
        awaited = two(1, 2)
        for mistake in ((two, 1), (plain,), (awaited,)):
            with pytest.raises(TypeError) as caught:
                wrong.start_soon(*mistake)
            told.append(str(caught.value))
        awaited.close()
        return "x"

    assert (await ask(app, "/")).status == 200
    assert "missing 1 required positional argument: 'b'" in told[0]
    assert "got None" in told[1] or "async function" in told[1]
    assert "coroutine object" in told[2]


async def test_what_others_wrote_is_no_markup(caplog: pytest.LogCaptureFixture) -> None:
    """Path, query, headers, messages, names and source lines are text, whatever they hold."""
    caplog.set_level(logging.CRITICAL, "trioweb")  # a report of the log cannot hold half a character
    app = App(debug=True)

    async def named() -> None:
        await trio.sleep_forever()

    @app.get("/{rest:path}")
    async def root(rest: str, nursery: trio.Nursery) -> None:
        nursery.start_soon(named, name=MARKUP)
        await trio.testing.wait_all_tasks_blocked()
        raise type(MARKUP, (ValueError,), {})(rest + MARKUP + "\udcff")  # MARKUP <script>

    headers = [HTML, (b"x-" + MARKUP.encode(), MARKUP.encode())]
    answer = await ask(app, "/" + MARKUP, headers=headers, query_string=b"<script>=" + MARKUP.encode())
    assert answer.status == 500
    assert b"<script" not in answer.body
    assert text_of(answer).count(MARKUP) > 8


def caught(function: Callable[[], object]) -> Exception:
    """What a function raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - whatever it is
        function()
    return info.value


def test_a_deep_traceback_is_bounded() -> None:
    """Of a recursion the first and the last calls are shown."""

    def again() -> None:
        again()

    page = render_fault(caught(again), "GET /", [], []).decode()
    assert page.count('<div class="frame">') == 2 * FRAMES
    assert re.search(r"<p>\d{3,} more calls</p>", page)
    assert len(page) < 100_000


def test_code_without_a_file() -> None:
    """What was compiled from a string has no source lines, and a page."""
    page = render_fault(caught(lambda: exec("1 / 0")), "GET /", [], []).decode()
    assert "ZeroDivisionError: division by zero" in page


async def test_without_debug_mode() -> None:
    """Without debug mode the page says nothing of this."""
    app = App()

    @app.get("/")
    async def root() -> None:
        raise ValueError("inner matters")

    answer = await ask(app, "/", headers=[HTML])
    assert b"Internal Server Error" in answer.body
    assert b"inner matters" not in answer.body
    assert b"test_fault_page" not in answer.body


@pytest.mark.parametrize("runner", ["trioweb", "hypercorn"])
def test_in_a_browser(browser: Browser, tmp_path: Path, runner: str) -> None:
    """A browser on a phone shows it without scrolling sideways, and runs nothing of what it shows."""
    (tmp_path / "app.py").write_text(
        "from trioweb import App\n"
        "app = App(debug=True)\n"
        "@app.get('/{word}')\n"
        "async def root(word: str):\n"
        f"    raise ValueError(word + 'x' * 500)  # {'long ' * 80}\n"
    )
    server = Server("app:app", [], tmp_path, tmp_path, runner=runner)
    try:
        server.wait_until_ready()
        with browser.new_context(viewport={"width": 360, "height": 740}) as context:
            page = context.new_page()
            dialogs: list[str] = []
            page.on("dialog", lambda dialog: dialogs.append(dialog.message))
            response = page.goto(f"{server.url}/<img src=x onerror=alert(1)>")
            assert response is not None
            assert response.status == 500
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            assert page.locator("h1").inner_text().startswith("ValueError: <img src=x onerror=alert(1)>xxx")
            assert page.locator(".here").count() == 1
            assert page.locator("img").count() == 0
            assert dialogs == []
    finally:
        server.stop()
