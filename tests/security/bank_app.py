"""A bank whose users are known by a cookie, and a page of somebody else who would act as one of them."""

import os
from typing import Annotated

from trioweb import App, Form, HTMLResponse, Provide, Request, Sessions, WebSocket
from trioweb.security import CSRF, csrf_token

app = App()
app.middleware(Sessions("a secret of sixteen letters"))
if os.environ.get("GUARDED"):
    app.middleware(CSRF())
else:
    app.middleware(CSRF([os.environ["TRUSTED"]]))
paid: list[str] = []

FORM = """<!doctype html><title>bank</title>
<form method="post" action="/pay"><input type="hidden" name="csrf_token" value="{token}">
<input name="to" value="own"><button>Pay</button></form>
<p id="socket"></p>
<script>
const socket = new WebSocket(`ws://${location.host}/talk`)
socket.onmessage = event => document.querySelector("#socket").textContent = event.data
</script>"""
ATTACK = """<!doctype html><title>evil</title><p id="socket">none</p><p id="sent"></p>
<form method="post" action="http://{bank}/pay" target="frame"><input name="to" value="form"></form>
<iframe name="frame"></iframe>
<script>
const socket = new WebSocket("ws://{bank}/talk")
socket.onmessage = event => document.querySelector("#socket").textContent = event.data
socket.onclose = () => document.querySelector("#socket").append(" closed")
document.querySelector("iframe").onload = () => document.querySelector("#sent").append("form ")
document.querySelector("form").submit()
fetch("http://{bank}/pay", {{
    method: "POST", mode: "no-cors", credentials: "include",
    headers: {{"content-type": "application/x-www-form-urlencoded"}}, body: "to=fetch"
}}).then(() => document.querySelector("#sent").append("fetch "))
</script>"""


@app.get("/")
async def form(request: Request, token: Annotated[str, Provide(csrf_token)]) -> HTMLResponse:
    """Sign in, and show the form."""
    request.state.session["user"] = "ada"
    return HTMLResponse(FORM.replace("{token}", token))


@app.post("/pay")
async def pay(request: Request, to: Annotated[str, Form]) -> str:
    """Pay, if it is somebody."""
    if "user" in request.state.session:
        paid.append(to)
    return "paid"


@app.get("/paid")
async def all_paid() -> list[str]:
    """What was paid."""
    return paid


@app.websocket("/talk")
async def talk(ws: WebSocket) -> None:
    """Say who it is."""
    await ws.accept()
    await ws.send(ws.state.session.get("user", "nobody"))


@app.get("/evil")
async def evil(bank: str) -> HTMLResponse:
    """Act as whoever looks at this."""
    return HTMLResponse(ATTACK.format(bank=bank))
