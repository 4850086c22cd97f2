"""Counts and durations of requests for Prometheus, right with several workers.

Rules that this module alone enforces:

* Series are bounded: a route is named by its template, what no route serves has one name, and so have unknown methods.
* A request ends with the last byte of its response, a WebSocket with its close, and not with its nursery.
* The files of workers that have ended are added up, so that what they counted stays, and their number is bounded.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trioweb.ground.errors import StreamTimeout
from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope, Receive, Send
from trioweb.io.transport import LISTENERS, PLAIN, own_transport
from trioweb.messages.request import Request
from trioweb.messages.response import Response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the directory in which workers count together."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"})
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)
"""Seconds: Prometheus's own, and some for streams and WebSockets."""
COMPLETE, LEFT, FAILED, TIMEOUT, STOPPED = "complete", "left", "failed", "timeout", "stopped"
"""The outcomes of requests."""
_LIVE: Final = "gauge_live"
_ENDED: Final = "0"
"""In place of the process id: the file with the sums of workers that have ended."""


class _Families(NamedTuple):
    requests: Counter
    seconds: Histogram
    running: Gauge


@cache
def _families() -> _Families:
    """The metrics of this process: several apps in it share them.

    Raises:
        ModuleNotFoundError: if prometheus-client is not installed.
    """
    if directory := os.environ.get(DIRECTORY):
        Path(directory).mkdir(parents=True, exist_ok=True)
    try:
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Metrics needs prometheus-client: pip install trioweb[metrics]") from error
    labels = ("method", "route")
    return _Families(
        Counter("http_requests", "Requests that have ended.", (*labels, "status", "outcome")),
        Histogram("http_request_duration_seconds", "From a request to its last byte.", labels, buckets=BUCKETS),
        Gauge("http_requests_running", "Requests under way.", ("kind",), multiprocess_mode="livesum"),
    )


class Metrics:
    """ASGI middleware that counts requests for Prometheus, and how long they take.

    ::

        app.add_middleware(Metrics)
        app.get("/metrics")(metrics_page)

    Needs ``pip install trioweb[metrics]``. With several workers the environment has to name a directory in
    ``PROMETHEUS_MULTIPROC_DIR``, empty at each start of the server, before Python starts; else each counts by itself.

    * ``http_requests_total``: by ``method`` (``WEBSOCKET`` for one), ``route`` (its template, ``none`` without one),
      ``status`` (101 for a WebSocket that was accepted, ``none`` if the client left before its response) and
      ``outcome``: ``complete``, or who ended it before all of the response was sent: ``left`` (the client, or the
      server one that was too slow), ``failed`` (the app, by an error), ``timeout`` (a time limit of its stream) or
      ``stopped`` (the server). A WebSocket is complete unless its handler has failed.
    * ``http_request_duration_seconds``: a histogram by ``method`` and ``route``, to the last byte of a response, and to
      the close of a WebSocket.
    * ``http_requests_running``: by ``kind``: ``http`` or ``websocket``.

    Raises:
        ModuleNotFoundError: if prometheus-client is not installed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._families = _families()

    async def __call__(self, scope: MutableScope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        running = self._families.running.labels(kind)
        running.inc()
        call = _Call(self._families, scope, receive, send)
        given = scope.get("extensions") or {}
        scope["extensions"] = {**given, LISTENERS: (*given.get(LISTENERS, ()), call.failed)}
        try:
            await self._app(scope, call.receive, call.send)
            call.returned()
        except Exception as error:
            call.status = call.status or "500"  # the server's
            call.failed(error)
            raise
        except BaseException:  # a cancellation
            call.cancelled()
            raise
        finally:
            scope["extensions"] = given  # no reference cycle may be left
            call.end()
            running.dec()


class _Call:
    """One request, or WebSocket."""

    __slots__ = ("_begin", "_cause", "_complete", "_ended", "_families", "_receive", "_scope", "_seconds", "_send",
                 "status")  # fmt: skip

    def __init__(self, families: _Families, scope: MutableScope, receive: Receive, send: Send) -> None:
        self._families = families
        self._scope = scope
        self._receive = receive
        self._send = send
        self._begin = perf_counter()
        self._complete = self._ended = False
        self._cause = ""  # the first that has ended it, if it is not complete
        self._seconds: float | None = None
        self.status = ""

    def failed(self, error: Exception) -> None:
        """An error was logged, or raised."""
        self._cause = self._cause or (TIMEOUT if isinstance(error, StreamTimeout) else FAILED)

    def cancelled(self) -> None:
        """The server has cancelled it, since it stops, unless it has a scope to be cancelled when the client leaves."""
        scope = (own_transport(self._scope) or PLAIN).cancels
        if self._cause in {"", LEFT}:  # at a stop it may also be told of a disconnect
            self._cause = LEFT if scope is not None and scope.cancel_called else STOPPED

    def returned(self) -> None:
        """The app has returned: if it has told nothing, it has found out by the server that the client has left."""
        if (own_transport(self._scope) or PLAIN).has_left():
            self._cause = self._cause or LEFT

    async def receive(self) -> Message:
        """ASGI's."""
        message: Message = await self._receive()
        if message["type"] in {"http.disconnect", "websocket.disconnect"} and not self._complete:
            self._cause = self._cause or LEFT
        return message

    async def send(self, message: Message) -> None:
        """ASGI's."""
        try:
            await self._send(message)
        except OSError:
            self._cause = self._cause or LEFT
            raise
        kind = message["type"]
        if kind.endswith("http.response.start"):
            self.status = str(message["status"])
        elif kind == "websocket.accept":
            self.status, self._complete = "101", True
        elif kind == "websocket.close" and not self.status:
            self.status, self._complete = "403", True
        elif kind.endswith(("http.response.body", "http.response.pathsend")) and not message.get("more_body", False):
            self._complete = True
            self._seconds = perf_counter() - self._begin
            if self._scope.get("route") is not None:  # that of a mounted app is known when it has returned
                self.end()

    def end(self) -> None:
        """Count it, once."""
        if self._ended:
            return
        self._ended = True
        scope = self._scope
        method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
        labels = (method if method in METHODS or method == "WEBSOCKET" else "OTHER", _template(scope))
        seconds = perf_counter() - self._begin if self._seconds is None else self._seconds
        self._families.seconds.labels(*labels).observe(seconds)
        complete = self._complete and (scope["type"] == "http" or self._cause in {"", LEFT})
        outcome = COMPLETE if complete else self._cause or FAILED
        self._families.requests.labels(*labels, self.status or "none", outcome).inc()


def _template(scope: MutableScope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "none"


def metrics_page(request: Request) -> Response:
    """What was counted, by all workers: a handler for ``app.get("/metrics")``. It runs in a thread.

    Everybody can read it who can reach the route: see ``dependencies=`` of a route, or leave the path out in a proxy.

    Raises:
        ModuleNotFoundError: if prometheus-client is not installed.
    """
    _families()
    from prometheus_client import REGISTRY, CollectorRegistry  # noqa: PLC0415 - an extra
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    directory = os.environ.get(DIRECTORY)
    if not directory:
        return Response(encode(REGISTRY), media_type=media_type)
    registry: CollectorRegistry = CollectorRegistry()
    collector: Any = MultiProcessCollector
    collector(registry, path=directory)
    import fcntl  # noqa: PLC0415 - few need it

    with (Path(directory) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the sums must not change meanwhile
        _add_up(Path(directory))
        return Response(encode(registry), media_type=media_type)


def _add_up(directory: Path) -> None:
    """Move what workers have counted that have ended into one file of each kind."""
    ended: dict[str, list[Path]] = defaultdict(list)
    for path in directory.glob("*_*.db"):
        kind, _, process = path.stem.rpartition("_")
        if process == _ENDED or not process.isdecimal() or _runs(int(process)):
            continue
        if kind.startswith(_LIVE):
            path.unlink(missing_ok=True)
        elif kind in {"counter", "histogram", "summary"}:
            ended[kind].append(path)
    for kind, paths in ended.items():
        _merge(directory / f"{kind}_{_ENDED}.db", paths)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _merge(target: Path, paths: Iterable[Path]) -> None:
    from prometheus_client import mmap_dict  # noqa: PLC0415 - an extra

    counts: Any = mmap_dict.MmapedDict
    sums: dict[str, float] = defaultdict(float)
    for path in (target, *paths):
        if path.exists():
            for key, value, _, _ in counts.read_all_values_from_file(str(path)):
                sums[key] += value
    made = target.with_suffix(".new")
    made.unlink(missing_ok=True)
    values = counts(str(made))
    for key, value in sums.items():
        values.write_value(key, value, 0.0)
    values.close()
    made.replace(target)
    for path in paths:
        path.unlink()
