"""Paths as names in a directory."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.http.paths import parse_path


@pytest.mark.parametrize(
    ("path", "names", "is_directory"),
    [
        ("", (), False),
        ("/", (), True),
        ("/a", ("a",), False),
        ("/a/", ("a",), True),
        ("/a/b.txt", ("a", "b.txt"), False),
        ("/...", ("...",), False),
        ("/.hidden", (".hidden",), False),
        ("/a b/\xe9", ("a b", "\xe9"), False),
        ("/%2e%2e", ("%2e%2e",), False),
    ],
)
def test_names(path: str, names: tuple[str, ...], is_directory: bool) -> None:
    """A path is the names between its slashes; one at the end says that a directory is meant."""
    assert parse_path(path) == (names, is_directory)


@pytest.mark.parametrize(
    "path",
    ["//", "//a", "/a//b", "/a//", "/..", "/../a", "/a/..", "/a/../b", "/.", "/./a", "/a/.", "/a/./", "/a\0", "/\0/a",
     "/a\\..\\b", "/\\", "a", "..", "/a/\ud800"],
)  # fmt: skip
def test_no_names(path: str) -> None:
    """What no directory lists is no name: nothing is normalised."""
    assert parse_path(path) is None


@pytest.mark.parametrize("raw", [b"/a%2fb", b"/a%2Fb", b"/%2e%2e%2fb"])
def test_encoded_slashes(raw: bytes) -> None:
    """A slash that was encoded is no slash, and no name has one."""
    assert parse_path("/a/b", raw) is None
    for plain in (b"/a/b", b"/a/b?c=%2f"):  # some servers leave the query there
        assert parse_path("/a/b", plain) == (("a", "b"), False)


@given(st.text(st.sampled_from("/.\\\0a%2fe\ud800\udc80"), max_size=20) | st.text(max_size=20))
def test_never_out_of_the_tree(path: str) -> None:
    """Whatever the path, its names joined to a directory stay within it, and it is the only path to them."""
    place = parse_path(path)
    if place is not None:
        joined = posixpath.join("/root", *place.names)
        assert posixpath.normpath(joined) == joined
        assert joined == "/root" or joined.startswith("/root/")
        assert "/" + "/".join(place.names) + ("/" if place.is_directory and place.names else "") == (path or "/")


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("", False), ("/", False), ("/a/b.c", False), ("/a./b.", False), ("/.env", True), ("/a/.env", True),
        ("/.git/", True), ("/.git/config", True), ("/...", True), ("/.well-known", False),
        ("/.well-known/acme-challenge/x", False), ("/.well-known/.env", True), ("/.well-known/.well-known", True),
        ("/a/.well-known/x", True), ("/.well-knowns/x", True), ("/.Well-Known/x", True),
    ],
)  # fmt: skip
def test_hidden_names(path: str, hidden: bool) -> None:
    """A name with a dot before it is hidden, and what is behind it; all but .well-known, where that comes first."""
    place = parse_path(path)
    assert place is not None
    assert place.is_hidden is hidden
