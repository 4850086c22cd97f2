"""Trees of files: what is in them, and what is not."""

from __future__ import annotations

import errno
import importlib
import importlib.resources
import os
import socket
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.test_disk import descriptors
from trioweb.ground.http.paths import parse_path
from trioweb.io.disk import ObjectFile
from trioweb.messages.tree import Directory, Tree, is_missing, open_tree

SECRET = b"secret"


def make_root(tmp_path: Path) -> Path:
    """A tree beside what is not in it, with links of all kinds."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(SECRET)
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "file").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "top").write_bytes(b"top")
    (root / "a" / "b" / "deep").write_bytes(b"deep")
    (root / "link").symlink_to("top")
    (root / "a" / "up").symlink_to("../top")
    (root / "ab").symlink_to("a/b")
    (root / "absolute").symlink_to(root / "a")
    (root / "chain").symlink_to("absolute")
    (root / "out").symlink_to("../secret")
    (root / "out-dir").symlink_to(tmp_path / "outside")
    (root / "out-too").symlink_to("../root-too")
    (root / "a" / "out").symlink_to("../../secret")
    (root / "itself").symlink_to(".")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    (root / "passwd").symlink_to("/etc/passwd")
    (root / "zero").symlink_to("/dev/zero")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of the test's own."""
    return make_root(tmp_path)


def read(tree: Tree, *names: str) -> bytes:
    """A file of a tree."""
    file, facts = tree.open(names, read=True)
    assert file is not None
    try:
        data = file.read(0, facts.size + 1)
    finally:
        file.close()
    assert len(data) == facts.size
    nothing, same = tree.open(names, read=False)
    assert (nothing, same.size, same.etag) == (None, facts.size, facts.etag)
    return data


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize(
    ("names", "data"),
    [
        (["top"], b"top"),
        (["a", "b", "deep"], b"deep"),
        (["link"], b"top"),
        (["a", "up"], b"top"),
        (["ab", "deep"], b"deep"),
        (["absolute", "b", "deep"], b"deep"),
        (["chain", "up"], b"top"),
        (["itself", "itself", "top"], b"top"),
    ],
)
def test_what_is_in_it(root: Path, follow: bool, names: Sequence[str], data: bytes) -> None:
    """Files are found, also through symbolic links that stay within the tree, whether others are followed or not."""
    assert read(open_tree(root, follow_symlinks=follow), *names) == data


@pytest.mark.parametrize(
    "names", [["out"], ["out-dir", "file"], ["out-too", "file"], ["a", "out"], ["passwd"], ["itself", "out"]]
)
def test_what_links_lead_out_to(root: Path, names: Sequence[str]) -> None:
    """What is out of the tree is not there, unless links are followed; a name that only begins alike is out of it."""
    for look in (True, False):
        with pytest.raises(FileNotFoundError):
            open_tree(root, follow_symlinks=False).open(names, read=look)
    assert read(open_tree(root, follow_symlinks=True), *names)


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        [], ["nothing"], ["a", "nothing"], ["a"], ["a", "b"], ["top", "x"], ["link", "x"], ["loop"], ["loop", "x"],
        ["dangling"], ["fifo"], ["socket"], ["zero"], ["itself"], ["x" * 300], ["a", "x" * 300, "y"],
    ],
)  # fmt: skip
def test_what_is_no_file(root: Path, follow: bool, names: Sequence[str]) -> None:
    """What is not there, or no regular file, is an error that says so; nothing waits, and nothing stays open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for look in (True, False):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - of several kinds
            open_tree(root, follow_symlinks=follow).open(names, read=look)
        assert is_missing(caught.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_cannot_be_told() -> None:
    """Too many open files, or a broken disk, do not say that a file is missing."""
    assert not is_missing(OSError(errno.EMFILE, "too many"))
    assert not is_missing(OSError(errno.EIO, "broken"))
    assert not is_missing(PermissionError(errno.EACCES, "no"))


def test_a_directory_that_is_moved_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that becomes a link out of the tree between two steps leads nowhere."""
    own_open = os.open
    steps = []

    def step(name: str, flags: int, *args: int, **options: int) -> int:
        steps.append(name)
        if name == "b":
            (root / "a" / "b").rename(root / "moved")
            (root / "a" / "b").symlink_to(root.parent / "outside")
        return own_open(name, flags, *args, **options)

    (root / "a" / "b" / "file").write_bytes(b"inside")
    monkeypatch.setattr(os, "open", step)
    with pytest.raises(FileNotFoundError):
        Directory(str(root), follow=False).open(["a", "b", "file"], read=True)
    assert steps[:3] == [str(root), "a", "b"]


def test_a_directory_may_be_replaced(root: Path) -> None:
    """A tree is what is at its path now: a new release may take its place."""
    tree = open_tree(root, follow_symlinks=False)
    root.rename(root.parent / "old")
    (root.parent / "root-too").rename(root)
    assert read(tree, "file") == SECRET


def test_sources_that_are_none(tmp_path: Path) -> None:
    """A directory that is not there, or something else, is refused where the tree is made."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(NotADirectoryError, match="there is no such directory"):
            open_tree(path, follow_symlinks=False)
    with pytest.raises(TypeError, match=r"takes a directory or importlib\.resources"):
        open_tree(5, follow_symlinks=False)  # type: ignore[arg-type]


def test_a_relative_path_is_of_now(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is relative to where the program is when the tree is made."""
    monkeypatch.chdir(root.parent)
    tree = open_tree("root", follow_symlinks=False)
    monkeypatch.chdir("/")
    assert read(tree, "top") == b"top"


names = st.sampled_from(
    ["a", "b", "top", "deep", "..", ".", "", "link", "out", "out-dir", "file", "itself", "secret", "root", "passwd",
     "%2e%2e", "..%2f", "\0", "\\", "...", "a/..", "/", "etc", "TOP", "chain", "fifo", "~", "\udc80"]
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tree for all the paths that are tried."""
    return make_root(tmp_path_factory.mktemp("fuzz"))


@given(st.lists(names, max_size=7).map("/".join))
@settings(max_examples=400, deadline=None)
def test_no_path_leads_out(fuzzed: Path, path: str) -> None:
    """Whatever the path, what is opened is within the tree, and nothing else is."""
    place = parse_path("/" + path)
    if place is None:
        return
    try:
        file, facts = open_tree(fuzzed, follow_symlinks=False).open(place.names, read=True)
    except OSError as error:
        if not is_missing(error):
            raise
        return
    assert file is not None
    data = file.read(0, 100)
    file.close()
    assert data in {b"top", b"deep"}
    assert facts.size == len(data)


class Packages:
    """Makes packages, and forgets them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def zipped(self) -> Path:
        """A package in a zip file on the path."""
        path = self.directory / "packed.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("packed/__init__.py", "")
            archive.writestr("packed/static/page.html", "<p>packed")
            archive.writestr("packed/static/sub/large.bin", bytes(range(256)) * 1000)
            archive.writestr("packed/secret", SECRET)
        return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """For packages that only this test imports."""
    made = Packages(tmp_path)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path / "packed.zip"))
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    yield made
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_a_package_in_a_zip_file(packages: Packages) -> None:
    """The data of a package in a zip file is a tree, whose tags are strong and tell one content from another."""
    packages.zipped()
    tree = open_tree(importlib.resources.files("packed") / "static", follow_symlinks=False)
    assert read(tree, "page.html") == b"<p>packed"
    assert read(tree, "sub", "large.bin") == bytes(range(256)) * 1000
    file, page = tree.open(["page.html"], read=True)
    assert file is not None
    assert file.read(3, 4) == b"pack"
    assert file.read(0, 2) == b"<p"
    file.close()
    assert page.etag.startswith('"')
    assert page.modified is None
    assert tree.open(["sub", "large.bin"], read=False)[1].etag != page.etag
    for path in ([], ["sub"], ["nothing"], ["page.html", "x"], ["sub", "nothing"]):
        for look in (True, False):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - of several kinds
                tree.open(path, read=look)
            assert is_missing(caught.value), path


def test_a_look_into_a_zip_file_leaves_nothing_open(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a package that is only looked at is closed, also when it had to be hashed or could not be."""
    closed: list[ObjectFile] = []
    monkeypatch.setattr(ObjectFile, "close", lambda self: closed.insert(0, self))
    packages.zipped()
    tree = open_tree(importlib.resources.files("packed") / "static", follow_symlinks=False)
    tree.open(["page.html"], read=False)
    tree.open(["page.html"], read=False)
    assert len(closed) == 1
    monkeypatch.setattr(ObjectFile, "read", lambda *_: bytes(-1))
    with pytest.raises(ValueError, match="negative count"):
        tree.open(["sub", "large.bin"], read=True)
    assert len(closed) == 2


def test_a_package_of_several_directories(packages: Packages, tmp_path: Path) -> None:
    """A namespace package has no one directory, and is a tree all the same, out of which no link leads."""
    for name in ("one", "two"):
        (tmp_path / name / "spread" / name).mkdir(parents=True)
        (tmp_path / name / "spread" / name / "file").write_text(name)
    (tmp_path / "one" / "spread" / "out").symlink_to("/etc/passwd")
    (tmp_path / "one" / "spread" / "one" / "out").symlink_to("/etc/passwd")
    (tmp_path / "one" / "spread" / "one" / "out-dir").symlink_to("/etc")
    files = importlib.resources.files("spread")
    tree = open_tree(files, follow_symlinks=False)
    assert read(tree, "one", "file") == b"one"
    assert read(tree, "two", "file") == b"two"
    assert descriptors(tmp_path / "one" / "spread" / "one" / "file") == 0
    for path in (["out"], ["one", "out"], ["one", "out-dir", "passwd"], ["one"], ["three", "file"]):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - of several kinds
            tree.open(path, read=True)
        assert is_missing(caught.value)
    assert read(open_tree(files, follow_symlinks=True), "one", "out")


def test_a_package_in_a_directory() -> None:
    """The data of a package in a directory is that directory, with times."""
    tree = open_tree(importlib.resources.files("trioweb"), follow_symlinks=False)
    assert isinstance(tree, Directory)
    assert b"trioweb" in read(tree, "__init__.py")
