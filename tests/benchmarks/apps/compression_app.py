"""The app as a user of trioweb writes it, its answers compressed whoever asks."""

from __future__ import annotations

from tests.benchmarks.apps.trioweb_app import app
from trioweb import Compression, Request, Response
from trioweb.middleware import CallNext


async def accept(request: Request, call_next: CallNext) -> Response:
    """Have all clients accept gzip, and nothing else."""
    request.headers["accept-encoding"] = "gzip"
    return await call_next(request)


app.middleware(accept)
app.middleware(Compression(codings=["gzip"]))
