"""The fixtures of a connection, which are HTTP/1.1's too."""

from __future__ import annotations

from tests.server.http1.conftest import certificate, pair

__all__ = ["certificate", "pair"]
