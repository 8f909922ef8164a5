"""The header of a model file: every field means something, and schemas are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from minimix import weights
from tests.model_files import assert_refused, edit_header, put, saved, write_header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "its 0 bytes are not in the file"),
        (b" ", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff{}", "utf-8"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000, "recursion"),
        (b"{}", "'architecture'"),
    ],
)
def test_a_header_that_is_no_json_object_is_an_error(text: bytes, problem: str, path: Path) -> None:
    write_header(path, text)
    assert_refused(path, f"header: .*{problem}")


@pytest.mark.parametrize("key", ["architecture", "dialect", "pipeline", "labels", "checksums"])
def test_a_header_without_one_of_its_parts_names_it(key: str, path: Path) -> None:
    edit_header(path, lambda header: header.pop(key))
    assert_refused(path, f"header: KeyError: '{key}'.*convert it again")


@pytest.mark.parametrize(
    ("part", "field", "value", "problem"),
    [
        ("dialect", "colour", "red", "dialect: .*colour"),
        ("dialect", "padding", "valid", "dialect: padding is 'valid'; known: same, symmetric"),
        ("dialect", "batch_norm_eps", "1e-5", "batch_norm_eps"),
        ("dialect", "batch_norm_eps", -1.0, "batch_norm_eps"),
        ("dialect", "batch_norm_eps", float("nan"), "batch_norm_eps"),
        ("pipeline", "colour", "red", "pipeline: .*colour"),
        ("pipeline", "resize", "nearest", "pipeline: resize is 'nearest'; known: pillow-bicubic"),
        ("pipeline", "size", 7, "pipeline: size is 7"),
        ("pipeline", "mean", ["a", "b", "c"], "mean"),
        ("pipeline", "mean", [float("nan")] * 3, "mean"),
        ("pipeline", "std", [1.0, 0.0, 1.0], "pipeline: std"),
        ("architecture", "blocks", ["r1_k3"], "architecture: .*expected a "),
        ("architecture", "blocks", ["r2000_k3_a1_p1_s11_e1_i4_o4"], "more than 1000 blocks"),
        (
            "architecture",
            "blocks",
            [f"r1000_k{'.'.join('3' * 20_000)}_a1_p1_s11_e10000_i4_o4"],
            "20002000 groups of channels; at most 10000 are read",
        ),
        ("architecture", "blocks", [], "parameters do not match|left over|blocks"),
        ("architecture", "stem_channels", "four", "architecture: "),
        ("architecture", "stem_channels", 4.5, "stem_channels"),
        ("architecture", "stem_channels", 0, "stem"),
        ("architecture", "stem_channels", 8, r"blocks\.0: takes 4 channels, but 8 arrive"),
    ],
)
def test_a_header_field_that_means_nothing_is_named(
    part: str, field: str, value: Any, problem: str, path: Path
) -> None:
    edit_header(path, lambda header: header[part].update({field: value}))
    assert_refused(path, problem)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["a", "b"], "2 labels for 3 classes"),
        ("abc", "labels"),
        (["a", "b", None], "labels"),
        (None, "header: TypeError"),
    ],
)
def test_labels_are_a_list_with_one_text_per_class(labels: Any, problem: str, path: Path) -> None:
    edit_header(path, lambda header: header.update(labels=labels))
    assert_refused(path, problem)


@pytest.mark.parametrize(
    "header",
    [np.zeros(3, np.float32), np.zeros((2, 2), np.uint8), np.zeros(2**22 + 1, np.uint8)],
)
def test_a_header_of_another_type_or_size_is_refused_before_it_is_parsed(
    header: Any, path: Path
) -> None:
    with h5py.File(path, "r+") as file:
        put(file, "header", header)
    assert_refused(path, "header: expected up to 4194304 bytes of JSON")


# --- schemas ----------------------------------------------------------------------------------


def set_schema(path: Path, schema: Any) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = schema


def test_a_newer_schema_says_which_one_and_what_to_do(path: Path) -> None:
    set_schema(path, 7)
    assert_refused(path, "schema 7; this minimix reads up to 1.*pip install --upgrade")


@pytest.mark.parametrize("schema", [0, -3, "one", [1, 2], 1.5])
def test_a_schema_that_never_was_is_an_error(schema: Any, path: Path) -> None:
    set_schema(path, schema)
    assert_refused(path, "schema")


def test_an_older_schema_is_migrated_step_by_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_first(header: dict[str, Any]) -> dict[str, Any]:
        return header | {"names": header.pop("labels")}

    def name_back(header: dict[str, Any]) -> dict[str, Any]:
        return header | {"labels": [name.upper() for name in header["names"]]}

    monkeypatch.setattr(weights, "SCHEMA", 3)
    monkeypatch.setattr(weights, "MIGRATIONS", {1: name_first, 2: name_back})
    assert weights.load(path).labels == ("PANDA", "BEAR", "KÖTTUR")
    monkeypatch.setattr(weights, "MIGRATIONS", {2: name_back})
    assert_refused(path, "schema 1 is unknown")
