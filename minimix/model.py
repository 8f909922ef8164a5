"""The whole pipeline on one screen: load a model, prepare pictures, run the graph, name the result.

name -> hub.locate -> weights.load -> zoo.build -> engine -> softmax -> labels
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, overload

import numpy as np

from minimix import hub, images, weights
from minimix.arrays import Array
from minimix.engine import EngineName, Observe, make_engine
from minimix.errors import UsageError
from minimix.graph import Graph, Node
from minimix.images import Exif, Source
from minimix.labels import top_k
from minimix.operators import SqueezeExcite
from minimix.ops import ACTIVATIONS, softmax, squeeze_excite_gates

Several = list[Any] | tuple[Any, ...]


@dataclass(frozen=True)
class Score:
    """One class of a prediction: its index, its name, and its probability in 0..1."""

    index: int
    label: str
    p: float


@dataclass(frozen=True)
class Prediction:
    """The classes that fit a picture best, the best first."""

    top: tuple[Score, ...]

    @property
    def label(self) -> str:
        """The name of the best class."""
        return self.top[0].label

    @property
    def p(self) -> float:
        """The probability of the best class, in 0..1."""
        return self.top[0].p

    def __str__(self) -> str:
        return "\n".join(f"{score.p:7.2%}  {score.label}" for score in self.top)


@dataclass(frozen=True)
class Step:
    """What one node did: the node, what it read, and the array it produced."""

    node: Node
    inputs: tuple[Array, ...]
    output: Array
    params: tuple[Array, ...]

    @property
    def name(self) -> str:
        """The node's path, such as ``blocks.3.mixconv``."""
        return self.node.name

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Pixels that each group of a convolution sees along one side."""
        return self.node.kernel_sizes

    @property
    def gates(self) -> Array:
        """(N, C): the factors that squeeze-excite gave to each channel.

        Raises:
            UsageError: the node is no squeeze-excite.
        """
        operator = self.node.operator
        if not isinstance(operator, SqueezeExcite):
            raise UsageError(f"{self.name}: a {self.node.kind} has no gates; look at a .se node")
        return squeeze_excite_gates(
            self.inputs[0], *self.params, activation=ACTIVATIONS[operator.activation]
        )


class Trace:
    """What a run left behind: steps by node name, in order of execution."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.logits: Array = np.empty((0, 0), np.float32)

    def __getitem__(self, name: str) -> Step:
        if name not in self.steps:
            raise UsageError(f"{name}: not in this trace; it keeps: {', '.join(self.steps)}")
        return self.steps[name]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps.values())

    def __len__(self) -> int:
        return len(self.steps)


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

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.file, self.engine.name, self.size, self.threads)

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

        Raises:
            GraphError: the array has another shape.
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


def _read_only(array: Array) -> Array:
    """Return a view that cannot be written to; the input among others is the caller's own."""
    view = array.view()
    view.flags.writeable = False
    return view


def load(
    name_or_path: str | Path,
    *,
    engine: EngineName = "auto",
    size: int | None = None,
    threads: int | None = None,
) -> Model:
    """Load a model by name or from a file.

    Args:
        name_or_path: an embedded model's name, or the path of a minimix model file (.h5).
        engine: ``reference`` (plain NumPy), ``compiled`` (for this machine), or ``auto``:
            compiled where Numba is installed, else reference.
        size: the input's side in pixels, in place of the file's own.
        threads: of the compiled engine; by default one per core.

    Raises:
        WeightsError: the model is unknown, missing, damaged or too new.
        UsageError: the size or the engine cannot be used.

    >>> load("mixnet-pocket", engine="reference")
    <minimix.Model mixnet-pocket (timm), 40 classes, 96 px, reference engine>
    """
    file = weights.load(hub.locate(name_or_path))
    return Model(file, engine=engine, size=size, threads=threads)


def list_models(pattern: str = "*") -> list[str]:
    """Names of the known models that match a shell pattern.

    >>> list_models("*pocket")
    ['mixnet-pocket']
    """
    return [name for name in hub.MODELS if fnmatchcase(name, pattern)]


def _restore(file: weights.ModelFile, engine: EngineName, size: int, threads: int | None) -> Model:
    return Model(file, engine=engine, size=size, threads=threads)
