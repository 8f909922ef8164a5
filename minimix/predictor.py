"""A network as a function of batches of columns: what Ray Data's ``map_batches`` takes.

    ds = ray.data.read_parquet("pictures/")             # a column of image bytes
    ds = ds.map_batches(
        mx.BatchPredictor,
        fn_constructor_kwargs={"model": "mixnet-s", "column": "bytes", "threads": 1},
        batch_size=64,
        concurrency=2,                                  # processes; each loads the model once
    )
    ds.write_parquet("results/")

Nothing here needs Ray: any caller with a dict of equally long arrays will do.
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


class BatchPredictor:
    """Columns in, the same columns and the predictions out; a bad picture is a row with an error.

    Pictures are paths, bytes of image files, or ``(H, W, 3)`` uint8 arrays: in an array of objects,
    or all in one ``(N, H, W, 3)`` array.  The columns that are added:

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
        engine: as in ``minimix.load``.
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
        from minimix.model import Model, load

        for name, number in (("top", top), ("batch_size", batch_size)):
            if number is not None and (type(number) is not int or number < 1):
                raise UsageError(f"{name} is {number!r}; expected a whole number from 1 up")
        self._given = {
            **{"model": model, "column": column, "top": top, "prefix": prefix},
            **{"batch_size": batch_size, "exif": exif, "engine": engine, "threads": threads},
        }
        self.column, self.top, self.prefix = column, top, prefix
        self.batch_size, self.exif = batch_size, exif
        given = model
        self.model = (
            given if isinstance(given, Model) else load(given, engine=engine, threads=threads)
        )

    def __repr__(self) -> str:
        return f"<minimix.BatchPredictor of column {self.column!r} by {self.model!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A model that was named is loaded again where the pickle is opened.
        return _restore, (self._given,)

    def __call__(self, batch: Mapping[str, Any]) -> Columns:
        """Columns of N rows -> the same and those that the class's docstring lists, of N rows.

        Raises:
            UsageError: there is no column of pictures, or one that would be added is there.
        """
        names = self._names(batch)
        pictures = batch[self.column]
        predictions, errors = self._predicted(pictures)
        best = [None if p is None else p.top[0] for p in predictions]
        columns: Columns = {name: np.asarray(values) for name, values in batch.items()}
        added = {
            "label": _objects(["" if b is None else b.label for b in best]),
            "index": np.array([-1 if b is None else b.index for b in best], np.int64),
            "p": np.array([np.nan if b is None else b.p for b in best], np.float32),
            "top": _objects([[] if p is None else _classes(p) for p in predictions]),
            "error": _objects(errors),
        }
        return columns | {self.prefix + name: added[name] for name in names}

    def _names(self, batch: Mapping[str, Any]) -> list[str]:
        if self.column not in batch:
            found = ", ".join(batch) or "none"
            raise UsageError(f"no column {self.column!r} of pictures; the batch has: {found}")
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


def _input(n: int, picture: Any) -> Input:
    """One element of a column -> an input that opens as itself."""
    from minimix.inputs import Input

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
