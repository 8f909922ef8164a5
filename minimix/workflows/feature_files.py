r"""Files of features: NumPy's .npz, Parquet, HDF5; the same columns in each, written in a stream.

    path      (N,) the inputs' names in order; bytes that are no UTF-8 stand as \xNN escapes
    features  (N, ...) float32, NaN where an input failed; in Parquet a list of numbers a row
    ok        (N,) whether there are features
    error     (N,) why not, else empty, in Parquet null; in .npz of those that failed alone, because
              there one long text makes all of a column as wide

and the model's name, its checksum and the node: arrays of no axes in .npz, attributes in .h5,
metadata of the file in .parquet, together with the shape.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from minimix.errors import UsageError
from minimix.workflows.resuming.rows import Rows

_CHUNK = 1024


@dataclass(frozen=True)
class Features:
    """What is written.

    Attributes:
        names: of the inputs, in order.
        shape: of one input's features.
        attributes: of the whole file.
        rows: gives all rows in order, some at a time, whenever it is called.
    """

    names: Sequence[str]
    shape: tuple[int, ...]
    attributes: Mapping[str, str]
    rows: Callable[[], Iterable[Rows]]

    @property
    def count(self) -> int:
        """Number of inputs."""
        return len(self.names)


Write = Callable[[Path, Features], None]


def writer_for(path: Path) -> Write:
    """A file's name -> what writes that kind of file.

    Raises:
        UsageError: no such kind is known, or its library is not installed.
    """
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        found = repr(path.suffix) if ending else "no ending"
        raise UsageError(f"{path}: features go to {', '.join(_WRITERS)}; found {found}")
    if ending == ".parquet":
        _pyarrow("pyarrow")
    return _WRITERS[ending]


def text(name: str) -> str:
    r"""A file's name as text that every format can hold.

    >>> print(text("a\udcff.jpg"))
    a\xff.jpg
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _write_npz(path: Path, features: Features) -> None:
    """As ``numpy.savez`` does, but row by row; texts have the width of the column's longest."""
    failures: dict[int, str] = {}
    with zipfile.ZipFile(path, "w") as archive:

        def blocks() -> Iterator[NDArray[Any]]:
            start = 0
            for rows in features.rows():
                failures.update({start + n: why for n, why in sorted(rows.failed.items())})
                start += len(rows)
                yield rows.values

        N = features.count
        _write_array(archive, "features", np.dtype("<f4"), (N, *features.shape), blocks())
        ok = np.ones(N, np.bool_)
        ok[list(failures)] = False
        _write_array(archive, "ok", ok.dtype, (N,), [ok])
        _write_texts(archive, "error", failures.values, len(failures))
        _write_texts(archive, "path", lambda: map(text, features.names), N)
        for name, value in features.attributes.items():
            array = np.array(value)
            _write_array(archive, name, array.dtype, (), [array])


def _write_texts(
    archive: zipfile.ZipFile, name: str, texts: Callable[[], Iterable[str]], count: int
) -> None:
    width = max(1, max((len(item) for item in texts()), default=1))
    dtype = np.dtype(f"<U{width}")

    def blocks() -> Iterator[NDArray[Any]]:
        block: list[str] = []
        for item in texts():
            block.append(item)
            if len(block) == _CHUNK:
                yield np.array(block, dtype)
                block.clear()
        yield np.array(block, dtype)

    _write_array(archive, name, dtype, (count,), blocks(), packed=True)


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[Any]],
    *,
    packed: bool = False,
) -> None:
    """Write one member: NumPy's header for the whole array, then its blocks."""
    member = zipfile.ZipInfo(f"{name}.npy")  # with no time: the same rows make the same bytes
    member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    member.external_attr = 0o600 << 16
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    with archive.open(member, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(_written(file), header)
        for block in blocks:
            file.write(block.tobytes())


def _written(file: Any) -> BinaryIO:
    """A zip member as NumPy's types want it."""
    stream: BinaryIO = file
    return stream


def _write_h5(path: Path, features: Features) -> None:
    N = features.count
    with h5py.File(path, "w") as file:
        file.attrs.update(features.attributes)
        size = (N, *features.shape)
        rows_of_chunk = max(1, min(N, 2**20 // max(1, 4 * prod(features.shape))))
        chunks = (rows_of_chunk, *features.shape)
        values = file.create_dataset("features", size, "<f4", chunks=chunks)
        ok = file.create_dataset("ok", (N,), np.bool_)
        error = file.create_dataset("error", (N,), h5py.string_dtype())
        paths = file.create_dataset("path", (N,), h5py.string_dtype())
        start = 0
        for rows in features.rows():
            span = slice(start, start + len(rows))
            values[span], ok[span] = rows.values, rows.ok
            error[span] = np.array(rows.errors, object)
            paths[span] = np.array([text(name) for name in features.names[span]], object)
            start = span.stop


def _write_parquet(path: Path, features: Features) -> None:
    pa, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    numbers = pa.list_(pa.float32(), prod(features.shape))
    metadata = {**features.attributes, "shape": str(list(features.shape))}
    columns = [("path", pa.string()), ("ok", pa.bool_()), ("error", pa.string())]
    schema = pa.schema([*columns, ("features", numbers)], metadata=metadata)
    with parquet.ParquetWriter(path, schema) as writer:
        start = 0
        for rows in features.rows():
            names = [text(name) for name in features.names[start : start + len(rows)]]
            flat = pa.array(rows.values.reshape(-1))
            values = pa.FixedSizeListArray.from_arrays(flat, prod(features.shape))
            arrays = [names, rows.ok, [why or None for why in rows.errors], values]
            writer.write_batch(pa.record_batch(list(map(pa.array, arrays)), schema=schema))
            start += len(rows)


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f".parquet needs pyarrow, which cannot be imported ({error}): pip install "
            "'minimix[batch]', or write .npz or .h5"
        ) from error


_WRITERS: dict[str, Write] = {".npz": _write_npz, ".parquet": _write_parquet, ".h5": _write_h5}
