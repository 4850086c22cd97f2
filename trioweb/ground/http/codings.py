"""Negotiate the content coding (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WEIGHT = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_ALIASES = {"x-gzip": "gzip", "x-compress": "compress"}


def preferred(accept_encoding: Sequence[str], offered: Sequence[str]) -> list[str]:
    """The codings that a client prefers to none, best first.

    Args:
        accept_encoding: the values of the ``accept-encoding`` headers; without one, no coding is preferred.
        offered: the available codings, in the server's order of preference.
    """
    weights: dict[str, float] = {}
    for value in accept_encoding:
        for item in value.split(","):
            name, *parameters = (part.strip(" \t") for part in item.split(";"))
            coding = name.lower()
            weights.setdefault(_ALIASES.get(coding, coding), _weight(parameters))
    others = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)  # unless it is named, any acceptable coding is better
    wanted = [coding for coding in offered if weights.get(coding, others) > 0.0]
    return sorted(
        (coding for coding in wanted if weights.get(coding, others) >= plain),
        key=lambda coding: -weights.get(coding, others),
    )


def _weight(parameters: Sequence[str]) -> float:
    if not parameters:
        return 1.0
    found = _WEIGHT.fullmatch(parameters[-1])
    return float(found[1]) if found else 0.0
