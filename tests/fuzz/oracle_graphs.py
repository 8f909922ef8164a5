"""Oracles of networks with their constants: OpenVINO by the standard XML, ONNX by a walk."""

from __future__ import annotations

import struct
from typing import Any
from xml.etree import ElementTree

from tests.fuzz.declared import ITEM_BYTES, Declared, Files, Stored, inside, require
from tests.fuzz.oracle_protobuf import Fields, content, messages, walk, whole, whole_numbers

_OPENVINO = {f"f{bits}": f"float{bits}" for bits in (16, 32, 64)}
_OPENVINO |= {f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_OPENVINO |= {"bf16": "bfloat16", "u8": "uint8", "boolean": "bool"}

_ONNX = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}
_ONNX |= {10: "float16", 11: "float64", 16: "bfloat16"}
_TENSOR = 4
_CONSTANTS = {"value": _TENSOR, "value_float": 1, "value_int": 2, "value_floats": 6}
_CONSTANTS |= {"value_ints": 7}


def openvino(files: Files) -> Declared:
    """An IR: the Const layers that an edge leaves, each with its span of the ``.bin``."""
    (text,) = (data for name, data in files.items() if name.endswith(".xml"))
    weights = next((data for name, data in files.items() if name.endswith(".bin")), b"")
    root = ElementTree.fromstring(text, ElementTree.XMLParser(encoding="utf-8"))
    read = {int(edge.attrib["from-layer"]) for edge in root.findall("edges/edge")}
    found: Declared = {}
    taken: set[str] = set()
    for layer in root.findall("layers/layer"):
        wanted = _value_names(layer, layer.attrib["name"])
        if not taken.isdisjoint(wanted):
            wanted = _value_names(layer, f"{layer.attrib['name']}#{int(layer.attrib['id'])}")
        taken.update(wanted)
        if layer.attrib["type"] == "Const" and int(layer.attrib["id"]) in read:
            (data,) = layer.findall("data")
            sizes = [part for part in data.attrib["shape"].split(",") if part.strip()]
            bits = inside(
                weights, int(data.attrib["offset"]), int(data.attrib["size"]), "a constant"
            )
            dtype = _OPENVINO[data.attrib["element_type"]]
            found[wanted[0]] = Stored(dtype, tuple(map(int, sizes)), bits)
    return found


def _value_names(layer: Any, name: str) -> list[str]:
    count = len(layer.findall("output/port"))
    return [name] if count == 1 else [f"{name}:{index}" for index in range(count)]


def onnx(files: Files) -> Declared:
    """An ONNX file: initializers, Constant nodes, and the tensors among other nodes' attributes."""
    (data,) = files.values()
    graph = walk(content(walk(data), 7))
    found: Declared = {}
    for tensor in messages(graph, 5):
        _keep(found, content(tensor, 8, b"").decode(), _tensor(tensor))
    for node in messages(graph, 1):
        outputs = [value.decode() for number, value in node if number == 2]  # type: ignore[union-attr]
        kind = (content(node, 4), content(node, 7, b""))
        for attribute in messages(node, 5):
            name, type_ = content(attribute, 1).decode(), whole(attribute, 20)
            if kind in ((b"Constant", b""), (b"Constant", b"ai.onnx")):
                _keep(found, outputs[0], _constant(name, type_, attribute))
            elif type_ == _TENSOR:
                first = next(filter(None, outputs))
                _keep(found, f"{first}.{name}", _tensor(walk(content(attribute, 5))))
    return found


def _keep(found: Declared, name: str, stored: Stored) -> None:
    require(name not in found, "a value twice")
    found[name] = stored


def _constant(name: str, type_: int, attribute: Fields) -> Stored:
    """The value of a Constant: which it is, its name and its type both say."""
    require(_CONSTANTS.get(name) == type_, f"{name} of type {type_}")
    if type_ == _TENSOR:
        return _tensor(walk(content(attribute, 5)))
    if name == "value_float":
        return Stored("float32", (), whole(attribute, 2, 0).to_bytes(4, "little"))
    if name == "value_int":
        return Stored("int64", (), struct.pack("<q", whole(attribute, 3, 0)))
    dtype, number = ("float32", 7) if name == "value_floats" else ("int64", 8)
    bits = _elements(attribute, number, dtype)
    return Stored(dtype, (len(bits) // ITEM_BYTES[dtype],), bits)


def _elements(message: Fields, number: int, dtype: str) -> bytes:
    """The elements of a repeated field, packed or not: fixed ones by their bits, or varints."""
    item = ITEM_BYTES[dtype]
    if dtype in ("float32", "float64"):
        values = [value for field, value in message if field == number]
        return b"".join(
            value if isinstance(value, bytes) else value.to_bytes(item, "little")
            for value in values
        )
    return b"".join(
        (value % 2 ** (8 * item)).to_bytes(item, "little")
        for value in whole_numbers(message, number)
    )


def _tensor(tensor: Fields) -> Stored:
    """A TensorProto: its raw bytes, or its elements in the field that its type has."""
    dtype, shape = _ONNX[whole(tensor, 2)], tuple(whole_numbers(tensor, 1))
    filled = {number for number, _ in tensor if number in (4, 5, 6, 7, 9, 10)}
    number = {"float32": 4, "float64": 10, "int64": 7}.get(dtype, 5)
    require(filled <= {9} or filled <= {number}, "elements in a field of another type")
    if 9 in filled:
        return Stored(dtype, shape, content(tensor, 9))
    return Stored(dtype, shape, _elements(tensor, number, dtype))
