"""Errors: whose fault they are, and what they say."""

from __future__ import annotations

import copy
import pickle

import pytest

from trioweb.ground.errors import HTTPError, RouteError, phrase_of


@pytest.mark.parametrize("status", [400, 404, 418, 499, 500, 599])
def test_an_error_status_is_kept(status: int) -> None:
    """An HTTPError carries its status under both names."""
    error = HTTPError(status)
    assert (error.status, error.status_code) == (status, status)


@pytest.mark.parametrize("status", [-1, 0, 200, 204, 307, 399, 600])
def test_other_statuses_are_refused(status: int) -> None:
    """A status that is no error is a mistake, and the message says what to write instead."""
    with pytest.raises(ValueError, match=rf"400 to 599, got {status}: return a Response instead"):
        HTTPError(status)


def test_what_it_was_given_is_there() -> None:
    """Detail and headers are kept as they were given, and are ``None`` unless given."""
    error = HTTPError(429, "Too fast.", {"retry-after": "5"})
    assert (error.detail, error.headers) == ("Too fast.", {"retry-after": "5"})
    assert (HTTPError(429).detail, HTTPError(429).headers) == (None, None)


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b"])
def test_a_header_that_would_end_its_line(bad: str) -> None:
    """A CR, LF or NUL in a header is a ValueError where the error is made, not when it is answered."""
    for headers in ({"x": bad}, {bad: "x"}, [("x", bad)], iter([("x", bad)])):
        with pytest.raises(ValueError, match="a header of an HTTPError has a CR, LF or NUL"):
            HTTPError(400, headers=headers)


def test_headers_that_can_be_read_once() -> None:
    """Pairs that come from a generator are kept."""
    assert HTTPError(401, headers=iter([("a", "1"), ("a", "2")])).headers == [("a", "1"), ("a", "2")]


def test_a_detail_that_is_no_text() -> None:
    """A detail that is neither text nor a mapping of names is a TypeError that says how to answer with more."""
    with pytest.raises(TypeError, match=r"or a mapping.*, got list: for .*return JSONResponse\(\.\.\., 404\)"):
        HTTPError(404, [5])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has a name, got 5: write '5'"):
        HTTPError(404, {5: 5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"HTTPError\(404\) has the status 500: leave it out"):
        HTTPError(404, {"status": 500})
    assert HTTPError(404, {"status": 404, "code": 5}).detail == {"status": 404, "code": 5}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HTTPError(404), "404 Not Found"),
        (HTTPError(404, "No such user."), "404 No such user."),
        (HTTPError(404, ""), "404 Not Found"),
        (HTTPError(404, {"detail": "No such user.", "code": 5}), "404 No such user."),
        (HTTPError(404, {"code": 5}), "404 Not Found"),
        (HTTPError(599), "599 Server error"),
    ],
)
def test_it_prints_as_one_line(error: HTTPError, text: str) -> None:
    """An HTTPError prints as its status with its detail, or else with the standard phrase."""
    assert str(error) == text


def test_it_survives_copies() -> None:
    """A copied or pickled HTTPError is still the same answer."""
    error = HTTPError(429, "Too fast.", {"retry-after": "5"})
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (again.status, again.detail, again.headers) == (429, "Too fast.", {"retry-after": "5"})


def test_a_route_error_is_a_value_error() -> None:
    """A mistake in a route can be caught as a ValueError."""
    assert issubclass(RouteError, ValueError)


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, "OK"),
        (404, "Not Found"),
        (503, "Service Unavailable"),
        (499, "Client error"),
        (520, "Server error"),
    ],
)
def test_phrases(status: int, phrase: str) -> None:
    """A status has its standard phrase; one that the standards do not know has a plain word."""
    assert phrase_of(status) == phrase
