"""Why a row falls short of its goal, by the row's key: said where its figures are shown."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "typed": "on Hypercorn a bare ASGI app is at less than 1.4 times FastAPI's rate: most of the time is "
    "Hypercorn's own; under `trioweb run` not yet looked into",
    "pydantic": "on Hypercorn a bare ASGI app that reads the same body is at 1.26 times FastAPI's rate: the rest is "
    "Hypercorn's own",
    "sync": "300 times Robyn's would be less than Python takes to step a generator",
    "idle_few": "on Hypercorn three tasks a stream, the generator's, the sender's and the watch over the client; "
    "one under `trioweb run`",
    "idle_many": "as with 1,000",
    "event_few": "on Hypercorn an event passes from the generator's task to the sender's: a switch more a stream",
    "event_many": "as with 1,000",
    "upload": "each piece is waited for with a time limit, and the client's leaving is looked for meanwhile",
    "startup": "trioweb and its typed inputs are some more modules to load",
    "import": "trio itself is 80 ms of it, which Starlette loads later",
}
