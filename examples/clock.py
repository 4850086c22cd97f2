"""A clock as server-sent events: a browser shows each as it comes, and reconnects by itself.

::

    hypercorn -k trio examples.clock:app
    curl -N localhost:8000/clock
    curl localhost:8000

The last is a page: open it in a browser.
"""

import time
from collections.abc import AsyncIterator

import trio

from trioweb import App, EventStreamResponse, HTMLResponse

app = App()

PAGE = """<!doctype html>
<html lang="en">
<title>Clock</title>
<h1 id="time">--:--:--</h1>
<script>
  const time = document.getElementById("time");
  new EventSource("/clock").onmessage = (event) => { time.textContent = event.data; };
</script>
"""


@app.get("/")
async def page() -> HTMLResponse:
    """A page that shows the clock."""
    return HTMLResponse(PAGE)


@app.get("/clock")
async def clock() -> EventStreamResponse:
    """The time, each second. When the server stops, the stream ends cleanly, and browsers look for the next one."""
    return EventStreamResponse(seconds())


async def seconds() -> AsyncIterator[str]:
    """The time now, and again whenever a second is over."""
    while True:
        yield time.strftime("%H:%M:%S")
        await trio.sleep(1 - time.time() % 1)
