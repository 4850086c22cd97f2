"""Tokens of the upstream, passed on as they come, and what was used."""

import logging
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import httpx
import msgspec
import trio
from prometheus_client import Counter

from examples.gateway.services import Here, Services, User
from trioweb import Body, EventStreamResponse, HTTPError, Router
from trioweb.streams import EventReader

router = Router("/v1")
log = logging.getLogger("gateway")
TOKENS = Counter("gateway_tokens", "Tokens that were passed on.", ["model"])
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

    choices: list[dict[str, Any]] = []


@router.post("/chat/completions", cancel_on_disconnect=True, responses={502: "The model is away.", 429: "It is busy."})
async def complete(
    question: Annotated[Question, Body("application/json")], here: Here, user: User
) -> EventStreamResponse[Chunk | str]:
    """Ask the model. Its tokens are events; the last one is ``[DONE]``."""
    return EventStreamResponse(tokens(question, here, user), head="first")


async def tokens(question: Question, here: Services, user: str) -> AsyncGenerator[str]:
    """The data of the upstream's events, to ``[DONE]``. Whatever ends them, what was used is written down."""
    used, outcome = 0, "cut"
    try:
        async with here.upstream.stream("POST", "/v1/chat/completions", json=msgspec.to_builtins(question)) as answer:
            if answer.status_code in {429, 503}:  # it may be asked again, and says when
                after = answer.headers.get("retry-after", "1")
                raise HTTPError(answer.status_code, "The model is busy.", {"retry-after": after})
            if answer.status_code != 200:
                raise HTTPError(502, f"The model answers with {answer.status_code}.")
            async for event in EventReader(answer.aiter_bytes()):
                if event.data == "[DONE]":
                    outcome = "complete"
                    yield event.data
                    return
                chunk = msgspec.json.decode(event.data, type=Chunk)
                used += any(choice["delta"].get("content") for choice in chunk.choices)
                yield event.data
        raise HTTPError(502, "The model broke off.")
    except httpx.TransportError as error:
        raise HTTPError(502, "The model does not answer.") from error
    finally:
        with trio.move_on_after(5, shield=True):
            await here.pool.execute(RECORD, [user, question.model, used, outcome])
        TOKENS.labels(question.model).inc(used)
        log.info("%s used %d tokens of %s: %s", user, used, question.model, outcome)
