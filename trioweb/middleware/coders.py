"""The compressors behind ``Compression``, each as a ``Coder`` for streams and as a function for whole bodies."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trioweb.streams.coding import Coder

GZIP_LEVEL: Final = 6
"""zlib's own choice between time and size."""
BROTLI_QUALITY: Final = 4
"""As fast as gzip is at its level 6, and smaller."""
BROTLI_WINDOW: Final = 18
"""log2 of the bytes that brotli looks back: 256 KiB."""
ZSTD_LEVEL: Final = 3
"""zstd's own choice between time and size."""
ZSTD_WINDOW: Final = 18
"""log2 of the bytes that zstd looks back: 256 KiB, far below the 8 MiB that all clients must take (RFC 9659)."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class Coding(NamedTuple):
    """A content coding: its name in ``content-encoding``, and what makes a coder of it."""

    name: str
    start: Callable[[], Coder]


class _Gzip:
    __slots__ = ("_compressor",)

    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush()


class _Brotli:
    __slots__ = ("_compressor",)

    def __init__(self, quality: int) -> None:
        import brotli  # noqa: PLC0415 - an extra

        self._compressor: Any = brotli.Compressor(quality=quality, lgwin=BROTLI_WINDOW)

    def encode(self, data: bytes) -> bytes:
        whole: bytes = self._compressor.process(data) + self._compressor.flush()
        return whole

    def finish(self, data: bytes) -> bytes:
        whole: bytes = self._compressor.process(data) + self._compressor.finish()
        return whole


class _Zstd:
    __slots__ = ("_block", "_compressor")

    def __init__(self, level: int) -> None:
        import zstandard  # noqa: PLC0415 - an extra

        parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=ZSTD_WINDOW)
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(self._block)

    def finish(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush()


def available(gzip_level: int, brotli_quality: int, zstd_level: int) -> dict[str, Coding]:
    """The codings that are installed, by name, those first that are to be preferred."""
    codings: list[Coding] = []
    if importlib.util.find_spec("zstandard") is not None:
        codings.append(Coding("zstd", lambda: _Zstd(zstd_level)))
    if importlib.util.find_spec("brotli") is not None:
        codings.append(Coding("br", lambda: _Brotli(brotli_quality)))
    codings.append(Coding("gzip", lambda: _Gzip(gzip_level)))
    return {coding.name: coding for coding in codings}
