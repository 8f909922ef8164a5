"""A network as a reader gives it, with what a test needs to know in order to change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.graph_operations import Array
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.topology import Attribute, Operation, Topology


@dataclass(frozen=True)
class Written:
    """A checkpoint, and what is known of it.

    Attributes:
        made_of: our weight -> the constant that holds its numbers.
        scaled: our nodes whose weights the graph scales after the convolution.
        roles: our node, or a part of one -> the name of the operation that is it.
    """

    checkpoint: Checkpoint
    made_of: Mapping[str, str]
    scaled: frozenset[str]
    roles: Mapping[str, str]

    @property
    def topology(self) -> Topology:
        assert self.checkpoint.topology is not None
        return self.checkpoint.topology

    def operation(self, role: str) -> Operation:
        """The operation of a role; for a kind, such as ``Slice``, the first of that kind."""
        name = self.roles.get(role)
        operations = self.topology.operations
        return next(one for one in operations if one.name == name or one.kind == role)

    def with_operations(self, operations: Sequence[Operation], **fields: Any) -> Checkpoint:
        """The checkpoint with other operations, and other inputs or outputs if given."""
        topology = replace(self.topology, operations=tuple(operations), **fields)
        return replace(self.checkpoint, topology=topology)

    def changed(self, role: str, **changes: Any) -> Checkpoint:
        """The checkpoint with some fields of one operation changed; attributes are added."""
        old = self.operation(role)
        attributes = {**old.attributes, **changes.pop("attributes", {})}
        new = replace(old, attributes=attributes, **changes)
        return self.with_operations(
            [new if one is old else one for one in self.topology.operations]
        )

    def with_tensors(self, **tensors: Array) -> Checkpoint:
        """The checkpoint with tensors added or replaced."""
        return replace(self.checkpoint, tensors={**self.checkpoint.tensors, **tensors})

    def out(self, role: str) -> str:
        """The value that the operation of a role makes."""
        return self.operation(role).outputs[0]

    def reading(self, role: str, place: int, value: str) -> Checkpoint:
        """The checkpoint with an operation that reads another value at one place."""
        inputs = list(self.operation(role).inputs)
        inputs[place] = value
        return self.changed(role, inputs=tuple(inputs))

    def stated(self, numbers: tuple[int, ...]) -> Attribute:
        """Numbers of an attribute as the container states them."""
        if self.checkpoint.container == "onnx":
            return numbers
        return ",".join(map(str, numbers))
