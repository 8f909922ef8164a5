"""The whole pipeline on one screen: load a model, prepare pictures, run the graph, name the result.

name -> hub.locate -> weights.load -> zoo.build -> engine -> softmax -> labels
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, overload

import numpy as np

from minimix import hub, images, weights
from minimix.arrays import Array
from minimix.attribution import (
    Change,
    ClassActivation,
    Occlusion,
    Patched,
    class_activation,
    occlusion,
)
from minimix.engine import EngineName, Observe, make_engine
from minimix.errors import UsageError, WeightsError
from minimix.graph import Graph, Node
from minimix.hub import modelcache
from minimix.hub.events import Progress
from minimix.hub.releases import MODELS
from minimix.images import Exif, Source
from minimix.labels import top_k
from minimix.ops import softmax
from minimix.results import Prediction, Score, Step, Trace

__all__ = ["Model", "Prediction", "Score", "Step", "Trace", "list_models", "load"]

Several = list[Any] | tuple[Any, ...]


class Model:
    """A network with its weights, its pictures' pipeline and its labels.  Made by ``load``.

    Safe to use from several threads; weights are read-only; pickles by value.
    """

    def __init__(
        self,
        file: weights.ModelFile,
        *,
        engine: EngineName = "auto",
        size: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.file = file
        self.graph: Graph = file.graph
        self.pipeline = file.pipeline if size is None else file.pipeline.with_size(size)
        self.labels = file.labels
        self.threads = threads
        self.engine = make_engine(engine, file.graph, file.params, threads=threads)

    @property
    def name(self) -> str:
        """The architecture's name, such as ``mixnet-s``."""
        return self.file.architecture.name

    @property
    def size(self) -> int:
        """Height and width of the network's input, in pixels."""
        return self.pipeline.size

    def __repr__(self) -> str:
        return (
            f"<minimix.Model {self.name} ({self.file.dialect.name}), {len(self.labels)} classes, "
            f"{self.size} px, {self.engine.name} engine>"
        )

    def _repr_html_(self) -> str:
        from minimix import notebook  # only notebooks need it

        return notebook.model_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.file, self.engine.name, self.size, self.threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self  # nothing in it changes, and the weights are large

    def preprocess(self, images_: Source | Several, *, exif: Exif = "apply") -> Array:
        """One picture or a list of them -> (N, size, size, 3) float32, as the network expects.

        Raises:
            InputError: a picture is missing, unreadable or refused.
        """
        sources = images_ if isinstance(images_, list | tuple) else [images_]
        opened = [images.open_image(source, exif=exif) for source in sources]
        return images.preprocess(opened, self.pipeline)

    def prepare(self) -> None:
        """Plan and compile for the model's input size now, rather than at the first picture."""
        self.engine.prepare(self.size, self.size)

    def __call__(self, x: Array) -> Array:
        """(N, H, W, 3) float -> (N, classes) logits.  Any size from 32 px up.

        A picture that holds a NaN has logits that are all NaN, on either engine; infinities, and
        numbers so large that sums overflow, make some or all of them NaN or infinite.  No warning
        is given, the pictures beside it in the batch keep their logits to the bit, and
        ``predictions`` refuses what is no number.  Denormal numbers are as good as zero.

        Raises:
            GraphError: the array has another shape.

        >>> net = load("mixnet-pocket", engine="reference")
        >>> x = np.zeros((2, 32, 32, 3), np.float32)
        >>> x[0, 16, 16, 0] = np.nan
        >>> np.isnan(net(x)).all(axis=1)
        array([ True, False])
        """
        return self.run(x)

    def run(self, x: Array, observe: Observe | None = None) -> Array:
        """(N, H, W, 3) float -> (N, classes) logits; ``observe(node, array)`` sees every node."""
        x = np.ascontiguousarray(x, np.float32)
        (logits,) = self.engine.run(x, observe)
        return logits

    @overload
    def classify(self, images_: Source, *, top: int = 5) -> Prediction: ...
    @overload
    def classify(self, images_: Several, *, top: int = 5) -> list[Prediction]: ...
    def classify(self, images_: Source | Several, *, top: int = 5) -> Prediction | list[Prediction]:
        """Name what is in a picture, or in each of a list of them.

        Args:
            images_: a path, bytes, a Pillow image, an (H, W, 3) uint8 array, or a list of those.
            top: how many classes to return, at most all of them.

        Raises:
            InputError: a picture is missing, unreadable or refused.
        """
        if isinstance(images_, list | tuple) and not images_:
            return []
        predictions = self.predictions(self(self.preprocess(images_)), top=top)
        return predictions if isinstance(images_, list | tuple) else predictions[0]

    def predictions(self, logits: Array, *, top: int = 5) -> list[Prediction]:
        """(N, classes) logits -> the best classes of each row."""
        if not isinstance(top, int) or top < 1:
            raise UsageError(f"top is {top!r}; expected a whole number from 1 up")
        if logits.ndim != 2 or logits.shape[1] != len(self.labels):
            raise UsageError(
                f"logits of {logits.shape}; {self.name} has {len(self.labels)} classes"
            )
        indices, values = top_k(softmax(logits), min(top, len(self.labels)))
        return [
            Prediction(
                tuple(
                    Score(int(index), self.labels[index], float(p))
                    for index, p in zip(row, probabilities, strict=True)
                )
            )
            for row, probabilities in zip(indices, values, strict=True)
        ]

    def steps(self, x: Array) -> Iterator[Step]:
        """(N, H, W, 3) float -> one ``Step`` per node, in order of execution."""
        with self.trace(x) as trace:
            yield from trace

    @contextmanager
    def trace(self, x: Array, *, keep: str | Iterable[str] = "*") -> Iterator[Trace]:
        """Run and keep what the nodes produced: those whose path matches a pattern of ``keep``.

        Raises:
            UsageError: a pattern matches no node.
        """
        patterns = [keep] if isinstance(keep, str) else list(keep)
        for pattern in patterns:
            if not any(fnmatchcase(node.name, pattern) for node in self.graph):
                raise UsageError(f"keep={pattern!r} matches no node; try 'blocks.*' or 'stem.conv'")
        kept = {
            node.name
            for node in self.graph
            if any(fnmatchcase(node.name, pattern) for pattern in patterns)
        }
        trace, alive = Trace(), {}

        def observe(node: Node, array: Array) -> None:
            alive[node.name] = array
            if node.name in kept:
                inputs = tuple(alive[source] for source in node.inputs)
                params = tuple(self.file.params[name] for name in self.graph.param_names[node.name])
                views = tuple(_read_only(source) for source in inputs)
                trace.steps[node.name] = Step(node, views, _read_only(array), params)
            for source in node.inputs:
                if self.graph.readers[source][-1] == node.name:
                    alive.pop(source, None)

        trace.logits = self.run(x, observe)
        yield trace

    def cam(self, x: Array, label: str | int | None = None) -> ClassActivation:
        """(1, H, W, 3) -> what each cell of the last feature map adds to a class's logit.

        Exact: the cells and the bias sum to the logit.  ``label`` is a class's name or its index,
        by default the best.

        Raises:
            UsageError: not one picture, or no such class.
        """
        return class_activation(self, x, label)

    def occlusion(
        self,
        x: Array,
        label: str | int | None = None,
        *,
        patch: int | None = None,
        stride: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Occlusion:
        """(1, H, W, 3) -> how far a class's logit falls when a square of the picture is covered.

        Args:
            x: one picture, preprocessed.
            label: a class's name or its index; by default the best.
            patch: side of the square in pixels; by default an eighth of the picture's.
            stride: pixels from one square to the next; by default half a square.
            progress: called with the squares done and how many there are.

        Raises:
            UsageError: not one picture, no such class, or a square that does not fit.
        """
        return occlusion(self, x, label, patch=patch, stride=stride, progress=progress)

    def patch(self, name: str, change: Change) -> Patched:
        """Return this network with one node's output changed; call it on an input for its logits.

        ``change`` takes the array that the node produced and returns what to go on with.

        Raises:
            UsageError: there is no such node.

        >>> net = load("mixnet-pocket", engine="reference")
        >>> x = np.zeros((1, 32, 32, 3), np.float32)
        >>> silent = net.patch("pool", lambda features: 0 * features)(x)
        >>> np.array_equal(silent[0], net.file.params["classifier.bias"])
        True
        """
        return Patched(self, name, change)


def _read_only(array: Array) -> Array:
    """Return a view that cannot be written to; the input among others is the caller's own."""
    view = array.view()
    view.flags.writeable = False
    return view


def load(
    name_or_path: str | Path,
    *,
    weights: str | None = None,
    engine: EngineName = "auto",
    size: int | None = None,
    threads: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Load a model by name or from a file.  A released one is fetched and converted once.

    Args:
        name_or_path: a model's name (``list_models()``), or the path of a model file (.h5).
        weights: whose, of a released model: ``timm`` (default), ``timm-tf``, ``tf``, ``mindcv``.
        engine: ``reference`` (plain NumPy), ``compiled`` (for this machine), or ``auto``:
            compiled where Numba is installed, else reference.
        size: the input's side in pixels, in place of the file's own.
        threads: of the compiled engine; by default one per core.
        offline: fetch nothing, as with MINIMIX_OFFLINE=1.
        progress: is told what is fetched, a ``minimix.hub.events.FetchEvent`` at a time.

    Raises:
        WeightsError: the model is unknown, missing, damaged or too new, or cannot be fetched.
        UsageError: the weights, the size or the engine cannot be used.
        OutputError: the cache cannot be written.

    >>> load("mixnet-pocket", engine="reference")
    <minimix.Model mixnet-pocket (timm), 40 classes, 96 px, reference engine>
    """
    file = _read(hub.locate(name_or_path, weights, offline=offline, progress=progress))
    return Model(file, engine=engine, size=size, threads=threads)


def loaded(
    given: str | Path | Model, *, engine: EngineName = "auto", threads: int | None = None
) -> Model:
    """A name or a path -> the model, as ``load`` gives it; a loaded model -> itself.

    Raises:
        UsageError: a loaded model was given, and an engine or threads, which it has already.
    """
    if not isinstance(given, Model):
        return load(given, engine=engine, threads=threads)
    asked = {"engine": engine != "auto", "threads": threads is not None}
    if any(asked.values()):
        named = " and ".join(name for name, is_asked in asked.items() if is_asked)
        raise UsageError(f"a loaded model has its {named} already; choose them in minimix.load()")
    return given


def _read(path: Path) -> weights.ModelFile:
    try:
        return weights.load(path)
    except WeightsError as error:
        raise modelcache.explain(path, error) from error


def list_models(pattern: str = "*") -> list[str]:
    """Names of the known models that match a shell pattern.

    >>> list_models("*pocket")
    ['mixnet-pocket']
    """
    return [name for name in MODELS if fnmatchcase(name, pattern)]


def _restore(file: weights.ModelFile, engine: EngineName, size: int, threads: int | None) -> Model:
    return Model(file, engine=engine, size=size, threads=threads)
