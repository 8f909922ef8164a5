"""A walk through a network that has seen a picture: its stops, what is known at each, ways between.

No printing: ``minimix.cli.step`` shows what is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.collapsed import Collapsed, collapse
from minimix.errors import UsageError
from minimix.formulas import formulas
from minimix.groups import Group, groups_of
from minimix.images import crop_and_resize, open_image
from minimix.mosaic import liveliest
from minimix.operators import Input, Linear, Shape, SqueezeExcite
from minimix.ops import softmax
from minimix.outputs import dead_channels, statistics
from minimix.receptive import Field, receptive_fields

if TYPE_CHECKING:
    from minimix.images import Exif, Source
    from minimix.model import Model, Trace

TOP = 5


@dataclass(frozen=True)
class Stop:
    """A node, or a convolution with its batch norm and activation, and what it made of a picture.

    Attributes:
        read: shape of its first input, without the batch; its own for the picture.
        output: (1, ...): of its last member.
        groups: of a convolution, each with its kernel size.
        fields: what one output pixel sees of the picture, along a side, for each group.
        gates: (C,) of a squeeze-excite.
        picture: (H, W, 3) uint8: at the first stop what the network sees.
        top: (class, probability) of the last one.
    """

    node: Collapsed
    read: Shape
    output: Array
    parameters: int
    macs: int
    groups: tuple[Group, ...]
    fields: tuple[Field, ...]
    gates: Array | None = None
    picture: NDArray[np.uint8] | None = None
    top: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """The first member's name."""
        return self.node.name

    @property
    def stage(self) -> str:
        """The part of the network that it belongs to."""
        return self.node.root.stage

    @property
    def kinds(self) -> str:
        """What its members are, in order."""
        kinds = [
            str(getattr(member.operator, "function", member.kind)).replace("_", " ")
            for member in self.node.members
        ]
        return " + ".join(kinds)

    @property
    def formulas(self) -> tuple[str, ...]:
        """Lines of text, one for each step of the computation."""
        return tuple(line for member in self.node.members for line in formulas(member.operator))

    @cached_property
    def statistics(self) -> dict[str, float]:
        """``low``, ``high``, ``mean``, ``std`` and ``zeros`` of the output."""
        return statistics(self.output)

    @cached_property
    def dead(self) -> list[int]:
        """Channels that say nothing about this picture."""
        return dead_channels(self.output, self.node.activation)

    def liveliest(self, count: int) -> list[int]:
        """The channels with the most energy."""
        return liveliest(self.output, count)

    def group_of(self, channel: int) -> Group | None:
        """The group that an output channel is in."""
        for group in self.groups:
            if group.first <= channel < group.first + group.channels:
                return group
        return None


class Walk:
    """The stops of a network in order of execution, for one picture.

    Args:
        whole: one stop for each node, batch norms and activations too.
        only: a shell pattern; stops at what it matches.

    Raises:
        InputError: the picture cannot be read.
        UsageError: the pattern matches no node.
    """

    def __init__(
        self,
        model: Model,
        picture: Source,
        *,
        exif: Exif = "apply",
        whole: bool = False,
        only: str = "*",
    ) -> None:
        image = open_image(picture, exif=exif)
        self.model, graph = model, model.graph
        self.seen = np.rint(crop_and_resize(image, model.pipeline)).astype(np.uint8)
        nodes = (
            tuple(Collapsed((node,), node.inputs) for node in graph) if whole else collapse(graph)
        )
        self.stages = tuple(graph.stages)
        nodes = tuple(node for node in nodes if fnmatchcase(node.name, only))
        if not nodes:
            raise UsageError(f"{only!r} matches no node; try 'blocks.3.*' or '*.mixconv'")
        kept = [name for node in nodes for name in {node.name, node.last.name}]
        self._macs = graph.macs(model.size, model.size)
        self._fields = receptive_fields(graph, model.size)
        with model.trace(model.preprocess(image), keep=kept) as trace:
            self.stops = tuple(self._stop(node, trace) for node in nodes)
        self.total_macs = sum(self._macs.values())

    def _stop(self, node: Collapsed, trace: Trace) -> Stop:
        graph, step = self.model.graph, trace[node.name]
        operator, output = node.root.operator, trace[node.last.name].output
        inputs = step.inputs
        fields = self._fields[node.name]
        side = inputs[0].shape[1] if inputs else 0
        top: tuple[tuple[str, float], ...] = ()
        if isinstance(operator, Linear):
            (p,) = softmax(output)
            top = tuple(
                (self.model.labels[k], float(p[k]))
                for k in np.argsort(-p, kind="stable")[:TOP].tolist()
            )
        return Stop(
            node,
            inputs[0].shape[1:] if inputs else output.shape[1:],
            output,
            sum(graph.param_count(member) for member in node.members),
            sum(self._macs[member.name] for member in node.members),
            groups_of(node, graph, self.model.file.params, side, fields),
            fields,
            step.gates[0] if isinstance(operator, SqueezeExcite) else None,
            self.seen if isinstance(operator, Input) else None,
            top,
        )

    def __len__(self) -> int:
        return len(self.stops)

    @property
    def names(self) -> tuple[str, ...]:
        """The stops' names, in order."""
        return tuple(stop.name for stop in self.stops)

    def inside(self, stage: str) -> list[Stop]:
        """The stops of a part of the network."""
        return [stop for stop in self.stops if stop.stage == stage]

    def next_block(self, place: int) -> int:
        """The first stop of the part after that of a stop; the last stop if there is none."""
        here = self.stops[place].stage
        later = range(place + 1, len(self))
        return next((n for n in later if self.stops[n].stage != here), len(self) - 1)

    def previous_block(self, place: int) -> int:
        """The first stop of a stop's part; if that is where one stands, of the part before."""
        stage = self.stops[max(place - 1, 0)].stage
        return [stop.stage for stop in self.stops].index(stage)

    def jump(self, name: str) -> int:
        """A node's name, or how one begins -> its place; a member's counts for its stop.

        Raises:
            UsageError: there is no such node.
        """
        for n, stop in enumerate(self.stops):
            if name in {member.name for member in stop.node.members}:
                return n
        found = [n for n, known in enumerate(self.names) if known.startswith(name)]
        if not name or not found:
            (close,) = get_close_matches(name, self.names, n=1, cutoff=0.4) or self.names[-1:]
            raise UsageError(f"{name}: {self.model.name} has no such node; try {close}")
        return found[0]

    def find(self, text: str, place: int) -> int:
        """The next stop whose name or kind has the text in it, from the one after ``place`` on.

        Raises:
            UsageError: no stop has.
        """
        wanted = text.lower()
        for n in chain(range(place + 1, len(self)), range(place + 1)):
            if wanted in f"{self.stops[n].name} {self.stops[n].kinds}".lower():
                return n
        raise UsageError(f"{text}: in no node's name or kind")


def completed(text: str, names: Sequence[str]) -> str:
    """How a name begins -> as much more as all names that begin so share.

    >>> completed("blocks.1", ["blocks.10.se", "blocks.11.se"]), completed("x", ["stem"])
    ('blocks.1', 'x')
    >>> completed("st", ["stem.conv", "head"])
    'stem.conv'
    """
    found = [name for name in names if name.startswith(text)]
    if not found:
        return text
    first, last = min(found), max(found)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[: min(len(first), len(last)) if same is None else same]
