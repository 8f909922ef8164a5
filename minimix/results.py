"""What comes of a run: the classes of a picture, and what every node did to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.graph import Node
from minimix.operators import SqueezeExcite
from minimix.ops import ACTIVATIONS, squeeze_excite_gates


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

    def _repr_html_(self) -> str:
        from minimix import notebook  # only notebooks need it

        return notebook.prediction_html(self)


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

    def _repr_html_(self) -> str:
        from minimix import notebook  # only notebooks need it

        return notebook.step_html(self)


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

    def _repr_html_(self) -> str:
        from minimix import notebook  # only notebooks need it

        return notebook.trace_html(self)
