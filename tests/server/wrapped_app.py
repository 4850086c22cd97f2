"""The app under test, behind an ASGI middleware that puts itself between the app and the server."""

from __future__ import annotations

from tests.server.app import app
from tests.server.wrapping import Wrapping

app.add_middleware(Wrapping)
