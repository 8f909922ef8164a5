"""A network as a container states it: operations between named values, in its own vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Attribute = str | int | float | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One operation.  A value has one name, wherever it is made or read.

    Attributes:
        name: as the file gives it, for messages.
        kind: the operation's name in the container's vocabulary, such as ``GroupConvolution``.
        inputs: names of the values read, in the order of the ports; empty where one is left out.
        outputs: names of the values made, in the order of the ports.
        attributes: name -> value, as the container types them (OpenVINO: text).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Topology:
    """All operations but constants, each after those whose values it reads.

    Attributes:
        inputs: names of the pictures' values -> their shapes, 0 where a size is free.
        outputs: names of the values that the network gives back.
        operations: in topological order.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
