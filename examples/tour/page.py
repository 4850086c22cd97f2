"""The page itself: three files, as they are."""

from __future__ import annotations

from typing import Final

from examples.tour.files import CODE
from trioweb import FileResponse, Router

FRESH: Final = {"cache-control": "no-cache"}

router = Router()


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(CODE / "page.html", headers=FRESH)


@router.get("/page.css")
async def style() -> FileResponse:
    """How it looks."""
    return FileResponse(CODE / "page.css", headers=FRESH)


@router.get("/page.js")
async def script() -> FileResponse:
    """What it does."""
    return FileResponse(CODE / "page.js", headers=FRESH)
