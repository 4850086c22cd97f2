"""ASGI middleware of others around our apps, our apps in others, and others in ours."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from hypercorn.middleware import HTTPToHTTPSRedirectMiddleware, ProxyFixMiddleware
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse as StarletteText
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse as StarletteStream
from starlette.routing import Mount, Route

from tests.asgi import ask
from trioweb import App, EventStreamResponse, Request, Response, WebSocket
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.testing import TestClient


@pytest.fixture
def app() -> App:
    """An app with a page, a stream and an event stream."""
    app = App()

    @app.get("/")
    async def root() -> str:
        return "x" * 1000

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n" * 500
            await trio.sleep(1)

    @app.get("/events")
    async def events() -> Response:
        async def source() -> AsyncIterator[str]:
            yield "one"
            await trio.sleep(1)
            yield "two"

        return EventStreamResponse(source())

    return app


class Marking:
    """An ASGI middleware that notes what it is called for."""

    def __init__(self, app: ASGIApp, name: str, log: list[str]) -> None:
        self._app, self._name, self._log = app, name, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note it and go on."""
        self._log.append(f"{self._name} {scope['type']}")
        await self._app(scope, receive, send)


async def test_order_is_as_added_and_the_lifespan_is_behind_it(app: App) -> None:
    """What is added first is outermost, function middleware is inside; lifespan and WebSockets pass through, and
    handshakes through both.
    """
    log: list[str] = []

    @app.middleware
    async def function(request: Request, call_next: Any) -> Response:
        log.append("function")
        return await call_next(request)  # type: ignore[no-any-return]

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    app.add_middleware(Marking, name="outer", log=log)
    app.add_middleware(Marking, "inner", log)
    async with TestClient(app) as client:
        assert log == ["outer lifespan", "inner lifespan"]
        assert (await client.get("/")).status_code == 200
        assert log[2:] == ["outer http", "inner http", "function"]
        async with client.websocket("/echo") as ws:
            assert await ws.receive() == "hello"
        assert log[5:] == ["outer websocket", "inner websocket", "function"]
        with pytest.raises(RuntimeError, match="came after the first request"):
            app.add_middleware(Marking, "late", log)


async def test_a_middleware_that_looks_at_what_it_stands_around(app: App) -> None:
    """Some ask whether the app is an async function, or has such a call, before they call it as ASGI 3: it is one."""
    seen: list[bool] = []

    class Looks:
        def __init__(self, app: ASGIApp) -> None:
            asked = app if inspect.isfunction(app) else getattr(app, "__call__", None)  # noqa: B004
            seen.append(inspect.iscoroutinefunction(asked))
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)

    app.add_middleware(Looks)
    app.add_middleware(Looks)
    assert (await ask(app, "/")).status == 200
    assert seen == [True, True]


def test_what_is_no_asgi_middleware_is_refused(app: App) -> None:
    """A function middleware, or what cannot be called, is refused with what to write instead."""

    async def function(request: Request, call_next: Any) -> None: ...

    with pytest.raises(TypeError, match=r"write app.middleware\(function\)"):
        app.add_middleware(function)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes a class of ASGI middleware"):
        app.add_middleware("gzip")  # type: ignore[arg-type]


# Starlette's


async def test_starlettes_cors(app: App) -> None:
    """Starlette's CORS middleware answers preflights and marks responses, streams and errors."""
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"], allow_methods=["PUT"])
    origin = (b"origin", b"https://a.example")
    for path in ("/", "/events", "/nowhere"):
        answer = await ask(app, path, headers=[origin])
        assert answer.headers["access-control-allow-origin"] == "https://a.example", path
    answer = await ask(app, "/", "OPTIONS", headers=[origin, (b"access-control-request-method", b"PUT")])
    assert (answer.status, "PUT" in answer.headers["access-control-allow-methods"]) == (200, True)


async def test_starlettes_gzip(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """Starlette's GZip middleware compresses bodies and streams, and leaves event streams alone."""
    app.add_middleware(GZipMiddleware)
    async with TestClient(app) as client:
        for path, text in (("/", "x" * 1000), ("/stream", "".join(f"{n}\n" * 500 for n in range(3)))):
            response = await client.get(path, headers={"accept-encoding": "gzip"})
            assert (response.headers["content-encoding"], response.text) == ("gzip", text)
        response = await client.get("/events", headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in response.headers


async def test_starlettes_sessions(app: App) -> None:
    """What Starlette's session middleware leaves in the scope is at `request.scope`."""

    @app.get("/count")
    async def count(request: Request) -> int:
        session = request.scope["session"]
        session["count"] = session.get("count", 0) + 1
        return int(session["count"])

    app.add_middleware(SessionMiddleware, secret_key="key")
    async with TestClient(app) as client:
        assert [(await client.get("/count")).json() for _ in range(3)] == [1, 2, 3]


async def test_starlettes_trusted_hosts(app: App) -> None:
    """Starlette's trusted host middleware answers in the app's place."""
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["a.example"])
    assert (await ask(app, "/")).status == 400
    assert (await ask(app, "/", headers=[(b"host", b"a.example")])).status == 200


# Other people's


async def test_correlation_ids(app: App) -> None:
    """asgi-correlation-id's context variable is there in handlers, and its header on responses."""

    @app.get("/id")
    async def show() -> str:
        return str(correlation_id.get())

    app.add_middleware(CorrelationIdMiddleware)
    answer = await ask(app, "/id")
    assert answer.body.decode() == answer.headers["x-request-id"]


async def test_opentelemetry(app: App) -> None:
    """OpenTelemetry's ASGI instrumentation records a span with the request's status."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app.add_middleware(OpenTelemetryMiddleware, tracer_provider=provider)
    assert (await ask(app, "/")).status == 200
    spans = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert 200 in [span.get("http.status_code") for span in spans]


# Hypercorn's


async def test_hypercorns_proxy_fix(app: App) -> None:
    """Hypercorn's ProxyFix tells the app of the client's own address and scheme."""

    @app.get("/who")
    async def who(request: Request) -> dict[str, Any]:
        return {"client": request.client and request.client[0], "url": str(request.url)}

    app.add_middleware(ProxyFixMiddleware, mode="legacy", trusted_hops=1)
    async with TestClient(app) as client:
        headers = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https", "x-forwarded-host": "a.example"}
        assert (await client.get("/who", headers=headers)).json() == {
            "client": "1.2.3.4",
            "url": "https://a.example/who",
        }


async def test_hypercorns_redirect_to_https(app: App) -> None:
    """Hypercorn's redirect to HTTPS answers in the app's place."""
    app.add_middleware(HTTPToHTTPSRedirectMiddleware, host="a.example")
    answer = await ask(app, "/")
    assert (answer.status, answer.headers["location"]) == (307, "https://a.example/")


async def test_hypercorns_dispatcher(app: App) -> None:
    """Under Hypercorn's dispatcher an app has its requests and its lifespan."""
    log: list[str] = []

    @app.lifespan
    async def life(_: App) -> AsyncIterator[None]:
        log.append("up")
        yield
        log.append("down")

    dispatcher: Any = TrioDispatcherMiddleware({"/a": app})
    async with TestClient(dispatcher) as client:
        assert (await client.get("/a/")).text == "x" * 1000
        assert (await client.get("/b")).status_code == 404
    assert log == ["up", "down"]


# Mounts


async def test_our_app_in_starlette(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """Mounted in Starlette our app finds its routes, streams, and makes its URLs below the mount."""

    @app.get("/where")
    async def where(request: Request) -> str:
        return request.path

    outer: Any = Starlette(routes=[Mount("/ours", app)])
    async with TestClient(outer) as client:
        assert (await client.get("/ours/where")).text == "/ours/where"
        assert (await client.get("/ours/nowhere")).json()["status"] == 404
        async with client.stream("GET", "/ours/stream") as response:
            begin = trio.current_time()
            async for _ in response.aiter_raw():
                assert trio.current_time() == begin
                break


async def test_starlette_and_fastapi_in_ours(app: App) -> None:
    """Starlette's and FastAPI's apps answer below their mounts, streams among them, and behind function middleware."""
    log: list[str] = []

    @app.middleware
    async def function(request: Request, call_next: Any) -> Response:
        log.append(request.path)
        return await call_next(request)  # type: ignore[no-any-return]

    async def page(request: StarletteRequest) -> StarletteResponse:
        return StarletteText(request.url.path)

    async def chunks() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def stream(_: StarletteRequest) -> StarletteResponse:
        return StarletteStream(chunks())

    fast = FastAPI()

    @fast.get("/item/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"number": number}

    app.mount("/starlette", Starlette(routes=[Route("/page", page), Route("/stream", stream)]))
    app.mount("/fast", fast)
    assert (await ask(app, "/starlette/page")).body == b"/starlette/page"
    assert (await ask(app, "/starlette/stream")).body == b"ab"
    assert (await ask(app, "/fast/item/3")).body == b'{"number":3}'
    assert (await ask(app, "/fast/item/x")).status == 422
    assert log == ["/starlette/page", "/starlette/stream", "/fast/item/3", "/fast/item/x"]
