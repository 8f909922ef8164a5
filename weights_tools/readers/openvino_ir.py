"""OpenVINO IR: the network in an XML file, its constants beside it in a file of plain bytes.

Each constant's layer says where in the ``.bin`` it lies; equal constants may share their bytes.
The topology is checked whole: every input port is fed by one edge, and nothing feeds itself.
Format: "OpenVINO IR format" of the OpenVINO documentation; IR versions 10 and 11.
"""

from __future__ import annotations

import heapq
import re
from xml.parsers.expat import ExpatError

from weights_tools.readers.checkpoint import Contents, checked_name, checked_sizes, shown
from weights_tools.readers.openvino_constants import (
    Constant,
    declared,
    open_weights,
    read_constants,
)
from weights_tools.readers.source import Source
from weights_tools.readers.topology import Operation, Topology
from weights_tools.readers.xml_net import Layer, Net, is_net, parse_net

_ADVICE = "The file is damaged, or not what OpenVINO writes: download or convert it again"
_FREE = re.compile(r"-1|\?|[0-9]*\.\.[0-9]*")
_FIXED = re.compile(r"[0-9]{1,18}")
_PORTS = {"Parameter": (0, 1), "Const": (0, 1), "Result": (1, 0)}
"""Layers that are no operations -> the number of their input and output ports."""

Port = tuple[int, int]
"""A layer's id and the id of one of its ports, as edges name them."""


def is_openvino(source: Source) -> bool:
    """Whether the file is XML whose root is ``net`` with a version."""
    return is_net(source)


def read_openvino(source: Source) -> Contents:
    """Open XML file -> the constants that operations read, and the operations.

    Raises:
        WeightsError: the XML is damaged, refused or no consistent network, or the ``.bin`` beside
            it is missing or does not hold the constants.
    """
    try:
        net = parse_net(source)
        graph = _Graph(net)
        topology = graph.topology()
        constants = graph.constants()
        needed = any(constant.size_bytes for constant in constants.values())
        weights = open_weights(source) if needed else None
        tensors = read_constants(constants, weights)
    except (ValueError, ExpatError) as error:
        raise source.fail(f"OpenVINO IR: {error}. {_ADVICE}") from error
    metadata = {"name": net.name, "ir_version": net.version, **net.metadata}
    parts = {weights.path.name: weights.sha256()} if weights else {}
    return Contents(tensors, metadata, topology, parts)


class _Graph:
    """Layers by id, what feeds each of their inputs, and the names of the values they make."""

    def __init__(self, net: Net) -> None:
        self.layers: dict[int, Layer] = {}
        for layer in net.layers:
            if layer.id in self.layers:
                raise ValueError(f"two layers have the id {layer.id}")
            self.layers[layer.id] = layer
            _check_ports(layer)
        self.values = _value_names(net.layers)
        self.feeds = self.check_edges(net)

    def check_edges(self, net: Net) -> dict[Port, Port]:
        """Input port -> the output port that feeds it, for each input port exactly one."""
        feeds: dict[Port, Port] = {}
        inputs = {(layer.id, port) for layer in net.layers for port in layer.inputs}
        if len(inputs) != sum(len(layer.inputs) for layer in net.layers):
            raise ValueError("a layer has two input ports of the same id")
        for edge in net.edges:
            if edge.source not in self.values or edge.target not in inputs:
                raise ValueError(
                    f"an edge from port {edge.source[1]} of layer {edge.source[0]} to port "
                    f"{edge.target[1]} of layer {edge.target[0]}; there is no such port"
                )
            if edge.target in feeds:
                raise ValueError(f"{self.where(edge.target)} is fed by two edges")
            feeds[edge.target] = edge.source
        unfed = inputs - feeds.keys()
        if unfed:
            raise ValueError(f"{self.where(min(unfed))} is fed by no edge")
        return feeds

    def where(self, port: Port) -> str:
        return f"input port {port[1]} of layer {port[0]}, {shown(self.layers[port[0]].name)},"

    def sources(self, layer: Layer) -> list[Port]:
        """The output ports that a layer reads, in the order of its input ports."""
        return [self.feeds[layer.id, port] for port in layer.inputs]

    def reads(self, layer: Layer) -> tuple[str, ...]:
        return tuple(self.values[port] for port in self.sources(layer))

    def makes(self, layer: Layer) -> tuple[str, ...]:
        return tuple(self.values[layer.id, port] for port in layer.outputs)

    def constants(self) -> dict[str, Constant]:
        """Value name -> constant, of those that are read, in the order of the file."""
        read = set(self.feeds.values())
        return {
            self.values[layer.id, port]: declared(layer)
            for layer in self.layers.values()
            if layer.kind == "Const"
            for port in layer.outputs
            if (layer.id, port) in read
        }

    def topology(self) -> Topology:
        inputs: dict[str, tuple[int, ...]] = {}
        outputs: list[str] = []
        operations: list[Operation] = []
        for layer in self.sorted():
            if layer.kind == "Parameter":
                inputs[self.makes(layer)[0]] = _free_shape(layer)
            elif layer.kind == "Result":
                outputs.extend(self.reads(layer))
            elif layer.kind != "Const":
                operations.append(
                    Operation(
                        checked_name(layer.name),
                        checked_name(layer.kind),
                        self.reads(layer),
                        self.makes(layer),
                        layer.data,
                    )
                )
        return Topology(inputs, tuple(outputs), tuple(operations))

    def sorted(self) -> list[Layer]:
        """Layers, each after those it reads; in the order of the file as far as that allows."""
        place = {id_: index for index, id_ in enumerate(self.layers)}
        waits: dict[int, int] = {}
        readers: dict[int, list[int]] = {id_: [] for id_ in self.layers}
        for layer in self.layers.values():
            before = {port[0] for port in self.sources(layer)}
            waits[layer.id] = len(before)
            for id_ in before:
                readers[id_].append(layer.id)
        ready = [(place[id_], id_) for id_, count in waits.items() if not count]
        result: list[Layer] = []
        while ready:
            _, id_ = heapq.heappop(ready)
            result.append(self.layers[id_])
            for reader in readers[id_]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (place[reader], reader))
        if len(result) != len(self.layers):
            stuck = next(id_ for id_, count in waits.items() if count)
            raise ValueError(
                f"layer {stuck}, {shown(self.layers[stuck].name)}, is in or after a cycle of edges"
            )
        return result


def _check_ports(layer: Layer) -> None:
    found = len(layer.inputs), len(layer.outputs)
    if found != _PORTS.get(layer.kind, found):
        raise ValueError(
            f"layer {layer.id}, a {layer.kind}, has {found[0]} input and {found[1]} output ports; "
            "expected {} and {}".format(*_PORTS[layer.kind])
        )


def _value_names(layers: list[Layer]) -> dict[Port, str]:
    """Output port -> the name of its value: the layer's, with the port's place where several."""
    names: dict[Port, str] = {}
    taken: set[str] = set()
    for layer in layers:
        wanted = _numbered(layer.name, layer)
        if not taken.isdisjoint(wanted):
            wanted = _numbered(f"{layer.name}#{layer.id}", layer)
        for port, name in zip(layer.outputs, wanted, strict=True):
            if name in taken or (layer.id, port) in names:
                raise ValueError(f"layer {layer.id}: its value {shown(name)} is there already")
            names[layer.id, port] = checked_name(name)
            taken.add(name)
    return names


def _numbered(name: str, layer: Layer) -> list[str]:
    count = len(layer.outputs)
    return [name] if count == 1 else [f"{name}:{index}" for index in range(count)]


def _free_shape(layer: Layer) -> tuple[int, ...]:
    """Shape of a Parameter, 0 for a size that is free: -1, ?, or a range such as 1..32."""
    text = layer.data.get("shape")
    if text is None:
        raise ValueError(f"layer {layer.id}, {shown(layer.name)}: a Parameter without a shape")
    parts = [part.strip() for part in text.split(",", 64)] if text.strip() else []
    if not all(_FIXED.fullmatch(part) or _FREE.fullmatch(part) for part in parts):
        raise ValueError(f"layer {layer.id}, {shown(layer.name)}: the shape {shown(text)}")
    sizes = [0 if _FREE.fullmatch(part) else int(part) for part in parts]
    return checked_sizes(sizes, f"layer {layer.id}: shape")
