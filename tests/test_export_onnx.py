"""``weights_tools.export_onnx``: what ONNX Runtime computes is what the reference engine does."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings

from minimix import weights
from minimix.dialect import DIALECTS
from minimix.engine.reference import ReferenceEngine
from minimix.errors import UsageError
from minimix.graph import Graph, Node
from minimix.hub import locate
from minimix.operators import Conv, GlobalAveragePool, Input, Linear, MixConv, Pointwise
from minimix.params import frozen
from minimix.passes import optimize
from minimix.tolerances import SAME_NETWORK
from minimix.zoo import architecture, build
from tests.cli import run
from tests.strategies import assert_same_outputs, random_networks, random_params, run_all
from weights_tools.__main__ import main
from weights_tools.export_onnx import OPSET, export, onnx_model

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None, reason="onnx is missing: pip install 'minimix[onnx]'"
)
needs_runtime = pytest.mark.skipif(
    find_spec("onnx") is None or find_spec("onnxruntime") is None,
    reason="onnx or onnxruntime is missing: pip install 'minimix[onnx,bench]'",
)


def run_onnx(model, x):
    """(N, H, W, C) -> the outputs, maps as (N, H, W, C) again."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    outs = session.run(None, {session.get_inputs()[0].name: nchw})
    return [out.transpose(0, 2, 3, 1) if out.ndim == 4 else out for out in outs]


def dilated(padding):
    """A small network with a dilated MixConv of stride 2 and a grouped pointwise."""
    nodes = (
        Node("image", Input(3, 16)),
        Node("stem.conv", Conv(8, 3, 2, padding), ("image",)),
        Node("mix", MixConv((3, 5, 3), 2, padding, (2, 1, 4)), ("stem.conv",)),
        Node("project", Pointwise(11, groups=2, bias=True), ("mix",)),
        Node("pool", GlobalAveragePool(), ("project",)),
        Node("classifier", Linear(5), ("pool",)),
    )
    return Graph("dilated", nodes, ("classifier",))


@needs_runtime
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("size", [32, 45])
def test_dilated_kernels_and_uneven_pads_survive(padding, size):
    graph = dilated(padding)
    params = random_params(graph, seed=3)
    x = np.random.default_rng(0).normal(size=(2, size, size + 3, 3)).astype(np.float32)
    (expected,) = ReferenceEngine(graph, params).run(x)
    (found,) = run_onnx(onnx_model(graph, params, size, size + 3), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME_NETWORK * np.abs(expected).max())


@needs_runtime
@pytest.mark.parametrize("dialect", ["timm", "timm-tf", "mindcv", "omz"])
def test_every_dialect_of_a_family_gives_the_same_logits(dialect):
    graph = build(architecture("mixnet-s", num_classes=7), DIALECTS[dialect])
    params = random_params(graph, seed=5)
    x = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    (expected,) = ReferenceEngine(graph, params).run(x)
    (found,) = run_onnx(onnx_model(graph, params, 64, 64), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME_NETWORK * np.abs(expected).max())


@needs_runtime
@settings(max_examples=40)
@given(random_networks())
def test_any_graph_means_the_same_in_onnx(network):
    graph, params, x = network
    outputs = tuple(name for name in graph.outputs if name != graph.nodes[0].name)
    graph = Graph(graph.name, graph.nodes, outputs or (graph.nodes[-1].name,))
    arrays = run_all(graph, params, x)
    largest = max(np.abs(array).max() for array in arrays.values())
    found = run_onnx(onnx_model(graph, params, *x.shape[1:3]), x)
    assert_same_outputs(found, [arrays[n] for n in graph.outputs], largest, SAME_NETWORK)


@needs_runtime
def test_the_embedded_model_is_written_with_its_labels(capsys, tmp_path):
    import onnx

    out = tmp_path / "pocket.onnx"
    path = locate("mixnet-pocket")
    code, said, _ = run(capsys, "export", path, "-o", out, entry=main)
    assert code == 0 and "mixnet-pocket" in said and "(N, 3, 96, 96)" in said
    model, file = onnx.load(out), weights.load(path)
    stored = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(stored["labels"])) == file.labels
    assert json.loads(stored["pipeline"])["size"] == 96
    assert model.opset_import[0].version == OPSET
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    x = np.random.default_rng(2).normal(size=(3, 96, 96, 3)).astype(np.float32)
    (expected,) = ReferenceEngine(file.graph, file.params).run(x)
    (found,) = run_onnx(model, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME_NETWORK * np.abs(expected).max())


@needs_onnx
def test_an_existing_file_is_left_alone_without_force(tiny_model, tmp_path):
    out = tmp_path / "tiny.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already; give --force"):
        export(tiny_model, out)
    assert out.read_bytes() == b"mine"
    export(tiny_model, out, size=96, force=True)
    assert out.stat().st_size > 1_000_000
    assert list(tmp_path.iterdir()) == [out]


@needs_onnx
def test_a_model_is_not_exported_over_itself(tiny_model):
    with pytest.raises(UsageError, match="which it would replace"):
        export(tiny_model, tiny_model, force=True)


@needs_onnx
def test_a_fused_graph_is_refused_by_the_name_of_its_node(tiny_model):
    file = weights.load(tiny_model)
    graph, params = optimize(file.graph, file.params)
    with pytest.raises(UsageError, match=r"blocks\.\d+\..* has no ONNX form; export before fusing"):
        onnx_model(graph, params, 64, 64)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch, tiny_model, tmp_path
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'minimix\[onnx\]'"):
        export(tiny_model, tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_parameters_of_a_dtype_of_their_own_become_float32():
    graph = dilated("same")
    params = frozen({k: v.astype(np.float64) for k, v in random_params(graph, 1).items()})
    model = onnx_model(graph, params, 32, 32)
    import onnx

    kinds = {constant.data_type for constant in model.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
