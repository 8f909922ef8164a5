"""Model files that are damaged, strange, too new or too old: one kind of error, never a guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import weights
from minimix.errors import WeightsError
from tests.model_files import (
    assert_refused,
    edit_header,
    edit_params,
    put,
    same_model,
    saved,
    tiny_file,
)

BIAS = "classifier.bias"
Edit = Callable[[Any], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path / "model.h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def content(folder: Path) -> bytes:
    return saved(folder / "whole.h5").read_bytes()


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "damaged.h5"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


# --- no model file at all ---------------------------------------------------------------------


def test_a_missing_file_and_a_folder_are_said_to_be_that(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.h5", r"no such file; expected a minimix model \(\.h5\)")
    assert_refused(tmp_path, "is a folder")


@pytest.mark.parametrize("data", [b"", b"\x80\x02}q\x00.", b"PK\3\4" + b"\0" * 99])
def test_a_released_checkpoint_is_told_how_to_become_a_model(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mixnet_s-a907afbc.pth"
    path.write_bytes(data)
    assert_refused(path, "not an HDF5 file.*weights_tools convert .*mixnet_s-a907afbc.pth -o")


def test_another_hdf5_file_is_said_to_be_no_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert_refused(tmp_path / "other.h5", "an HDF5 file, but not a minimix model")


# --- damage -----------------------------------------------------------------------------------


def test_a_file_cut_off_anywhere_is_an_error(folder: Path, content: bytes) -> None:
    for length in [*range(0, len(content), 31), *range(len(content) - 64, len(content))]:
        assert_refused(stored(folder, content[:length]), "")


@given(data=st.data())
def test_flipped_bits_give_the_same_model_or_an_error(
    folder: Path, content: bytes, data: st.DataObject
) -> None:
    body = bytearray(content)
    for position in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= data.draw(st.integers(1, 255))
    path = stored(folder, bytes(body))
    try:
        assert same_model(weights.load(path), tiny_file())
    except WeightsError as error:
        assert str(error).startswith(str(path))


def test_a_flipped_bit_in_the_header_is_noticed(folder: Path, content: bytes) -> None:
    # Still JSON, still three labels, still a dialect: only a checksum can tell.
    for text, other in ((b'"panda"', b'"pandb"'), (b":1e-05", b":1e-04")):
        assert content.count(text) == 1
        assert_refused(stored(folder, content.replace(text, other)), "header")


def test_no_text_of_variable_length_is_stored(content: bytes) -> None:
    # It would lie in a heap without checksums; libhdf5 2.0 loops for ever on damage there.
    assert b"GCOL" not in content


# --- parameters -------------------------------------------------------------------------------


def unwritten(group: h5py.Group) -> None:
    del group[BIAS]
    group.create_dataset(BIAS, (3,), np.float32)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda g: g.pop(BIAS), rf"missing: {BIAS}"),
        (lambda g: g.create_dataset("more", data=np.zeros(2, np.float32)), "more: left over, tiny"),
        (
            lambda g: put(g, BIAS, np.zeros(4, np.float32)),
            rf"{BIAS}: expected \(3,\), file has \(4,\).*hold tiny.*weights_tools inspect",
        ),
        (
            lambda g: put(g, BIAS, np.zeros(3)),
            f"{BIAS}: expected float32 or float16, found float64",
        ),
        (lambda g: put(g, BIAS, np.zeros(3, np.int32)), f"{BIAS}: .*found int32"),
        (lambda g: put(g, BIAS, ["a", "b", "c"]), f"{BIAS}: "),
        (
            lambda g: put(g, BIAS, np.array([0, np.inf, 0], np.float32)),
            f"{BIAS}: 1 of 3 values are not finite",
        ),
        (
            lambda g: put(g, "stem.conv_bn.variance", np.full(4, -1, np.float32)),
            r"stem\.conv_bn\.variance: a variance is negative",
        ),
        (unwritten, f"{BIAS}: "),
    ],
)
def test_parameters_that_do_not_fit_are_named(change: Edit, problem: str, path: Path) -> None:
    edit_params(path, change)
    assert_refused(path, problem)


def test_big_endian_parameters_are_read_rightly(path: Path) -> None:
    expected = tiny_file().params[BIAS]
    edit_params(path, lambda group: put(group, BIAS, expected.astype(">f4")))
    assert same_model(weights.load(path), tiny_file())
    assert weights.load(path).params[BIAS].dtype.isnative


def test_a_parameter_with_another_checksum_or_none_is_an_error(path: Path) -> None:
    edit_header(path, lambda header: header["checksums"].update({BIAS: 1}))
    assert_refused(path, f"{BIAS}: the checksum does not match")
    edit_header(path, lambda header: header["checksums"].pop(BIAS))
    assert_refused(path, f"{BIAS}: the checksum does not match")


def virtual(group: h5py.Group, source: Path) -> None:
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(source, f"params/{BIAS}", (3,), np.float32)
    group.create_virtual_dataset(BIAS, layout)


def stored_elsewhere(group: h5py.Group, source: Path) -> None:
    group.create_dataset(BIAS, (3,), np.float32, external=[(source, 0, 12)])


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (lambda g, _: g.update({BIAS: h5py.SoftLink("/header")}), "a soft link"),
        (lambda g, f: g.update({BIAS: h5py.ExternalLink(f, BIAS)}), "an external link"),
        (virtual, "expected an ordinary dataset"),
        (stored_elsewhere, "has data in other files"),
        (lambda g, _: g.create_group(BIAS), "has members|has message 0x2"),
    ],
)
def test_parameters_that_lie_elsewhere_are_refused(
    place: Callable[[h5py.Group, Path], None], problem: str, path: Path
) -> None:
    other = saved(path.with_name("other.h5"))
    with h5py.File(path, "r+") as file:
        del file["params"][BIAS]
        place(file["params"], other)
    assert_refused(path, f"{BIAS}: .*{problem}")


@pytest.mark.parametrize("what", [h5py.SoftLink("/header"), np.zeros(3), None])
def test_a_file_without_a_group_of_parameters_is_an_error(what: Any, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["params"]
        if what is not None:
            file["params"] = what
    assert_refused(path, r"params: |missing 'params'")
