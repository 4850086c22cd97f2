"""A long job that goes on by itself: its progress as events for all who watch, and a way to cancel it.

::

    hypercorn -k trio examples.progress:app
    curl -X POST localhost:8000/jobs
    curl -N localhost:8000/jobs/1
    curl -X DELETE localhost:8000/jobs/1

Who stops watching harms nothing; who comes late, or comes back, sees where it stands.
"""

from collections.abc import AsyncIterator

import trio

from trioweb import App, EventStreamResponse, HTTPError, Request, ServerSentEvent

app = App()


class Job:
    """Some work of a hundred steps."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.news = trio.Event()
        self.state, self.done = "running", 0

    async def run(self) -> None:
        """Work, and tell of each step."""
        with self.scope:
            for step in range(1, 101):
                await trio.sleep(0.05)
                self.tell("running", step)
        self.tell("cancelled" if self.scope.cancelled_caught else "finished", self.done)

    def tell(self, state: str, done: int) -> None:
        """Wake all who watch. They look for themselves: nothing piles up for one who is slow."""
        self.state, self.done = state, done
        self.news.set()
        self.news = trio.Event()

    async def watch(self) -> AsyncIterator[ServerSentEvent]:
        """Where it stands, and again whenever that has changed, to its end."""
        while True:
            news = self.news  # taken before looking, so that nothing is missed in between
            yield ServerSentEvent({"done": self.done}, event=self.state, id=self.state)
            if self.state != "running":
                return
            await news.wait()


jobs: dict[int, Job] = {}


@app.post("/jobs")
async def start() -> dict[str, int]:
    """Start a job, in the app's nursery: it outlives this request, and ends with the app."""
    number, job = len(jobs) + 1, Job()
    jobs[number] = job
    app.nursery.start_soon(job.run)
    return {"job": number}


@app.get("/jobs/{number:int}")
async def watch(number: int, request: Request) -> EventStreamResponse | None:
    """Its progress. A browser that comes back though it has seen the end gets a 204, and comes no more."""
    if request.last_event_id in {"finished", "cancelled"}:
        return None
    return EventStreamResponse(find(number).watch())


@app.delete("/jobs/{number:int}")
async def cancel(number: int) -> None:
    """Cancel it, wherever it stands."""
    find(number).scope.cancel()


def find(number: int) -> Job:
    """A job that was started."""
    if number not in jobs:
        raise HTTPError(404, f"there is no job {number}")
    return jobs[number]
