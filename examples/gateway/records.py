"""What is kept for a user: what was used, out of SQLite in three formats, and documents, which are files."""

from uuid import UUID, uuid4

import msgspec

from examples.gateway.services import Here, User
from trioweb import CSVResponse, FileResponse, HTTPError, JSONLinesResponse, Router, UploadFile

router = Router()
ALL = "SELECT id, model, tokens, outcome FROM usage WHERE user = ? ORDER BY id"
SUM = "SELECT count(*) AS questions, coalesce(sum(tokens), 0) AS tokens FROM usage WHERE user = ?"


class Used(msgspec.Struct):
    """One question; its fields are the columns."""

    id: int
    model: str
    tokens: int
    outcome: str


class Document(msgspec.Struct):
    """A file; its fields are the columns."""

    id: UUID
    name: str
    size: int


@router.get("/usage")
async def total(here: Here, user: User) -> dict[str, int] | None:
    """Sum up what you have used."""
    return await here.pool.fetch_one(SUM, [user])


@router.get("/usage.csv")
async def as_csv(here: Here, user: User) -> CSVResponse:
    """Export what you have used, a question a row."""
    return CSVResponse(here.pool.rows(ALL, [user]), filename="usage.csv")


@router.get("/usage.jsonl")
async def as_json_lines(here: Here, user: User) -> JSONLinesResponse[Used]:
    """Export what you have used, a question a line."""
    return JSONLinesResponse(here.pool.rows(ALL, [user], make=Used))


@router.post("/documents", status_code=201, max_body_size=64 << 20)
async def upload(document: UploadFile, here: Here, user: User) -> Document:
    """Keep a file of up to 64 MiB."""
    kept = Document(uuid4(), document.filename, document.size)
    await document.save(here.directory / str(kept.id))
    await here.pool.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", [str(kept.id), user, kept.name, kept.size])
    return kept


@router.get("/documents/{number:uuid}", responses={404: "You have no such document."})
async def download(number: UUID, here: Here, user: User) -> FileResponse:
    """Have a file back."""
    found = await here.pool.fetch_one("SELECT name FROM documents WHERE id = ? AND user = ?", [str(number), user])
    if found is None:
        raise HTTPError(404)
    return FileResponse(here.directory / str(number), filename=found["name"])
