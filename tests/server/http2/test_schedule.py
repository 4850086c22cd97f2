"""Which stream sends next."""

from __future__ import annotations

import pytest

from trioweb.server.http2.flow import Flow
from trioweb.server.http2.heads import read_priority
from trioweb.server.http2.schedule import Schedule


def order(*flows: tuple[int, bool, int]) -> list[int]:
    """In which order streams send, each given as urgency, whether it takes turns, and how many frames it has."""
    schedule: Schedule[Flow] = Schedule()
    left = {}
    for number, (urgency, takes_turns, count) in enumerate(flows):
        flow = Flow(number, 0)
        flow.urgency, flow.takes_turns = urgency, takes_turns
        left[number] = count
        schedule.add(flow)
        schedule.add(flow)
    sent = []
    while schedule:
        flow = schedule.take()
        sent.append(flow.id)
        left[flow.id] -= 1
        if left[flow.id]:
            schedule.add(flow, again=True)
    return sent


def test_streams_take_turns() -> None:
    """Streams of one urgency send a frame each, in turn."""
    assert order((3, True, 3), (3, True, 2), (3, True, 1)) == [0, 1, 2, 0, 1, 0]


def test_what_is_of_use_only_whole_is_sent_whole() -> None:
    """A response that is of no use in parts is sent before the next of its urgency."""
    assert order((3, False, 3), (3, False, 2)) == [0, 0, 0, 1, 1]


def test_urgent_streams_come_first() -> None:
    """An urgent stream sends all before a less urgent one sends any."""
    assert order((7, True, 2), (0, True, 2), (3, False, 1)) == [1, 1, 2, 0, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([b"u=1"], (1, False)),
        ([b"u=5, i"], (5, True)),
        ([b"i"], (3, True)),
        ([b"i=?0"], (3, False)),
        ([b"i=?1,u=7"], (7, True)),
        ([b"u=2", b"i"], (2, True)),
        ([b"u=9"], (3, False)),
        ([b"u=1.5"], (3, False)),
        ([b"nonsense"], (3, False)),
    ],
)
def test_a_priority_is_read(values: list[bytes], expected: tuple[int, bool] | None) -> None:
    """Urgency and turns are read from the header, with the defaults of RFC 9218 for what is missing or wrong."""
    assert read_priority(values) == expected
