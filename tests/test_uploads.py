"""Uploaded files: where their bytes are, and what is left of them."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from trioweb.messages.uploads import BATCH, PIECE, SPOOL_SIZE, Spool, UploadFile, save_to


async def filled(*pieces: bytes) -> Spool:
    """A spool of what a form reader would put there."""
    spool = Spool()
    for piece in pieces:
        spool.add(piece)
        if spool.pending_size > SPOOL_SIZE:
            await spool.flush()
    return spool


def number_of_files() -> int:
    """How many files this process has open, those not counted that an earlier test has left to the collector."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def test_small_files_stay_in_memory() -> None:
    """Up to 1 MiB of a form's files is held in memory; past that there is one temporary file, without a name."""
    small = await filled(b"x" * SPOOL_SIZE)
    assert not small.on_disk
    large = await filled(b"x" * SPOOL_SIZE, b"y", b"z" * 10)
    assert large.on_disk
    assert large.size == SPOOL_SIZE + 11
    assert large.pending_size == 10
    assert await large.read(SPOOL_SIZE - 1, 12) == b"xy" + b"z" * 10
    await large.aclose()


@pytest.mark.parametrize("size", [10, 3 * SPOOL_SIZE])
async def test_files_are_read_from_their_place(size: int) -> None:
    """Several files of a form share a spool, and each is read as if it were alone."""
    contents = [bytes([number]) * (size + number) for number in range(3)]
    spool = await filled(*contents)
    assert spool.on_disk == (size > SPOOL_SIZE)
    start = 0
    for number, content in enumerate(contents):
        file = UploadFile(spool, start, len(content), f"{number}.txt", "text/plain")
        start += len(content)
        assert (file.filename, file.content_type, file.size) == (f"{number}.txt", "text/plain", len(content))
        assert await file.read(4) + await file.read() == content
        assert await file.read() == await file.read(5) == b""
        await file.seek(0)
        pieces = [piece async for piece in file]
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= PIECE
        await file.seek(len(content) - 1)
        assert await file.read(5) == content[-1:]
    await spool.aclose()


@pytest.mark.parametrize("size", [10, 2 * SPOOL_SIZE])
async def test_a_file_is_gone_after_its_request(size: int) -> None:
    """What is closed is gone, its open file too; to read it then is an error that says what to do before."""
    before = number_of_files()
    spool = await filled(b"x" * size)
    await spool.aclose()
    await spool.aclose()
    assert number_of_files() == before
    with pytest.raises(RuntimeError, match="gone when its request has ended: save it"):
        await UploadFile(spool, 0, size, "x", None).read()


async def test_a_file_is_removed_in_spite_of_a_cancellation() -> None:
    """A cancelled request gives its temporary file back as well."""
    before = number_of_files()
    spool = await filled(b"x" * 2 * SPOOL_SIZE)
    with trio.CancelScope() as scope:
        scope.cancel()
        await spool.aclose()
    assert number_of_files() == before


@pytest.mark.parametrize("size", [0, 10, BATCH * 2 + 5])
async def test_save(tmp_path: Path, size: int) -> None:
    """All of a file is saved, wherever it was read to, in place of what had its name."""
    content = os.urandom(size)
    spool = await filled(b"before", content, b"after")
    file = UploadFile(spool, 6, size, "x", None)
    await file.read(3)
    target = tmp_path / "saved"
    target.write_text("old")
    assert await file.save(target) == size
    assert target.read_bytes() == content
    assert await file.read() == content[3:]
    assert list(tmp_path.iterdir()) == [target]
    await spool.aclose()


async def chunks_then(error: BaseException | None, *chunks: bytes) -> AsyncIterator[bytes]:
    """Chunks, and what comes then."""
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def test_a_save_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    """Where the bytes end with an error there is no file, and one that had its name is as it was."""
    target = tmp_path / "saved"
    target.write_text("old")
    with pytest.raises(ValueError, match="broken"):
        await save_to(target, chunks_then(ValueError("broken"), b"x" * BATCH, b"y"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_save_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """A cancellation removes what was written so far."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * BATCH
        scope.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        await save_to(tmp_path / "saved", endless())
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


async def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """While it is written nothing of that name is there."""

    async def watched() -> AsyncIterator[bytes]:
        yield b"x" * BATCH
        assert not (tmp_path / "saved").exists()
        yield b"y"

    assert await save_to(tmp_path / "saved", watched()) == BATCH + 1
    assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    """The process's mask for new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


async def test_many_small_chunks(tmp_path: Path) -> None:
    """More chunks than one system call takes are all written, in their order."""
    pieces = [b"%d," % number for number in range(2055)]
    await save_to(tmp_path / "saved", chunks_then(None, *pieces))
    assert (tmp_path / "saved").read_bytes() == b"".join(pieces)
    spool = await filled(*pieces)
    await spool.flush()
    assert await spool.read(0, spool.size) == b"".join(pieces)
    await spool.aclose()


async def test_a_save_where_it_cannot_be(tmp_path: Path) -> None:
    """A directory, or a place that is not there, is an OSError, and nothing is left."""
    for path in (tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(OSError, match=r"directory|No such file"):
            await save_to(path, chunks_then(None, b"x"))
    assert list(tmp_path.iterdir()) == []


async def test_a_save_to_what_is_no_file(tmp_path: Path) -> None:
    """A device stays what it is; a link is followed."""
    await save_to("/dev/null", chunks_then(None, b"x"))
    assert not Path("/dev/null").is_file()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    await save_to(link, chunks_then(None, b"x"))
    assert link.is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"
