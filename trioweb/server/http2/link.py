"""What a connection of HTTP/2 and its streams share: the frames, and their way to the socket.

What a task sends is written at once where it is the only one; what several send in one turn of the loop, together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic

import trio

from trioweb.io.tcp import bytes_taken
from trioweb.server.http2.engine import Engine
from trioweb.server.http2.output import F
from trioweb.server.logs.logs import request_logger
from trioweb.server.shared import Shared
from trioweb.server.wire.pulse import Writes
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError


class Link(Generic[F]):
    """One connection's frames, and what writes them.

    Args:
        shared: what all connections of a worker share.
        wire: the connection.
        make: makes a stream of this object, an id and a window.
    """

    def __init__(self, shared: Shared, wire: Wire, make: Callable[[Link[F], int, int], F]) -> None:
        self.gate, self.config, self.context, self.pulse, self.state = shared
        self.wire = wire
        config = self.config
        self.engine = Engine(
            partial(make, self), config.h2_max_concurrent_streams, config.h2_max_header_list_size, self.pulse.now
        )
        self.logs = request_logger(config) is not None
        """Requests are logged."""
        self.nursery: trio.Nursery
        self.written = trio.lowlevel.ParkingLot()
        """Tasks that wait for a write."""
        self.writing = False
        """A task writes, or is about to."""
        self._writes = Writes(self.pulse, partial(bytes_taken, wire.sock), self._leave)

    def let_go(self) -> None:
        """The connection has ended: no reference cycle may be left."""
        del self.engine, self._writes

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Run a function in a task of the connection. Does not block."""
        self.nursery.start_soon(async_fn)

    def flush(self) -> None:
        """Have what was framed written: now, or if other streams may send as well, in a moment. Does not block."""
        engine = self.engine
        if self.writing or not engine.out:
            return
        if self.wire.broken:
            engine.take_out()
        elif self.wire.secure or len(engine.streams) > 1:
            self.writing = True
            self.nursery.start_soon(self._write)
        else:
            self.write_nowait()
            if self.wire.rest:
                self.writing = True
                self.nursery.start_soon(self._write)

    def write_nowait(self) -> None:
        """Write as far as the socket takes it."""
        engine, wire = self.engine, self.wire
        try:
            while engine.out and wire.send_nowait(engine.take_out()):
                engine.pump()
        except ClientLeftError:
            self.lost()

    async def _write(self) -> None:
        """A task: write what is framed, as long as there is something."""
        engine, wire = self.engine, self.wire
        try:
            while not wire.broken:
                if not (wire.secure or wire.rest):
                    self.write_nowait()
                if not (wire.rest or engine.out):
                    break
                rates = [stream.min_rate for stream in engine.streams.values()]
                self._writes.begin(None if None in rates else min(filter(None, rates), default=self.pulse.min_rate))
                try:
                    await (wire.write(engine.take_out(), b"", b"") if wire.secure else wire.flushed())
                finally:
                    self._writes.end()
                engine.pump()
                self.written.unpark_all()
        except ClientLeftError:
            self.lost()
        except BaseException:
            wire.broken = True  # a part of a frame may be sent
            raise
        finally:
            self.writing = False
            self.written.unpark_all()

    def _leave(self) -> None:
        for stream in self.engine.streams.values():
            stream.slow = True
        self.wire.cut(reset=True)

    def lost(self) -> None:
        """The connection has ended."""
        self.wire.broken = True
        self.tell()
        self.written.unpark_all()
        self.wire.wake()

    def tell(self) -> None:
        """Tell all streams that the client has left."""
        for stream in self.engine.streams.values():
            stream.left()
