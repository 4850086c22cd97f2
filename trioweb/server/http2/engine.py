"""One connection's frames without I/O: what the client sends, and what it may send (RFC 9113).

Rules that this module alone enforces:

* What breaks a rule of one stream resets that one, and no other notices.
* The connection's window is opened as bytes arrive, a stream's as they are taken: an unread body stops no other stream.
* Frames that carry nothing, and resets, are counted: see ``floods``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.head import Head
from trioweb.server.http2 import frames
from trioweb.server.http2.blocks import HeadBlocks
from trioweb.server.http2.floods import Floods
from trioweb.server.http2.flow import Flow
from trioweb.server.http2.frames import LARGEST_WINDOW, WINDOW, Code, ConnectionFault, Frame, StreamFault
from trioweb.server.http2.heads import Fields, check_trailers, read_head, read_priority, upgraded
from trioweb.server.http2.output import F, Output

CONNECTION_WINDOW: Final = 2**20
"""Bytes that a client may send to all streams before it hears that they have arrived."""
SMALL_WINDOW: Final = 1024
"""A window that is opened by less, and an empty queue, cost the client a frame of its credit."""


class Engine(Output[F]):
    """The state of a connection.

    Args:
        make: makes a stream of an id and a window.
        max_streams: requests at a time.
        max_head: bytes of a head.
        now: the time.
    """

    def __init__(self, make: Callable[[int, int], F], max_streams: int, max_head: int, now: float) -> None:
        super().__init__(Floods(now))
        self._make = make
        self._max_streams, self._max_head = max_streams, max_head
        self._reader = frames.FrameReader()
        self._blocks = HeadBlocks(max_head)
        self._first_window = WINDOW
        self._room = CONNECTION_WINDOW
        self._now = now
        self._opened: list[F] = []
        self.leaving = False
        """The client has said that it begins no more streams."""
        self.emit(
            frames.settings_frame([
                (frames.MAX_CONCURRENT_STREAMS, max_streams), (frames.MAX_HEADER_LIST_SIZE, max_head),
                (frames.NO_RFC7540_PRIORITIES, 1),
            ]) + frames.window_frame(0, CONNECTION_WINDOW - WINDOW)
        )  # fmt: skip

    @property
    def in_head(self) -> bool:
        """A part of a head has come; or, while there is no stream, of anything."""
        return self._blocks.begun or (self._reader.begun and not self.streams)

    # What the client sends

    def upgrade(self, settings: bytes, head: Head) -> F:
        """Begin with a request of HTTP/1.1 that has asked for HTTP/2 (RFC 7540, section 3.2)."""
        self._apply(settings)
        flow = self.streams[1] = self._make(1, self._first_window)
        flow.head = upgraded(head)
        self.last, flow.remote_ended = 1, True
        return flow

    def receive(self, data: bytes, now: float) -> list[F]:
        """Take what has come. Returns the streams that it begins.

        Raises:
            ConnectionFault: if it breaks a rule of the connection: send GOAWAY, and close.
        """
        self._now = now
        self._reader.feed(data)
        opened = self._opened = []
        while (frame := self._reader.next()) is not None:
            kind = frame.kind
            if self._blocks.begun and kind != frames.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a head has to end before other frames")
            try:
                if kind in (frames.HEADERS, frames.CONTINUATION):
                    fields = self._blocks.take(frame)
                    if fields is not None:
                        self._take_head(frame.stream, fields, end=self._blocks.ends)
                elif kind == frames.DATA:
                    self._take_data(frame)
                else:
                    self._take(frame)
            except StreamFault as fault:
                self._fault(frame.stream, fault.code)
        if self._room <= CONNECTION_WINDOW // 2:
            self.emit(frames.window_frame(0, CONNECTION_WINDOW - self._room))
            self._room = CONNECTION_WINDOW
        return opened

    def _take(self, frame: Frame) -> None:
        kind, _, stream, payload = frame
        if kind == frames.WINDOW_UPDATE:
            self._open_window(stream, frames.read_number(payload))
            return
        self.floods.idle_frame(self._now)
        if kind == frames.RST_STREAM:
            self._take_reset(stream)
        elif kind == frames.PRIORITY:
            if len(payload) != 5:
                raise StreamFault(Code.FRAME_SIZE_ERROR)
            if frames.read_number(payload) == stream and stream <= self.last:  # an idle stream cannot be reset
                raise StreamFault(Code.PROTOCOL_ERROR)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "clients push nothing")
        else:
            self._take_for_all(kind, payload, is_answer=bool(frame.flags & frames.ACK))

    def _take_for_all(self, kind: int, payload: bytes, *, is_answer: bool) -> None:
        """Take a frame of the connection, or of a kind that is not known."""
        if kind == frames.SETTINGS:
            if not is_answer:
                self._apply(payload)
                self.emit(frames.frame(frames.SETTINGS, frames.ACK, 0))
            elif payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an answer to SETTINGS is empty")
        elif kind == frames.PING and not is_answer:
            self.emit(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.PRIORITY_UPDATE:
            self._take_priority(payload)
        elif kind == frames.GOAWAY:
            if len(payload) < 8:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY has a wrong size")
            if frames.read_number(payload[4:]) != Code.NO_ERROR:
                raise ConnectionFault(Code.NO_ERROR, "the client gives up")
            self.leaving = True

    def _apply(self, payload: bytes) -> None:
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                change, self._first_window = value - self._first_window, value
                for flow in self.streams.values():
                    self._widen(flow, change)
            elif name == frames.MAX_FRAME_SIZE:
                self.max_frame = min(value, frames.FRAME_SIZE)

    def _widen(self, flow: F, change: int) -> None:
        flow.window += change
        if flow.window > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window is too large")
        if flow.queue and flow.window > 0:
            self.schedule.add(flow)

    def _open_window(self, stream: int, count: int) -> None:
        if count < SMALL_WINDOW:
            self.floods.idle_frame(self._now)
        flow = self.streams.get(stream)
        if not count:
            if stream:
                self._check_begun(stream)
                raise StreamFault(Code.PROTOCOL_ERROR)
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a window is opened by nothing")
        if not stream:
            self.window += count
            if self.window > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window is too large")
        elif flow is None:
            self._check_begun(stream)
            self.floods.idle_frame(self._now)
        elif flow.window + count > LARGEST_WINDOW:
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        else:
            self._widen(flow, count)

    def _check_begun(self, stream: int) -> None:
        if stream > self.last or not stream % 2:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the stream has not begun")

    def _take_reset(self, stream: int) -> None:
        self._check_begun(stream)
        flow = self.streams.get(stream)
        if flow is None or flow.code is not None:
            return
        answered = flow.ended or flow.framed  # the client has had enough of it
        self.drop(flow, Code.CANCEL)
        flow.left()
        if not answered:
            self.floods.reset()

    def _take_priority(self, payload: bytes) -> None:
        if len(payload) < 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PRIORITY_UPDATE has a wrong size")
        stream = frames.read_number(payload)
        if not stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the connection has no priority")
        flow = self.streams.get(stream)
        if flow is not None and not flow.scheduled:
            self._prioritise(flow, [payload[4:]])

    def _prioritise(self, flow: F, values: list[bytes]) -> None:
        priority = read_priority(values)
        if priority is not None:
            flow.urgency, flow.takes_turns = priority

    def _fault(self, stream: int, code: Code) -> None:
        """Reset a stream that its client has broken."""
        flow = self.streams.get(stream)
        if flow is None:
            self.forget(stream, reset=True)
            self.emit(frames.reset_frame(stream, code))
        elif not (flow.ended and flow.remote_ended):
            self.reset(flow, code)
            flow.left()
        self.floods.reset()

    # Heads

    def _take_head(self, stream: int, fields: Fields, *, end: bool) -> None:
        flow = self.streams.get(stream)
        if flow is not None:
            self._take_trailers(flow, fields, end=end)
            return
        if stream <= self.last:
            by_us = self.finished.get(stream)
            if by_us is None:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "streams are begun in order")
            if by_us:
                self.floods.idle_frame(self._now)
                return
            raise ConnectionFault(Code.STREAM_CLOSED, "the stream has ended")
        if self.closing:
            self.floods.idle_frame(self._now)
            return
        self.last = stream
        if len(self.streams) >= self._max_streams and self.is_full(self._max_streams):
            raise StreamFault(Code.REFUSED_STREAM)
        flow = self._make(stream, self._first_window)
        try:
            flow.head = head = read_head(fields, self._max_head)
        except BadRequest as error:
            flow.refusal = error.status, error.reason
        else:
            flow.length = head.length
            self._prioritise(flow, [value for name, value in head.headers if name == b"priority"])
            if end and flow.length:
                raise StreamFault(Code.PROTOCOL_ERROR)
        flow.remote_ended = end
        self.streams[stream] = flow
        self._opened.append(flow)

    def _take_trailers(self, flow: F, fields: Fields, *, end: bool) -> None:
        if flow.code is not None:
            self.floods.idle_frame(self._now)
            return
        if flow.remote_ended:
            raise StreamFault(Code.STREAM_CLOSED)
        if not end:
            raise StreamFault(Code.PROTOCOL_ERROR)
        check_trailers(fields)
        self._end_request(flow)

    # Bodies

    def _take_data(self, frame: Frame) -> None:
        size = len(frame.payload)
        self._room -= size
        if self._room < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is closed")
        data = frames.content_of(frame)
        end = bool(frame.flags & frames.END_STREAM)
        if not (data or end):
            self.floods.idle_frame(self._now)
        flow = self.streams.get(frame.stream)
        if flow is None:
            self._take_late(frame.stream)
        elif flow.code is None:
            self._take_body(flow, data, size)
            if end:
                self._end_request(flow)
            elif data:
                flow.heard()

    def _take_late(self, stream: int) -> None:
        """A part of a body has come for a stream that has ended."""
        self._check_begun(stream)
        if not self.finished.get(stream, self.closing):
            raise StreamFault(Code.STREAM_CLOSED)
        self.floods.idle_frame(self._now)

    def _take_body(self, flow: F, data: bytes, size: int) -> None:
        if flow.remote_ended:
            raise StreamFault(Code.STREAM_CLOSED)
        flow.room -= size
        if flow.room < 0:
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        flow.received += len(data)
        if flow.length is not None and flow.received > flow.length:
            raise StreamFault(Code.PROTOCOL_ERROR)
        if flow.ended or flow.refusal is not None:  # nobody will take it
            self.take(flow, size)
        else:
            flow.body += data
            self.take(flow, size - len(data))

    def _end_request(self, flow: F) -> None:
        if flow.length is not None and flow.received != flow.length:
            raise StreamFault(Code.PROTOCOL_ERROR)
        flow.remote_ended = True
        flow.heard()

    def take(self, flow: Flow, size: int) -> None:
        """A part of a body was taken: the client may send as much again."""
        flow.taken += size
        if flow.taken >= WINDOW // 4 and not flow.remote_ended and flow.code is None:
            flow.room += flow.taken
            self.emit(frames.window_frame(flow.id, flow.taken))
            flow.taken = 0
