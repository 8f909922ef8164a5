"""TensorFlow's names: layers told apart by structure, whatever their numbers; faults are named."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import WeightsError
from minimix.model import Model
from minimix.tolerances import RECORDED_LOGITS
from minimix.zoo import Architecture, architecture, build
from tests.foreign_names import (
    AVERAGE,
    Params,
    assert_mapped_back,
    damaged,
    damages,
    narrow_architectures,
    narrow_network,
    tensorflow_tensors,
    with_averages,
)
from tests.op_strategies import SEEDS
from tests.reference import REFERENCE, needs_reference
from tests.strategies import random_params
from weights_tools import readers
from weights_tools.convert import Wanted, read_model
from weights_tools.mappings.tensorflow import map_tensorflow, matches
from weights_tools.mappings.timm import map_timm
from weights_tools.verify import check_layers

DIALECT = DIALECTS["tensorflow"]


@cache
def tensors() -> Params:
    """A narrow mixnet-s under TensorFlow's names, without averages."""
    return tensorflow_tensors(*narrow_network())


# --- there and back ---------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    arch=narrow_architectures(),
    seed=SEEDS,
    prefix=st.sampled_from(["mixnet-s/", "", "tower_0/my-net/", "stem/"]),
    first=st.integers(0, 200),
    step=st.integers(1, 3),
)
def test_any_width_of_any_family_comes_back_bit_for_bit(
    arch: Architecture, seed: int, prefix: str, first: int, step: int
) -> None:
    # The numbers mean nothing but an order: any that grow must do.
    params = random_params(build(arch, DIALECT), seed)
    named = tensorflow_tensors(arch, params, prefix, count(first, step), count(2 * first, step))
    mapped = map_tensorflow(named)
    assert_mapped_back(mapped, arch, params)
    assert (mapped.dialects, mapped.pipelines) == ((DIALECT,), (PIPELINES["tensorflow"],))
    assert mapped.ignored == {}


@pytest.mark.parametrize("name", ["mixnet-m", "mixnet-l"])
def test_released_sizes_are_recognised(name: str) -> None:
    arch = architecture(name, num_classes=3)
    params = random_params(build(arch, DIALECT), seed=1)
    named = tensorflow_tensors(arch, params, f"{name}/")
    assert f"{name}/mixnet_model/stem/conv2d_94/kernel" in named
    assert len(named) == 421
    mapped = map_tensorflow(named, expected=name)
    assert mapped.architecture == arch
    assert_mapped_back(mapped, arch, params)


@needs_reference
def test_the_names_that_the_tests_write_are_those_of_the_real_file() -> None:
    arch = architecture("mixnet-s")
    params = {
        name: np.zeros(shape, np.float32)
        for name, shape in build(arch, DIALECT).param_shapes.items()
    }
    written = {
        f"{name}\t{array.shape}\tfloat32"
        for name, array in with_averages(tensorflow_tensors(arch, params)).items()
    }
    lines = (REFERENCE / "tf" / "mixnet-s_checkpoint_vars.txt").read_text().splitlines()
    assert written | {"global_step\t()\tint64"} == set(lines)


def test_only_its_own_names_match() -> None:
    assert matches(tensors())
    assert matches({name + AVERAGE: array for name, array in tensors().items()})
    assert not matches({"conv_stem.weight": np.zeros(1), "blocks.0.0.conv_dw.weight": np.zeros(1)})


# --- what is wrong is named -------------------------------------------------------------------


def layer_of(name: str) -> str:
    """``conv2d_9`` of .../blocks_3/conv2d_9/kernel."""
    return name.split("/")[-2]


def place_of(name: str) -> str:
    """``blocks_3/conv2d`` of .../blocks_3/conv2d_9/kernel."""
    scope, layer = name.split("/")[-3:-1]
    return f"{scope}/{layer.rpartition('_')[0] or layer}"


@settings(max_examples=200)
@given(damage=st.sampled_from(damages(tensors())))
def test_a_tensor_that_is_missing_or_misshapen_is_named(damage: tuple[str, str]) -> None:
    name, change = damage
    with pytest.raises(WeightsError) as caught:
        map_tensorflow(damaged(tensors(), name, change))
    if change == "missing":
        # Nothing is left of a layer with one tensor but the gap in the numbers, or its place.
        assert layer_of(name) in str(caught.value) or place_of(name) in str(caught.value)
    else:
        assert name in str(caught.value)


@given(name=st.sampled_from(sorted(tensors())))
def test_a_tensor_under_another_name_is_missed(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        map_tensorflow({n + "x" * (n == name): t for n, t in tensors().items()})
    assert name in str(caught.value)


def without(prefix: str) -> Params:
    return {
        name: t
        for name, t in tensors().items()
        if f"/{prefix}" not in name.removeprefix("mixnet-s")
    }


def replaced(name: str, shape: tuple[int, ...]) -> Params:
    return {**tensors(), f"mixnet-s/mixnet_model/{name}": np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (without("blocks_5/"), "blocks_5: missing; there are tensors of blocks_15"),
        (without("blocks_"), "blocks_0: missing; no block is there"),
        (without("blocks_15/"), "nearest is mixnet-s: 15 blocks, expected 16"),
        (without("blocks_3/se/"), r"mixnet-s: blocks\.3: squeeze-excite absent"),
        (without("blocks_3/se/conv2d_10"), "blocks_3/se: expected two .*, found .*conv2d_11 alone"),
        (without("head/dense"), "head/dense: missing"),
        (without("stem/batch"), "stem/batch_normalization: missing"),
        (
            without("blocks_3/batch_normalization_1"),
            r"blocks\.3: project_groups 2, expected 1; blocks\.3: expansion 1, expected 6",
        ),
        (
            {**tensors(), "mixnet-s/blocks_3/batch_normalization_3/gamma": np.zeros(1)},
            "blocks_3: expected a batch norm for each of its 2 or 3 convolutions, found",
        ),
        (
            replaced("blocks_4/depthwise_conv2d_7/depthwise_kernel", (7, 7, 48, 1)),
            r"nearest is mixnet-s: blocks\.4: kernel_sizes \(3, 7\), expected \(3, 5\)",
        ),
        (
            replaced("blocks_4/depthwise_conv2d_7/depthwise_kernel", (5, 5, 48, 2)),
            r"depthwise_conv2d_7/depthwise_kernel: expected the weight of a depthwise convolution",
        ),
        (
            replaced("blocks_4/conv2d_13/kernel", (3, 3, 8, 48)),
            r"blocks_4/conv2d_13/kernel: expected the weight of a 1x1 convolution",
        ),
        (
            replaced("stem/conv2d_99/kernel", (3, 3, 3, 8)),
            "1 tensors left over .*: mixnet-s/mixnet_model/stem/conv2d_99/kernel",
        ),
        (
            {**tensors(), "other/stem/batch_normalization/gamma": np.zeros(8, np.float32)},
            "expected it in .*stem/batch_normalization; are there two networks",
        ),
        ({**tensors(), "more": np.zeros(1)}, "1 tensors left over .*: more"),
        (
            {
                f"mixnet_model/blocks_0/conv2d_{n}/kernel": np.zeros((1, 1, 1, 1))
                for n in range(1, 66)
            }
            | tensors(),
            "blocks_0: 66 1x1 convolutions; expected 64 at most",
        ),
    ],
)
def test_a_near_miss_says_what_differs(changed: Params, problem: str) -> None:
    with pytest.raises(WeightsError, match=problem):
        map_tensorflow(changed)


def test_another_architecture_than_the_expected_one_is_an_error() -> None:
    with pytest.raises(WeightsError, match="not mixnet-m: 16 blocks, expected 19"):
        map_tensorflow(tensors(), expected="mixnet-m")


# --- the real file ----------------------------------------------------------------------------

SOURCE = REFERENCE / "tf" / "mixnet-s.tar.gz"
RECORDED = SOURCE.with_name("mixnet-s_ref.npz")


def oihw(kernel: Any, name: str) -> Any:
    """TensorFlow's layout -> PyTorch's, by the variable's name."""
    if name.endswith("depthwise_kernel"):
        return kernel.transpose(2, 3, 0, 1)
    if name.endswith("dense/kernel"):
        return kernel.T
    return kernel.transpose(3, 2, 0, 1) if name.endswith("kernel") else kernel


@needs_reference
@pytest.mark.parametrize("suffix", [AVERAGE, ""])
def test_the_real_file_is_bit_for_bit_what_timms_names_give(suffix: str) -> None:
    stored = readers.read(SOURCE).tensors
    lines = (SOURCE.with_name("mixnet-s_to_timm_key_map.txt")).read_text().splitlines()
    pairs = [line.split("\t") for line in lines]
    timm = {theirs: oihw(stored[name + suffix], name) for name, theirs in pairs}
    expected, mapped = map_timm(timm), map_tensorflow(stored, raw=not suffix)
    assert mapped.architecture == expected.architecture == architecture("mixnet-s")
    assert mapped.params.keys() == expected.params.keys()
    for name, array in expected.params.items():
        np.testing.assert_array_equal(mapped.params[name], array, strict=True, err_msg=name)
    assert len(mapped.ignored) == 348


@needs_reference
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_the_real_file_agrees_in_every_layer(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Model(read_model(SOURCE).model, engine=engine)
    checks = check_layers(model, RECORDED)
    assert len(checks) == 16 + 4
    assert [check for check in checks if not check.ok] == []


@needs_reference
@pytest.mark.parametrize(("raw", "key"), [(False, "logits"), (True, "logits_raw_weights")])
def test_averages_and_raw_weights_give_the_logits_recorded_for_each(raw: bool, key: str) -> None:
    model = Model(read_model(SOURCE, Wanted(raw=raw)).model, engine="reference")
    with np.load(RECORDED) as recorded:
        inputs, expected = recorded["inputs"], recorded[key]
    mean, std = (np.array(getattr(model.pipeline, f), np.float32) for f in ("mean", "std"))
    logits = model((inputs.astype(np.float32) - mean) / std)
    assert np.abs(logits - expected[: len(inputs)]).max() <= RECORDED_LOGITS
