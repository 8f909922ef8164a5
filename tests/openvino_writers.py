"""OpenVINO IRs as bytes, written without OpenVINO: what the reader's tests read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

Array = np.ndarray[Any, Any]
Port = tuple[int, int]
"""A layer, by its place in the list, and one of its outputs, counted from 0."""

ELEMENT_TYPES = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "bool": "boolean",
}


@dataclass
class Layer:
    """One layer: what it reads, how many outputs it has, and its constant if it is one."""

    name: str
    kind: str
    inputs: Sequence[Port] = ()
    outputs: int = 1
    data: Mapping[str, str] = field(default_factory=dict)
    array: Array | None = None
    extra: str = ""


def parameter(name: str, shape: str) -> Layer:
    return Layer(name, "Parameter", data={"element_type": "f32", "shape": shape})


def constant(name: str, array: Array) -> Layer:
    return Layer(name, "Const", array=array)


def result(source: Port) -> Layer:
    return Layer("result", "Result", [source], outputs=0)


def ir_bytes(
    layers: Sequence[Layer], *, version: int = 11, comma: str = ",", order: Sequence[int] = ()
) -> tuple[bytes, bytes]:
    """Layers -> the XML and the constants.  Equal constants share their bytes, as OpenVINO does.

    Args:
        layers: in any order.
        version: of the IR.
        comma: between the sizes of a shape: older writers put a space after it.
        order: places of the layers in the XML, if not as given.
    """
    body, places = _constants(layers)
    lines = [f'<?xml version="1.0"?>\n<net name="small" version="{version}">\n\t<layers>']
    for place in order or range(len(layers)):
        lines += _layer(place, layers[place], places, comma)
    lines.append("\t</layers>\n\t<edges>")
    for place, layer in enumerate(layers):
        for port, (source, output) in enumerate(layer.inputs):
            from_port = len(layers[source].inputs) + output
            lines.append(
                f'\t\t<edge from-layer="{source}" from-port="{from_port}" to-layer="{place}" '
                f'to-port="{port}"/>'
            )
    lines.append(
        '\t</edges>\n\t<rt_info>\n\t\t<Runtime_version value="1.2"/>\n\t</rt_info>\n</net>'
    )
    return "\n".join(lines).encode(), body


def _constants(layers: Sequence[Layer]) -> tuple[bytes, dict[bytes, int]]:
    body = b""
    places: dict[bytes, int] = {}
    for layer in layers:
        if layer.array is not None:
            data = little(layer.array)
            if data not in places:
                places[data] = len(body)
                body += data
    return body, places


def _layer(place: int, layer: Layer, places: Mapping[bytes, int], comma: str) -> list[str]:
    data = dict(layer.data)
    if layer.array is not None:
        bits = little(layer.array)
        data = {
            "element_type": ELEMENT_TYPES[layer.array.dtype.name],
            "shape": comma.join(map(str, layer.array.shape)),
            "offset": str(places[bits]),
            "size": str(len(bits)),
        } | data
    name = f'name={quoteattr(layer.name)} type="{layer.kind}"'
    lines = [f'\t\t<layer id="{place}" {name} version="opset1">']
    if data:
        fields = " ".join(f"{key}={quoteattr(value)}" for key, value in data.items())
        lines.append(f"\t\t\t<data {fields}/>")
    first, count = len(layer.inputs), layer.outputs
    lines += _ports("input", range(first)) + _ports("output", range(first, first + count))
    return [*lines, layer.extra, "\t\t</layer>"]


def _ports(side: str, ids: range) -> list[str]:
    lines = [f'\t\t\t\t<port id="{id_}" precision="FP32"><dim>1</dim></port>' for id_ in ids]
    return [f"\t\t\t<{side}>", *lines, f"\t\t\t</{side}>"] if lines else []


def little(values: Array) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def stored_ir(folder: Path, xml: bytes, body: bytes | None) -> Path:
    """Write both files anew, as the old ones may still be mapped; None leaves out the constants."""
    path = folder / "net.xml"
    for file, data in ((path, xml), (path.with_suffix(".bin"), body)):
        file.unlink(missing_ok=True)
        if data is not None:
            file.write_bytes(data)
    return path


SMALL = [
    parameter("image", "1,2,4,4"),
    constant("kernel", np.arange(12, dtype=np.float32).reshape(2, 2, 3)),
    constant("axis", np.array(1)),
    Layer("conv", "Convolution", [(0, 0), (1, 0)], data={"strides": "2, 2", "auto_pad": "valid"}),
    constant("sizes", np.array([1, 1])),
    Layer("split", "VariadicSplit", [(3, 0), (2, 0), (4, 0)], outputs=2),
    Layer("half", "Add", [(5, 1), (5, 0)]),
    result((6, 0)),
]
"""A convolution, a split and a sum."""

XML, BODY = ir_bytes(SMALL)
"""The two files of ``SMALL``."""
