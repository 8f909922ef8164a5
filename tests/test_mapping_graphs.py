"""Networks as ONNX and OpenVINO state them: whatever the spelling, our parameters come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.params import Params
from minimix.zoo import Architecture, architecture, build
from tests.graph_operations import SPELLINGS
from tests.graph_writers import Form, Written, write
from tests.strategies import random_params
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.mappings.mapped import Mapped

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
FOLDED = {name: DIALECTS[name].folded() for name in ("timm", "timm-tf", "mindcv")}


@st.composite
def narrow_architectures(draw: st.DrawFn) -> Architecture:
    """A family with narrow widths of its own, and a few classes."""
    family = architecture(
        draw(st.sampled_from(["mixnet-s", "mixnet-m", "mixnet-l", "mixnet-xl"])),
        num_classes=draw(st.integers(1, 9)),
    )
    widths = {family.stem_channels} | {block.out_channels for block in family.blocks}
    narrow = {width: draw(st.integers(2, 9)) for width in sorted(widths)}
    return replace(
        family,
        # m, l and pocket's wider siblings share their structure: the first of them lends its name.
        name=f"{family.name.replace('mixnet-l', 'mixnet-m')}-custom",
        stem_channels=narrow[family.stem_channels],
        head_channels=draw(st.integers(1, 12)),
        blocks=tuple(
            replace(
                block,
                in_channels=narrow[block.in_channels],
                out_channels=narrow[block.out_channels],
            )
            for block in family.blocks
        ),
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
FIXED = st.just({}) | st.fixed_dictionaries(
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
        if name.rpartition(".")[0].removesuffix(".0") in written.scaled or any(
            name.startswith(f"{node}.") for node in written.scaled
        ):
            is_bias = name.endswith("bias")
            tolerance = {"atol": BIAS_ROUNDING} if is_bias else {"rtol": WEIGHT_ROUNDING, "atol": 0}
            np.testing.assert_allclose(found, expected, **{"rtol": 0, **tolerance}, err_msg=name)
        else:
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32), name)


def assert_all_constants_told(mapped: Mapped, written: Written) -> None:
    """Check that each constant is a source or ignored, and that weights name their own."""
    sources = {name for names in mapped.sources.values() for name in names}
    assert sources | mapped.ignored.keys() == written.checkpoint.tensors.keys()
    assert not sources & mapped.ignored.keys()
    for name, constant in written.made_of.items():
        assert mapped.sources[name][0] == constant


def expected_pipelines(form: Form) -> dict[str, Any]:
    """What every pipeline must say of the input, where the graph says it."""
    if form.mean is None and form.std is None:
        return {"channels": "BGR" if form.reversed else "RGB"}
    mean, std = form.mean or (0.0, 0.0, 0.0), form.std or (1.0, 1.0, 1.0)
    turned = "BGR" if form.reversed else "RGB"
    channels = turned if mean[0] == mean[2] else "RGB" if mean[0] > mean[2] else "BGR"
    white = 255.0 if max(*mean, *std) > 2 else 1.0
    return {"channels": channels, "range": white, "mean": mean, "std": std}


@settings(max_examples=120)
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
    params = random_params(build(arch, dialect), seed % 1000)
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
    for pipeline in mapped.pipelines:
        assert pipeline.size == form.size
        for what, value in expected_pipelines(form).items():
            if pipeline.name != "omz" or form.mean or form.std:
                assert getattr(pipeline, what) == pytest.approx(value, rel=2e-3)
