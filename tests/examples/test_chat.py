"""The example ``examples/chat.py``, with clients of a library that others have written."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio.testing
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from examples import chat
from tests.servers import PATIENCE, Server
from trioweb.testing import TestClient

EXAMPLE = "chat"


def enter(server: Server, room: str, name: str) -> ClientConnection:
    """Enter a room."""
    return connect(f"{server.url.replace('http', 'ws')}/chat/{room}?name={name}", open_timeout=PATIENCE)


def heard(client: ClientConnection) -> Iterator[tuple[str, str, int]]:
    """What is said, and how many are there."""
    while True:
        line = json.loads(client.recv(PATIENCE))
        yield line["who"], line["text"], line["present"]


def say(client: ClientConnection, text: str) -> None:
    """Say something."""
    client.send(json.dumps({"text": text}))


def test_all_in_a_room_hear_it(server: Server) -> None:
    """What one says all in the room hear, in order, and nobody in another."""
    with enter(server, "a", "Ada") as ada, enter(server, "b", "Eve") as eve:
        ada_hears, eve_hears = heard(ada), heard(eve)
        assert next(ada_hears) == ("Ada", "came in", 1)
        with enter(server, "a", "Bob") as bob:
            bob_hears = heard(bob)
            assert next(ada_hears) == next(bob_hears) == ("Bob", "came in", 2)
            say(bob, "hello")
            say(ada, "hello too")
            assert {next(ada_hears), next(ada_hears)} == {("Bob", "hello", 2), ("Ada", "hello too", 2)}
            assert {next(bob_hears), next(bob_hears)} == {("Bob", "hello", 2), ("Ada", "hello too", 2)}
        assert next(ada_hears) == ("Bob", "left", 1)
        say(eve, "alone")
        assert [next(eve_hears), next(eve_hears)] == [("Eve", "came in", 1), ("Eve", "alone", 1)]


async def test_who_does_not_read_loses_lines_and_holds_up_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """The others hear every line at once; one who reads late hears the last ones, and misses others."""
    said = 400
    async with TestClient(chat.app) as client, client.websocket("/chat/a?name=Slow") as slow:
        await slow.receive()
        async with client.websocket("/chat/a?name=Ada") as ada:
            await ada.receive()
            for number in range(said):
                await ada.send_json({"text": str(number)})
                assert (await ada.receive_json())["text"] == str(number)
            late = []
            while (text := (await slow.receive_json())["text"]) != str(said - 1):
                late.append(text)
        assert 10 < len(late) < said


def test_a_message_that_is_none(server: Server) -> None:
    """A message that does not fit closes its sender's connection, with the reason; the others hear that they left."""
    with enter(server, "c", "Ada") as ada, enter(server, "c", "Bob") as bob:
        hears = heard(ada)
        assert [next(hears)[1], next(hears)[1]] == ["came in", "came in"]
        say(bob, "")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in heard(bob):
                pass
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
        assert closed.value.rcvd.reason.startswith("text: ")
        assert next(hears) == ("Bob", "left", 1)
