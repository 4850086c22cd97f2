"""Documents that are sent as files, and kept under names of the gateway's."""

from __future__ import annotations

import uuid

import msgspec

from examples.gateway.services import Here, User
from trioweb import FileResponse, HTTPError, Router, UploadFile

router = Router("/documents")


class Document(msgspec.Struct):
    """A file; its fields are the columns."""

    id: uuid.UUID
    name: str
    size: int


@router.post("", status_code=201, max_body_size=64 << 20)
async def upload(document: UploadFile, here: Here, user: User) -> Document:
    """Keep a file of up to 64 MiB."""
    kept = Document(uuid.uuid4(), document.filename, document.size)
    await document.save(here.directory / str(kept.id))
    await here.write("INSERT INTO documents VALUES (?, ?, ?, ?)", str(kept.id), user, kept.name, kept.size)
    return kept


@router.get("/{number:uuid}", responses={404: "You have no such document."})
async def download(number: uuid.UUID, here: Here, user: User) -> FileResponse:
    """Have a file back."""
    row = await here.read("SELECT name FROM documents WHERE id = ? AND user = ?", str(number), user)
    if row is None:
        raise HTTPError(404)
    return FileResponse(here.directory / str(number), filename=row[0])
