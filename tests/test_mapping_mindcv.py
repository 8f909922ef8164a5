"""MindCV's names and layouts: turned into ours whole, or refused by the tensor's name."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import WeightsError
from minimix.model import Model
from minimix.weights import ModelFile
from minimix.zoo import Architecture, architecture, build
from tests.foreign_names import (
    Params,
    assert_mapped_back,
    damaged,
    damages,
    mindcv_tensors,
    narrow_architectures,
    narrow_network,
)
from tests.mindspore_writers import mindspore_bytes
from tests.op_strategies import SEEDS
from tests.reference import REFERENCE, needs_reference
from tests.strategies import random_params
from weights_tools.convert import read_model
from weights_tools.mappings.mindcv import map_mindcv, matches
from weights_tools.verify import check_images, check_layers

DIALECT = DIALECTS["mindcv"]


@cache
def tensors() -> Params:
    """A narrow mixnet-s under MindCV's names."""
    return mindcv_tensors(*narrow_network())


# --- there and back ---------------------------------------------------------------------------


@settings(max_examples=30)
@given(arch=narrow_architectures(), seed=SEEDS)
def test_any_width_of_any_family_comes_back_bit_for_bit(arch: Architecture, seed: int) -> None:
    params = random_params(build(arch, DIALECT), seed)
    mapped = map_mindcv(mindcv_tensors(arch, params))
    assert_mapped_back(mapped, arch, params)
    assert (mapped.dialects, mapped.pipelines) == ((DIALECT,), (PIPELINES["mindcv"],))
    assert mapped.ignored == {}


@pytest.mark.parametrize("name", ["mixnet-m", "mixnet-l"])
def test_released_sizes_are_recognised(name: str) -> None:
    arch = architecture(name, num_classes=3)
    params = random_params(build(arch, DIALECT), seed=1)
    mapped = map_mindcv(mindcv_tensors(arch, params), expected=name)
    assert mapped.architecture == arch
    assert_mapped_back(mapped, arch, params)


@needs_reference
def test_the_names_that_the_tests_write_are_those_of_the_real_file() -> None:
    arch = architecture("mixnet-s")
    params = {
        name: np.zeros(shape, np.float32)
        for name, shape in build(arch, DIALECT).param_shapes.items()
    }
    lines = (REFERENCE / "mindcv" / "mixnet_s_params.txt").read_text().splitlines()
    written = mindcv_tensors(arch, params)
    assert [f"{name}\t{array.shape}\tFloat32" for name, array in written.items()] == lines


def test_only_its_own_names_match() -> None:
    assert matches(tensors())
    assert not matches({"conv_stem.weight": np.zeros(1), "blocks.0.0.conv_dw.weight": np.zeros(1)})
    assert not matches({"layers.0.convs.0.other.weight": np.zeros(1, np.float32)})


def test_what_training_keeps_is_ignored_with_its_reason() -> None:
    weight = np.ones(3, np.float32)
    state = {
        "learning_rate": np.array(0.1, np.float32),
        "global_step": np.array(5),
        "momentum": np.array(0.9, np.float32),
        "moments.stem_conv.0.weight": weight,
        "accum.layers.0.convs.1.gamma": weight,
        "ema.classifier.weight": weight,
    }
    mapped = map_mindcv(tensors() | state)
    assert mapped.ignored == {
        "learning_rate": "counter or setting of training",
        "global_step": "counter or setting of training",
        "momentum": "counter or setting of training",
        "moments.stem_conv.0.weight": "optimizer state",
        "accum.layers.0.convs.1.gamma": "optimizer state",
        "ema.classifier.weight": "moving average of training; MindCV evaluates the weights "
        "beside it",
    }
    with pytest.raises(WeightsError, match="1 tensors left over .*: other.classifier.weight"):
        map_mindcv(tensors() | {"other.classifier.weight": weight})


# --- what is wrong is named -------------------------------------------------------------------


@settings(max_examples=200)
@given(damage=st.sampled_from(damages(tensors())))
def test_a_tensor_that_is_missing_or_misshapen_is_named(damage: tuple[str, str]) -> None:
    with pytest.raises(WeightsError) as caught:
        map_mindcv(damaged(tensors(), *damage))
    assert damage[0] in str(caught.value)


@given(name=st.sampled_from(sorted(tensors())))
def test_a_tensor_under_another_name_is_missed(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        map_mindcv({n + "x" * (n == name): t for n, t in tensors().items()})
    assert name in str(caught.value)


def without(prefix: str) -> Params:
    return {name: t for name, t in tensors().items() if not name.startswith(prefix)}


def replaced(name: str, shape: tuple[int, ...]) -> Params:
    return {**tensors(), name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (without("layers.5."), r"layers\.5: missing; there are tensors of layers\.15"),
        (without("layers."), r"layers\.0: missing; no block is there"),
        (without("layers.15."), "nearest is mixnet-s: 15 blocks, expected 16"),
        (without("layers.3.convs.6."), r"layers\.3\.convs\.6\.conv_reduce\.weight: missing"),
        (
            replaced("layers.4.convs.3.mixed_depthwise_conv.1.weight", (48, 1, 7, 7)),
            r"nearest is mixnet-s: blocks\.4: kernel_sizes \(3, 7\), expected \(3, 5\)",
        ),
        (
            replaced("layers.4.convs.3.mixed_depthwise_conv.1.weight", (48, 1, 5, 3)),
            r"conv\.1\.weight: expected the weight of a depthwise convolution with a square kernel",
        ),
        (
            {**tensors(), "layers.4.convs.3.mixed_depthwise_conv.3.weight": np.zeros(1)},
            r"conv\.2\.weight: missing, but .*conv\.3\.weight is there",
        ),
        (
            replaced("classifier.bias", (9,)),
            r"classifier\.bias: found \(9,\), but classifier\.weight is of 7 classes",
        ),
        ({**tensors(), "head_conv.0.bias": np.zeros(1)}, "1 tensors left over .*head_conv.0.bias"),
    ],
)
def test_a_near_miss_says_what_differs(changed: Params, problem: str) -> None:
    with pytest.raises(WeightsError, match=problem):
        map_mindcv(changed)


def test_a_block_without_squeeze_excite_where_it_belongs_is_a_near_miss() -> None:
    arch = narrow_network()[0]
    blocks = [
        replace(block, se_ratio=block.se_ratio * (n != 4)) for n, block in enumerate(arch.blocks)
    ]
    arch = replace(arch, blocks=tuple(blocks))
    changed = mindcv_tensors(arch, random_params(build(arch, DIALECT), seed=2))
    with pytest.raises(WeightsError, match=r"mixnet-s: blocks\.4: squeeze-excite absent"):
        map_mindcv(changed)


def test_another_architecture_than_the_expected_one_is_an_error() -> None:
    with pytest.raises(WeightsError, match="not mixnet-m: 16 blocks, expected 19"):
        map_mindcv(tensors(), expected="mixnet-m")


# --- whole networks ---------------------------------------------------------------------------


def test_a_file_is_read_as_the_network_that_was_written(tmp_path: Path) -> None:
    arch, params = narrow_network()
    path = tmp_path / "narrow.ckpt"
    path.write_bytes(mindspore_bytes(tensors(), crc=True))
    conversion = read_model(path)
    assert conversion.origin == "mindcv"
    labels = tuple(f"class {n}" for n in range(arch.num_classes))
    expected = ModelFile(arch, DIALECT, PIPELINES["mindcv"].with_size(64), labels, params)
    x = np.random.default_rng(0).normal(size=(2, 64, 70, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        Model(conversion.model, engine="reference")(x), Model(expected, engine="reference")(x)
    )


@needs_reference
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_the_real_file_agrees_in_every_layer_and_on_every_photograph(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    source = REFERENCE / "mindcv" / "mixnet_s.ckpt"
    model = Model(read_model(source).model, engine=engine)
    recorded = source.with_name("mixnet_s_ref.npz")
    checks = [
        *check_layers(model, recorded),
        *check_images(model, recorded, REFERENCE / "images"),
    ]
    assert len(checks) == 16 + 4 + 8
    assert [check for check in checks if not check.ok] == []
