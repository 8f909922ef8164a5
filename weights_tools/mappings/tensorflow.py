"""TensorFlow's names (``mixnet-s/mixnet_model/blocks_3/conv2d_9/kernel``) -> ours.

Layers are numbered as the graph was made, convolutions throughout the network, batch norms within
each scope.  So a number only says what came first, and a block's convolutions are told apart by
structure: the batch norms say how wide the block is at each step, and the 1x1 convolutions up to
the depthwise width are the expansion, those behind it the projection.
Source: Google's tpu repository, ``models/official/mnasnet/mixnet/mixnet_model.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minimix.arrays import Array
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import WeightsError
from weights_tools.mappings.averages import AVERAGE, choose
from weights_tools.mappings.layouts import from_hwio
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.named import map_named, stated_width
from weights_tools.mappings.naming import (
    MOVING_STATISTICS,
    BlockNames,
    LocalNames,
    Names,
    check_consecutive,
)
from weights_tools.readers.checkpoint import Tensors

LOCAL = LocalNames(
    norm={ours: f"/{theirs}" for ours, theirs in MOVING_STATISTICS.items()},
    dense={"weight": "/kernel", "bias": "/bias"},
)
"""What TensorFlow calls the tensors within a layer."""

MAX_KERNELS = 64
"""More 1x1 convolutions than any block has: trying where they divide takes its square."""

_Layers = Mapping[tuple[str, str], Mapping[int, str]]
"""(scope, kind) -> the paths of the layers there by number, in the order of the numbers."""

_LAYER = re.compile(
    r"(?:.+/)?(?P<scope>stem|head|blocks_(?P<block>0|[1-9]\d{0,3})(?:/se)?)/"
    r"(?P<kind>conv2d|depthwise_conv2d|dense|batch_normalization)(?:_(?P<number>[1-9]\d{0,5}))?"
    r"/\w+"
)
"""One variable of a layer; the network may lie in a scope of any name, or in none."""

_BLOCK = re.compile(r"blocks_(\d+)")


def matches(tensors: Mapping[str, Array]) -> bool:
    """Whether the names are those of TensorFlow's MixNet, or of its sisters."""
    return any(
        (match := _LAYER.fullmatch(name.removesuffix(AVERAGE)))
        and match["kind"] == "depthwise_conv2d"
        for name in tensors
    )


def _layers(variables: Iterable[str]) -> _Layers:
    """Variables -> the layers that they are of."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for name in variables:
        match = _LAYER.fullmatch(name)
        if match:
            path, number = name.rpartition("/")[0], int(match["number"] or 0)
            numbered = found.setdefault((match["scope"], match["kind"]), {})
            if numbered.setdefault(number, path) != path:
                raise WeightsError(
                    f"{name}: expected it in {numbered[number]}; are there two networks?"
                )
    return {key: dict(sorted(numbered.items())) for key, numbered in found.items()}


def _hint(layers: _Layers) -> str:
    """Say which numbers are absent among those of the convolutions, if they are few."""
    absent: list[str] = []
    for wanted in ("conv2d", "depthwise_conv2d"):
        numbers = {n for (_, kind), paths in layers.items() if kind == wanted for n in paths}
        if numbers and max(numbers) - min(numbers) < len(numbers) + 2:
            between = range(min(numbers), max(numbers))
            absent += [f"{wanted}_{n}" for n in between if n not in numbers]
    return f" (no layer is called {', '.join(absent)})" if absent else ""


@dataclass(frozen=True)
class _Resolver:
    """Tells from structure which layer is which.

    ``tensors`` are by variable, whether its moving average is taken or itself.
    """

    tensors: Mapping[str, Array]
    layers: _Layers

    def network(self) -> Names:
        """Our name of each parameter -> the variable."""
        norm = self.some("stem", "batch_normalization")[0]
        names = LOCAL.stem(f"{self.some('stem', 'conv2d')[0]}/kernel", norm)
        channels = self.norm_width(norm)
        blocks = {match[1] for scope, _ in self.layers if (match := _BLOCK.match(scope))}
        for n in check_consecutive(map(int, blocks), "blocks_"):
            block = self.block(n, channels)
            names |= LOCAL.block(n, block)
            channels = self.norm_width(block.norms[-1])
        return {
            **names,
            **LOCAL.head(
                f"{self.some('head', 'conv2d')[0]}/kernel",
                self.some("head", "batch_normalization")[0],
            ),
            **LOCAL.layer("classifier", self.some("head", "dense")[0]),
        }

    def block(self, n: int, entering: int) -> BlockNames:
        """The layers of block ``n``, given the channels of the one before."""
        scope = f"blocks_{n}"
        norms = self.some(scope, "batch_normalization")
        if len(norms) not in (2, 3):
            raise WeightsError(
                f"{scope}: expected a batch norm for each of its 2 or 3 convolutions, found "
                f"{', '.join(norms)}"
            )
        kernels = [f"{path}/kernel" for path in self.some(scope, "conv2d")]
        if len(kernels) > MAX_KERNELS:
            raise WeightsError(
                f"{scope}: {len(kernels)} 1x1 convolutions; expected {MAX_KERNELS} at most"
            )
        widths = [entering, *(self.norm_width(norm) for norm in norms[-2:])]
        expanding = self.count_expanding(kernels, *widths) if len(norms) == 3 else 0
        se = list(self.layers.get((f"{scope}/se", "conv2d"), {}).values())
        if len(se) not in (0, 2):
            raise WeightsError(
                f"{scope}/se: expected two convolutions, found {', '.join(se)} alone"
            )
        depthwise = self.some(scope, "depthwise_conv2d")
        return BlockNames(
            expand=tuple(kernels[:expanding]),
            mixconv=tuple(f"{path}/depthwise_kernel" for path in depthwise),
            project=tuple(kernels[expanding:]),
            norms=tuple(norms),
            se=tuple(se),
        )

    def some(self, scope: str, kind: str) -> list[str]:
        """Paths of the layers of a kind in a scope that must have one."""
        if (scope, kind) not in self.layers:
            raise WeightsError(f"{scope}/{kind}: missing; no variable has such a name")
        return list(self.layers[scope, kind].values())

    def norm_width(self, path: str) -> int:
        """Channels of a batch norm."""
        return stated_width(self.tensors, (f"{path}{local}" for local in LOCAL.norm.values()))

    def count_expanding(self, kernels: list[str], entering: int, middle: int, out: int) -> int:
        """How many of a block's 1x1 convolutions, in order, are its expansion.

        Those read together what enters and make what is convolved; the others read that and make
        the block's output.  Where one kernel is damaged, two of these four statements still hold.
        """
        shapes = [self.kernel_shape(name) for name in kernels]

        def statements_that_hold(count: int) -> int:
            expand, project = shapes[:count], shapes[count:]
            return sum(
                (
                    sum(Cin for Cin, _ in expand) == entering,
                    sum(Cout for _, Cout in expand) == middle,
                    sum(Cin for Cin, _ in project) == middle,
                    sum(Cout for _, Cout in project) == out,
                )
            )

        counts = sorted(range(1, len(shapes)), key=statements_that_hold)
        if not counts or statements_that_hold(counts[-1]) < 2:
            raise WeightsError(
                f"{', '.join(kernels)}: expected 1x1 convolutions from {entering} to {middle} "
                f"channels and from there to {out}, found {shapes}. Is one missing?"
            )
        return counts[-1]

    def kernel_shape(self, name: str) -> tuple[int, int]:
        """(Cin, Cout) of a convolution."""
        if name not in self.tensors:
            raise WeightsError(f"{name}: missing")
        shape = self.tensors[name].shape
        if len(shape) != 4:
            raise WeightsError(f"{name}: expected a kernel (1, 1, Cin, Cout), found {shape}")
        return shape[2], shape[3]


def map_tensorflow(
    tensors: Tensors | Mapping[str, Array], *, expected: str | None = None, raw: bool = False
) -> Mapped:
    """Map a TensorFlow checkpoint; the architecture is told from its shapes.

    Args:
        expected: the architecture that it must turn out to be.
        raw: take the weights as training left them, not their moving averages.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits; or only some
            variables have a moving average.
    """
    chosen = choose(tensors, raw=raw)
    by_variable = {variable: tensors[name] for variable, name in chosen.names.items()}
    layers = _layers(chosen.names)
    try:
        names = _Resolver(by_variable, layers).network()
        return map_named(
            tensors,
            {ours: chosen.names.get(variable, variable) for ours, variable in names.items()},
            to_ours=from_hwio,
            expected=expected,
            ignored=chosen.ignored,
            dialects=(DIALECTS["tensorflow"],),
            pipeline=PIPELINES["tensorflow"],
        )
    except WeightsError as error:
        raise WeightsError(f"{error}{_hint(layers)}") from error
