"""One worker: serves an app on listening sockets until it is told to stop.

It stops in this order: it accepts no more connections; idle ones are closed, and the app is told; requests may go on
for ``graceful_timeout``; then they are cancelled and their connections aborted; last the app's lifespan ends.
"""

from __future__ import annotations

import errno
import random
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from trioweb.ground.http.asgi import ASGIApp, LifespanState
from trioweb.server.accepted import AcceptedConnection
from trioweb.server.config import ServerConfig, Sockets
from trioweb.server.hypercorn.context import Context
from trioweb.server.process.lifespan import Lifespan
from trioweb.server.shared import Gate, Shared
from trioweb.server.streams import PARTING_SECONDS
from trioweb.server.wire.pulse import Pulse

if TYPE_CHECKING:
    from trioweb.server.hypercorn.http3 import HTTP3

OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ACCEPT_PAUSE: Final = 0.1
"""Seconds until the next attempt to accept after an error, such as a lack of descriptors."""
QUIC_LOOK: Final = 0.1
"""Seconds between checks whether the last HTTP/3 request has ended: Hypercorn has no event for that."""
CONNECTION: Final = "a connection of trioweb's server"
"""The name of a connection's task: a constant, since trio would format one for each."""
PROBES: Final = 3
"""Unanswered TCP keep-alive probes after which the system closes a connection."""
PROBE_INTERVAL: Final = 10
"""Seconds between the probes."""


class Worker:
    """Serves until ``stop``.

    Args:
        app: the app.
        config: the configuration.
        sockets: listening sockets.

    Attributes:
        started: it has accepted connections.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, sockets: Sockets) -> None:
        self._app = app
        self._gate = Gate(app, config)
        self._config = config
        self._sockets = sockets
        jitter = random.randint(0, config.max_requests_jitter)  # noqa: S311 - workers must not all end at once
        self._context = Context(None if config.max_requests is None else config.max_requests + jitter)
        self._connections: set[AcceptedConnection] = set()
        self._quic: list[HTTP3] = []
        self._ended = trio.lowlevel.ParkingLot()  # tasks that wait for the end of a connection
        self._stop = self._context.terminate.own
        self._hurry = trio.Event()
        self._warned = False
        self.started = False

    def stop(self) -> None:
        """Stop gracefully. Safe to call twice, or before ``serve``. Does not block."""
        self._stop.set()

    def hurry(self) -> None:
        """Stop without the graceful timeout. Does not block."""
        self.stop()
        self._hurry.set()

    async def serve(self, on_ready: Callable[[], None], on_drained: Callable[[], None]) -> None:
        """Run the app's lifespan, and serve until ``stop``. Returns when all connections and the lifespan have ended.

        Args:
            on_ready: called when the app has started and connections are accepted.
            on_drained: called when the last connection has ended, before the lifespan's shutdown.

        Raises:
            LifespanError: if the app's lifespan fails, or takes longer than its timeouts.
        """
        state: LifespanState = {}
        lifespan = Lifespan(self._app, self._config, state)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_lifespan, lifespan)
            await lifespan.start(self._stop)
            if lifespan.failure is None and lifespan.started.is_set():
                await self._serve_connections(state, on_ready)
                on_drained()
                await lifespan.stop()
            nursery.cancel_scope.cancel()
        if lifespan.failure is not None:
            raise lifespan.failure

    async def _watch_lifespan(self, lifespan: Lifespan) -> None:
        await lifespan.run()
        if lifespan.failure is not None:
            self.stop()  # gracefully: requests may not need what has failed

    async def _serve_connections(self, state: LifespanState, on_ready: Callable[[], None]) -> None:
        async with trio.open_nursery() as connections:
            pulse = Pulse(self._config, connections, self._gate.min_rate)
            connections.start_soon(pulse.run)
            if pulse.poller is not None:
                connections.start_soon(pulse.poller.run)
            shared = Shared(self._gate, self._config, self._context, pulse, state)
            async with trio.open_nursery() as listening:
                context = self._config.create_ssl_context()
                for sock in self._sockets.secure_sockets:
                    listening.start_soon(self._accept, sock, context, shared, connections)
                for sock in self._sockets.insecure_sockets:
                    listening.start_soon(self._accept, sock, None, shared, connections)
                for sock in self._sockets.quic_sockets:
                    connections.start_soon(self._open_quic(sock, shared).run)
                self.started = True
                on_ready()
                await self._stop.wait()
                listening.cancel_scope.cancel()
            await self._context.terminated.set()
            for connection in self._connections:
                connection.stop()
            connections.start_soon(self._break_off_after, self._config.graceful_timeout, connections.cancel_scope)
            while self._connections:
                await self._ended.park()
            while any(quic.busy for quic in self._quic):  # noqa: ASYNC110
                await trio.sleep(QUIC_LOOK)
            connections.cancel_scope.cancel()

    async def _break_off_after(self, seconds: float, scope: trio.CancelScope) -> None:
        with trio.move_on_after(seconds):
            await self._hurry.wait()
        scope.cancel()
        with trio.move_on_after(PARTING_SECONDS, shield=True):
            while self._connections:
                await self._ended.park()
        for connection in list(self._connections):  # whose apps did not end when they were cancelled
            connection.break_off()

    # Connections

    async def _accept(
        self, sock: socket.socket, context: ssl.SSLContext | None, shared: Shared, connections: trio.Nursery
    ) -> None:
        limit = self._config.connection_limit
        async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener:
            while True:
                while len(self._connections) >= limit:
                    await self._ended.park()
                try:
                    stream = await listener.accept()
                except OSError as error:  # of that connection, or a lack of descriptors
                    await self._warn_of(error)
                    await trio.sleep(ACCEPT_PAUSE)
                    continue
                self._keep_alive(stream.socket)
                tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True) if context else None
                connection = AcceptedConnection(shared, tls or stream, self._forget)
                self._connections.add(connection)
                connections.start_soon(connection.run, name=CONNECTION)
                del stream, tls, connection  # the next accept may take hours

    def _forget(self, connection: AcceptedConnection) -> None:
        self._connections.discard(connection)
        self._ended.unpark_all()

    def _open_quic(self, sock: socket.socket, shared: Shared) -> HTTP3:
        from trioweb.server.hypercorn.http3 import HTTP3  # noqa: PLC0415 - an extra

        self._quic.append(HTTP3(shared, sock))
        return self._quic[-1]

    async def _warn_of(self, error: OSError) -> None:
        if not self._warned and error.errno in OUT_OF_DESCRIPTORS:
            self._warned = True
            await self._config.log.warning(
                "cannot accept connections for now: %s; they wait (raise the limit with ulimit -n)", error.strerror
            )

    def _keep_alive(self, sock: trio.socket.SocketType) -> None:
        seconds = self._config.tcp_keep_alive
        if not seconds or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", PROBE_INTERVAL), ("TCP_KEEPCNT", PROBES)):
            if hasattr(socket, name):  # not everywhere
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
