"""Encode values as JSON (RFC 8259), which has no number for NaN and the infinities: msgspec would send ``null``.

Rules that this module alone enforces:

* Such a number is an error that says where it is, unless the value was given to ``nan_as_null``.
* Only JSON with ``null`` in it is looked at again, first in C: as MessagePack, which has these numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from trioweb.ground.foreign import as_built, as_plain

NULL: Final = b"null"

_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""A float in MessagePack whose exponent is all ones. To look for a byte alone takes a third of the time."""
_pack: Final = msgspec.msgpack.Encoder(enc_hook=as_built).encode

encode_unchecked: Final = msgspec.json.Encoder(enc_hook=as_plain).encode
"""Who calls it also calls ``refuse_nan`` if ``NULL`` is in what it returns: a call less than ``encode_json``."""


class NotFiniteError(ValueError):
    """A value has a number that JSON has not."""


def encode_json(value: object) -> bytes:
    """Encode a value as JSON.

    Raises:
        TypeError: if a part of it has no JSON form.
        NotFiniteError: if a number in it is NaN or infinite.
    """
    data = encode_unchecked(value)
    if data.find(NULL) >= 0:
        refuse_nan(value, data)
    return data


def refuse_nan(value: object, data: bytes) -> None:
    """Raise an error if a ``null`` in an encoded value stands for a number that JSON has not.

    Raises:
        NotFiniteError: if there is one.
    """
    try:
        packed = _pack(value)
    except OverflowError:  # an integer that only JSON has
        pass
    else:
        if (packed.find(0x7F) < 0 and packed.find(0xFF) < 0) or not _NOT_FINITE.search(packed):
            return
    built = msgspec.to_builtins(value, str_keys=True, enc_hook=as_built)
    for place, number in _replaced(built, msgspec.json.decode(data), "$"):
        raise NotFiniteError(
            f"{place} is {number}, which is no number in JSON: write None in its place, or nan_as_null(...) around "
            "the value to send null"
        )


def _replaced(built: object, sent: object, place: str) -> Iterator[tuple[str, float]]:
    """The numbers that were sent as ``null``, and where they are."""
    if isinstance(built, float):
        if sent is None:
            yield place, built
    elif isinstance(built, dict) and isinstance(sent, dict):
        for (key, each), one in zip(built.items(), sent.values(), strict=False):
            yield from _replaced(each, one, f"{place}.{key}")
    elif isinstance(built, (list, tuple)) and isinstance(sent, list):
        for number, (each, one) in enumerate(zip(built, sent, strict=False)):
            yield from _replaced(each, one, f"{place}[{number}]")


def nan_as_null(value: object) -> Any:
    """A JSON value in which NaN and the infinities are sent as ``null``; by themselves they are an error.

    ``return nan_as_null({"mean": math.nan})``, ``yield nan_as_null(row)``, ``await ws.send_json(nan_as_null(row))``.

    Args:
        value: whatever could be sent as JSON without it. It is encoded at once.

    Returns:
        A value that is sent as that JSON, alone or as a part of another: a ``msgspec.Raw``.

    Raises:
        TypeError: if a part of the value has no JSON form.
    """
    return msgspec.Raw(encode_unchecked(value))
