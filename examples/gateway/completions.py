"""Tokens of the upstream, passed on as they come, and what was used."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import httpx
import msgspec
import trio
from prometheus_client import Counter

from examples.gateway.services import Here, Services, User
from trioweb import Body, EventStreamResponse, HTTPError, Router

router = Router("/v1")
log = logging.getLogger("gateway")
TOKENS = Counter("gateway_tokens", "Tokens that were passed on.", ["model"])
DONE = "[DONE]"
RECORD = "INSERT INTO usage (user, model, tokens, outcome) VALUES (?, ?, ?, ?)"


class Message(msgspec.Struct):
    """Something that was said."""

    role: Literal["system", "user", "assistant"]
    content: str


class Question(msgspec.Struct):
    """What the model is asked."""

    model: Literal["stub", "large"]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    stream: Literal[True] = True


class Chunk(msgspec.Struct):
    """What of an event is looked at, ``choices[].delta.content``; it is passed on as it came."""

    choices: list[dict[str, Any]]


@router.post("/chat/completions", cancel_on_disconnect=True, responses={502: "The model is away.", 429: "It is busy."})
async def complete(
    question: Annotated[Question, Body("application/json")], here: Here, user: User
) -> EventStreamResponse[Chunk | str]:
    """Ask the model. Its tokens are events; the last one is ``[DONE]``."""
    return EventStreamResponse(tokens(question, here, user), head="first")


async def tokens(question: Question, here: Services, user: str) -> AsyncGenerator[str]:
    """The events of the upstream. Whatever ends them, what was used is written down."""
    used, outcome = 0, "cut"
    try:
        async with aclosing(ask(here.upstream, question)) as events:
            async for data in events:
                if data == DONE:
                    outcome = "complete"
                elif any(choice["delta"].get("content") for choice in msgspec.json.decode(data, type=Chunk).choices):
                    used += 1
                yield data
    finally:
        with trio.move_on_after(5, shield=True):
            await here.write(RECORD, user, question.model, used, outcome)
        TOKENS.labels(question.model).inc(used)
        log.info("%s used %d tokens of %s: %s", user, used, question.model, outcome)


async def ask(upstream: httpx.AsyncClient, question: Question) -> AsyncGenerator[str]:
    """The data of the upstream's events, to ``[DONE]``: an upstream that ends before it is an error."""
    try:
        asked = upstream.stream("POST", "/v1/chat/completions", json=msgspec.to_builtins(question))
        async with asked as answer:
            if answer.status_code in {429, 503}:  # it may be asked again, and says when
                after = answer.headers.get("retry-after", "1")
                raise HTTPError(answer.status_code, "The model is busy.", {"retry-after": after})
            if answer.status_code != 200:
                raise HTTPError(502, f"The model answers with {answer.status_code}.")
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    data = line.removeprefix("data:").removeprefix(" ")
                    yield data
                    if data == DONE:
                        return
    except httpx.TransportError as error:
        raise HTTPError(502, "The model does not answer.") from error
    raise HTTPError(502, "The model broke off.")
