"""The benchmark of large files, in short."""

from __future__ import annotations

import os

import pytest

from tests.benchmarks import files
from tests.benchmarks.servers import Broken


def test_a_quick_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each server has its figures, of a sparse file and of a full one; who runs it keeps the cores that it had."""
    cores = os.sched_getaffinity(0)
    files.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines if not line.startswith(" ")] == list(files.SERVERS)
    assert sum(" of bare: " in line for line in lines) == 2 * len(files.SERVERS)
    assert os.sched_getaffinity(0) == cores


def test_a_file_that_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not what it must be has no figures."""
    measure = files._measure
    monkeypatch.setattr(files, "_measure", lambda server, path, size: measure(server, path, size + 1))
    with pytest.raises(Broken, match=r"67108864 of 67108865 bytes came"):
        files.main(["--quick"])
