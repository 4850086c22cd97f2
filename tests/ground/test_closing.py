"""Codes and reasons of a close, by RFC 6455."""

from __future__ import annotations

import pytest

from trioweb.ground.http.closing import MAX_REASON, check_close, shortened


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    """RFC 6455, section 7.4, and IANA's registry: what an endpoint may put into a close."""
    check_close(code, "é" * 61)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, "1000"])
def test_codes_that_may_not(code: object) -> None:
    """Reserved ones, and what is none, are refused with what to take instead."""
    with pytest.raises(ValueError, match="take 1000"):
        check_close(code, "")


def test_reasons_are_short() -> None:
    """A reason is counted in bytes; one of ours is cut at a whole character."""
    with pytest.raises(ValueError, match="at most 123 bytes, got 124"):
        check_close(1000, "é" * 62)
    assert shortened("é" * 100) == "é" * (MAX_REASON // 2)
    assert shortened("short") == "short"
