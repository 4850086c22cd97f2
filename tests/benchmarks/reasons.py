"""Why a row falls short of its goal, by the row's key: said where its figures are shown."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {}
