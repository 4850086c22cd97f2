"""The example ``examples/completions.py``, used by OpenAI's own client."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator, Iterator

import httpx
import openai
import pytest
import trio.testing
from openai.types.chat import ChatCompletionUserMessageParam

from examples import completions
from tests.servers import PATIENCE, Server, read_until

EXAMPLE = "completions"
QUESTION = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
LONG = " ".join(["word"] * 10_000)
"""What takes the model a quarter of an hour."""


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's client, told that the server is theirs."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def said(text: str) -> list[ChatCompletionUserMessageParam]:
    """What a user says."""
    return [{"role": "user", "content": text}]


def times_free(server: Server) -> int:
    """How often the model was left."""
    return server.output.count("the model is free")


def wait_until_free(server: Server, times: int) -> None:
    """Wait until the model was left so often."""
    end = time.monotonic() + PATIENCE
    while times_free(server) < times:
        assert time.monotonic() < end, server.output
        time.sleep(0.01)


def test_its_clients_understand_it(client: openai.OpenAI) -> None:
    """OpenAI's client reads the tokens, why they end, and the answer in one piece."""
    with client.chat.completions.create(model="stub", messages=said("hello you there"), stream=True) as stream:
        chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "HELLO ", "YOU ", "THERE ", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert {(chunk.model, chunk.object) for chunk in chunks} == {("stub", "chat.completion.chunk")}
    assert len({chunk.id for chunk in chunks}) == 1
    raw = httpx.post(f"{client.base_url}chat/completions", json=QUESTION, timeout=PATIENCE).text
    assert raw.endswith("}\n\ndata: [DONE]\n\n")
    whole = client.chat.completions.create(model="stub", messages=said("hello you"))
    assert whole.choices[0].message.content == "HELLO YOU "


def test_a_token_comes_when_it_is_made(server: Server) -> None:
    """Each token is an event that leaves at once: the first are here while the model has hardly begun."""
    body = json.dumps({"model": "stub", "stream": True, "messages": said(LONG)}).encode()
    head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    before = times_free(server)
    with server.request("/v1/chat/completions", "POST", head, body) as connection:
        received = read_until(connection, b'"WORD "')
        assert b"content-type: text/event-stream" in received
        assert len(re.findall(rb"\ndata: ", received)) < 100
    wait_until_free(server, before + 1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_model(server: Server, client: openai.OpenAI, stream: bool) -> None:
    """The model is left at once when nobody wants its answer any more, streamed or not."""
    before = times_free(server)
    if stream:
        with client.chat.completions.create(model="stub", messages=said(LONG), stream=True) as chunks:
            assert next(chunks).choices[0].delta.role == "assistant"
            assert next(chunks).choices[0].delta.content == "WORD "
            assert times_free(server) == before
    else:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="stub", messages=said(LONG), timeout=2)  # until then it has begun
    wait_until_free(server, before + 1)


async def test_the_model_is_left_where_its_stream_ends(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model whose token waits for room is left by the task that ran it, not some time by the garbage collector."""
    stream = completions.chunks({}, [completions.Message("user", LONG)])
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    assert (await anext(stream))["choices"][0]["delta"] == {"content": "WORD "}
    await stream.aclose()
    assert capsys.readouterr().out == "the model is free\n"


def test_a_question_that_is_none(client: openai.OpenAI) -> None:
    """What does not fit is an error that names it."""
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(model="stub", messages=[{"role": "tool", "content": "", "tool_call_id": "1"}])
    assert caught.value.response.json()["errors"][0]["loc"] == ["body", "messages", 0, "role"]
