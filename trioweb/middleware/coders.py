"""The compressors behind ``Compression``, each as a ``Coder`` for streams and as a function for whole bodies."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from trioweb.streams.coding import Coder

GZIP_LEVEL: Final = 6
"""zlib's own choice between time and size."""
BROTLI_QUALITY: Final = 4
"""As fast as gzip is at its level 6, and smaller."""
BROTLI_WINDOW: Final = 18
"""log2 of brotli's window in bytes: 256 KiB."""
ZSTD_LEVEL: Final = 3
"""zstd's own choice between time and size."""
ZSTD_WINDOW: Final = 18
"""log2 of zstd's window in bytes: 256 KiB, far below the 8 MiB that all clients must take (RFC 9659)."""

LEVELS: Final = {"gzip_level": range(10), "brotli_quality": range(12), "zstd_level": range(1, 20)}
"""What the libraries take: beyond it each response would fail."""

_GZIP: Final = 16 + zlib.MAX_WBITS


Start: TypeAlias = Callable[[], Coder]
"""Makes the coder of a response."""


class _Coder:
    """A library's compressor as a ``Coder``."""

    __slots__ = ("_compress", "_end", "_flush")

    def __init__(
        self, compress: Callable[[bytes], bytes], flush: Callable[[], bytes], end: Callable[[], bytes]
    ) -> None:
        self._compress = compress
        self._flush = flush
        self._end = end

    def encode(self, data: bytes) -> bytes:
        return self._compress(data) + self._flush()

    def finish(self, data: bytes) -> bytes:
        return self._compress(data) + self._end()


def _gzip(level: int) -> Coder:
    made = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return _Coder(made.compress, partial(made.flush, zlib.Z_SYNC_FLUSH), made.flush)


def _brotli(quality: int) -> Coder:
    import brotli  # noqa: PLC0415 - an extra

    made = brotli.Compressor(quality=quality, lgwin=BROTLI_WINDOW)
    return _Coder(made.process, made.flush, made.finish)


def _zstd(level: int) -> Coder:
    import zstandard  # noqa: PLC0415 - an extra

    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=ZSTD_WINDOW)
    made = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return _Coder(made.compress, partial(made.flush, zstandard.COMPRESSOBJ_FLUSH_BLOCK), made.flush)


def available(gzip_level: int, brotli_quality: int, zstd_level: int) -> dict[str, Start]:
    """The installed codings by their names in ``content-encoding``, the preferred first."""
    codings: dict[str, Start] = {"gzip": partial(_gzip, gzip_level)}
    if importlib.util.find_spec("brotli") is not None:
        codings = {"br": partial(_brotli, brotli_quality), **codings}
    if importlib.util.find_spec("zstandard") is not None:
        codings = {"zstd": partial(_zstd, zstd_level), **codings}
    return codings
