"""The network as data: named nodes over tensor shapes.  No arrays, no execution.

A graph is valid from the moment it exists: names are unique, every input is computed before it is
read, and every shape follows from the input's.  Passes return new graphs; nothing mutates one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from minimix.errors import GraphError
from minimix.operators import Input, MixConv, Operator, Shape

_ITEM_BYTES = {"float16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """Shape and element type of the array that a node produces."""

    shape: Shape
    dtype: str = "float32"

    @property
    def size_bytes(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * _ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Node:
    """One named step.

    Attributes:
        name: a path people can read, such as ``blocks.3.mixconv``; unique in its graph.
        operator: what is computed, with its attributes.
        inputs: names of the nodes whose results are read, in order.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The operator's kind, such as ``mixconv``."""
        return self.operator.kind

    @property
    def stage(self) -> str:
        """The part of the network that the node belongs to: ``stem``, ``blocks.3``, ``head``.

        >>> Node("blocks.3.mixconv", MixConv((3, 5)), ("blocks.3.expand",)).stage
        'blocks.3'
        """
        return self.name.rpartition(".")[0] or self.name

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Pixels that each group of a convolution sees along one side; empty for other nodes."""
        if isinstance(self.operator, MixConv):
            return self.operator.extents
        kernel_size = getattr(self.operator, "kernel_size", None)
        return () if kernel_size is None else (kernel_size,)

    def _repr_html_(self) -> str:
        from minimix.markup import node_html  # brings NumPy, which a graph does not need

        return node_html(self.name, self.operator, self.kernel_sizes, self.inputs)


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run; the first is the input, ``outputs`` are kept.

    Raises:
        GraphError: names the node that is defined twice, reads what does not exist (yet), or
            cannot take the shapes it is given.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    _by_name: Mapping[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known: dict[str, Node] = {}
        for node in self.nodes:
            if node.name in known:
                raise GraphError(f"{node.name}: two nodes have this name; names are unique")
            if len(node.inputs) != node.operator.arity:
                raise GraphError(
                    f"{node.name}: a node of kind {node.kind} reads {node.operator.arity} "
                    f"inputs, found {len(node.inputs)}"
                )
            for source in node.inputs:
                if source not in known:
                    raise GraphError(
                        f"{node.name}: reads {source!r}, which no earlier node computes"
                    )
            known[node.name] = node
        object.__setattr__(self, "_by_name", known)
        self._check_ends()
        if sum(map(len, self.param_names.values())) != len(self.param_shapes):
            self._refuse_shared_names()

    def _refuse_shared_names(self) -> None:
        owner: dict[str, str] = {}
        for node, owned in self.param_names.items():
            for name in owned:
                if owner.setdefault(name, node) != node:
                    raise GraphError(f"{node}: its parameter {name} is also one of {owner[name]}")

    def _check_ends(self) -> None:
        inputs = [node for node in self.nodes if isinstance(node.operator, Input)]
        if len(inputs) != 1 or self.nodes[0] is not inputs[0]:
            raise GraphError(f"{self.name}: expected one input node, the first; found {inputs}")
        if not self.outputs:
            raise GraphError(f"{self.name}: no outputs; name at least one node")
        for output in self.outputs:
            if output not in self._by_name:
                raise GraphError(f"{self.name}: output {output!r} is not a node")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        if name not in self._by_name:
            raise GraphError(f"{self.name}: no node {name!r}; nodes: {', '.join(self._by_name)}")
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def input(self) -> Input:
        """The input's description: channels and smallest size."""
        operator = self.nodes[0].operator
        assert isinstance(operator, Input)  # _check_ends has seen to it
        return operator

    def check_input(self, shape: Shape) -> None:
        """Check the shape of an array that the graph is to run on.

        Raises:
            GraphError: names the input, or the node that cannot take what comes of it.
        """
        if len(shape) != 4 or shape[3] != self.input.channels:
            raise GraphError(
                f"{self.nodes[0].name}: expected (N, H, W, {self.input.channels}), found {shape}"
            )
        self.infer(*shape[:3])

    def infer(self, batch: int, height: int, width: int) -> dict[str, TensorSpec]:
        """What every node produces, by name, for that many images of that size in pixels.

        Raises:
            GraphError: the size is below the input's smallest, or a node cannot take its inputs.
        """
        specs: dict[str, TensorSpec] = {}
        for node in self.nodes:
            shapes = [specs[source].shape for source in node.inputs] or [
                (batch, height, width, self.input.channels)
            ]
            try:
                specs[node.name] = TensorSpec(node.operator.output_shape(*shapes))
            except GraphError as error:
                raise GraphError(f"{node.name}: {error}") from None
        return specs

    @cached_property
    def _node_param_shapes(self) -> dict[str, dict[str, Shape]]:
        specs = self.infer(1, self.input.smallest, self.input.smallest)
        return {
            node.name: {
                f"{node.name}.{local}": shape
                for source in node.inputs[:1]
                for local, shape in node.operator.param_shapes(specs[source].shape).items()
            }
            for node in self.nodes
        }

    @cached_property
    def param_shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by its full name, such as ``blocks.3.mixconv.0.weight``."""
        return {k: v for owned in self._node_param_shapes.values() for k, v in owned.items()}

    @cached_property
    def param_names(self) -> dict[str, tuple[str, ...]]:
        """Names of each node's parameters, by the node's name."""
        return {name: tuple(owned) for name, owned in self._node_param_shapes.items()}

    def param_count(self, node: Node) -> int:
        """Number of trained parameters of one node; moving statistics are measured, not trained."""
        return sum(
            prod(self.param_shapes[name])
            for name in self.param_names[node.name]
            if not name.endswith((".mean", ".variance"))
        )

    def macs(self, height: int, width: int, batch: int = 1) -> dict[str, int]:
        """Multiply-adds of every node, by name."""
        specs = self.infer(batch, height, width)
        return {
            node.name: node.operator.macs(specs[node.inputs[0]].shape) if node.inputs else 0
            for node in self.nodes
        }

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Names of the nodes that read each node, by its name."""
        readers: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                readers[source].append(node.name)
        return {name: tuple(names) for name, names in readers.items()}

    @cached_property
    def stages(self) -> dict[str, tuple[Node, ...]]:
        """Nodes by the part of the network that they belong to, in order."""
        stages: dict[str, list[Node]] = {}
        for node in self.nodes:
            stages.setdefault(node.stage, []).append(node)
        return {stage: tuple(nodes) for stage, nodes in stages.items()}
