"""The model behind the gateway under test. It notes what becomes of its answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from trioweb import App, EventStreamResponse, HTTPError

LOG = Path(os.environ.get("EVENT_LOG", os.devnull))
app = App()


def note(text: str) -> None:
    """Note an event."""
    with LOG.open("a") as log:
        print(text, file=log)


@app.post("/v1/chat/completions")
async def complete(question: dict[str, Any]) -> EventStreamResponse:
    """Repeat what is asked, a word a token; ``FAIL``, ``BUSY``, ``BREAK`` and ``FOREVER`` do what they say."""
    words = question["messages"][-1]["content"].split()
    if words == ["FAIL"]:
        raise HTTPError(401)
    if words == ["BUSY"]:
        raise HTTPError(429, headers={"retry-after": "7"})
    return EventStreamResponse(tokens(words), ping=None)


async def tokens(words: list[str]) -> AsyncIterator[Any]:
    """An event for each token."""
    try:
        for word in words:
            if word == "BREAK":
                return
            yield {"choices": [{"delta": {"content": word}}]}
            if word == "FOREVER":
                await trio.sleep_forever()
        yield {"choices": [{"delta": {}}]}
        yield "[DONE]"
    finally:
        note("closed")
