"""Content codings: which a client wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.http.codings import preferred

OFFERED = ("br", "zstd", "gzip")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([], []),
        ([""], []),
        (["gzip"], ["gzip"]),
        (["gzip, br"], ["br", "gzip"]),
        (["gzip", "br"], ["br", "gzip"]),
        (["GZIP;Q=0.5, br;q=0.2"], ["gzip", "br"]),
        (["gzip;q=0"], []),
        (["*"], ["br", "zstd", "gzip"]),
        (["*;q=0.1, gzip"], ["gzip", "br", "zstd"]),
        (["*;q=0"], []),
        (["gzip, *;q=0"], ["gzip"]),
        (["identity"], []),
        (["identity, gzip;q=0.5"], []),
        (["identity;q=0.5, gzip"], ["gzip"]),
        (["identity;q=0, gzip;q=0.1"], ["gzip"]),
        (["x-gzip"], ["gzip"]),
        (["gzip;q=1.5"], []),
        (["gzip;q=nan"], []),
        (["gzip;level=9"], []),
        (["gzip ; q=0.300 , deflate"], ["gzip"]),
        (["gzip;q=0, gzip"], []),
    ],
)
def test_what_a_client_wants(accept: list[str], wanted: list[str]) -> None:
    """Codings come by their weight, then in the order in which they are offered; none that is refused or unknown."""
    assert preferred(accept, OFFERED) == wanted


@given(st.lists(st.text(st.sampled_from("gzipbr*;q=01.,  x-identity\t"), max_size=30) | st.text(max_size=20)))
def test_any_header(accept: list[str]) -> None:
    """No text raises anything, and only what is offered is chosen."""
    assert set(preferred(accept, OFFERED)) <= set(OFFERED)
