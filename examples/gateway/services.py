"""What the parts of the gateway stand on, and who asks."""

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import compare_digest
from typing import Annotated

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
        self._keys = [pair.split("=") for pair in settings.keys.split(",")]

    def user_of(self, key: str) -> str | None:
        """Whose key it is. How long it takes says nothing of a key that is nearly right."""
        return next((name for name, known in self._keys if compare_digest(key.encode(), known.encode())), None)


async def make_tables(app: App) -> AsyncIterator[None]:
    """Make what the pool needs."""
    for table in TABLES:
        await app.state.services.pool.execute(table)
    yield


async def find_services(connection: Request | WebSocket) -> Services:
    """The services of the app."""
    services: Services = connection.app.state.services
    return services


Here = Annotated[Services, Provide(find_services)]
Visit = Annotated[Session, Provide(session)]


async def find_by_key(key: str, here: Here) -> str | None:
    """Whose key it is."""
    return here.user_of(key)


@security("session", {"type": "apiKey", "in": "cookie", "name": "session"})
async def find_by_session(visit: Visit) -> str | None:
    """Who is signed in."""
    user: str | None = visit.get("user")
    return user


User = Annotated[str, Provide(AnyOf(BearerToken(find_by_key, optional=True), find_by_session))]
