"""TensorFlow's moving averages are the weights, unless the raw ones are asked for."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.errors import WeightsError
from tests.foreign_names import (
    AVERAGE,
    Params,
    assert_mapped_back,
    narrow_network,
    tensorflow_tensors,
    with_averages,
)
from weights_tools.mappings.tensorflow import map_tensorflow


@cache
def tensors() -> Params:
    """A narrow mixnet-s under TensorFlow's names, without averages."""
    return tensorflow_tensors(*narrow_network())


def test_averages_are_taken_and_their_twins_ignored() -> None:
    mapped = map_tensorflow(with_averages(tensors()))
    assert_mapped_back(mapped, *narrow_network())
    assert mapped.ignored == dict.fromkeys(
        tensors(), "as training left it; its moving average is taken"
    )
    assert all(name.endswith(AVERAGE) for (name,) in mapped.sources.values())


def test_raw_weights_are_taken_where_asked_for() -> None:
    mapped = map_tensorflow(with_averages(tensors()), raw=True)
    arch, params = narrow_network()
    assert_mapped_back(mapped, arch, {n: p + np.float32(1) for n, p in params.items()})
    assert mapped.ignored.keys() == {name + AVERAGE for name in tensors()}


@pytest.mark.parametrize("raw", [False, True])
def test_a_file_without_averages_has_only_raw_weights(raw: bool) -> None:
    assert_mapped_back(map_tensorflow(tensors(), raw=raw), *narrow_network())


def test_a_file_of_averages_alone_is_enough() -> None:
    averages = {name + AVERAGE: array for name, array in tensors().items()}
    assert_mapped_back(map_tensorflow(averages), *narrow_network())
    first = next(iter(tensors()))
    with pytest.raises(WeightsError, match=rf"^{first}: missing, only its moving average"):
        map_tensorflow(averages, raw=True)


@given(name=st.sampled_from(sorted(tensors())))
def test_a_variable_without_its_average_is_named(name: str) -> None:
    given_tensors = with_averages(tensors())
    del given_tensors[name + AVERAGE]
    with pytest.raises(WeightsError, match=rf"^{name}{AVERAGE}: missing, though 346 other"):
        map_tensorflow(given_tensors)


def test_what_training_keeps_is_ignored_with_its_reason() -> None:
    name = "mixnet-s/stem/batch_normalization/gamma"
    state = {
        "global_step": np.array(5),
        "beta1_power": np.array(0.9, np.float32),
        **{
            f"{name}/{slot}": np.ones(3, np.float32)
            for slot in ("RMSProp", "RMSProp_1", "Momentum", "Adam", "Adam_1")
        },
    }
    mapped = map_tensorflow(with_averages(tensors()) | state)
    kept = {name: reason for name, reason in mapped.ignored.items() if name in state}
    assert kept == {
        name: "counter of training" if array.ndim == 0 else "optimizer state"
        for name, array in state.items()
    }
    with pytest.raises(WeightsError, match="1 tensors left over .*: other/RMSProp"):
        map_tensorflow(tensors() | {"other/RMSProp": np.ones(3, np.float32)})
