"""A page for the chat room of ``examples/chat.py``."""

from __future__ import annotations

from examples.chat import router as room
from examples.tour.files import PAGE
from trioweb import FileResponse, Router

router = Router()
router.include(room)


@router.get("/chat")
async def page() -> FileResponse:
    """The page; open it twice."""
    return FileResponse(PAGE / "chat.html", headers={"cache-control": "no-cache"})
