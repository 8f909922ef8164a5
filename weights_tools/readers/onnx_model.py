"""ONNX: one protobuf message with the nodes of the network and its constants.

Read without the onnx package.  What no MixNet needs is refused by name: subgraphs, functions,
sparse tensors, and elements kept in other files.
"""

from __future__ import annotations

import numpy as np

from weights_tools.readers.checkpoint import (
    Array,
    Contents,
    Tensors,
    checked_name,
    checked_sizes,
    shown,
)
from weights_tools.readers.onnx_attributes import TypedValue, constant, read_attributes
from weights_tools.readers.onnx_messages import (
    DIMENSION,
    GRAPH,
    MODEL,
    NODE,
    OPSET,
    PROPERTY,
    SHAPE,
    TENSOR_TYPE,
    TYPE,
    VALUE_INFO,
    Message,
    Parser,
    decoded,
    integer,
    text,
)
from weights_tools.readers.onnx_tensors import read_tensor
from weights_tools.readers.protobuf import Value, fields
from weights_tools.readers.source import Source
from weights_tools.readers.topology import Attribute, Operation, Topology

OPSET_KEY = "onnx.opset"
"""Key of the metadata for the version of the standard operators."""

MAX_MODEL_FIELDS = 10_000
"""The most fields of the model itself that detection looks at; a MixNet's has about 10."""

_ADVICE = "The file is damaged, or not what exporters write: download or export it again"
_STANDARD = ("", "ai.onnx")


def is_onnx(source: Source) -> bool:
    """Whether the file is a ModelProto: an ir_version first, only its fields, a graph."""
    if source.data[:1] != b"\x08" or source.data[1:2] > b"\x7f":
        return False
    graphs = 0
    try:
        for index, (number, wire, _) in enumerate(fields(memoryview(source.data))):
            known = number in MODEL and wire in MODEL[number].wires
            if not known or index >= MAX_MODEL_FIELDS:
                return False
            graphs += MODEL[number].name == "graph"
    except ValueError:
        return False
    return graphs == 1


def read_onnx(source: Source) -> Contents:
    """Open ONNX file -> the initializers and constants, and the operations.

    A tensor that is an attribute of an operation, as of ConstantOfShape, is among the tensors as
    ``first output.name of the attribute``, and the attribute's value is that name.

    Raises:
        WeightsError: the file is damaged, not sorted, or holds what is refused.
    """
    try:
        parser = Parser()
        model = parser.parse(memoryview(source.data), MODEL, "the model")
        if "functions" in model:
            raise ValueError("the model defines functions, which are not read; inline them first")
        graph = _Graph(parser)
        topology = graph.read(parser.parse(model["graph"][0], GRAPH, "the graph"))
        return Contents(graph.tensors, _metadata(parser, model), topology)
    except ValueError as error:
        raise source.fail(f"ONNX: {error}. {_ADVICE}") from error


def _metadata(parser: Parser, model: Message) -> dict[str, str]:
    """The model's own properties, and under ``onnx.`` what its header says."""
    producer = f"{text(model, 'producer_name')} {text(model, 'producer_version')}".strip()
    pairs = [("onnx.ir_version", str(integer(model, "ir_version"))), ("onnx.producer", producer)]
    for view in model.get("opset_import", []):
        entry = parser.parse(view, OPSET, "opset_import")
        domain = text(entry, "domain")
        key = OPSET_KEY if domain in _STANDARD else f"{OPSET_KEY}.{domain}"
        pairs.append((key, str(integer(entry, "version"))))
    for view in model.get("metadata_props", []):
        entry = parser.parse(view, PROPERTY, "metadata_props")
        pairs.append((text(entry, "key"), text(entry, "value")))
    metadata: dict[str, str] = {}
    for key, value in pairs:
        if key in metadata:
            raise ValueError(f"the property {shown(key)} comes twice")
        metadata[key] = value
    if OPSET_KEY not in metadata:
        raise ValueError("opset_import does not say the version of the standard operators")
    return metadata


class _Graph:
    """Tensors and operations, as the graph's messages are gone through."""

    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self.tensors: Tensors = {}
        self.made: set[str] = set()

    def read(self, graph: Message) -> Topology:
        """GraphProto -> topology; its constants are then in ``tensors``."""
        if "sparse_initializer" in graph:
            raise ValueError("a sparse initializer, which no MixNet has; refused")
        for view in graph.get("initializer", []):
            self.keep(*read_tensor(self.parser, view, "initializer"))
        inputs = dict(self.input(view) for view in graph.get("input", []))
        for name in inputs.keys() - self.tensors.keys():
            self.define(name)
        operations = [self.operation(view) for view in graph.get("node", [])]
        outputs = [
            text(self.parser.parse(view, VALUE_INFO, "output"), "name")
            for view in graph.get("output", [])
        ]
        self.check_made(outputs, "the graph's outputs")
        return Topology(
            {name: shape for name, shape in inputs.items() if name not in self.tensors},
            tuple(outputs),
            tuple(operation for operation in operations if operation is not None),
        )

    def define(self, name: str) -> None:
        """Note a value's name, which nothing else may have."""
        if checked_name(name) in self.made:
            raise ValueError(f"the value {shown(name)} is made twice")
        self.made.add(name)

    def keep(self, name: str, array: Array) -> None:
        self.define(name)
        self.tensors[name] = array

    def check_made(self, names: list[str], where: str) -> None:
        for name in names:
            if name not in self.made:
                raise ValueError(f"{where}: {shown(name)} is made by nothing before it")

    def input(self, view: Value) -> tuple[str, tuple[int, ...]]:
        """ValueInfoProto -> name, and shape with 0 for a size that is free."""
        info = self.parser.parse(view, VALUE_INFO, "input")
        name = text(info, "name")
        where = f"input {shown(name)}"
        message = info
        for key, schema in (("type", TYPE), ("tensor_type", TENSOR_TYPE), ("shape", SHAPE)):
            if key not in message:
                raise ValueError(f"{where}: expected a tensor of known rank; it has no {key}")
            message = self.parser.parse(message[key][0], schema, where)
        dims = [self.parser.parse(dim, DIMENSION, where) for dim in message.get("dim", [])]
        sizes = [max(integer(dim, "dim_value"), 0) for dim in dims]
        return name, checked_sizes(sizes, f"{where}: shape")

    def operation(self, view: Value) -> Operation | None:
        """NodeProto -> operation; None for a Constant, which is kept as a tensor."""
        node = self.parser.parse(view, NODE, "a node")
        kind, domain = text(node, "op_type"), text(node, "domain")
        inputs = [decoded(name) for name in node.get("input", [])]
        outputs = [decoded(name) for name in node.get("output", [])]
        name = text(node, "name") or next(filter(None, outputs), "")
        where = f"node {shown(name)}, a {shown(kind)}"
        if not kind or not any(outputs):
            raise ValueError(f"{where}: it has no op_type or makes nothing")
        self.check_made([value for value in inputs if value], where)
        attributes = read_attributes(self.parser, node.get("attribute", []), where)
        if kind == "Constant" and domain in _STANDARD:
            if inputs or len(outputs) != 1:
                raise ValueError(f"{where}: expected no input and one output")
            self.keep(outputs[0], constant(attributes, where))
            return None
        for output in filter(None, outputs):
            self.define(output)
        return Operation(
            checked_name(name),
            checked_name(kind if domain in _STANDARD else f"{domain}::{kind}"),
            tuple(inputs),
            tuple(outputs),
            {key: self.plain(key, value, outputs) for key, value in attributes.items()},
        )

    def plain(self, key: str, value: TypedValue, outputs: list[str]) -> Attribute:
        """Keep a tensor among the tensors; return the name it has there, others as they are."""
        if not isinstance(value, np.ndarray):
            return value
        name = f"{next(filter(None, outputs))}.{key}"
        self.keep(name, value)
        return name
