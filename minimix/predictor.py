"""A network as a function of batches of columns: what Ray Data's ``map_batches`` takes.

    ds = ray.data.read_parquet("pictures/")             # a column of image bytes
    ds = ds.map_batches(
        mx.BatchPredictor,
        fn_constructor_kwargs={"model": "mixnet-s", "column": "bytes", "threads": 1},
        batch_size=64,
        concurrency=2,                                  # processes; each loads the model once
    )
    ds.write_parquet("results/")

Nothing here needs Ray: any caller with a dict of equally long columns will do, or with a table of
Arrow's, pandas's or polars's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minimix.errors import InputError, UsageError

if TYPE_CHECKING:
    from minimix.engine import EngineName
    from minimix.images import Exif
    from minimix.inputs import Input
    from minimix.model import Model
    from minimix.results import Prediction

Columns = dict[str, NDArray[Any]]

_PLAIN = (str, bool | int | float | np.number | np.bool_)
"""Elements of lists that NumPy keeps as they are.  Of bytes it cuts NULs off."""

_ONE = (str, bytes, bytearray, memoryview, Mapping)
"""What has a length and is one element all the same."""


class BatchPredictor:
    """Columns in, the same columns and the predictions out; a bad picture is a row with an error.

    Pictures are paths, bytes of image files, ``(H, W, 3)`` uint8 arrays, or records whose ``bytes``
    count, else their ``path``: in a list or an array of objects, or all in one ``(N, H, W, 3)``
    array.  The columns that are added:

    - ``label`` (text), ``index`` (int64) and ``p`` (float32) of the best class; ``""``, -1 and NaN
      where there is none;
    - ``error`` (text): why there is none, else ``""``;
    - ``top``, if it is asked for: a list of ``{"index", "label", "p"}`` a row, best first.

    Args:
        model: a model's name, its file, or a loaded ``minimix.Model``.
        column: holds the pictures.
        top: how many classes the column ``top`` has; None leaves it out.
        prefix: before the names of the added columns, where the batch has others of those names.
        batch_size: pictures computed together.
        exif: ``apply`` or ``ignore`` the orientation that a camera noted.
        engine: as in ``minimix.load``; a loaded model has its own, and its threads.
        threads: of decoding and computing, each; by default one per core.  Where as many processes
            as cores run, 1 is best.

    Raises:
        WeightsError: the model is unknown, missing or damaged.
        UsageError: an argument cannot be used.

    >>> predict = BatchPredictor("mixnet-pocket", threads=1, engine="reference")
    >>> rows = predict({"image": np.zeros((2, 40, 40, 3), np.uint8), "id": np.array([7, 8])})
    >>> list(rows), rows["label"].shape
    (['image', 'id', 'label', 'index', 'p', 'error'], (2,))
    """

    def __init__(
        self,
        model: str | Path | Model = "mixnet-pocket",
        column: str = "image",
        *,
        top: int | None = None,
        prefix: str = "",
        batch_size: int = 16,
        exif: Exif = "apply",
        engine: EngineName = "auto",
        threads: int | None = None,
    ) -> None:
        from minimix.model import loaded

        for name, number in (("top", top), ("batch_size", batch_size)):
            if number is not None and (type(number) is not int or number < 1):
                raise UsageError(f"{name} is {number!r}; expected a whole number from 1 up")
        self._given = {
            **{"model": model, "column": column, "top": top, "prefix": prefix},
            **{"batch_size": batch_size, "exif": exif, "engine": engine, "threads": threads},
        }
        self.column, self.top, self.prefix = column, top, prefix
        self.batch_size, self.exif = batch_size, exif
        self.model = loaded(model, engine=engine, threads=threads)

    def __repr__(self) -> str:
        return f"<minimix.BatchPredictor of column {self.column!r} by {self.model!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A model that was named is loaded again where the pickle is opened.
        return _restore, (self._given,)

    def __call__(self, batch: Any) -> Columns:
        """Columns of N rows -> the same and those that the class's docstring lists, of N rows.

        Args:
            batch: columns by name, or a table of Arrow's, pandas's or polars's.

        Raises:
            UsageError: there is no column of pictures, or one that would be added is there; the
                columns are not equally long, or no columns.
        """
        columns = _columns(batch)
        names = self._names(columns)
        predictions, errors = self._predicted(columns[self.column])
        best = [None if p is None else p.top[0] for p in predictions]
        added = {
            "label": _objects(["" if b is None else b.label for b in best]),
            "index": np.array([-1 if b is None else b.index for b in best], np.int64),
            "p": np.array([np.nan if b is None else b.p for b in best], np.float32),
            "top": _objects([[] if p is None else _classes(p) for p in predictions]),
            "error": _objects(errors),
        }
        return columns | {self.prefix + name: added[name] for name in names}

    def _names(self, batch: Columns) -> list[str]:
        """Names of the columns that are added to a batch, which is checked."""
        if self.column not in batch:
            found = ", ".join(map(str, batch)) or "none"
            raise UsageError(f"no column {self.column!r} of pictures; the batch has: {found}")
        _check_rows(batch, self.column)
        with_top = self.top is not None
        names = [*("label", "index", "p"), *(["top"] if with_top else []), "error"]
        taken = [self.prefix + name for name in names if self.prefix + name in batch]
        if taken:
            raise UsageError(
                f"the batch has {', '.join(taken)} already, which would be overwritten; "
                f"pass prefix='predicted_', or another"
            )
        return names

    def _predicted(self, pictures: Any) -> tuple[list[Prediction | None], list[str]]:
        """N pictures -> their predictions, None where there is none, and why."""
        from minimix.workflows.decoding import decode_ahead, reason

        predictions: list[Prediction | None] = [None] * len(pictures)
        errors = [""] * len(pictures)
        inputs = [_input(n, picture) for n, picture in enumerate(pictures)]
        ahead = 2 * self.batch_size
        with closing(
            decode_ahead(self.model, enumerate(inputs), exif=self.exif, ahead=ahead)
        ) as decoded:
            while batch := list(islice(decoded, self.batch_size)):
                arrays = {n: x for n, x in batch if not isinstance(x, InputError)}
                errors_of = {n: reason(inputs[n], x) for n, x in batch if isinstance(x, InputError)}
                for n, why in errors_of.items():
                    errors[n] = why
                for n, prediction in zip(arrays, self._classified(arrays), strict=True):
                    predictions[n] = prediction
        return predictions, errors

    def _classified(self, arrays: Mapping[int, NDArray[Any]]) -> Iterator[Prediction]:
        if arrays:
            logits = self.model(np.concatenate(list(arrays.values())))
            yield from self.model.predictions(logits, top=self.top or 1)


def column_names(table: Any) -> list[Any] | None:
    """A table of Arrow's, pandas's or polars's -> its columns' names; None of what is none."""
    # Arrow's ``columns`` are not the names.
    names = getattr(table, "column_names", getattr(table, "columns", None))
    return None if names is None else list(names)


def _columns(batch: Any) -> Columns:
    """A mapping or a table -> its columns as arrays."""
    names = list(batch) if isinstance(batch, Mapping) else column_names(batch)
    if names is None:
        kind = type(batch).__name__
        raise UsageError(f"the batch is a {kind}; expected columns by name: a dict or a table")
    return {name: _array(name, batch[name]) for name in names}


def _array(name: str, values: Any) -> NDArray[Any]:
    """A column -> an array of as many rows; what NumPy would change becomes objects."""
    if isinstance(values, list | tuple):
        is_plain = any(all(isinstance(value, kind) for value in values) for kind in _PLAIN)
        return np.asarray(values) if is_plain else _objects(list(values))
    # Even where NumPy would find an array in it, as in an image.
    is_one = isinstance(values, _ONE) or not hasattr(values, "__len__")
    array = np.empty(()) if is_one else np.asarray(values)
    if array.ndim == 0:
        kind = type(values).__name__
        raise UsageError(f"column {name!r} is one {kind}; expected a list or an array, N long")
    return array


def _check_rows(batch: Columns, column: str) -> None:
    """Check that a column can hold pictures, and that the others are as long."""
    pictures = batch[column]
    if pictures.ndim not in (1, 4):
        raise UsageError(
            f"column {column!r} is an array of {pictures.shape}; expected (N, H, W, 3) of uint8, "
            "or a list of pictures"
        )
    count = len(pictures)
    others = [f"{name} has {len(x):,} rows" for name, x in batch.items() if len(x) != count]
    if others:
        raise UsageError(f"{column} has {count:,} rows, but {', '.join(others)}; make them equal")


def _input(n: int, picture: Any) -> Input:
    """One element of a column -> an input that opens as itself."""
    from minimix.inputs import Input

    if isinstance(picture, Mapping):  # as Hugging Face's data sets keep pictures in Parquet
        content = picture.get("bytes")
        picture = picture.get("path") if content is None else content
    if isinstance(picture, bytearray | memoryview):
        picture = bytes(picture)
    # A path keeps its name, which messages then begin with.
    named = isinstance(picture, str | Path)
    return Input(str(picture) if named else f"row {n}", lambda: picture)


def _classes(prediction: Prediction) -> list[dict[str, Any]]:
    return [{"index": s.index, "label": s.label, "p": s.p} for s in prediction.top]


def _objects(values: list[Any]) -> NDArray[np.object_]:
    """A list -> an array of objects of one dimension, whatever they are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _restore(given: dict[str, Any]) -> BatchPredictor:
    return BatchPredictor(**given)
