"""A network as a step of scikit-learn's: pictures in, features out.

It follows scikit-learn's conventions by their names alone, so that it neither needs nor imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minimix.errors import InputError, UsageError
from minimix.predictor import column_names

if TYPE_CHECKING:
    from minimix.images import Exif
    from minimix.model import Model
    from minimix.workflows.node_output import NodeOutput

_PARAMETERS = ("model", "node", "batch_size", "exif", "threads")
_CONTAINERS = ("default", "pandas", "polars")
_SHOWN = 8


class Embedder:
    """A scikit-learn transformer: N pictures -> (N, features) float32.

    Pictures are paths, bytes, Pillow images or (H, W, 3) uint8 arrays, in a list, an array, or a
    table of one column, as ``ColumnTransformer`` passes it: choose that by its name, ``["path"]``.
    Nothing is learned: ``transform`` may come without ``fit``.

    Args:
        model: a model's name, its file, or a loaded ``minimix.Model``.
        node: whose output the features are; one with a height and a width is flattened.
        batch_size: pictures computed together.
        exif: ``apply`` or ``ignore`` the orientation that a camera noted.
        threads: of the compiled engine; by default one per core.  A loaded model has its own.

    >>> embedder = Embedder("mixnet-pocket", threads=1)
    >>> embedder.transform([np.zeros((8, 8, 3), np.uint8)]).shape
    (1, 768)
    """

    def __init__(
        self,
        model: str | Path | Model = "mixnet-pocket",
        node: str = "pool",
        batch_size: int = 32,
        *,
        exif: Exif = "apply",
        threads: int | None = None,
    ) -> None:
        # As scikit-learn wants it: kept as given, checked when used.
        self.model = model
        self.node = node
        self.batch_size = batch_size
        self.exif = exif
        self.threads = threads

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"Embedder({shown})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments by name; ``deep`` is scikit-learn's, and changes nothing here."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: Any) -> Embedder:
        """Change arguments by name; return self.

        Raises:
            UsageError: there is no such argument.
        """
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise UsageError(f"Embedder has no {name!r}; known: {', '.join(_PARAMETERS)}")
            setattr(self, name, value)
        return self

    def fit(self, X: Iterable[Any], y: object = None) -> Embedder:
        """Load the network; the pictures are not looked at.  Return self.

        Raises:
            WeightsError: the model is unknown, missing or damaged.
            UsageError: an argument cannot be used.
        """
        self.n_features_out_ = prod(self._network().shape)
        return self

    def set_output(self, *, transform: str | None = None) -> Embedder:
        """Choose what ``transform`` returns: ``default``, ``pandas`` or ``polars``; return self.

        None changes nothing.  Until it is called, scikit-learn's own configuration is followed.

        Raises:
            UsageError: there is no such container.
        """
        if transform is not None:
            if transform not in _CONTAINERS:
                known = ", ".join(_CONTAINERS)
                raise UsageError(f"no container of features {transform!r}; known: {known}")
            # Named as scikit-learn's own estimators name it: its clone() copies this.
            self._sklearn_output_config = {"transform": transform}
        return self

    def transform(self, X: Iterable[Any]) -> Any:
        """N pictures -> (N, features) float32; as a table of named columns if one was chosen.

        Raises:
            InputError: a picture is missing, unreadable or refused.
            UsageError: an argument cannot be used, X is a single name or has several columns, or
                the library of the table is not installed.
        """
        container = self._container()
        array = self._transformed(X)
        if container == "default":
            return array
        library = _library(container)
        names = self.get_feature_names_out().tolist()
        if container == "polars":
            return library.DataFrame(array, schema=names, orient="row")
        # Lists have an ``index`` too, another one.
        has_index = isinstance(X, library.Series | library.DataFrame)
        index = getattr(X, "index", None) if has_index else None
        return library.DataFrame(array, columns=names, index=index)

    def _container(self) -> str:
        chosen = vars(self).get("_sklearn_output_config")
        if chosen is not None:
            return str(chosen["transform"])
        # Whoever has configured it has imported it.
        sklearn = sys.modules.get("sklearn")
        return "default" if sklearn is None else str(sklearn.get_config()["transform_output"])

    def _transformed(self, X: Iterable[Any]) -> NDArray[np.float32]:
        network = self._network()
        width = prod(network.shape)
        batches = [
            network(network.model.preprocess(batch, exif=self.exif)).reshape(len(batch), width)
            for batch in self._batches(X)
        ]
        return np.concatenate(batches) if batches else np.empty((0, width), np.float32)

    def fit_transform(self, X: Iterable[Any], y: object = None) -> Any:
        """N pictures -> (N, features) float32, as ``transform`` does."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return a name for every feature: the node's, and a number.

        >>> Embedder(threads=1).get_feature_names_out()[:2].tolist()
        ['pool_0', 'pool_1']
        """
        count = prod(self._network().shape)
        return np.array([f"{self.node}_{n}" for n in range(count)], object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks, so it is there.
        tags = import_module("sklearn.utils")
        return tags.Tags(
            estimator_type="transformer",
            target_tags=tags.TargetTags(required=False),
            transformer_tags=tags.TransformerTags(preserves_dtype=[]),
            input_tags=tags.InputTags(two_d_array=False, string=True),
            requires_fit=False,
        )

    def __getstate__(self) -> dict[str, Any]:
        # The network is loaded again where the pickle is opened: its weights stay out of it.
        return {name: value for name, value in vars(self).items() if name != "_loaded"}

    def _network(self) -> NodeOutput:
        """The network as far as the node; kept until an argument changes."""
        from minimix.model import loaded
        from minimix.workflows.node_output import NodeOutput

        key = (self.model, self.node, self.threads)
        kept: tuple[Any, NodeOutput] | None = vars(self).get("_loaded")
        if kept is None or kept[0] != key:
            model = loaded(self.model, threads=self.threads)
            kept = self._loaded = key, NodeOutput(model, self.node)
        return kept[1]

    def _batches(self, X: Iterable[Any]) -> Iterator[list[Any]]:
        if isinstance(X, str | bytes | Path):
            raise UsageError(f"expected a list of pictures, found one: {X!r}. Write [{X!r}]")
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size!r}; expected a whole number from 1")
        pictures = iter(_column(X))
        while batch := list(islice(pictures, self.batch_size)):
            # Elements of arrays of text are NumPy's own strings, and str all the same.
            yield [_picture(item) for item in batch]


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"features as a {name} table: pip install {name} ({error})") from error


def _column(X: Any) -> Any:
    """The column of a table, or of an array of texts or objects with two axes; or what X is.

    Raises:
        UsageError: it has not one column.
    """
    table = column_names(X)
    names = table
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OSU":
        names = list(range(X.shape[1]))
    if names is None:
        return X
    if len(names) != 1:
        shown = ", ".join(map(str, names[:_SHOWN])) or "none"
        raise UsageError(
            f"expected one column of pictures, found {len(names):,} ({shown}); choose one"
        )
    return X[:, 0] if table is None else np.asarray(X[names[0]])


def _picture(item: Any) -> Any:
    """One element of X as minimix takes it.

    Raises:
        InputError: it is a number or a row of numbers: a table of features, not of pictures.
    """
    if isinstance(item, np.ndarray) and item.ndim == 0:
        item = item.item()
    if isinstance(item, int | float | np.number) or getattr(item, "ndim", 2) == 1:
        raise InputError(f"expected a picture, found numbers ({type(item).__name__})")
    return item
