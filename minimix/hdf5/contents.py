"""The data of a dataset: how pieces of a file become an array."""

from __future__ import annotations

import zlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.hdf5.chunks import Chunk
from minimix.hdf5.datasets import Dataset
from minimix.hdf5.source import RefusedError, Source


def read(source: Source, dataset: Dataset) -> NDArray[Any]:
    """Return a dataset's array, in the file's own byte order.

    Raises:
        RefusedError: a chunk does not unpack to what it should have.
    """
    if dataset.chunk_shape == dataset.shape:
        return _chunk(source, dataset, dataset.chunks[0])
    array = np.empty(dataset.shape, dataset.dtype)
    for chunk in dataset.chunks:
        values = _chunk(source, dataset, chunk)
        # What lies beyond the end of the array is stored too.
        lengths = [
            min(step, n - at)
            for at, step, n in zip(chunk.start, dataset.chunk_shape, dataset.shape, strict=True)
        ]
        box = tuple(slice(at, at + k) for at, k in zip(chunk.start, lengths, strict=True))
        array[box] = values[tuple(slice(0, k) for k in lengths)]
    return array


def _chunk(source: Source, dataset: Dataset, chunk: Chunk) -> NDArray[Any]:
    nbytes = prod(dataset.chunk_shape) * dataset.dtype.itemsize
    applied = [f for n, f in enumerate(dataset.filters) if not chunk.filter_mask >> n & 1]
    data = source.read(chunk.offset, chunk.size_bytes, dataset.name)
    for name in reversed(applied):
        if name == "gzip":
            data = _inflated(dataset.name, data, nbytes)
        else:
            data = _gathered(data, dataset.dtype.itemsize)
    if len(data) != nbytes:
        raise RefusedError(f"{dataset.name}: a chunk of {len(data)} bytes; expected {nbytes}")
    return np.frombuffer(data, dataset.dtype).reshape(dataset.chunk_shape)


def _inflated(name: str, data: bytes, nbytes: int) -> bytes:
    """Unpack, never more than a chunk has: a few bytes of gzip can stand for very many."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, nbytes)
        more = unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise RefusedError(f"{name}: {error}") from error
    if len(unpacked) != nbytes or more or not unpacker.eof:
        raise RefusedError(f"{name}: a chunk does not unpack to its {nbytes} bytes")
    return unpacked


def _gathered(data: bytes, itemsize: int) -> bytes:
    """First bytes of all elements, then the second ones -> elements: the shuffle filter undone."""
    count = len(data) // itemsize
    body = np.frombuffer(data, np.uint8, count * itemsize).reshape(itemsize, count)
    return body.T.tobytes() + data[count * itemsize :]
