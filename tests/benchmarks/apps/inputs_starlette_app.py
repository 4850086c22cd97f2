"""What takes bodies in, as a user of Starlette writes it."""

from __future__ import annotations

import importlib
from typing import Any

# By name, so that type checkers do without the package.
starlette: Any = importlib.import_module("starlette.applications")
responses: Any = importlib.import_module("starlette.responses")
routing: Any = importlib.import_module("starlette.routing")


async def count(request: Any) -> Any:
    """Count the bytes of a body as they come."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return responses.PlainTextResponse(str(size))


async def form(request: Any) -> Any:
    """Take a form whole, and count what is in it."""
    async with request.form(max_fields=20_000) as form:
        size = sum(value.size if hasattr(value, "size") else len(value) for _, value in form.multi_items())
        return responses.PlainTextResponse(f"{len(form.multi_items())} {size}")


app = starlette.Starlette(
    routes=[routing.Route("/count", count, methods=["POST"]), routing.Route("/form", form, methods=["POST"])]
)
