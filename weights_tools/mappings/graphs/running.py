"""A container's operations, run over what they mean: from the picture to the logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weights_tools.mappings.graphs.pictures import input_of
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.values import Constant, Features, Meaning, Value
from weights_tools.mappings.graphs.vocabulary import VOCABULARIES, values_of
from weights_tools.readers.checkpoint import Checkpoint, shown
from weights_tools.readers.topology import Operation, Topology


@dataclass(frozen=True)
class Run:
    """What all operations together mean.

    Attributes:
        logits: what the network gives back.
        made_by: meaning -> name of the operation that made it, quoted for messages; in the order
            in which they were made.
        read: names of the constants that the logits depend on.
    """

    logits: Meaning
    made_by: Mapping[Meaning, str]
    read: frozenset[str]


def run(checkpoint: Checkpoint) -> Run:
    """Run all operations of a checkpoint.

    Raises:
        ValueError: an operation is unknown or used as no MixNet uses it, or there is not one
            picture and one output.
    """
    topology = checkpoint.topology
    if topology is None or checkpoint.container not in VOCABULARIES:
        raise ValueError(f"{checkpoint.container} states no operations")
    if len(topology.outputs) != 1:
        raise ValueError(f"{len(topology.outputs)} outputs, expected one, the logits")
    values: dict[str, Value] = {
        name: Constant(array, (name,)) for name, array in checkpoint.tensors.items()
    }
    values |= input_of(topology)
    made_by = {
        value.of: shown(name) for name, value in values.items() if isinstance(value, Features)
    }
    handlers = VOCABULARIES[checkpoint.container]
    for operation in topology.operations:
        call = Call(operation, _inputs(operation, values), checkpoint.tensors)
        for name, value in zip(operation.outputs, values_of(call, handlers), strict=False):
            if name:
                values[name] = value
            if isinstance(value, Features):
                made_by.setdefault(value.of, shown(operation.name))
    logits = values.get(topology.outputs[0])
    if not isinstance(logits, Features):
        raise ValueError(f"the output {shown(topology.outputs[0])} does not depend on the picture")
    return Run(logits.of, made_by, _needed(topology) & checkpoint.tensors.keys())


def _inputs(operation: Operation, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
    for name in operation.inputs:
        if name and name not in values:
            raise ValueError(
                f"{shown(operation.name)} reads {shown(name)}, which nothing before it makes"
            )
    return tuple(values[name] if name else None for name in operation.inputs)


def _needed(topology: Topology) -> frozenset[str]:
    """The values that the output depends on, ONNX's tensors as attributes among them."""
    needed = set(topology.outputs)
    for operation in reversed(topology.operations):
        if not needed.isdisjoint(operation.outputs):
            needed.update(operation.inputs)
            needed.update(text for text in operation.attributes.values() if isinstance(text, str))
    return frozenset(needed)
