"""What the parts of the gateway stand on, and who asks."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx

from examples.gateway.settings import Settings
from trioweb import App, Provide, Request, WebSocket
from trioweb.contrib.sqlite import SQLitePool
from trioweb.hub import Hub
from trioweb.middleware import Session
from trioweb.openapi import security
from trioweb.security import AnyOf, BearerToken, session

TABLES = (
    "CREATE TABLE IF NOT EXISTS usage (id INTEGER PRIMARY KEY, user TEXT, model TEXT, tokens INTEGER, outcome TEXT)",
    "CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, user TEXT, name TEXT, size INTEGER)",
)


class Services:
    """One for the app; its connections are open while the app runs."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.hub = hub
        self.directory = Path(settings.directory)
        self.pool = SQLitePool(self.directory / "gateway.sqlite3")
        own = {"authorization": f"Bearer {settings.upstream_key}"} if settings.upstream_key else {}
        timeout = httpx.Timeout(60, connect=5)  # a token may take a minute
        limits = httpx.Limits(max_connections=None)
        self.upstream = httpx.AsyncClient(base_url=settings.upstream, headers=own, timeout=timeout, limits=limits)
        self._users = {digest(key): name for key, name in settings.users().items()}

    def user_of(self, key: str) -> str | None:
        """Whose key it is. A digest is looked up, so how long it takes says nothing about keys."""
        return self._users.get(digest(key))

    async def read(self, query: str, *values: object) -> Any:
        """The first row of a query, or ``None``."""
        return await self.pool.read(lambda database: database.execute(query, values).fetchone())

    async def write(self, statement: str, *values: object) -> None:
        """Run a statement."""
        await self.pool.write(lambda database: database.execute(statement, values).rowcount)


def digest(key: str) -> bytes:
    """What a key is found by."""
    return hashlib.sha256(key.encode()).digest()


async def start(app: App) -> AsyncIterator[None]:
    """Open what the services need, and make the tables."""
    services: Services = app.state.services
    async with services.pool, services.upstream:
        for table in TABLES:
            await services.write(table)
        yield


async def find_services(connection: Request | WebSocket) -> Services:
    """The services of the app."""
    services: Services = connection.app.state.services
    return services


Here = Annotated[Services, Provide(find_services)]


async def find_by_key(key: str, here: Here) -> str | None:
    """Whose key it is."""
    return here.user_of(key)


@security("session", {"type": "apiKey", "in": "cookie", "name": "session"})
async def find_by_session(session: Annotated[Session, Provide(session)]) -> str | None:
    """Who is signed in."""
    user: str | None = session.get("user")
    return user


User = Annotated[str, Provide(AnyOf(BearerToken(find_by_key, optional=True), find_by_session))]
