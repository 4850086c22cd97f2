"""A page, signed in by a session, with a chat for all who are signed in at any worker."""

from pathlib import Path
from typing import Annotated

import msgspec

from examples.gateway.services import Here, User, Visit
from trioweb import Form, HTMLResponse, HTTPError, Provide, RedirectResponse, Router, WebSocket
from trioweb.hub import Subscription
from trioweb.middleware import RateLimit
from trioweb.security import csrf_token

router = Router(include_in_schema=False)
PAGE, FORM = ((Path(__file__).parent / name).read_text() for name in ("chat.html", "login.html"))


class Said(msgspec.Struct):
    """What a client sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@router.get("/")
async def page(visit: Visit, token: Annotated[str, Provide(csrf_token)]) -> HTMLResponse:
    """The chat, or what asks for a key."""
    return HTMLResponse(PAGE if "user" in visit else FORM.format(token=token))


@router.post("/login", middleware=[RateLimit(5, per=60, name="login")])
async def login(here: Here, visit: Visit, key: Annotated[str, Form]) -> RedirectResponse:
    """Sign in by a key, from now on by the session."""
    user = here.user_of(key)
    if user is None:
        raise HTTPError(403, "The key is wrong.")
    visit.renew()
    visit["user"] = user
    return RedirectResponse("/", 303)


@router.websocket("/chat")
async def chat(ws: WebSocket, here: Here, user: User) -> None:
    """One person in the chat, until they leave."""
    await ws.accept()
    async with here.hub.subscribe("chat", member=user) as lines:
        ws.nursery.start_soon(pass_on, lines, ws)
        async for said in ws.messages(Said):
            await here.hub.publish("chat", {"who": user, "text": said.text})


async def pass_on(lines: Subscription, ws: WebSocket) -> None:
    """Send what is said."""
    async for line in lines:
        if line.event is None:  # the others are joins, leaves and gaps
            await ws.send_json(line.data)
