"""Every spelling of an annotation, and of what is called, means what it means in Python."""

import functools
import inspect
import sys
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, NewType, Optional, Union

import msgspec
import pytest
import typing_extensions

from tests.asgi import ask
from trioweb import App, Header, HTTPError, Provide, Query, Request, Response, RouteError, WebSocket
from trioweb.testing import TestClient


async def signed_in(authorization: Annotated[str, Header] = "") -> str:
    """The user, or a 401."""
    if authorization != "Bearer sesame":
        raise HTTPError(401)
    return "rosa"


T = typing.TypeVar("T")
USER = Annotated[str, Provide(signed_in)]
"""What all the spellings below are other names for."""
Alias = typing_extensions.TypeAliasType("Alias", USER)
Provided = typing_extensions.TypeAliasType("Provided", Annotated[T, Provide(signed_in)], type_params=(T,))
AliasOfText = typing_extensions.TypeAliasType("AliasOfText", "USER")
AliasOfAlias = typing_extensions.TypeAliasType("AliasOfAlias", Alias)
Named = NewType("Named", USER)
D = typing_extensions.TypeVar("D", default=Annotated[str, Provide(signed_in)])
ByDefault = typing_extensions.TypeAliasType("ByDefault", D, type_params=(D,))
OneByDefault = typing_extensions.TypeAliasType("OneByDefault", Union[T, D], type_params=(T, D))  # noqa: UP007
SPELLINGS: dict[str, Any] = {
    "plain": USER,
    "text": "USER",
    "text within": Annotated["Later", Provide(signed_in)],
    "alias": Alias,
    "alias of text": AliasOfText,
    "alias of alias": AliasOfAlias,
    "generic alias": Provided[str],
    "optional": Optional[USER],  # noqa: UP045
    "optional alias": Optional[Alias],  # noqa: UP045
    "optional text": Optional["USER"],
    "union": Union[None, USER],  # noqa: UP007
    "new type": Named,
    "default of an alias": ByDefault,
    "default of an alias, within": Optional[ByDefault],  # noqa: UP045
    "default of a second": OneByDefault[None],
    "default of a variable": D,
    "bound of a variable": typing.TypeVar("B", bound=USER),
    "bound as text": typing.TypeVar("X", bound="USER"),
    "constraint of a variable": typing.TypeVar("C", None, USER),
    "noted": Annotated[Alias, "who asks"],
    "text of alias": "Alias | None",
}


class Later:
    """A class that stands further down than what names it."""


@pytest.mark.parametrize("annotation", SPELLINGS.values(), ids=SPELLINGS)
async def test_a_marker_counts_in_every_spelling(annotation: Any) -> None:
    """However a dependency is written into an annotation, it is called: also with a default behind it."""

    async def handler(user: Any = "nobody") -> Any:
        return user

    handler.__annotations__["user"] = annotation

    async def talk(ws: WebSocket, user: Any = "nobody") -> None:
        await ws.accept()
        await ws.send(user)

    talk.__annotations__["user"] = annotation

    async def between(user: Any = "nobody") -> Any:
        return user

    between.__annotations__["user"] = annotation

    async def nested(user: Annotated[Any, Provide(between)]) -> Any:
        return user

    app = App()
    app.get("/handler")(handler)
    app.get("/nested")(nested)
    app.websocket("/talk")(talk)
    for path in ("/handler", "/nested"):
        assert (await ask(app, path, query_string=b"user=root")).status == 401
        assert (await ask(app, path, headers=[(b"authorization", b"Bearer sesame")])).body == b"rosa"
    headers = {"authorization": "Bearer sesame"}
    async with TestClient(app) as client, client.websocket("/talk", headers=headers) as ws:
        assert await ws.receive() == "rosa"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
@pytest.mark.parametrize(
    "statement",
    [
        "type User = Annotated[str, Header('x-user')]",
        "type Marked[T] = Annotated[T, Header('x-user')]\ntype User = Marked[str]",
        "type Maybe[T] = T | None\ntype User = Maybe[Annotated[str, Header('x-user')]]",
        "type Both[A, B] = Annotated[B, Header('x-user')]\ntype User = Both[int, str]",
    ],
)
async def test_a_type_statement(statement: str) -> None:
    """A marker in a ``type`` statement counts, with parameters and through others."""
    names: dict[str, Any] = {"Annotated": Annotated, "Header": Header, "__name__": __name__}
    exec(statement, names)

    async def handler(user: Any = "nobody") -> Any:
        return user

    handler.__annotations__["user"] = names["User"]
    app = App()
    app.get("/")(handler)
    assert (await ask(app, "/", query_string=b"user=root", headers=[(b"x-user", b"rosa")])).body == b"rosa"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
async def test_the_bound_of_a_function_s_own_variable() -> None:
    """A marker in the bound of a type variable counts, as in all that a variable stands for."""
    names: dict[str, Any] = {"USER": USER, "__name__": __name__}
    exec("async def handler[U: USER](user: U = 'nobody'): return user", names)
    app = App()
    app.get("/")(names["handler"])
    assert (await ask(app, "/", query_string=b"user=root")).status == 401


def test_too_many_types_for_an_alias() -> None:
    """A type that an alias does not take is refused, with what is noted in it."""

    async def handler(it: Any = None) -> None: ...

    handler.__annotations__["it"] = typing.cast("Any", Provided)[int, USER]
    with pytest.raises(RouteError, match="the type alias Provided takes 1 types, got 2"):
        App().get("/")(handler)


def test_an_alias_of_itself() -> None:
    """A type alias that refers to itself is refused, and does not end in a stack overflow."""
    tree = typing_extensions.TypeAliasType("tree", "list[tree] | int")  # type: ignore[misc]
    module = sys.modules[__name__]
    module.tree = tree  # type: ignore[attr-defined]

    async def handler(it: Any) -> None: ...

    handler.__annotations__["it"] = tree
    with pytest.raises(RouteError, match="the type alias tree refers to itself: name a class in its place"):
        App().get("/")(handler)


@pytest.mark.parametrize(
    "annotation",
    [
        "Annotated[Nowhere, Provide(signed_in)]",
        "Nowhere | None",
        "list[Nowhere]",
        "typing.Nothing",
        "1 +",
        "Header('x')",
    ],
)
@pytest.mark.parametrize("role", ["handler", "dependency", "websocket", "path"])
def test_what_cannot_be_evaluated_is_refused(annotation: str, role: str) -> None:
    """An annotation that cannot be evaluated is an error when the route is registered, with a default too."""

    async def handler(it: Any = None) -> None: ...

    handler.__annotations__["it"] = annotation

    async def outer(it: Annotated[Any, Provide(handler)]) -> None: ...

    app = App()
    with pytest.raises(
        RouteError, match=r"the parameter 'it' of .* (cannot be evaluated|cannot be an input|stands within a type)"
    ):
        if role == "websocket":
            app.websocket("/")(handler)
        else:
            app.get("/{it}" if role == "path" else "/")(outer if role == "dependency" else handler)


def test_a_class_that_a_factory_made() -> None:
    """A name that is local to a function cannot be evaluated from text, which is said; an object can be annotated."""

    def make_app() -> App:
        class Local(msgspec.Struct):
            n: int

        app = App()

        @app.post("/")
        async def handler(it: "Local | None" = None) -> None: ...

        return app

    with pytest.raises(RouteError, match=r"'Local \| None'.*NameError: name 'Local' is not defined. Define or import"):
        make_app()


@pytest.mark.parametrize("annotation", ["Request", "trioweb.Request", "'Request'"])
async def test_a_request_for_checkers_only(annotation: str) -> None:
    """The request may be imported for type checkers only, as tools advise: its name is enough."""
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec("async def handler(it): return it.path", names)
    handler = names["handler"]
    handler.__annotations__["it"] = annotation
    app = App()
    app.get("/here")(handler)
    assert (await ask(app, "/here")).body == b"/here"


# What is called


def noted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as most are."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def noted_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that awaits what it decorates."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return await made if hasattr(made, "__await__") else made

    return wrapper


async def value(n: int = 1) -> int:
    """As plain as can be."""
    return n


def plain(n: int = 1) -> int:
    """The same in a thread."""
    return n


async def yielding(n: int = 1) -> AsyncIterator[int]:
    """The same as what is opened and closed."""
    yield n
    closed.append(n)


def yielding_plainly(n: int = 1) -> Iterator[int]:
    """The same without async."""
    yield n
    closed.append(n)


closed: list[int] = []


class Scaled:
    """An object that is called, with ways to be."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    async def __call__(self, n: int = 1) -> int:
        """As a call."""
        return n

    async def method(self, n: int = 1) -> int:
        """As a method."""
        return n

    @classmethod
    async def of_class(cls, n: int = 1) -> int:
        """As a method of the class."""
        return n

    @staticmethod
    async def static(n: int = 1) -> int:
        """As a function of the class."""
        return n

    async def yields(self, n: int = 1) -> AsyncIterator[int]:
        """As a generator."""
        yield n
        closed.append(n)

    table = functools.partialmethod(method)


class Yields:
    """An object whose call yields."""

    async def __call__(self, n: int = 1) -> AsyncIterator[int]:
        """As a generator."""
        yield n
        closed.append(n)


class YieldsPlainly:
    """The same without async."""

    def __call__(self, n: int = 1) -> Iterator[int]:
        """As a generator."""
        yield n
        closed.append(n)


@dataclass
class Unhashable:
    """An object without a hash."""

    step: int = 0

    async def __call__(self, n: int = 1) -> int:
        """As a call."""
        return n + self.step


class Decorated:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a call."""
        return await self._function(*args, **kwargs)


class Signed:
    """A decorator that is a class, whose objects say themselves what they take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__signature__ = inspect.signature(function)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a call."""
        return await self._function(*args, **kwargs)


PROVIDERS: dict[str, Callable[..., Any]] = {
    "function": value,
    "plain": plain,
    "object": Scaled(),
    "method": Scaled().method,
    "classmethod": Scaled.of_class,
    "staticmethod": Scaled.static,
    "partialmethod": Scaled().table,
    "partial": functools.partial(value),
    "partial of an object": functools.partial(Scaled()),
    "partial of a partial": functools.partial(functools.partial(value)),
    "decorated": noted(value),
    "decorated twice": noted(noted_async(value)),
    "decorated partial": noted(functools.partial(value)),
    "partial of what is decorated": functools.partial(noted(value)),
    "decorated by a class": Decorated(value),
    "decorated plain": noted(plain),
    "with a signature": Signed(value),
    "unhashable": Unhashable(),
    "lambda": lambda n=1: value(n),
}
OPENED: dict[str, Callable[..., Any]] = {
    "generator": yielding,
    "object": Yields(),
    "method": Scaled().yields,
    "partial": functools.partial(yielding),
    "decorated": noted(yielding),
    "decorated async": noted_async(yielding),
    "decorated object": noted(Yields()),
    "manager": asynccontextmanager(yielding),
    "decorated manager": noted(asynccontextmanager(yielding)),
    "manager of an object": asynccontextmanager(Yields()),
    "partial of a manager": functools.partial(asynccontextmanager(yielding)),
    "sync generator": yielding_plainly,
    "sync object": YieldsPlainly(),
    "sync partial": functools.partial(yielding_plainly),
    "decorated sync": noted(yielding_plainly),
    "sync manager": contextmanager(yielding_plainly),
    "partial of a sync manager": functools.partial(contextmanager(yielding_plainly)),
    "sync manager of an object": contextmanager(YieldsPlainly()),
}


PROVIDERS["lambda"].__annotations__["n"] = int


@pytest.mark.parametrize("function", PROVIDERS.values(), ids=PROVIDERS)
async def test_whatever_can_be_called_provides_and_handles(function: Callable[..., Any]) -> None:
    """What is called like a function has a function's inputs, as a dependency and as a handler."""
    app = App()

    @app.get("/provided")
    async def provided(it: Annotated[int, Provide(function)]) -> int:
        return it

    app.get("/handled", name="handled")(function)
    for path in ("/provided", "/handled"):
        assert (await ask(app, path, query_string=b"n=7")).body == b"7"
        assert (await ask(app, path)).body == b"1"
        assert (await ask(app, path, query_string=b"n=x")).status == 422


@pytest.mark.parametrize("function", OPENED.values(), ids=OPENED)
async def test_whatever_yields_is_opened_and_closed(function: Callable[..., Any]) -> None:
    """A generator function, sync or async, is a context manager in every guise: its value is what it yields."""
    app = App()
    seen = []

    @app.get("/")
    async def handler(it: Annotated[int, Provide(function)]) -> int:
        seen.append(list(closed))
        return it

    closed.clear()
    assert (await ask(app, "/", query_string=b"n=7")).body == b"7"
    assert (seen, closed) == ([[]], [7])


async def test_a_decorator_that_hides_what_is_yielded(caplog: pytest.LogCaptureFixture) -> None:
    """A decorator that returns something else than what the function yields is an error that names the function."""

    @functools.wraps(yielding)
    async def wrong(n: int = 1) -> int:
        return n

    app = App()

    @app.get("/")
    async def handler(it: Annotated[int, Provide(wrong)]) -> int:
        return it

    assert (await ask(app, "/")).status == 500
    assert "yielding provides int: a decorator of a function that yields must return" in caplog.text


async def test_a_class_provides_its_object() -> None:
    """A class makes an object of its inputs, whatever its objects can do, also with annotations of other modules."""
    elsewhere = ModuleType("trioweb_test_elsewhere")
    sys.modules[elsewhere.__name__] = elsewhere
    exec(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom datetime import date as Day\n"
        "@dataclass\nclass Since:\n    since: Day | None = None\n",
        vars(elsewhere),
    )
    since: Any = elsewhere.Since

    @dataclass
    class Page(since):  # type: ignore[misc]
        n: int = 1

    app = App()

    @app.get("/")
    async def handler(page: Annotated[Page, Provide(Page)], scaled: Annotated[Scaled, Provide(Scaled)]) -> Any:
        return [page.since, page.n, await scaled(scaled.n)]

    handler.__annotations__["page"] = Annotated[Page, Provide(Page)]
    app = App()
    app.get("/")(handler)
    try:
        assert (await ask(app, "/", query_string=b"since=2026-01-31&n=2")).body == b'["2026-01-31",2,2]'
        assert (await ask(app, "/", query_string=b"since=never")).status == 422
    finally:
        del sys.modules[elsewhere.__name__]


@pytest.mark.parametrize(
    "bound",
    [
        lambda f: functools.partial(f, table="users"),
        lambda f: functools.partial(functools.partial(f, table="secrets"), table="users"),
        lambda f: functools.partial(f, "users"),
        lambda f: noted(functools.partial(f, table="users")),
        lambda f: functools.partial(noted(f), table="users"),
    ],
)
async def test_what_a_partial_binds_no_client_changes(bound: Callable[[Any], Any]) -> None:
    """An argument that a ``functools.partial`` has bound is no input, of a handler nor of a dependency."""

    async def rows(table: str, limit: int = 10) -> str:
        return f"{limit} of {table}"

    app = App()
    app.get("/handled", name="handled")(bound(rows))

    async def handler(it: Any) -> Any:
        return it

    handler.__annotations__["it"] = Annotated[str, Provide(bound(rows))]
    app.get("/provided")(handler)
    for path in ("/handled", "/provided"):
        for query in (b"table=secrets&limit=5", b"limit=5"):
            assert (await ask(app, path, query_string=query)).body == b"5 of users"


async def test_what_a_partial_binds_no_path_changes() -> None:
    """``**rest`` takes of the path what a ``functools.partial`` has not bound; a part that is bound is a mistake."""

    async def rows(**rest: Any) -> str:
        return f"{rest['table']} {rest.get('id')}"

    async def asked(request: Request, **rest: Any) -> str:
        return f"{rest['table']} {request.path_params['table']}"

    with pytest.raises(RouteError, match=r"nothing takes \{table\} of the path"):
        App().get("/{table}/{id}")(functools.partial(rows, table="users"))
    app = App()
    app.get("/rows/{id}")(functools.partial(rows, table="users"))
    app.get("/asked/{table}")(functools.partial(asked, table="users"))
    assert (await ask(app, "/rows/7")).body == b"users 7"
    assert (await ask(app, "/asked/secrets")).body == b"users secrets"


async def test_a_dependency_is_called_once_a_request() -> None:
    """However many ask for it, and however it is spelled, a dependency is called once; another object is another."""
    calls = []

    @dataclass
    class Counted:
        name: str

        async def __call__(self) -> str:
            calls.append(self.name)
            return self.name

        async def method(self) -> str:
            calls.append(f"{self.name}.method")
            return self.name

    first, second = Counted("a"), Counted("b")

    async def handler(a: Any, a2: Any, b: Any, c: Any, c2: Any) -> Any:
        return [a, a2, b, c, c2]

    handler.__annotations__ = {
        "a": Annotated[str, Provide(first)],
        "a2": Annotated[str, Provide(first)],
        "b": Annotated[str, Provide(second)],
        "c": Annotated[str, Provide(first.method)],
        "c2": Annotated[str, Provide(first.method)],
    }
    app = App()
    app.get("/")(handler)
    assert (await ask(app, "/")).body == b'["a","a","b","a","a"]'
    assert calls == ["a", "b", "a.method"]


# Defaults


@pytest.mark.parametrize("default", [[], {}, {"a": []}, set(), ([],)], ids=repr)
async def test_a_default_is_of_one_request(default: Any) -> None:
    """What a handler or a dependency does to a default does not reach the next request."""

    def change(it: Any) -> int:
        size = len(it)
        if isinstance(it, list):
            it.append(1)
        elif isinstance(it, dict):
            it["b"] = it
            size += len(it.setdefault("a", []))
            it["a"].append(1)
        elif isinstance(it, set):
            it.add(1)
        else:
            size += len(it[0])
            it[0].append(1)
        return size

    async def asked(it: Annotated[Any, Query] = default) -> int:
        return change(it)

    async def handler(it: Annotated[Any, Query] = default, size: int = 0) -> list[int]:
        return [change(it), size]

    handler.__annotations__["size"] = Annotated[int, Provide(asked)]
    app = App()
    app.get("/")(handler)
    first = (await ask(app, "/")).body
    assert [(await ask(app, "/")).body for _ in range(3)] == [first] * 3


class Empty:
    """A class whose objects are told from others by their identity alone."""


@dataclass
class WithFactory:
    """A dataclass whose signature has something else for a default that is made anew."""

    tags: list[str] = field(default_factory=list)


class StructWithFactory(msgspec.Struct):
    """The same as a Struct."""

    tags: list[str] = []


@pytest.mark.parametrize("default", [object(), Empty(), msgspec.UNSET, ...], ids=["object", "class", "UNSET", "..."])
async def test_a_default_that_is_known_by_its_identity(default: Any) -> None:
    """``MISSING = object()`` as a default is found again with ``is``."""

    async def handler(it: Annotated[Any, Query] = default) -> bool:
        return it is default

    app = App()
    app.get("/")(handler)
    assert (await ask(app, "/")).body == b"true"


@pytest.mark.parametrize("made", [WithFactory, StructWithFactory, functools.partial(WithFactory)])
async def test_a_class_makes_its_own_defaults(made: Any) -> None:
    """A class with a default that is made anew may provide its object, with a list of each request's own."""

    async def handler(it: Any) -> list[str]:
        it.tags.append("seen")
        return it.tags  # type: ignore[no-any-return]

    handler.__annotations__["it"] = Annotated[Any, Provide(made)]
    app = App()
    app.get("/")(handler)
    for _ in range(2):
        assert (await ask(app, "/")).body == b'["seen"]'
    assert (await ask(app, "/", query_string=b"tags=red")).body == b'["red","seen"]'


# The path


@pytest.mark.parametrize(
    ("path", "annotation", "message"),
    [
        ("/{it}", Annotated[str, Query], "is in the path, and comes from nowhere else: leave Query"),
        ("/{it}", Annotated[str, Header("x")], "is in the path, and comes from nowhere else: leave Header"),
        ("/{it:int}", str, "is made int by {it:int}: annotate it as int, or write {it} in the path"),
        ("/{it:uuid}", int, "is made UUID by {it:uuid}"),
        ("/{it:float}", int, "is made float by {it:float}"),
        ("/{other}", int, "nothing takes {other} of the path: .* has it: name one of them other, or take request"),
        ("/{it}/{other}", int, "nothing takes {other} of the path"),
    ],
)
def test_a_path_that_its_handler_does_not_fit(path: str, annotation: Any, message: str) -> None:
    """A parameter of the path that nothing takes, or takes as what it cannot be, is refused."""

    async def handler(it: Any) -> None: ...

    handler.__annotations__["it"] = annotation
    with pytest.raises(RouteError, match=message):
        App().get(path)(handler)


async def test_who_may_take_a_part_of_the_path() -> None:
    """A dependency may take a parameter of the path, by its name or by the request; so may ``**rest``."""

    async def found(user_id: int) -> int:
        return user_id + 1

    async def by_request(request: Request) -> int:
        return int(request.path_params["user_id"]) + 1

    async def taken(it: Annotated[int, Provide(found)]) -> int:
        return it

    async def same_name(user_id: Annotated[int, Provide(found)]) -> int:
        return user_id

    async def asked(it: Annotated[int, Provide(by_request)]) -> int:
        return it

    async def rest(**rest: Any) -> int:
        return int(rest["user_id"]) + 1

    taken.__annotations__["it"] = Annotated[int, Provide(found)]
    same_name.__annotations__["user_id"] = Annotated[int, Provide(found)]
    asked.__annotations__["it"] = Annotated[int, Provide(by_request)]
    for handler in (taken, same_name, asked, rest):
        app = App()
        app.get("/{user_id}")(handler)
        assert (await ask(app, "/6")).body == b"7"


@pytest.mark.parametrize(
    ("path", "annotation", "good", "bad"),
    [
        ("/{it:int}", Annotated[int, msgspec.Meta(ge=5)], "/5", "/4"),
        ("/{it:int}", float, "/5", None),
        ("/{it:path}", Annotated[str, msgspec.Meta(max_length=3)], "/a/b", "/ab/c"),
        ("/{it}", int, "/007", "/x"),
    ],
)
async def test_a_converter_s_value_meets_its_annotation(path: str, annotation: Any, good: str, bad: str | None) -> None:
    """What a converter has made is held to what the annotation demands of it."""

    async def handler(it: Any) -> Response:
        return Response(repr(it))

    handler.__annotations__["it"] = annotation
    app = App()
    app.get(path)(handler)
    assert (await ask(app, good)).status == 200
    if bad is not None:
        assert (await ask(app, bad)).status == 422


ASYNC = [name for name, function in PROVIDERS.items() if "plain" not in name and name != "lambda"]


@pytest.mark.parametrize("name", ASYNC)
async def test_whatever_is_async_serves_a_websocket(name: str) -> None:
    """What is an ``async def`` in any guise may be the handler of a WebSocket, and a middleware."""
    wraps: dict[str, Callable[[Any], Any]] = {
        "object": lambda f: type("Called", (), {"__call__": staticmethod(f)})(),
        "partial": functools.partial,
        "partial of a partial": lambda f: functools.partial(functools.partial(f)),
        "decorated": noted,
        "decorated twice": lambda f: noted(noted_async(f)),
        "decorated partial": lambda f: noted(functools.partial(f)),
        "decorated by a class": Decorated,
    }
    wrap = wraps.get(name, lambda f: f)

    async def talk(ws: WebSocket, n: int = 1) -> None:
        await ws.accept()
        await ws.send(str(n))

    async def mark(request: Request, call_next: Callable[[Request], Any]) -> Response:
        response: Response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response

    app = App()
    app.middleware(wrap(mark))
    app.websocket("/talk")(wrap(talk))
    app.get("/")(value)
    async with TestClient(app) as client:
        assert (await client.get("/")).headers["x-marked"] == "yes"
        async with client.websocket("/talk?n=7") as ws:
            assert await ws.receive() == "7"
