"""OpenVINO IR: round trips, the real file, damage, and what is refused."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import WeightsError
from tests.checkpoint_writers import same
from tests.openvino_writers import (
    BODY,
    ELEMENT_TYPES,
    SMALL,
    XML,
    Layer,
    constant,
    ir_bytes,
    parameter,
    result,
    stored_ir,
)
from tests.reference import REFERENCE, needs_reference
from weights_tools.readers import detect, read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces them."""
    return tmp_path_factory.mktemp("openvino")


arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(ELEMENT_TYPES)).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]) | st.just(" "), max_size=6)


@st.composite
def networks(draw: st.DrawFn) -> list[Layer]:
    """Layers in topological order: each reads ports before it, and every constant is read."""
    layers = [parameter(f"in{i}", "1,3") for i in range(draw(st.integers(1, 2)))]
    constants = draw(st.lists(arrays, max_size=5))
    layers += [constant(f"c{i}{draw(texts)}", array) for i, array in enumerate(constants)]
    ports = [(place, 0) for place in range(len(layers))]
    for i in range(draw(st.integers(0, 5))):
        inputs = draw(st.lists(st.sampled_from(ports), max_size=3))
        outputs = draw(st.integers(1, 3))
        data = draw(st.dictionaries(st.sampled_from(["axis", "mode", "k"]), texts))
        layers.append(Layer(f"op{i}{draw(texts)}", "Some", inputs, outputs, data))
        ports += [(len(layers) - 1, output) for output in range(outputs)]
    layers.append(Layer("all", "Join", ports))
    return [*layers, result((len(layers) - 1, 0)), result(draw(st.sampled_from(ports)))]


def value_name(layers: list[Layer], port: tuple[int, int]) -> str:
    layer = layers[port[0]]
    return layer.name if layer.outputs == 1 else f"{layer.name}:{port[1]}"


@given(layers=networks(), data=st.data())
def test_networks_come_back_with_every_constant_bit_for_bit(
    folder: Path, layers: list[Layer], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(layers))))
    comma = data.draw(st.sampled_from([",", ", "]))
    version = data.draw(st.sampled_from([10, 11]))
    xml, body = ir_bytes(layers, version=version, comma=comma, order=order)
    path = stored_ir(folder, xml, body)
    checkpoint = read(path)
    assert checkpoint.container == "openvino-ir"
    assert same(checkpoint.tensors, {v.name: v.array for v in layers if v.array is not None})
    assert not any(array.flags.writeable for array in checkpoint.tensors.values())
    assert all(array.flags.c_contiguous for array in checkpoint.tensors.values())
    assert checkpoint.parts == ({"net.bin": hashlib.sha256(body).hexdigest()} if body else {})
    assert checkpoint.metadata == {
        "name": "small",
        "ir_version": str(version),
        "Runtime_version": "1.2",
    }
    topology = checkpoint.topology
    assert topology is not None
    assert topology.inputs == {v.name: (1, 3) for v in layers if v.kind == "Parameter"}
    results = [value_name(layers, v.inputs[0]) for v in layers if v.kind == "Result"]
    assert Counter(topology.outputs) == Counter(results)
    found = {operation.name: operation for operation in topology.operations}
    places = [i for i, v in enumerate(layers) if v.kind in ("Some", "Join")]
    assert len(topology.operations) == len(places)
    for place in places:
        layer, operation = layers[place], found[layers[place].name]
        assert operation.kind == layer.kind and operation.attributes == layer.data
        assert operation.inputs == tuple(value_name(layers, port) for port in layer.inputs)
        outputs = [value_name(layers, (place, output)) for output in range(layer.outputs)]
        assert list(operation.outputs) == outputs
    made = set(topology.inputs) | set(checkpoint.tensors)
    for operation in topology.operations:
        assert made.issuperset(operation.inputs)
        made.update(operation.outputs)


def test_layers_of_one_name_are_told_apart_by_their_ids(folder: Path) -> None:
    same_name = [
        parameter("x", "1"),
        constant("x", np.ones(1, np.float32)),
        Layer("x", "Add", [(0, 0), (1, 0)]),
        Layer("x", "Split", [(2, 0)], outputs=2),
        Layer("x", "Split", [(3, 1)], outputs=2),
        result((4, 1)),
    ]
    checkpoint = read(stored_ir(folder, *ir_bytes(same_name)))
    assert checkpoint.topology is not None
    assert list(checkpoint.topology.inputs) == ["x"] and list(checkpoint.tensors) == ["x#1"]
    assert [(o.inputs, o.outputs) for o in checkpoint.topology.operations] == [
        (("x", "x#1"), ("x#2",)),
        (("x#2",), ("x:0", "x:1")),
        (("x:1",), ("x#4:0", "x#4:1")),
    ]
    assert checkpoint.topology.outputs == ("x#4:1",)


def test_sizes_that_are_free_are_zero(folder: Path) -> None:
    layers = [parameter("x", "-1, ?,1..32,..5,3..,224"), result((0, 0))]
    topology = read(stored_ir(folder, *ir_bytes(layers))).topology
    assert topology is not None and topology.inputs == {"x": (0, 0, 0, 0, 0, 224)}
    assert topology.outputs == ("x",)


def test_equal_constants_share_one_array(folder: Path) -> None:
    ones = np.ones((2, 3), np.float32)
    layers = [
        constant("a", ones),
        constant("b", ones.reshape(6)),
        constant("c", ones.view(np.int32)),
        Layer("op", "Join", [(0, 0), (1, 0), (2, 0)]),
    ]
    xml, body = ir_bytes(layers)
    tensors = read(stored_ir(folder, xml, body)).tensors
    assert len(body) == 24 and np.shares_memory(tensors["a"], tensors["b"])
    assert same(tensors, {str(layer.name): layer.array for layer in layers[:3]})  # type: ignore[misc]


def test_bfloat16_constants_become_float32(folder: Path) -> None:
    layers = [
        constant("w", np.array([0x3F80, 0xC020], np.uint16).view(np.int16)),
        Layer("op", "X", [(0, 0)]),
    ]
    xml, body = ir_bytes(layers)
    tensors = read(stored_ir(folder, xml.replace(b'"i16"', b'"bf16"'), body)).tensors
    assert same(tensors, {"w": np.array([1.0, -2.5], np.float32)})


def test_a_constant_that_nothing_reads_is_left_out(folder: Path) -> None:
    xml, body = ir_bytes([*SMALL, constant("spare", np.ones(3))])
    xml = xml.replace(b'"f64"', b'"nf4"')
    assert set(read(stored_ir(folder, xml, body)).tensors) == {"kernel", "axis", "sizes"}


DECLARATION = b'<?xml version="1.0"?>\n'
ROOT = b'<net name="n" version="11"/>'


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (ROOT, "openvino-ir"),
        (DECLARATION + b"<net\n\tversion = '10' name='n'></net>", "openvino-ir"),
        (b"\xef\xbb\xbf" + DECLARATION + ROOT, "openvino-ir"),
        (b"\r\n <!-- a -->\t<?pi?><!--b-->" + ROOT, "openvino-ir"),
        (DECLARATION + b"<!DOCTYPE net>" + ROOT, "openvino-ir"),
        (DECLARATION + b'<!DOCTYPE net [<!ENTITY a "b">] >' + ROOT, "openvino-ir"),
        (DECLARATION + b"<!-- " * 10_000 + ROOT, "xml"),
        (DECLARATION + b"<!DOCTYPE net [" + ROOT, "xml"),
        (DECLARATION + b'<net name="n"/>', "xml"),
        (DECLARATION + b"<network version='1'/>", "xml"),
        (b"<root>" + ROOT + b"</root>", None),
        (b"version " + ROOT, None),
    ],
)
def test_an_ir_is_known_by_its_root(data: bytes, container: str | None, folder: Path) -> None:
    path = stored_ir(folder, data, None)
    if container is None:
        with pytest.raises(WeightsError, match="which no known checkpoint does"):
            detect(path)
    else:
        assert detect(path) == container


def test_the_xml_cut_off_anywhere_is_an_error(folder: Path) -> None:
    for length in range(len(XML)):
        with pytest.raises(WeightsError, match=r"net\.xml: "):
            read(stored_ir(folder, XML[:length], BODY))


def test_the_constants_cut_off_anywhere_are_an_error(folder: Path) -> None:
    for length in range(len(BODY)):
        with pytest.raises(WeightsError, match=r"the file is empty|which has \d+: it is cut off"):
            read(stored_ir(folder, XML, BODY[:length]))


def test_changed_constants_are_read_as_they_are_now(folder: Path) -> None:
    for position in range(len(BODY)):
        changed = BODY[:position] + bytes([BODY[position] ^ 0x5A]) + BODY[position + 1 :]
        expected = {
            "kernel": np.frombuffer(changed, "<f4", 12, 0).reshape(2, 2, 3),
            "axis": np.frombuffer(changed, "<i8", 1, 48).reshape(()),
            "sizes": np.frombuffer(changed, "<i8", 2, 56),
        }
        assert same(read(stored_ir(folder, XML, changed)).tensors, expected)


def declared_constants(xml: bytes, body: bytes) -> set[tuple[str, bytes]]:
    """Shape as text without spaces, bytes: of each constant, by another parser."""
    found = set()
    for layer in ElementTree.fromstring(xml).iterfind("layers/layer[@type='Const']"):
        data = layer.find("data")
        if data is not None and {"offset", "size", "shape"} <= data.attrib.keys():
            start, size = int(data.attrib["offset"]), int(data.attrib["size"])
            shape = str(tuple(int(n) for n in data.attrib["shape"].split(",") if n.strip()))
            found.add((shape, body[start : start + size]))
    return found


@settings(max_examples=400)
@given(data=st.data())
def test_changed_xml_gives_the_bytes_at_the_declared_places_or_a_weights_error(
    folder: Path, data: st.DataObject
) -> None:
    xml = bytearray(XML)
    for position in data.draw(st.lists(st.integers(0, len(xml) - 1), min_size=1, max_size=3)):
        xml[position] = data.draw(
            st.sampled_from(list(b'0123456789<>"=/ \0\xff') + [xml[position] ^ 1])
        )
    path = stored_ir(folder, bytes(xml), BODY)
    try:
        tensors = read(path).tensors
    except WeightsError as error:
        assert str(error).startswith(str(path))
        return
    declared = declared_constants(bytes(xml), BODY)
    for array in tensors.values():
        assert (str(array.shape), array.tobytes()) in declared


@needs_reference
def test_the_real_ir_holds_what_its_xml_counts() -> None:
    path = REFERENCE / "openvino" / "mixnet-l.xml"
    checkpoint = read(path)
    body = path.with_suffix(".bin").read_bytes()
    layers = list(ElementTree.parse(path).iterfind("layers/layer"))
    kinds = Counter(layer.attrib["type"] for layer in layers)
    topology = checkpoint.topology
    assert topology is not None
    operations = Counter(operation.kind for operation in topology.operations)
    assert len(checkpoint.tensors) == kinds.pop("Const")
    assert operations == kinds - Counter(["Parameter", "Result"])
    assert topology.inputs == {"IteratorGetNext/placeholder_out_port_0": (1, 224, 224, 3)}
    assert topology.outputs == ("mixnet-l/mixnet_model/head/dense/BiasAdd/Add",)
    for layer in layers:
        if layer.attrib["type"] == "Const":
            data = layer.find("data")
            assert data is not None
            start, size = int(data.attrib["offset"]), int(data.attrib["size"])
            array = checkpoint.tensors[layer.attrib["name"]]
            assert array.tobytes() == body[start : start + size]
    assert checkpoint.parts == {"mixnet-l.bin": hashlib.sha256(body).hexdigest()}


@pytest.mark.filterwarnings("ignore")
def test_irs_of_todays_openvino_are_read(folder: Path) -> None:
    openvino: Any = pytest.importorskip("openvino")
    ops: Any = pytest.importorskip("openvino.opset13")
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    image = ops.parameter([-1, 3, 8, 8], np.float32, name="image")
    convolved = ops.convolution(
        image, ops.constant(kernel, name="kernel"), [1, 1], [0, 0], [0, 0], [1, 1], name="conv"
    )
    network = openvino.Model([ops.relu(convolved, name="act")], [image], "small")
    for half in (False, True):
        path = folder / f"today{half}.xml"
        openvino.save_model(network, path, compress_to_fp16=half)
        checkpoint = read(path)
        assert checkpoint.topology is not None
        kinds = [operation.kind for operation in checkpoint.topology.operations]
        assert kinds == ["Convert"] * half + ["Convolution", "ReLU"]
        assert checkpoint.topology.inputs == {"image": (0, 3, 8, 8)}
        (array,) = checkpoint.tensors.values()
        assert array.dtype == (np.float16 if half else np.float32)
        assert np.array_equal(array, kernel)
