"""The model file as it should be: what is saved is loaded, or nothing is there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import OutputError, UsageError, WeightsError
from tests.model_files import listing, same_model, saved, tiny_file

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("weights")


def with_param(name: str, values: Any) -> weights.ModelFile:
    file = tiny_file()
    return replace(file, params={**file.params, name: values})


@settings(max_examples=20)
@given(
    seed=st.integers(0, 99),
    dialect=st.sampled_from(sorted(DIALECTS)),
    pipeline=st.sampled_from(sorted(PIPELINES)),
    labels=st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=9)] * 3),
    provenance=st.dictionaries(st.text("abc"), st.none() | st.integers() | st.text("é\n")),
)
def test_what_is_saved_is_loaded_again(
    folder: Path, seed: int, dialect: str, pipeline: str, labels: Any, provenance: Any
) -> None:
    file = tiny_file(
        seed,
        dialect=DIALECTS[dialect],
        pipeline=PIPELINES[pipeline],
        labels=labels,
        provenance=provenance,
    )
    assert same_model(weights.load(saved(folder / "model.h5", file)), file)


@settings(max_examples=20)
@given(hnp.arrays(np.float32, (6, 3), elements=FLOATS))
def test_float32_parameters_keep_every_bit(folder: Path, values: Any) -> None:
    file = with_param("classifier.weight", values)
    assert same_model(weights.load(saved(folder / "model.h5", file)), file)


@settings(max_examples=20)
@given(hnp.arrays(np.float32, (6, 3), elements=st.floats(-65504, 65504, width=32)))
def test_float16_parameters_are_rounded_to_the_nearest(folder: Path, values: Any) -> None:
    file = replace(with_param("classifier.weight", values), dtype="float16")
    loaded = weights.load(saved(folder / "model.h5", file))
    assert loaded.dtype == "float16"
    for name, array in file.params.items():
        expected = array.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(loaded.params[name], expected)
        assert loaded.params[name].dtype == np.float32


def test_half_precision_halves_the_parameters_and_is_saved_again_unchanged(tmp_path: Path) -> None:
    half = weights.load(saved(tmp_path / "a.h5", tiny_file(dtype="float16")))
    again = saved(tmp_path / "b.h5", half)
    assert again.read_bytes() == (tmp_path / "a.h5").read_bytes()
    assert again.stat().st_size < saved(tmp_path / "c.h5").stat().st_size


def test_loaded_parameters_cannot_be_changed(tmp_path: Path) -> None:
    loaded = weights.load(saved(tmp_path / "model.h5"))
    assert all(p.dtype == np.float32 and not p.flags.writeable for p in loaded.params.values())
    with pytest.raises(TypeError, match="item assignment"):
        loaded.params["classifier.bias"] = np.zeros(3)  # type: ignore[index]


def test_the_file_is_laid_out_as_documented(tmp_path: Path) -> None:
    file = tiny_file()
    with h5py.File(saved(tmp_path / "model.h5", file)) as stored:
        assert sorted(stored) == ["header", "params"]
        assert np.bytes_(stored.attrs["format"]) == b"minimix-model"
        assert stored.attrs["schema"] == weights.SCHEMA == 1
        assert {n: d.shape for n, d in stored["params"].items()} == file.graph.param_shapes
        assert {d.dtype.str for d in stored["params"].values()} == {"<f4"}


def test_a_name_without_an_ending_and_a_foreign_ending_are_loaded_too(tmp_path: Path) -> None:
    assert same_model(weights.load(saved(tmp_path / "model")), tiny_file())
    assert same_model(weights.load(saved(tmp_path / "model.pth")), tiny_file())


def test_a_locked_file_is_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.h5")
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="unable to lock file"):
            h5py.File(path, "r", locking=True)
        assert same_model(weights.load(path), tiny_file())


# --- saving -----------------------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.h5")
    with pytest.raises(UsageError, match="model.h5: exists already; give --force"):
        weights.save(path, tiny_file(1))
    assert same_model(weights.load(path), tiny_file(0))
    weights.save(path, tiny_file(1), force=True)
    assert same_model(weights.load(path), tiny_file(1))


def test_a_folder_that_is_missing_or_in_the_way_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the folder .*none does not exist"):
        weights.save(tmp_path / "none" / "model.h5", tiny_file())
    with pytest.raises(UsageError, match="is a folder; name a file"):
        weights.save(tmp_path, tiny_file(), force=True)


def test_a_folder_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permission bits do not keep root out, so the refusal is made up.
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=r"model\.h5: cannot be written: .*Permission denied"):
        weights.save(tmp_path / "model.h5", tiny_file())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "model.h5")

    def fail(self: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=r"model\.h5: cannot be written: .*Input/output error"):
        weights.save(path, tiny_file(1), force=True)
    assert same_model(weights.load(path), tiny_file(0))
    assert listing(tmp_path) == ["model.h5"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from minimix import weights
from minimix.errors import OutputError
from tests.model_files import tiny_file
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
try:
    weights.save(Path(sys.argv[1]), tiny_file())
except OutputError as error:
    sys.exit(f"OutputError: {error}")
"""


@pytest.mark.parametrize("room", [0, 3000, 20_000])
def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    # In a process of its own, since libhdf5 can crash where a write fails.
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "model.h5"), str(room)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"OutputError: {tmp_path / 'model.h5'}: cannot be written: ")
    assert listing(tmp_path) == []


def test_a_result_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert saved(tmp_path / "model.h5").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def without(name: str) -> weights.ModelFile:
    file = tiny_file()
    return replace(file, params={n: p for n, p in file.params.items() if n != name})


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (without("stem.conv.weight"), r"do not match tiny; missing: stem\.conv\.weight"),
        (with_param("more", np.zeros(1, np.float32)), "do not match tiny; left over: more"),
        (
            with_param("classifier.bias", np.zeros(4, np.float32)),
            r"classifier\.bias: expected \(3,\), found \(4,\)",
        ),
        (
            with_param("classifier.bias", np.zeros(3, np.int64)),
            r"classifier\.bias: expected floating point, found int64",
        ),
        (
            with_param("classifier.bias", np.array([1, np.nan, np.inf], np.float32)),
            r"classifier\.bias: 2 of 3 values are not finite",
        ),
        (
            with_param("stem.conv_bn.variance", np.array([1, 1, -1, 1], np.float32)),
            r"stem\.conv_bn\.variance: a variance is negative \(-1",
        ),
        (
            with_param("classifier.bias", np.array([0, 1e300, 0])),
            r"classifier\.bias: a value of 1e\+300 does not fit float32",
        ),
        (
            replace(with_param("classifier.bias", np.full(3, -65520.0)), dtype="float16"),
            r"classifier\.bias: a value of 65520 does not fit float16",
        ),
        (tiny_file(labels=("a", "b")), "2 labels for 3 classes; expected one each"),
    ],
)
def test_a_model_that_does_not_fit_its_architecture_is_not_saved(
    file: weights.ModelFile, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=problem):
        weights.save(tmp_path / "model.h5", file)
    assert listing(tmp_path) == []


def test_an_unknown_element_type_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dtype 'int8'; known: float32, float16"):
        weights.save(tmp_path / "model.h5", tiny_file(dtype="int8"))
