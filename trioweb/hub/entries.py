"""Events as a hub keeps them: encoded once, whoever reads them."""

from __future__ import annotations

import base64
import random
from typing import Any, Final

import msgspec

from trioweb.ground.chunks import BYTES_LIKE
from trioweb.ground.encoding import encode_json
from trioweb.ground.http.events import ServerSentEvent

GAP, JOIN, LEAVE = "gap", "join", "leave"
RESERVED: Final = frozenset({GAP, JOIN, LEAVE})
"""The names of events that only a hub makes."""
OVERHEAD: Final = 64
"""Bytes that an event counts besides its data, which bounds the number of small events too."""
EVENTS, PRESENCE = "e:", "p:"
"""Prefixes of a topic's two logs: its events, and the joins and leaves of its members."""
TEXT, BYTES, JSON = "t", "b", "j"
"""The kinds of data."""

SPREAD: Final = (500, 2000)
"""Milliseconds after which clients reconnect when a server stops: not all of them at once."""

_decode_json = msgspec.json.Decoder().decode


class HubEvent(msgspec.Struct, frozen=True):
    """An event that a subscriber gets. All subscribers of a process may get the same object: do not change its data.

    Attributes:
        topic: the topic that it was published to.
        id: resumes all topics of the subscription after this event. Its form may change.
        event: the name that it was published with. The hub's own are ``"gap"`` (events are missing here), ``"join"``
            and ``"leave"``.
        data: the ``str`` or bytes that were published, or the JSON value. A gap has ``{"topics": [...]}``, the topics
            that events are missing of; a join or leave has the name of the member.
    """

    topic: str
    id: str
    event: str | None
    data: Any


class Entry:
    """One event as a topic keeps it.

    Args:
        log: the log that it is in: a topic's events, or its joins and leaves.
        number: the place in the order of all events of its epoch.
        epoch: the time in which numbers are comparable.
        event: its name.
        kind: ``TEXT``, ``BYTES`` or ``JSON``.
        payload: the encoded data.
        time: when it was published, by the clock of the engine.
    """

    __slots__ = ("_frame", "_seen", "epoch", "event", "kind", "log", "number", "payload", "size", "time")

    def __init__(
        self, log: str, number: int, epoch: str, event: str | None, kind: str, payload: bytes, time: float
    ) -> None:
        self.log = log
        self.number = number
        self.epoch = epoch
        self.event = event
        self.kind = kind
        self.payload = payload
        self.time = time
        self.size = len(payload) + OVERHEAD
        self._frame: bytes | None = None
        self._seen: HubEvent | None = None

    @property
    def id(self) -> str:
        """See ``HubEvent``."""
        return f"{self.epoch}-{self.number}"

    @property
    def is_gap(self) -> bool:
        """Whether it says that events are missing."""
        return self.event == GAP

    @property
    def is_singular(self) -> bool:
        """Whether a later event of its log does not stand for it, too."""
        return self.is_gap or self.log.startswith(PRESENCE)

    @property
    def frame(self) -> bytes:
        """The event on the wire of an event stream. Bytes that are not UTF-8 are sent as base64."""
        if self._frame is None:
            try:
                text = self.payload.decode()
            except UnicodeDecodeError:
                text = base64.b64encode(self.payload).decode()
            self._frame = ServerSentEvent(text, self.event, self.id).encode()
        return self._frame

    @property
    def seen(self) -> HubEvent:
        """The event for a task."""
        if self._seen is None:
            data: Any = self.payload
            if self.kind == TEXT:
                data = self.payload.decode()
            elif self.kind == JSON:
                data = _decode_json(self.payload)
            self._seen = HubEvent(topic_of(self.log), self.id, self.event, data)
        return self._seen


def encode(data: object) -> tuple[str, bytes]:
    """The kind of some data, and the encoded data.

    Raises:
        TypeError: if it is neither ``str`` nor bytes nor a JSON value.
    """
    if isinstance(data, str):
        return TEXT, data.encode()
    if isinstance(data, BYTES_LIKE):
        return BYTES, bytes(data)
    try:
        return JSON, encode_json(data)
    except TypeError as error:
        raise TypeError(
            f"hub.publish cannot send {type(data).__qualname__}: give a str, bytes or a JSON value (dict, list, "
            f"number, dataclass, msgspec.Struct); {error}"
        ) from None


def gap_of(logs: tuple[str, ...], epoch: str, number: int) -> Entry:
    """A gap in some logs: an event with a number greater than this one is not missing."""
    topics = list(dict.fromkeys(topic_of(log) for log in logs))
    return Entry(EVENTS + topics[0], number, epoch, GAP, JSON, msgspec.json.encode({"topics": topics}), 0.0)


def check_name(what: str, name: object) -> str:
    """The name of a topic, a member or an event.

    Raises:
        TypeError: if it is no text.
        ValueError: if it has a lone surrogate, which UTF-8 has no bytes for.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} is a name, got {name!r}: write a str")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is a name, got {name!r}: write one without lone surrogates") from None
    return name


def check_topic(topic: object) -> str:
    """The topic.

    Raises:
        TypeError: if it is no text, or an empty one.
        ValueError: if it is no name.
    """
    if not topic:
        raise TypeError(f"a topic is a name, got {topic!r}: write hub.publish('news', ...)")
    return check_name("a topic", topic)


def farewell() -> bytes:
    """The end of an event stream when a server stops: when to reconnect."""
    return b"retry: %d\n\n" % random.randint(*SPREAD)  # noqa: S311 - no secret


def topic_of(log: str) -> str:
    """The topic of a log."""
    return log[len(EVENTS) :]


def parse_id(text: str | None) -> tuple[str, int] | None:
    """The epoch and number of an id; ``None`` for any other text."""
    epoch, _, number = (text or "").rpartition("-")
    return (epoch, int(number)) if epoch and number.isascii() and number.isdigit() and len(number) <= 18 else None
