"""Tokens of a language model as they are made, in the events of OpenAI's API: its clients can use this server.

::

    hypercorn -k trio examples.completions:app
    curl -N localhost:8000/v1/chat/completions --json '{"model": "stub", "stream": true,
        "messages": [{"role": "user", "content": "Hello there"}]}'

A client that leaves stops the model at its next token. The model here repeats what it was told, in capitals.
"""

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import msgspec
import trio

from trioweb import App, EventStreamResponse

app = App()


class Message(msgspec.Struct):
    """Something that was said."""

    role: Literal["system", "user", "assistant"]
    content: str


class Question(msgspec.Struct):
    """What a client sends; fields that are not known here are left out."""

    model: str
    messages: list[Message]
    stream: bool = False


async def generate(messages: list[Message]) -> AsyncGenerator[str, None]:
    """The stub: the model goes here."""
    try:
        for word in messages[-1].content.split():
            await trio.sleep(0.1)
            yield word.upper() + " "
    finally:
        print("the model is free", flush=True)


@app.post("/v1/chat/completions", cancel_on_disconnect=True)
async def complete(question: Question) -> EventStreamResponse | dict[str, Any]:
    """The answer, in one piece or token by token."""
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": question.model}
    if question.stream:
        return EventStreamResponse(chunks(head, question.messages), ping=None)
    text = "".join([token async for token in generate(question.messages)])
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**head, "object": "chat.completion", "choices": [choice]}


async def chunks(head: dict[str, Any], messages: list[Message]) -> AsyncIterator[Any]:
    """An event for each token, one that says why it ends, and the word that says that this is all."""

    def chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    async with aclosing(generate(messages)) as tokens:
        async for token in tokens:
            yield chunk({"content": token})
    yield chunk({}, "stop")
    yield "[DONE]"
