"""The collapsed nodes of a recording, as the document lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from minimix.arrays import Array
from minimix.collapsed import Collapsed
from minimix.explorer.buffers import Buffers
from minimix.explorer.formulas import formulas, function_names
from minimix.explorer.kernels import Sample, field_json, group_json, put_kernels, samples_of
from minimix.explorer.limits import Limits, largest
from minimix.explorer.maps import MapsOf, by_energy, energies, histogram
from minimix.explorer.times import NodeTimes
from minimix.groups import Group, groups_of
from minimix.operators import Input, SqueezeExcite
from minimix.ops import ACTIVATIONS, squeeze_excite_gates
from minimix.outputs import brief, dead_channels, statistics
from minimix.receptive import Field, receptive_fields

if TYPE_CHECKING:
    from minimix.model import Model

MOST_ROW_BYTES = 1 << 20
"""Of a row of all maps of a node, at most."""

SAFETY = 0.9
"""How much of the room is used that feature maps seem to leave by being packed."""


@dataclass(frozen=True)
class _Seen:
    """A collapsed node with what it did to every picture."""

    node: Collapsed
    groups: tuple[Group, ...]
    field: Field
    inputs: tuple[Array, ...]
    raw: tuple[Array, ...]
    outputs: tuple[Array, ...]

    @property
    def is_map(self) -> bool:
        """Whether its maps are shown; the picture itself is shown elsewhere."""
        return self.outputs[0].ndim == 4 and not isinstance(self.node.root.operator, Input)

    @cached_property
    def energy(self) -> Array:
        """(C,): mean of squares."""
        return energies(self.outputs)

    @cached_property
    def ranked(self) -> tuple[tuple[int, ...], ...]:
        """Channels of each group, the liveliest first; without kernels all are one group."""
        has_kernels = any(group.weight is not None for group in self.groups)
        spans = [(group.first, group.channels) for group in self.groups] if has_kernels else []
        return tuple(map(tuple, by_energy(self.energy, spans or [(0, len(self.energy))])))

    @property
    def maps(self) -> MapsOf:
        """Its maps, in the order of showing."""
        return MapsOf(self.outputs, self.energy, self.ranked)


class NodesRecorder:
    """What a trace of each picture says about every node.

    Args:
        outputs: for each picture every node's output by name.
        times: measured, or None.
    """

    def __init__(
        self,
        model: Model,
        nodes: Sequence[Collapsed],
        outputs: Sequence[Mapping[str, Array]],
        times: NodeTimes | None,
    ) -> None:
        self.graph, self.params = model.graph, model.file.params
        self.nodes, self.outputs, self.times = nodes, outputs, times
        self.macs = model.graph.macs(model.size, model.size)
        fields = receptive_fields(model.graph, model.size)
        self.seen = [self._see(node, fields) for node in nodes]

    def _see(self, node: Collapsed, fields: Mapping[str, Sequence[Field]]) -> _Seen:
        def of(name: str) -> tuple[Array, ...]:
            return tuple(arrays[name] for arrays in self.outputs)

        inputs = of(node.root.inputs[0]) if node.root.inputs else ()
        side = inputs[0].shape[1] if inputs else 0
        groups = groups_of(node, self.graph, self.params, side, fields[node.name])
        (field,) = fields[node.last.name] if len(node.members) > 1 else [union(fields[node.name])]
        return _Seen(node, groups, field, inputs, of(node.name), of(node.last.name))

    def put(
        self, buffers: Buffers, limits: Limits, *, texts_bytes: int, has_inputs: bool
    ) -> list[dict[str, Any]]:
        """Put the nodes' arrays, as many as fit beside so many bytes of text; the nodes."""
        listed = [self._facts(seen, buffers) for seen in self.seen]
        kernels = self._kernel_count(limits)
        samples = self._samples(limits, has_inputs)
        for seen, entry in zip(self.seen, listed, strict=True):
            entry["groups"] = _put_groups(seen, buffers, kernels)
            entry["magnifier"] = [s.put(buffers) for s in samples.get(seen.node.name, [])]
        budget = limits.packed_maps_bytes(buffers.packed_bytes(), texts_bytes)
        shown = [
            (seen.maps, entry) for seen, entry in zip(self.seen, listed, strict=True) if seen.is_map
        ]
        counts = _counts_that_fit([maps for maps, _ in shown], budget, limits.maps)
        for (maps, entry), count in zip(shown, counts, strict=True):
            entry["maps"] = maps.put(buffers, count)
        return listed

    def _facts(self, seen: _Seen, buffers: Buffers) -> dict[str, Any]:
        node, outputs = seen.node, seen.outputs
        operator, shape = node.root.operator, outputs[0].shape[1:]
        elapsed_ms = None if self.times is None else self.times.by_node.get(node.name)
        return {
            "name": node.name,
            "kind": node.root.kind,
            "stage": node.root.stage,
            "inputs": list(node.inputs),
            "members": [{"name": m.name, "kind": m.kind} for m in node.members],
            "activation": node.activation,
            "shape": list(shape),
            "stride": getattr(operator, "stride", None),
            "padding": getattr(operator, "padding", None),
            "field": field_json(seen.field),
            "parameters": sum(map(self.graph.param_count, node.members)),
            "macs": sum(self.macs[member.name] for member in node.members),
            "output_bytes": 4 * prod(shape),
            "ms": None if elapsed_ms is None else brief(elapsed_ms),
            "ms_in": None if self.times is None else self.times.home(node, self.nodes),
            "formulas": formulas(node),
            "code": function_names(node),
            "maps": None,
            "vector": [buffers.put("results", y[0]) for y in outputs] if len(shape) == 1 else None,
            "gates": self._gates(seen, buffers),
            "stats": [statistics(y) for y in outputs],
            "histogram": histogram(outputs),
            "dead": [dead_channels(y, node.activation) for y in outputs],
        }

    def _gates(self, seen: _Seen, buffers: Buffers) -> list[dict[str, Any]] | None:
        operator = seen.node.root.operator
        if not isinstance(operator, SqueezeExcite):
            return None
        params = [self.params[name] for name in self.graph.param_names[seen.node.name]]
        inner = ACTIVATIONS[operator.activation]
        return [
            buffers.put("results", squeeze_excite_gates(x, *params, activation=inner)[0])
            for x in seen.inputs
        ]

    def _kernel_count(self, limits: Limits) -> int:
        """How many kernels of each group are kept."""
        weights = [
            group.weight for seen in self.seen for group in seen.groups if group.weight is not None
        ]
        return largest(
            limits.kernels,
            limits.kernels_bytes,
            lambda n: sum(w[..., :n].size * w.itemsize for w in weights),
        )

    def _samples(self, limits: Limits, has_inputs: bool) -> dict[str, list[Sample]]:
        """Samples by node, those of full convolutions and the smallest first, as many as fit."""
        found = [
            (seen.node.name, sample)
            for seen in self.seen
            if any(group.weight is not None for group in seen.groups)
            for sample in self._samples_of(seen, limits.samples)
            if has_inputs or sample.inputs
        ]
        found.sort(key=lambda item: (bool(item[1].inputs), item[1].size_bytes))
        kept: dict[str, list[Sample]] = {}
        left = limits.samples_bytes
        for name, sample in found:
            left -= sample.size_bytes
            if left >= 0:
                kept.setdefault(name, []).append(sample)
        return kept

    def _samples_of(self, seen: _Seen, count: int) -> list[Sample]:
        return samples_of(
            seen.node, seen.groups, seen.ranked, count, self.params, seen.inputs, seen.raw
        )


def union(fields: Sequence[Field]) -> Field:
    """The smallest field that covers all."""
    whole = fields[0]
    for field in fields[1:]:
        whole = whole.union(field)
    return whole


def _counts_that_fit(shown: Sequence[MapsOf], budget: int, cap: int) -> list[int]:
    """How many maps of each node are shown, so that all of them, packed, are within a budget."""

    def counts(raw_bytes: int) -> list[int]:
        def total(row_bytes: int) -> int:
            return sum(maps.pictures * maps.pixels * maps.count(row_bytes, cap) for maps in shown)

        row_bytes = largest(MOST_ROW_BYTES, raw_bytes, total)
        return [maps.count(row_bytes, cap) for maps in shown]

    def packed_bytes(found: Sequence[int]) -> int:
        trial = Buffers()
        for maps, count in zip(shown, found, strict=True):
            maps.put(trial, count)
        return trial.packed_bytes()

    # As many as fit if nothing could be packed; then more, if they pack as well as those do.
    fewer = counts(budget)
    more = counts(int(SAFETY * budget * (budget + 1) / (packed_bytes(fewer) + 1)))
    return more if packed_bytes(more) <= budget else fewer


def _put_groups(seen: _Seen, buffers: Buffers, count: int) -> list[dict[str, Any]]:
    return [
        group_json(
            group,
            None if group.weight is None else put_kernels(group, buffers, seen.ranked[n][:count]),
        )
        for n, group in enumerate(seen.groups)
    ]
