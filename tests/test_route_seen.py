"""What requests, and tools around the app, are told of the route that serves them; and the URLs of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import fastapi
import prometheus_client
import pytest
import sentry_sdk
import trio
from asgi_correlation_id import CorrelationIdMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse as StarletteText
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles as StarletteFiles

from tests.asgi import ask
from tests.shapes import pass_on
from tests.sites import MOMENT, PATIENCE, on_hypercorn, on_trioweb
from trioweb import App, HTTPError, Request, RouteError, Router, StaticFiles, WebSocket
from trioweb.testing import TestClient

Told = tuple[str, str, dict[str, Any]]
"""A route's path and name, and the path parameters."""


class Spy:
    """ASGI middleware that notes what the scope says once the app has returned."""

    def __init__(self, app: Any, told: list[Told | None]) -> None:
        self.app, self.told = app, told

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] != "lifespan":
                route = scope.get("route")
                self.told.append(route and (route.path, route.name, dict(scope["path_params"])))


async def show(request: Request) -> str:
    """Say what the request knows of its route."""
    assert request.route is not None
    return f"{request.route.path} {request.route.name} {request.route.path_format}"


def make_app(directory: Path) -> App:
    """An app with routes, routers, mounts of each kind, and a WebSocket."""
    (directory / "a b.txt").write_text("a")
    app = App()
    router = Router("/api")
    router.get("/users/{id:int}", name="user")(show)
    app.include(router, "/v1")

    @app.get("/fails/{what}")
    async def fails(what: str) -> None:
        raise KeyError(what)

    @app.websocket("/ws/{room}")
    async def talk(ws: WebSocket, room: str) -> None:
        await ws.accept()
        await ws.send(f"{ws.route and ws.route.path} {room} {ws.url_for('user', id=3)} {ws.url_for('talk', room='x')}")

    inner = App()
    inner.get("/things/{thing}", name="thing")(show)
    innermost = App()
    innermost.get("/deep/{x}", name="deep")(show)
    inner.mount("/most", innermost, name="most")

    @inner.websocket("/ws", name="talk")
    async def talk_inside(ws: WebSocket) -> None:
        await ws.accept()

    @inner.get("/where/{x}")
    async def where(request: Request) -> list[str]:
        return [request.url_for("thing", thing="t"), request.url_for("most:deep", x="d")]

    app.mount("/in", inner, name="in")
    app.mount("/files", StaticFiles(directory), name="files")

    async def page(request: StarletteRequest) -> StarletteText:
        return StarletteText(request.scope["route"].path)

    async def socket(ws: Any) -> None: ...

    routes = [
        Route("/page/{x:int}", page, name="page"),
        WebSocketRoute("/ws", socket, name="ws"),
        Mount("/sub", routes=[Route("/page/{y}", page)], name="sub"),
        Mount("/files", StarletteFiles(directory=directory)),
    ]
    app.mount("/star", Starlette(routes=routes), name="star")
    fast = fastapi.FastAPI()

    @fast.get("/items/{item}")
    def item(item: str) -> str:
        return item

    app.mount("/fast", fast)
    return app


SEEN: Mapping[str, Told | None] = {
    "/v1/api/users/7": ("/v1/api/users/{id:int}", "user", {"id": 7}),
    "/in/things/a": ("/in/things/{thing}", "thing", {"thing": "a"}),
    "/in/most/deep/a": ("/in/most/deep/{x}", "deep", {"x": "a"}),
    "/in/nothing": ("/in", "in", {}),
    "/files/a%20b.txt": ("/files", "files", {}),
    "/files/nothing": ("/files", "files", {}),
    "/star/page/7": ("/star/page/{x:int}", "page", {"x": 7}),
    "/star/sub/page/a": ("/star/sub/page/{y}", "page", {"y": "a"}),
    "/star/files/a%20b.txt": ("/star/files", "", {}),
    "/fast/items/a": ("/fast/items/{item}", "item", {"item": "a"}),
    "/nothing": None,
    "/v1/api/users/x": None,
    "/v1/api/users/7/": None,  # a redirect
}
"""What tools around the app see of the route of a request."""


@pytest.mark.parametrize("behind", ["nothing", "middleware"])
@pytest.mark.parametrize("root_path", ["", "/proxy", "/proxy/"])
async def test_what_tools_are_told(tmp_path: Path, behind: str, root_path: str) -> None:
    """ASGI middleware inside and around the app sees the route by the whole of its path: of routers and mounts, too,
    and behind a proxy that strips a prefix.
    """
    app = make_app(tmp_path)
    if behind == "middleware":
        app.middleware(pass_on)
    told: list[Told | None] = []
    app.add_middleware(Spy, told)
    async with TestClient(Spy(app, told), root_path=root_path) as client:
        for path, seen in SEEN.items():
            told.clear()
            await client.get(path)
            with trio.fail_after(PATIENCE):
                while len(told) < 2:  # some apps return after their responses have ended
                    await trio.sleep(MOMENT)
            assert told == [seen, seen], path


@pytest.mark.parametrize("site", [on_hypercorn, on_trioweb])
async def test_what_tools_are_told_on_a_server(tmp_path: Path, site: Callable[..., Any]) -> None:
    """So it is on both servers, also where one's objects are passed on in a copy of the scope."""
    app, told = make_app(tmp_path), list[Told | None]()
    app.add_middleware(Spy, told)
    around: Any = Spy(app, told)
    async with site(around) as place:
        for path, seen in SEEN.items():
            told.clear()
            talk = await place.request(path, "GET", {}, b"")
            await talk.end()
            await place.quiet()
            assert told == [seen, seen], path


async def test_the_route_of_a_websocket(tmp_path: Path) -> None:
    """A WebSocket's route is told as a request's is; so is that of one in a mounted app."""
    app, told = make_app(tmp_path), list[Told | None]()
    async with TestClient(Spy(app, told)) as client:
        async with client.websocket("/ws/a") as ws:
            said = "/ws/{room} a http://testserver/v1/api/users/3 ws://testserver/ws/x"
            assert await ws.receive() == said
        async with client.websocket("/in/ws"):
            pass
        with pytest.raises(Exception, match="404"):
            async with client.websocket("/nowhere"):
                pass
    assert told == [("/ws/{room}", "talk", {"room": "a"}), ("/in/ws", "talk", {}), None]


async def test_the_route_of_a_request(tmp_path: Path) -> None:
    """`request.route` has the path as it was registered, its prefixes, and a form without converters; in a mounted app
    it is that app's own.
    """
    app = make_app(tmp_path)
    assert (await ask(app, "/v1/api/users/7")).body == b"/v1/api/users/{id:int} user /v1/api/users/{id}"
    assert (await ask(app, "/in/things/a")).body == b"/things/{thing} thing /things/{thing}"
    seen: list[Any] = []

    @app.middleware
    async def look(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        before = request.route and request.route.path
        response = await call_next(request)
        seen.append((before, request.route and request.route.path))
        return response

    @app.error_handler(404)
    async def nothing(request: Request, exc: HTTPError) -> str:
        return str(request.route)

    for path in ("/v1/api/users/7", "/in/things/a", "/files/nothing"):
        await ask(app, path)
    assert seen == [("/v1/api/users/{id:int}",) * 2, (None, "/in/things/{thing}"), ("/files",) * 2]
    assert (await ask(app, "/nothing")).body == b"None"


async def test_the_route_is_that_of_the_app(tmp_path: Path) -> None:
    """The route of a request is one of `app.routes`, and the endpoint in the scope is its handler."""
    app = App()

    @app.get("/x/{a}")
    async def handler(request: Request) -> list[bool]:
        scope = request.scope
        return [request.route is app.routes[0], scope["endpoint"] is handler, scope["path_params"] == {"a": "b"}]

    assert (await ask(app, "/x/b")).body == b"[true,true,true]"


async def test_mounted_in_an_app_of_starlette(tmp_path: Path) -> None:
    """Mounted in an app of Starlette, an app tells its own route, and none where it has none."""
    app = App()
    app.get("/x/{a}")(show)

    @app.error_handler(404)
    async def nothing(request: Request, exc: HTTPError) -> str:
        return str(request.route)

    outer = Starlette(routes=[Mount("/at", app)])
    async with TestClient(outer) as client:
        assert (await client.get("/at/x/b")).text == "/x/{a} show /x/{a}"
        assert (await client.get("/at/nothing")).text == "None"


# Real tools


async def test_opentelemetry(tmp_path: Path) -> None:
    """OpenTelemetry counts requests by their routes."""
    app, reader = make_app(tmp_path), InMemoryMetricReader()
    app.add_middleware(OpenTelemetryMiddleware, meter_provider=MeterProvider([reader]))
    async with TestClient(app, root_path="/proxy") as client:
        for path in ("/v1/api/users/7", "/v1/api/users/8", "/in/most/deep/a", "/files/a%20b.txt", "/nothing"):
            await client.get(path)
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for each in data.resource_metrics[0].scope_metrics for metric in each.metrics}
    counts = {
        (point.attributes or {}).get("http.target"): getattr(point, "count", 0)
        for point in metrics["http.server.duration"].data.data_points
    }
    assert counts == {
        "/proxy/v1/api/users/{id}": 2, "/proxy/in/most/deep/{x}": 1, "/proxy/files": 1, None: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("url", ["/v1/api/users/{id:int}", "/in/things/{thing}", "/fails/{what}"]),
        ("endpoint", ["show", "show", "make_app.<locals>.fails"]),
    ],
)
async def test_sentry(tmp_path: Path, style: str, names: list[str]) -> None:
    """Sentry names transactions by their routes, or by their handlers, wrapped around the app as its guide has it."""
    events: list[Any] = []

    def keep(event: Any, _hint: Any) -> None:
        events.append(event)

    app: Any = SentryAsgiMiddleware(make_app(tmp_path), transaction_style=style)
    with sentry_sdk.isolation_scope():
        client = sentry_sdk.Client(
            dsn="https://x@localhost/1",
            traces_sample_rate=1.0,
            before_send_transaction=keep,
            default_integrations=False,
        )
        sentry_sdk.get_isolation_scope().set_client(client)
        async with TestClient(app, raise_app_exceptions=False) as asked:
            for path in ("/v1/api/users/7", "/in/things/a", "/fails/a"):
                await asked.get(path)
        client.close()
    assert [event["transaction"].removeprefix("tests.test_route_seen.") for event in events] == names


class Counted:
    """The middleware of an app's own for Prometheus."""

    def __init__(self, app: Any, requests: prometheus_client.Counter) -> None:
        self.app, self.requests = app, requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                route = scope.get("route")
                self.requests.labels(route.path if route else "none").inc()


async def test_prometheus(tmp_path: Path) -> None:
    """Prometheus's client counts by routes, so that clients who ask for what is not there make no new series."""
    app, registry = make_app(tmp_path), prometheus_client.CollectorRegistry()
    app.add_middleware(CorrelationIdMiddleware)
    app.add_middleware(Counted, prometheus_client.Counter("requests", "By route.", ["route"], registry=registry))
    async with TestClient(app) as client:
        for path in ("/v1/api/users/7", "/v1/api/users/8", "/nothing/1", "/nothing/2", "/in/nothing"):
            assert (await client.get(path)).headers["x-request-id"]
    found = {
        sample.labels["route"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "requests_total"
    }
    assert found == {"/v1/api/users/{id:int}": 2, "none": 2, "/in": 1}


# URLs


async def test_the_urls_of_routes(tmp_path: Path) -> None:
    """`request.url_for` gives whole URLs with the host, `root_path` and mounts: of a mounted app's routes, too, and of
    what is mounted; `app.url_for` gives their paths.
    """
    app = make_app(tmp_path)
    wanted: list[tuple[str, dict[str, Any], str]] = [
        ("user", {"id": 7}, "/v1/api/users/7"),
        ("talk", {"room": "a b"}, "/ws/a%20b"),
        ("in:thing", {"thing": "a?"}, "/in/things/a%3F"),
        ("in:talk", {}, "/in/ws"),
        ("in:most:deep", {"x": "\xe4"}, "/in/most/deep/%C3%A4"),
        ("files", {"path": "css/a b.css"}, "/files/css/a%20b.css"),
        ("files", {"path": "/a.css"}, "/files/a.css"),
        ("star:page", {"x": 7}, "/star/page/7"),
        ("star:ws", {}, "/star/ws"),
        ("star", {"path": "x"}, "/star/x"),
    ]
    sockets = {"talk", "in:talk", "star:ws"}

    @app.get("/urls")
    async def urls(request: Request) -> list[str]:
        return [request.url_for(name, **params) for name, params, _ in wanted]

    assert [app.url_for(name, **params) for name, params, _ in wanted] == [path for *_, path in wanted if path]
    with pytest.raises(ValueError, match="would not match"):
        app.url_for("in:thing", thing="a/b?")
    for root in ("", "/pr\xf6xy"):
        for base in ("http://shop.example:8000", "https://shop.example"):
            async with TestClient(app, root_path=root, base_url=base) as client:
                found = (await client.get("/urls")).json()
            at = root.replace("\xf6", "%C3%B6")
            assert found == [
                (base.replace("http", "ws", 1) if name in sockets else base) + at + path for name, _, path in wanted
            ]


async def test_urls_in_a_mounted_app(tmp_path: Path) -> None:
    """In a mounted app names are the app's own, and the URLs lead there."""
    answer = await ask(make_app(tmp_path), "/in/where/x", root_path="/proxy")
    assert answer.body == b'["http://testserver/proxy/in/things/t","http://testserver/proxy/in/most/deep/d"]'


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("nothing", {}, "no route is named 'nothing': there are .*files.*user"),
        ("in", {}, "no route is named 'in'"),
        ("in:nothing", {}, "no route is named 'nothing': there are .*thing"),
        ("files:x", {}, "no route is named 'files:x'"),
        ("user", {}, r"the route 'user' takes \(id\), got \(\)"),
        (":thing", {"thing": "x"}, "no route is named ':thing'"),
    ],
)
def test_names_of_nothing(tmp_path: Path, name: str, params: dict[str, Any], message: str) -> None:
    """A name that nothing has is an error that says which names there are."""
    with pytest.raises(LookupError, match=message):
        make_app(tmp_path).url_for(name, **params)


def test_names_of_mounts() -> None:
    """The name of a mount is its own, and has no colon."""
    app = App()
    app.mount("/a", App(), name="a")
    with pytest.raises(RouteError, match="named 'a' already"):
        app.mount("/b", App(), name="a")
    for name in ("a:b", ""):
        with pytest.raises(RouteError, match="before a colon"):
            app.mount("/b", App(), name=name)
    app.mount("/b", App())
    app.mount("/c", App())
