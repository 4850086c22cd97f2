"""What was used, as JSON, CSV and JSON lines out of SQLite."""

from __future__ import annotations

import msgspec

from examples.gateway.services import Here, User
from trioweb import CSVResponse, JSONLinesResponse, Router

router = Router()
ALL = "SELECT id, model, tokens, outcome FROM usage WHERE user = ? ORDER BY id"
SUM = "SELECT count(*), coalesce(sum(tokens), 0) FROM usage WHERE user = ?"


class Used(msgspec.Struct):
    """One question; its fields are the columns."""

    id: int
    model: str
    tokens: int
    outcome: str


class Total(msgspec.Struct):
    """All of a user's."""

    questions: int
    tokens: int


@router.get("/usage")
async def total(here: Here, user: User) -> Total:
    """Sum up what you have used."""
    return Total(*await here.read(SUM, user) or ())


@router.get("/usage.csv")
async def as_csv(here: Here, user: User) -> CSVResponse:
    """Export what you have used, a question a row."""
    return CSVResponse(here.pool.rows(ALL, [user], make=Used), filename="usage.csv")


@router.get("/usage.jsonl")
async def as_json_lines(here: Here, user: User) -> JSONLinesResponse[Used]:
    """Export what you have used, a question a line."""
    return JSONLinesResponse(here.pool.rows(ALL, [user], make=Used))
