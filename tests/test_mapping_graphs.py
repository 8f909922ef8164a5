"""Networks as ONNX and OpenVINO state them: whatever the spelling, our parameters come out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS, PIPELINES
from minimix.params import Params
from minimix.passes import fold_batchnorm
from minimix.zoo import Architecture, architecture, build
from tests.checkpoint_writers import same
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.graph_checkpoints import Written
from tests.graph_networks import FOLDED, NARROW, narrow_architectures, plain
from tests.graph_operations import SPELLINGS
from tests.graph_writers import Form, write
from tests.reference import REFERENCE, needs_reference
from tests.strategies import random_params
from weights_tools import readers
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.timm import map_timm

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None, reason="onnx is missing: pip install 'minimix[onnx]'"
)

WEIGHT_ROUNDING = 2.0**-22
"""Of a weight that the graph scales, relative: the quotient, the factor and their product round
to float32, at most 2**-24 each, and batch norm's gamma once more."""

BIAS_ROUNDING = 1e-6
"""Of a bias beside it, absolute: terms of at most 2 round to float32, four times."""

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
NORMALISATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"mean": IMAGENET[0], "std": IMAGENET[1]},
    {"mean": IMAGENET[0][::-1], "std": IMAGENET[1][::-1]},
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    {"std": (255.0, 255.0, 255.0)},
    {"mean": IMAGENET[0]},
)
FORMS = st.builds(
    lambda normalisation, free, size, **fields: Form(
        **fields, **normalisation, free=free, size=224 if free else size
    ),
    normalisation=st.sampled_from(NORMALISATIONS),
    free=st.booleans(),
    size=st.sampled_from([32, 64, 224, 96, 33, 65]),
    container=st.sampled_from(["onnx", "openvino-ir"]),
    batch=st.integers(0, 1),
    channels_last=st.booleans(),
    reversed=st.booleans(),
    half=st.booleans(),
)
FIXED: st.SearchStrategy[dict[str, str]] = st.just({}) | st.fixed_dictionaries(
    {}, optional={what: st.sampled_from(options) for what, options in SPELLINGS.items()}
)


def halved(params: Params) -> dict[str, Any]:
    """Parameters that float16 holds exactly."""
    return {name: array.astype(np.float16).astype(np.float32) for name, array in params.items()}


def assert_same_params(mapped: Mapped, written: Written, params: Params) -> None:
    """Check every parameter bit for bit, or within the rounding of what was scaled."""
    assert mapped.params.keys() == params.keys()
    for name, expected in params.items():
        found = mapped.params[name]
        assert found.dtype == np.float32 and found.flags.c_contiguous
        if name.startswith(tuple(f"{node}." for node in written.scaled)):
            is_bias = name.endswith("bias")
            rtol, atol = (0, BIAS_ROUNDING) if is_bias else (WEIGHT_ROUNDING, 0)
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32), name)


def assert_all_constants_told(mapped: Mapped, written: Written) -> None:
    """Check that each constant is a source or ignored, and that weights name their own."""
    sources = {name for names in mapped.sources.values() for name in names}
    assert sources | mapped.ignored.keys() == written.checkpoint.tensors.keys()
    assert not sources & mapped.ignored.keys()
    for name, constant in written.made_of.items():
        assert mapped.sources[name][0] == constant


def assert_pipelines(mapped: Mapped, form: Form) -> None:
    """Check that every pipeline says of the input what the graph says."""
    mean, std = form.mean or (0.0, 0.0, 0.0), form.std or (1.0, 1.0, 1.0)
    is_bgr = form.reversed if mean[0] == mean[2] else mean[0] < mean[2]
    for pipeline in mapped.pipelines:
        assert pipeline.size == form.size
        if form.mean or form.std:
            assert pipeline.channels == ("BGR" if is_bgr else "RGB")
            assert pipeline.range == (255.0 if max(*mean, *std) > 2 else 1.0)
            rounding = 2e-3 if form.half else 1e-6
            assert pipeline.mean == pytest.approx(mean, rel=rounding, abs=1e-6)
            assert pipeline.std == pytest.approx(std, rel=rounding)
        elif form.reversed and pipeline.name != "omz":
            usual = PIPELINES[pipeline.name]
            assert (pipeline.channels, pipeline.mean) == ("BGR", usual.mean[::-1])
        else:
            assert pipeline == PIPELINES[pipeline.name].with_size(form.size)


@settings(max_examples=50)
@given(
    arch=narrow_architectures(),
    origin=st.sampled_from(sorted(FOLDED)),
    form=FORMS,
    fixed=FIXED,
    seed=st.integers(0, 2**32),
)
def test_however_a_network_is_spelled_its_parameters_come_out(
    arch: Architecture, origin: str, form: Form, fixed: Mapping[str, str], seed: int
) -> None:
    dialect = FOLDED[origin]
    params: Params = random_params(build(arch, dialect), seed % 1000)  # type: ignore[no-untyped-call]
    params = halved(params) if form.half else params
    written = write(arch, dialect, params, form, seed=seed, fixed=fixed)
    mapped = map_topology(written.checkpoint)
    assert mapped.architecture == arch
    assert_same_params(mapped, written, params)
    assert_all_constants_told(mapped, written)
    assert (dialect.padding, dialect.se_activation) in {
        (found.padding, found.se_activation) for found in mapped.dialects
    }
    assert len(mapped.dialects) == 1 or form.size % 32
    assert_pipelines(mapped, form)


@pytest.mark.parametrize("case", CASES)
def test_networks_of_timm_s_own_making_come_out(case: str) -> None:
    timm = map_timm(timm_tensors(CASES[case]))
    dialect = FOLDED[CASES[case].dialect]
    _, params = fold_batchnorm(build(timm.architecture, timm.dialects[0]), timm.params)
    written = write(timm.architecture, dialect, params, seed=CASES[case].seed)
    mapped = map_topology(written.checkpoint)
    assert (mapped.architecture, mapped.dialects) == (timm.architecture, (dialect,))
    assert_same_params(mapped, written, params)


def test_what_a_file_calls_same_is_so_at_any_size() -> None:
    # At 33 pixels both paddings put zeros at the same places.
    told, untold = (plain(size=33, padding=spelled) for spelled in ("auto", "attribute"))
    assert [dialect.name for dialect in map_topology(told.checkpoint).dialects] == ["timm-tf"]
    names = {dialect.name for dialect in map_topology(untold.checkpoint).dialects}
    assert names == {"timm", "timm-tf"}


def test_bgr_pictures_normalised_inside_are_open_model_zoo_s() -> None:
    written = plain(mean=IMAGENET[0][::-1], std=IMAGENET[1][::-1], channels_last=True)
    mapped = map_topology(written.checkpoint)
    assert [dialect.name for dialect in mapped.dialects] == ["omz"]
    assert mapped.likely == "omz"
    # Anyone can turn a network and put the normalisation inside: whoever did may say so.
    assert [pipeline.name for pipeline in mapped.pipelines] == list(PIPELINES)
    (found,) = {(p.channels, p.range, p.mean, p.std) for p in mapped.pipelines}
    assert found[:2] == ("BGR", 255.0)


@needs_onnx
@pytest.mark.parametrize("origin", ["timm", "timm-tf", "mindcv", "omz"])
def test_our_own_export_reads_back_bit_for_bit(origin: str, tmp_path: Path) -> None:
    from weights_tools.export_onnx import onnx_model

    graph = build(NARROW, DIALECTS[origin])
    params: Params = random_params(graph, 3)  # type: ignore[no-untyped-call]
    path = tmp_path / "own.onnx"
    path.write_bytes(onnx_model(graph, params, 96, 96).SerializeToString())
    mapped = map_topology(readers.read(path))
    _, folded = fold_batchnorm(graph, params)
    assert mapped.architecture == NARROW
    assert mapped.pipelines[0].size == 96
    assert same(mapped.params, folded)


@needs_reference
def test_open_model_zoo_s_mixnet_l_is_taken_over_whole() -> None:
    checkpoint = readers.read(REFERENCE / "openvino" / "mixnet-l.xml")
    mapped = map_topology(checkpoint)
    assert mapped.architecture == architecture("mixnet-l")
    assert mapped.dialects == (DIALECTS["omz"],)
    (pipeline,) = (one for one in mapped.pipelines if one.name == mapped.likely)
    assert (pipeline.name, pipeline.channels, pipeline.range) == ("omz", "BGR", 255.0)
    assert pipeline.mean == pytest.approx(IMAGENET[0][::-1], rel=1e-6)
    assert pipeline.std == pytest.approx(IMAGENET[1][::-1], rel=1e-6)
    sources = {name for names in mapped.sources.values() for name in names}
    assert sources | mapped.ignored.keys() == checkpoint.tensors.keys()
    floats = {name for name in mapped.ignored if checkpoint.tensors[name].dtype.kind == "f"}
    assert {mapped.ignored[name] for name in floats} == {
        "normalisation of the picture: mean and std of the pipeline"
    }
