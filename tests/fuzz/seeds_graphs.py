"""Small valid files of OpenVINO, ONNX and MindSpore."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from minimix.dialect import DIALECTS
from minimix.zoo import build
from tests import onnx_writers as ow
from tests.fuzz.mutations import Files, Seed
from tests.fuzz.narrow_model import mindcv_tensors, narrow_architecture, narrow_params
from tests.fuzz.oracle_protobuf import walk
from tests.fuzz.samples import FLOATS, SAMPLE, single
from tests.mindspore_writers import mindspore_bytes
from tests.openvino_writers import Layer, constant, ir_bytes, parameter, result
from weights_tools.export_onnx import onnx_model

_XML_TOKENS = (
    b'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    *(
        b"&b;",
        b"&#0;",
        b"&#x1b;",
        b"&#10;",
        b"&lt;",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?x?>",
    ),
    *(b"<?x?>", b'encoding="utf-16"', b"\xef\xbb\xbf", b"\xff\xfe", b"<layers>", b"</layers>"),
    *(
        b"</net>",
        b"<body>",
        b'<port id="0"/>',
        b'<data shape="0" offset="0" size="0"/>',
        b' name="x"',
    ),
    *(
        b' name="x"',
        b'type="Const"',
        b'type="Result"',
        b'type="Parameter"',
        b'"bf16"',
        b'"f64"',
        b'"boolean"',
    ),
)


def openvino() -> list[Seed]:
    """Three IRs: of a few operations, of all element types, and without any constant."""
    small = [
        parameter("image", "1,2,4,4"),
        constant("kernel", np.arange(12, dtype=np.float32).reshape(2, 2, 3)),
        constant("axis", np.array(1)),
        Layer("conv", "Convolution", [(0, 0), (1, 0)], data={"strides": "2, 2"}),
        constant("sizes", np.array([1, 1])),
        Layer("split", "VariadicSplit", [(3, 0), (2, 0), (4, 0)], outputs=2),
        Layer("half", "Add", [(5, 1), (5, 0)]),
        result((6, 0)),
    ]
    arrays = {**SAMPLE, **FLOATS}
    typed = [constant(name, array) for name, array in arrays.items()]
    typed.append(Layer("all", "Concat", [(n, 0) for n in range(len(typed))]))
    typed.append(result((len(typed) - 1, 0)))
    plain = [parameter("image", "?,3,-1,1..8"), Layer("relu", "ReLU", [(0, 0)]), result((1, 0))]
    return [
        _ir_seed(*ir_bytes(small)),
        _ir_seed(*ir_bytes(typed, version=10, comma=", ")),
        _ir_seed(*ir_bytes(plain)),
    ]


def _ir_seed(xml: bytes, body: bytes) -> Seed:
    """A seed in lines, which may be dropped and exchanged."""
    lines = {f"{n:05}": line for n, line in enumerate(xml.split(b"\n"))}
    return Seed(_ir({**lines, "bin": body}), {**lines, "bin": body}, _ir, _XML_TOKENS)


def _ir(pieces: Mapping[str, bytes]) -> Files:
    lines = [line for name, line in sorted(pieces.items()) if name != "bin"]
    files = {"net.xml": b"\n".join(lines)}
    return files | {"net.bin": pieces["bin"]} if "bin" in pieces else files


def onnx() -> list[Seed]:
    """Models of every way to store elements; and a MixNet, where the onnx package can write it."""
    raw = {f"raw {name}": ow.tensor(name, array) for name, array in SAMPLE.items()}
    typed = {f"typed {name}": ow.tensor(name, array, raw=False) for name, array in SAMPLE.items()}
    values = {"value": ow.tensor("", FLOATS["a"])}
    numbers = {"value_ints": [1, -2, 3]}
    nodes = {
        "node 0": ow.node("Constant", [], ["c0"], attributes=values),
        "node 1": ow.node("Constant", [], ["c1"], attributes=numbers),
        "node 2": ow.node("Constant", [], ["c2"], attributes={"value_float": 0.5}),
        "node 3": ow.node(
            "Conv",
            ["image", "conv.weight", ""],
            ["map"],
            name="conv",
            attributes={"pads": [0, 1, 0, 1], "auto_pad": "NOTSET", "alpha": 0.5, "group": 1},
        ),
        "node 4": ow.node(
            "Scale", ["map", "c0"], ["out"], domain="mine", attributes={"by": values["value"]}
        ),
    }
    ends = {"input": ow.value_info("image", ["N", 3, 8, 8]), "output": b"out"}
    seeds = [_onnx_seed(raw | nodes | ends), _onnx_seed(typed | nodes | ends)]
    if find_spec("onnx"):
        graph = build(narrow_architecture(), DIALECTS["timm"])
        model = onnx_model(graph, narrow_params(), 32, 32).SerializeToString()
        seeds.append(Seed(single(model), frequency=1, is_model=True))
    return seeds


def _onnx_seed(pieces: Mapping[str, bytes]) -> Seed:
    tokens = (
        *(
            b"\x0a\x00",
            b"\x4a\x00",
            b"\x08\x00",
            b"\x10\x01",
            b"\x70\x01",
            b"\x6a\x00",
            b"\x2a\x00",
        ),
        *(b"\x32\x00", b"\x52\x00", b"\x10\x10", b"\x10\x08", b"value", b"Constant", b"\x1b"),
    )
    return Seed(_onnx(pieces), pieces, _onnx, tokens)


def _onnx(pieces: Mapping[str, bytes]) -> Files:
    """Messages -> a model; their lengths are written anew."""
    kinds = {"node": [], "raw": [], "typed": []}  # type: dict[str, list[bytes]]
    for name, message in pieces.items():
        kinds.setdefault(name.split()[0], []).append(message)
    graph = ow.graph(kinds["node"], kinds["raw"] + kinds["typed"], kinds.get("input", []))
    output = ow.field(12, ow.field(1, pieces.get("output", b"")))
    return single(ow.model(graph + output, properties={"author": "tests"}))


def mindspore() -> list[Seed]:
    """Checkpoints with and without a checksum, packed sizes and parts; and a MixNet."""
    files = [
        mindspore_bytes(SAMPLE, crc=True),
        mindspore_bytes(FLOATS, packed=True),
        mindspore_bytes(FLOATS, parts=3),
    ]
    model = _mindspore_seed(mindspore_bytes(mindcv_tensors()), frequency=1, is_model=True)
    return [*(_mindspore_seed(data) for data in files), model]


def _mindspore_seed(data: bytes, **facts: Any) -> Seed:
    """A seed in entries; the checksum, where there is one, is made anew."""
    has_crc = data[-17:-10] == b"crc_num"
    entries = {
        f"{n:05}": value
        for n, (_, value) in enumerate(walk(data[:-17] if has_crc else data))
        if isinstance(value, bytes)
    }

    def assemble(pieces: Mapping[str, bytes]) -> Files:
        body = b"".join(ow.field(1, entry) for _, entry in sorted(pieces.items()))
        crc = b"crc_num" + zlib.crc32(body).to_bytes(10, "big") if has_crc else b""
        return single(body + crc)

    tokens = (
        *(b"\x0a\x00", b"\x12\x00", b"\x1a\x00", b"\x08\x00", b"\x08\x01", b"BFloat16", b"Bool"),
        *(b"Float64", b"crc_num", b"\x08" + b"\xff" * 9 + b"\x01", b"\x22\x00", b"\x1b"),
    )
    return Seed(single(data), entries, assemble, tokens, **facts)
