"""Files as a user of trioweb sends them."""

from __future__ import annotations

import os

from trioweb import App, FileResponse, Response

app = App()


@app.get("/")
async def ready() -> str:
    """It serves."""
    return ""


@app.get("/{name}")
async def file(name: str) -> Response:
    """A file of that name."""
    return FileResponse(f"{os.environ['BENCHMARK_FILES']}/{name}")
