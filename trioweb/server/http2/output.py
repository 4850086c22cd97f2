"""One connection's frames without I/O: what is sent, and when (RFC 9113, sections 5.2 and 6.9).

Rules that this module alone enforces:

* No more is framed than the windows allow, and than ``OUTPUT`` bytes while the socket takes nothing.
* Streams take turns, as ``schedule`` says.
* A stream that has ended is forgotten, but for the fact.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from trioweb.server.http2 import frames
from trioweb.server.http2.fields import EMPTY_TABLE
from trioweb.server.http2.floods import Floods
from trioweb.server.http2.flow import Flow
from trioweb.server.http2.frames import FRAME_SIZE, WINDOW, Code
from trioweb.server.http2.schedule import Schedule

OUTPUT: Final = 65536
"""Bytes that are framed before the socket takes them."""
FINISHED: Final = 256
"""Streams that are known to have ended; older ones count as never begun."""
LARGE: Final = 1024
"""A frame of so many bytes, or the whole of what was to be sent, is worth an opened window."""

F = TypeVar("F", bound=Flow)


class Output(Generic[F]):
    """What is sent on a connection.

    Args:
        floods: counts what the client takes.
    """

    def __init__(self, floods: Floods) -> None:
        self.floods = floods
        self.schedule: Schedule[F] = Schedule()
        self.streams: dict[int, F] = {}
        """Those whose requests are under way."""
        self.finished: dict[int, bool] = {}
        """Others; whether by a reset of ours, after which the client may still send."""
        self.max_frame = FRAME_SIZE
        """Bytes of a frame that the client takes."""
        self.window = WINDOW
        """Bytes of bodies that it takes."""
        self.last = 0
        """The highest id of a stream that it has begun."""
        self.out: list[bytes] = []
        """What is to be sent."""
        self.out_size = 0
        self.sent = 0
        """Bytes of bodies that were framed."""
        self.closing = False
        """New streams are ignored."""
        self._table = EMPTY_TABLE

    def emit(self, data: bytes) -> None:
        """Send a frame."""
        self.out.append(data)
        self.out_size += len(data)

    def take_out(self) -> bytes:
        """All frames that are to be sent."""
        data = b"".join(self.out)
        self.out.clear()
        self.out_size = 0
        return data

    def head(self, flow: Flow, block: bytes, *, end: bool) -> None:
        """Send a head: that of a response, or before it, or trailers."""
        if self._table:
            block, self._table = self._table + block, b""
        self.emit(frames.head_frames(flow.id, block, end=end))
        flow.ended = end

    def send(self, flow: F, data: bytes | memoryview, *, end: bool, trailers: bytes = b"") -> None:
        """Send a part of the body, as far as the windows allow; the rest waits in ``queue``.

        Args:
            flow: the stream.
            data: the part.
            end: it is the last one.
            trailers: a block of fields behind it.
        """
        size = len(data)
        flow.ending, flow.trailers = end, trailers
        if size:
            if (
                not flow.queue
                and size <= flow.window
                and size <= self.window
                and size <= self.max_frame
                and self.out_size < OUTPUT
            ):
                self._frame(flow, data, size)
                self.floods.sent()
                return
            flow.queue.append(memoryview(data))
            flow.queued += size
            if flow.window > 0:
                self.schedule.add(flow)
            self.pump()
        elif end and not flow.queue:
            self._end(flow)

    def _frame(self, flow: F, data: bytes | memoryview, size: int) -> None:
        """Send a DATA frame; if it is the last one, with the end."""
        end = flow.ending and not flow.queue
        self.emit(frames.data_frame(flow.id, data, end=end and not flow.trailers))
        flow.window -= size
        flow.framed += size
        self.window -= size
        self.sent += size
        if end:
            if flow.trailers:
                self._end(flow)
            flow.ended = True

    def _end(self, flow: F) -> None:
        if flow.trailers:
            self.head(flow, flow.trailers, end=True)
        else:
            self.emit(frames.data_frame(flow.id, b"", end=True))
            flow.ended = True

    def pump(self) -> None:
        """Frame what waits, as far as the windows allow. Call it when the socket has taken ``take_out``."""
        while self.schedule and self.window > 0 and self.out_size < OUTPUT:
            flow = self.schedule.take()
            if not flow.queue:
                continue
            data = flow.queue.popleft()
            size = min(len(data), flow.window, self.window, self.max_frame)
            if size < len(data):
                flow.queue.appendleft(data[size:])
                data = data[:size]
            flow.queued -= size
            self._frame(flow, data, size)
            if size >= LARGE or not flow.queue:
                self.floods.sent()
            if not flow.queue:
                flow.emptied()
            elif flow.window > 0:
                self.schedule.add(flow, again=True)

    def reset(self, flow: F, code: Code) -> None:
        """Reset a stream, unless it was reset."""
        if flow.code is None:
            self.emit(frames.reset_frame(flow.id, code))
            self.drop(flow, code)

    def drop(self, flow: F, code: Code) -> None:
        """Send nothing more on a stream that was reset."""
        flow.code = code
        flow.queue.clear()
        flow.queued = 0
        flow.body.clear()

    def is_full(self, most: int) -> bool:
        """Whether there are as many streams as may be. One that was reset does not count while its app ends, up to a
        limit.
        """
        count = len(self.streams)
        return count >= 2 * most or count - sum(flow.code is not None for flow in self.streams.values()) >= most

    def close(self, flow: F) -> None:
        """Forget a stream whose request has ended. Without an end of the response, or of the request, it is reset."""
        if flow.code is None:
            if not flow.ended:
                self.reset(flow, Code.INTERNAL_ERROR)
            elif not flow.remote_ended:
                self.reset(flow, Code.NO_ERROR)
            self.floods.answered()
        del self.streams[flow.id]
        self.forget(flow.id, reset=flow.code is not None)

    def forget(self, stream: int, *, reset: bool) -> None:
        """Note that a stream has ended."""
        self.finished[stream] = reset
        if len(self.finished) > FINISHED:
            del self.finished[next(iter(self.finished))]

    def go_away(self, code: Code = Code.NO_ERROR, reason: str = "") -> None:
        """Take no new streams (section 6.8)."""
        self.closing = True
        self.emit(frames.goaway_frame(self.last, code, reason))
