"""What goes wrong in a connection, and what only looks like it."""

from __future__ import annotations

import pytest

from trioweb.ground.errors import ClientDisconnected
from trioweb.server.faults import is_departure


def wrapped(inside: Exception) -> Exception:
    """An exception that was raised while another one was handled."""
    try:
        try:
            raise inside
        except Exception:
            raise RuntimeError("a framework's own")  # noqa: B904 - as frameworks do
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, False),
        (ValueError(), False),
        (ClientDisconnected(), True),
        (wrapped(ClientDisconnected()), True),
        (ExceptionGroup("", [ClientDisconnected(), wrapped(ClientDisconnected())]), True),
        (wrapped(ExceptionGroup("", [wrapped(ClientDisconnected())])), True),
        (wrapped(ExceptionGroup("", [ClientDisconnected(), ValueError()])), False),
        (wrapped(ValueError()), False),
    ],
)
def test_what_is_only_a_client_that_left(error: BaseException | None, expected: bool) -> None:
    """A client that left is known in whatever a framework has wrapped that, in groups too; and nothing else is."""
    assert is_departure(error) is expected
