"""Two files differ in exactly what was changed, and in nothing where nothing was."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import WeightsError
from tests.checkpoint_writers import SAFETENSORS_DTYPES, safetensors_bytes
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import saved, tiny_file
from weights_tools.convert import convert
from weights_tools.diff import diff, difference_of
from weights_tools.export_safetensors import export_safetensors

Array = NDArray[Any]
TENSORS = timm_tensors(CASES["mixnet_s-odd"])
"""A narrow mixnet-s with 7 classes, under timm's names."""

DTYPES = st.sampled_from([np.dtype(name) for name in SAFETENSORS_DTYPES])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
)
NAMES = st.text("abcdefgh.", min_size=1, max_size=4)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function: tensors -> the path of a file of them, a new one each time."""
    folder, numbers = tmp_path_factory.mktemp("files"), itertools.count()

    def write(tensors: Mapping[str, Array]) -> Path:
        path = folder / f"mixnet_s-{next(numbers)}.bin"
        path.write_bytes(safetensors_bytes(tensors))
        return path

    return write


# --- laws -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(tensors=st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_a_file_does_not_differ_from_itself(new: Any, tensors: dict[str, Array]) -> None:
    found = diff(new(tensors), new(tensors))
    assert found.is_empty
    assert found.identical == len(tensors)


@settings(max_examples=60)
@given(data=st.data(), tensors=st.dictionaries(NAMES, ARRAYS, min_size=2, max_size=6))
def test_exactly_the_changed_tensors_are_named(
    new: Any, data: st.DataObject, tensors: dict[str, Array]
) -> None:
    kept, *rest = tensors
    fates = {name: data.draw(st.sampled_from(["same", "bit", "shape", "gone"])) for name in rest}
    changed: dict[str, Array] = {kept: tensors[kept]}
    expected = set()
    for name, fate in fates.items():
        array = np.array(tensors[name])
        if fate == "bit" and array.nbytes:
            places = array.reshape(-1).view(np.uint8)
            places[data.draw(st.integers(0, places.size - 1))] ^= 1
            expected.add(name)
        elif fate == "shape":
            array = array[None]
            expected.add(name)
        if fate != "gone":
            changed[name] = array
    gone = [name for name, fate in fates.items() if fate == "gone"]
    found = diff(new(tensors), new(changed))
    assert {difference.name for difference in found.different} == expected
    assert sorted(found.only_in_a) == sorted(gone)
    assert found.only_in_b == ()
    assert found.identical == len(tensors) - len(expected) - len(gone)
    back = diff(new(changed), new(tensors))
    assert sorted(back.only_in_b) == sorted(gone)
    assert {difference.name for difference in back.different} == expected


@given(hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(-9, 9, width=32)), st.data())
def test_differences_are_counted_and_measured(values: Array, data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))
    other = values.copy()
    other[list(places)] += np.float32(32)
    found = difference_of("x", values, other)
    assert found is not None
    assert not found.is_of_kind
    assert found.differing == len(places)
    assert found.largest == np.abs(values.astype(float) - other).max()


# --- what counts as a difference --------------------------------------------------------------


def test_numbers_that_are_none_are_the_same_only_bit_by_bit() -> None:
    nan, inf = np.array([np.nan, 1.0]), np.array([np.inf, 1.0])
    assert difference_of("x", nan, nan.copy()) is None
    for a, b in itertools.permutations((nan, inf, np.ones(2)), 2):
        found = difference_of("x", a, b)
        assert found is not None
        assert (found.differing, found.largest, found.share) == (1, None, None)


def test_zeros_of_different_signs_differ_by_nothing() -> None:
    found = difference_of("x", np.zeros(3), -np.zeros(3))
    assert found is not None
    assert (found.differing, found.largest, found.share) == (3, 0.0, 0.0)


def test_another_type_is_a_difference_even_where_the_values_are_the_same() -> None:
    values = np.array([0.5, np.nan, 1 / 3])
    found = difference_of("x", values, values.astype(np.float32))
    assert found is not None
    assert found.is_of_kind
    assert (found.dtypes, found.differing) == (("float64", "float32"), 1)
    same = difference_of("x", values[:2], values[:2].astype(np.float32))
    assert same is not None
    assert (same.differing, same.largest) == (0, 0.0)


# --- models under different names -------------------------------------------------------------


def test_a_model_file_is_compared_with_its_checkpoint_under_our_names(
    new: Any, tmp_path: Path
) -> None:
    source = new(TENSORS)
    convert(source, tmp_path / "model.h5")
    found = diff(tmp_path / "model.h5", source)
    assert found.is_empty
    assert found.compared_by == "mapping"
    assert "mixnet-s-custom (minimix) and mixnet-s-custom (timm)" in found.note
    # Not by accident of classifier.bias, which both call so.
    changed = dict(TENSORS)
    changed["blocks.2.0.conv_dw.1.weight"] = changed["blocks.2.0.conv_dw.1.weight"] * 2
    found = diff(tmp_path / "model.h5", new(changed))
    assert [difference.name for difference in found.different] == ["blocks.3.mixconv.1.weight"]
    assert found.different[0].share == 1.0


def test_a_checkpoint_and_its_export_differ_in_the_counters_only(new: Any, tmp_path: Path) -> None:
    source = new(TENSORS)
    convert(source, tmp_path / "model.h5")
    export_safetensors(tmp_path / "model.h5", tmp_path / "mixnet_s.safetensors")
    found = diff(source, tmp_path / "mixnet_s.safetensors")
    assert found.compared_by == "names"
    assert (found.only_in_b, found.different) == ((), ())
    assert {name.rpartition(".")[2] for name in found.only_in_a} == {"num_batches_tracked"}


def test_a_file_that_is_no_mixnet_is_compared_by_names(new: Any) -> None:
    found = diff(new(TENSORS), new({"other": np.ones(3, np.float32)}))
    assert found.compared_by == "names"
    assert "the names are of no MixNet" in found.note
    assert (len(found.only_in_a), found.only_in_b) == (len(TENSORS), ("other",))


def test_what_model_files_state_beside_their_tensors_is_noted(tmp_path: Path) -> None:
    file = tiny_file()
    other = replace(file, dialect=DIALECTS["timm-tf"], pipeline=PIPELINES["mindcv"])
    found = diff(saved(tmp_path / "a.h5", file), saved(tmp_path / "b.h5", other))
    assert found.is_empty
    assert found.note == "beside the tensors they differ in: dialect, pipeline"
    assert diff(tmp_path / "a.h5", tmp_path / "a.h5").note == ""


def test_a_model_stored_in_half_precision_differs_by_its_rounding(tmp_path: Path) -> None:
    file = tiny_file()
    saved(tmp_path / "a.h5", file)
    saved(tmp_path / "b.h5", replace(file, dtype="float16"))
    found = diff(tmp_path / "a.h5", tmp_path / "b.h5")
    assert 0 < len(found.different)
    assert all(0 < (d.share or 0) < 2**-11 for d in found.different)
    loaded = weights.load(tmp_path / "b.h5")
    assert found.identical == sum(
        array.tobytes() == loaded.params[name].tobytes() for name, array in file.params.items()
    )


def test_a_file_that_cannot_be_read_is_an_error(new: Any, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(b"nothing known")
    with pytest.raises(WeightsError, match=r"b\.bin: starts with"):
        diff(new(TENSORS), tmp_path / "b.bin")
