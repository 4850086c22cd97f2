"""The example ``examples/notifications.py``."""

from __future__ import annotations

import httpx
import pytest
import trio.testing

from examples import notifications
from trioweb.testing import TestClient, cut_engine

EXAMPLE = "notifications"
ADA = {"authorization": "Bearer ada"}


async def test_each_gets_its_own_news(autojump_clock: trio.testing.MockClock) -> None:
    """A person gets what is told to them and to all, and nothing else; the id of an event resumes after it."""
    async with TestClient(notifications.app) as client:
        async with client.events("/feed", headers=ADA) as feed:
            for path, text in (("/people/ada", "one"), ("/people/bob", "secret"), ("/all", "two"), ("/all", "three")):
                assert (await client.post(path, json={"text": text})).status_code == 200
            got = [await anext(feed) for _ in range(3)]
            assert [event.data for event in got] == ['{"text":"one"}', '{"text":"two"}', '{"text":"three"}']
        async with client.events("/feed", headers={**ADA, "last-event-id": str(got[0].id)}) as feed:
            assert (await anext(feed)).data == '{"text":"two"}'


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic x"}])
async def test_nobody_without_a_name(headers: dict[str, str]) -> None:
    """Without a token there is no feed."""
    async with TestClient(notifications.app) as client:
        response: httpx.Response = await client.get("/feed", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


async def test_without_its_engine(autojump_clock: trio.testing.MockClock) -> None:
    """What could not be told is a 503."""
    async with TestClient(notifications.app) as client:
        with cut_engine(notifications.hub):
            response = await client.post("/all", json={"text": "lost"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
