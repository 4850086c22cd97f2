"""Tracebacks for people."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
import trio

from trioweb import App
from trioweb.ground import places
from trioweb.ground.faultpage import render_fault
from trioweb.ground.places import is_users, place_of
from trioweb.ground.traces import MOST, format_trace

HINT = "Hint: an async function was called and not awaited: write `await` before the call."


def trace_of(function: Callable[[], Any]) -> str:
    """What a function's error looks like."""
    try:
        function()
    except BaseException as error:
        return format_trace(error)
    raise AssertionError("nothing was raised")


def lines_of(text: str) -> list[str]:
    """The functions in a traceback, in their order."""
    return [line.rpartition(" in ")[2] for line in text.splitlines() if line.startswith('  File "')]


def fail() -> None:
    """Fail, as a user's function."""
    raise ValueError("no")


@pytest.mark.parametrize(
    ("filename", "users"),
    [
        ("/home/ada/shop/app.py", True),
        ("app.py", True),
        (__file__, True),
        (places.__file__, False),
        (json.__file__, False),
        (msgspec.__file__, False),
        ("/home/ada/shop/.venv/lib/python3.13/site-packages/x/y.py", False),
        ("/usr/lib/python3/dist-packages/x.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("<string>", False),
    ],
)
def test_whose_code_it_is(filename: str, users: bool) -> None:
    """A file is the user's own unless it is the standard library's, an installed package's, or of this package."""
    assert is_users(filename) is users


def test_it_begins_at_the_users_code() -> None:
    """What stands before the user's first line, and between their lines on the way through a loop, is left out."""

    async def main() -> None:
        fail()

    text = trace_of(lambda: trio.run(main))
    assert text.startswith("Traceback (most recent call last):\n")
    assert lines_of(text) == ["trace_of", "<lambda>", "main", "fail"]
    assert text.endswith("ValueError: no\n")


def test_what_has_called_the_users_code() -> None:
    """A library that calls the user's code back is left out where it stands before all of it."""
    names: dict[str, Any] = {}
    source = "def call(f):\n  try: f()\n  except ValueError as error: return error\n"
    exec(compile(source, json.__file__, "exec"), names)
    assert lines_of(format_trace(names["call"](fail))) == ["fail"]


async def test_a_cancellation_is_the_users_line() -> None:
    """Where something fails while it is cancelled, that is told without what trio does to cancel."""

    async def clean_up_badly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            fail()

    async def cancelled() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await clean_up_badly()

    try:
        await cancelled()
    except ValueError as error:
        text = format_trace(error)
    assert "trio.Cancelled" in text
    assert "/trio/" not in text.replace(__file__, "")


def test_what_the_users_code_has_called() -> None:
    """A library that raises is shown to where it raises: what it was given is told there."""
    text = trace_of(lambda: json.loads("x"))
    assert lines_of(text)[1:] == ["<lambda>", "loads", "decode", "raw_decode"]


def test_a_refusal_ends_at_the_users_line() -> None:
    """Where this package refuses something, the traceback ends at the line of the user's that asked for it."""

    def register() -> None:
        @App().get("/")
        async def handler(wrong: object) -> None:
            """Never called."""

    text = trace_of(register)
    assert lines_of(text)[-1] == "register"
    assert "RouteError: GET /: the parameter 'wrong'" in text
    assert "direct cause" not in text


def test_a_fault_of_this_package_is_shown() -> None:
    """An error that is no refusal is shown to its last line, without those of this package that lead there."""
    text = trace_of(lambda: App().url_for(None))  # type: ignore[arg-type]
    assert lines_of(text)[-1] == "_locate_mounted"
    assert lines_of(text).count("url_for") == 0


def test_a_group_of_one_is_that_one() -> None:
    """A group that holds one exception, however deep, reads as that exception."""

    def grouped() -> None:
        try:
            fail()
        except ValueError as error:
            raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])]) from None

    text = trace_of(grouped)
    assert "ExceptionGroup" not in text
    assert lines_of(text) == ["grouped", "fail"]


def test_a_group_of_several_is_each_of_them() -> None:
    """Each exception of a group is told by itself, with the line where they were put together."""

    def grouped() -> None:
        found: list[Exception] = []
        for function in (fail, lambda: json.loads("x")):
            try:
                function()
            except Exception as error:
                found.append(error)
        raise ExceptionGroup("both", found)

    text = trace_of(grouped)
    assert text.startswith("2 errors, each in a task of its own\n")
    assert f"\n1 of 2 (a nursery at {__file__}:" in text
    assert "in grouped)\nTraceback (most recent call last):\n" in text
    assert text.index("ValueError: no\n") < text.index("\n2 of 2 ") < text.index("json.decoder.JSONDecodeError")
    assert "|" not in text


def test_causes() -> None:
    """What an error was caused by, or happened during, comes before it, each from the user's code on."""

    def caused() -> None:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError("more") from error

    def during() -> None:
        try:
            fail()
        except ValueError:
            raise RuntimeError("more")  # noqa: B904 - on purpose

    def alone() -> None:
        try:
            fail()
        except ValueError:
            raise RuntimeError("more") from None

    assert "ValueError: no\n\nThe above exception was the direct cause of" in trace_of(caused)
    assert "ValueError: no\n\nDuring handling of the above exception, another" in trace_of(during)
    assert "ValueError" not in trace_of(alone)


def test_a_syntax_error_tells_its_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is no Python is told by its line, without those of the import."""
    (tmp_path / "wrong_module.py").write_text("def x(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        importlib.import_module("wrong_module")
    except SyntaxError as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this test's own line
        text = format_trace(error)
    assert text.startswith(f'  File "{tmp_path}/wrong_module.py", line 1\n')
    assert "importlib" not in text


def test_a_forgotten_await_is_told() -> None:
    """What Python says of a coroutine that is taken for a value is followed by what to write."""

    async def fetch() -> dict[str, int]:
        return {}

    coroutine: Any = fetch()

    def unpack() -> None:
        _, _ = coroutine

    def drive(function: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: function().send(None)

    async def iterate() -> None:
        async for _ in coroutine:
            pass

    async def enter() -> None:
        async with coroutine:
            pass

    for wrong in (
        lambda: coroutine["a"], lambda: coroutine.a, lambda: len(coroutine), lambda: list(coroutine), unpack,
        lambda: coroutine + 1, lambda: coroutine > 1, lambda: -coroutine, lambda: float(coroutine),
        lambda: "a" + coroutine, lambda: ",".join(2 * [coroutine]),
        drive(iterate), drive(enter),
    ):  # fmt: skip
        assert trace_of(wrong).endswith(f"\n{HINT}\n")
    coroutine.close()
    assert "Hint" not in trace_of(fail)


def test_where_a_thread_is() -> None:
    """Of what a thread runs it is the innermost line of the user's that counts, with its code."""
    seen: list[str] = []

    def look() -> None:
        frame: FrameType = sys._getframe()
        seen.append(str(place_of(frame)))

    look()
    assert seen == [f"{__file__}:{_line_of('seen.append')}, in look: seen.append(str(place_of(frame)))"]


def _line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.strip().startswith(text))


def test_where_a_library_is() -> None:
    """In a library that the user's code has called, it is their line that is told."""
    names: dict[str, Any] = {}
    exec(compile("import sys\ndef call(look): return look(sys._getframe())", json.__file__, "exec"), names)
    place = names["call"](place_of)
    assert place.filename == __file__
    assert place.code == 'place = names["call"](place_of)'


def a_long_message() -> None:
    """Fail with much to say, as an error does that quotes a body."""
    raise ValueError("x" * 1_000_000)


def a_long_note() -> None:
    """The same, by a note."""
    error = ValueError("short")
    error.add_note("x" * 1_000_000)
    raise error


def many_errors() -> None:
    """Fail in each of many tasks."""
    raise ExceptionGroup("tasks", [ValueError(f"number {number}.") for number in range(5000)])


def many_causes() -> None:
    """Fail for a reason that has a reason, and so on, as a loop makes it that keeps its last error."""
    last: Exception | None = None
    for number in range(5000):
        error = ValueError(f"number {number}.")
        error.__cause__, last = last, error
    assert last is not None
    raise last


def many_groups() -> None:
    """Fail in a nursery in a nursery, and so on."""
    error: Exception = ValueError("number 4999.")
    for _ in range(5000):
        error = ExceptionGroup("one", [error])
    raise error


@pytest.mark.parametrize("function", [a_long_message, a_long_note, many_errors, many_causes, many_groups])
def test_its_length_is_bounded(function: Callable[[], Any]) -> None:
    """Whatever an error has to say, and however many there are, the text is bounded, and so is the page."""
    assert len(trace_of(function)) < 30_000
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        function()
    assert len(render_fault(caught.value, "GET /", [], [])) < 300_000


def test_what_is_shown_of_many() -> None:
    """Of many errors of tasks the first are shown, of many causes the last, and it is said that there are more."""
    text = trace_of(many_errors)
    assert text.startswith("5000 errors, each in a task of its own\n")
    assert text.count("ValueError: number") == MOST
    assert "number 0." in text
    assert text.endswith(f"\n{5000 - MOST} more\n")
    text = trace_of(many_causes)
    assert text.count("ValueError: number") == MOST + 1
    assert text.startswith("What has caused it is not shown.\n")
    assert text.endswith("ValueError: number 4999.\n")
    assert trace_of(a_long_message).endswith("xxx... (1000013 characters)\n")
