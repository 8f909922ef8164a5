"""A gzip file, inflated piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_MADE_BYTES = 2**18
# zlib's sign for a gzip header and trailer: it then compares the CRC-32 and length itself, and
# the header's CRC where it has one, which the gzip module does not.
_GZIP = 16 + zlib.MAX_WBITS


def inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of a gzip file -> pieces of what it holds, each at most 256 KiB, some empty.

    Several gzip streams in a row are one, as for every reader of gzip; zeros may pad each.

    >>> import gzip
    >>> b"".join(inflated(iter([gzip.compress(b"ab") + gzip.compress(b"c") + bytes(9)])))
    b'abc'

    Raises:
        ValueError: the file is damaged, cut off, or followed by other bytes.
    """
    inflate = zlib.decompressobj(_GZIP)
    for piece in pieces:
        made = b""
        # A full piece may leave more to come, even where all that went in has been used up.
        while piece or len(made) == _MADE_BYTES:
            if inflate.eof:
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                inflate = zlib.decompressobj(_GZIP)
            try:
                made = inflate.decompress(piece, _MADE_BYTES)
            except zlib.error as error:
                raise ValueError(f"gzip: {error}") from error
            piece = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            yield made
    if not inflate.eof:
        raise ValueError("gzip: cut off")
