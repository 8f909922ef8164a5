"""``python -m weights_tools verify`` and ``diff``: what agrees, what does not, the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix.engine import has_numba
from minimix.model import Model
from minimix.passes import fold_batchnorm
from tests.checkpoint_writers import safetensors_bytes, zip_bytes
from tests.cli import Outcome, run
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import saved, tiny_file
from weights_tools.__main__ import main
from weights_tools.compare import seeded_pictures

TENSORS = timm_tensors(CASES["mixnet_s-odd"])
"""A narrow mixnet-s with 7 classes, under timm's names."""

Tool = Callable[..., Outcome]


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Tool:
    return lambda *argv: run(capsys, *argv, entry=main)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint whose name says that it is timm's."""
    path = tmp_path / "mixnet_s-narrow.bin"
    path.write_bytes(safetensors_bytes(TENSORS))
    return path


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    """A recording, without layers, of the tiny model for pixels."""
    x = seeded_pictures(32, 1)
    logits = Model(tiny_file(), engine="reference")(_normalised(x))
    stored = {"images": np.array(["one"]), "logits_f64_reference": logits.astype(np.float64)}
    np.savez(tmp_path / "recorded.npz", inputs_bgr_u8=x[..., ::-1], **stored)
    return tmp_path / "recorded.npz"


def _normalised(x: Any) -> Any:
    pipeline = tiny_file().pipeline
    mean, std = np.array((pipeline.mean, pipeline.std), np.float32)
    return ((x.astype(np.float32) / np.float32(255) - mean) / std).astype(np.float32)


# --- verify -----------------------------------------------------------------------------------


def test_verify_checks_both_engines_and_each_row_says_which(
    tool: Tool, pixels: Path, tmp_path: Path
) -> None:
    path = saved(tmp_path / "model.h5")
    code, out, _ = tool("verify", path, "--against", pixels)
    assert code == 0
    assert out.startswith("1 recorded inputs, 0..255, BGR, turned into RGB: normalised by the pip")
    engines = [line.split()[1] for line in out.splitlines() if line.startswith("logits")]
    assert engines == ["reference", *(["compiled"] if has_numba() else [])]


@pytest.mark.parametrize("engine", ["reference", "auto", *(["compiled"] if has_numba() else [])])
def test_verify_checks_the_engine_that_is_asked_for(
    tool: Tool, pixels: Path, engine: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "model.h5")
    argv = ("verify", path, "--against", pixels, "--engine", engine, "--format", "json")
    code, out, _ = tool(*argv)
    (check,) = json.loads(out)["checks"]
    expected = ("compiled" if has_numba() else "reference") if engine == "auto" else engine
    assert (code, check["engine"], check["name"], check["ok"]) == (0, expected, "logits", True)


def test_verify_exits_with_5_where_a_result_is_over_its_budget(
    tool: Tool, pixels: Path, tmp_path: Path
) -> None:
    params = dict(tiny_file().params)
    params["classifier.bias"] = params["classifier.bias"] + np.float32(0.1)
    path = saved(tmp_path / "model.h5", tiny_file(params=params))
    code, out, err = tool("verify", path, "--against", pixels, "--engine", "reference")
    assert code == 5
    assert "OVER" in out
    assert "1 of 1 comparisons are over their budget: logits" in err


def test_verify_compares_two_models(tool: Tool, source: Path, tmp_path: Path) -> None:
    out_path = tmp_path / "out.h5"
    tool("convert", source, "-o", out_path)
    argv = ("--against", source, "--engine", "reference")
    code, out, _ = tool("verify", out_path, *argv)
    assert code == 0
    assert out.startswith("parameters: 347 of 347 are the same, bit by bit\noutputs for two seeded")
    assert "pool" in out
    code, out, _ = tool("verify", out_path, *argv, "--format", "json")
    found = json.loads(out)
    assert (code, found["params"]["exact"], found["params"]["different"]) == (0, 347, [])
    assert found["checks"][-1]["name"] == "logits"
    assert tool("verify", out_path, *argv, "--images", tmp_path).code == 2


def test_verify_names_the_parameters_that_differ_most(tool: Tool, tmp_path: Path) -> None:
    params = dict(tiny_file().params)
    params["stem.conv.weight"] = params["stem.conv.weight"] * np.float32(1.5)
    a = saved(tmp_path / "a.h5")
    b = saved(tmp_path / "b.h5", tiny_file(params=params))
    code, out, err = tool("verify", a, "--against", b, "--engine", "reference")
    assert code == 5
    assert "\n  stem.conv.weight: 108 values differ, by up to" in out
    assert "over their budget: stem.conv_act" in err


def test_verify_accepts_a_folded_twin(tool: Tool, tmp_path: Path) -> None:
    file = tiny_file()
    _, params = fold_batchnorm(file.graph, file.params)
    folded = replace(file, dialect=file.dialect.folded(), params=params)
    a, b = saved(tmp_path / "a.h5", file), saved(tmp_path / "b.h5", folded)
    code, out, _ = tool("verify", a, "--against", b, "--engine", "reference")
    assert code == 0
    assert out.startswith("parameters: batch norm is folded in one of them")


def test_verify_refuses_what_is_neither_recording_nor_model(tool: Tool, tmp_path: Path) -> None:
    model, other = saved(tmp_path / "model.h5"), tmp_path / "other"
    for data, problem in (
        (zip_bytes([("a.txt", b"text")]), "the recording has no images"),
        (b"nothing known", "which no known checkpoint does"),
        (safetensors_bytes({"a": np.ones(3)}), "the names are of no MixNet"),
    ):
        other.unlink(missing_ok=True)
        other.write_bytes(data)
        code, out, err = tool("verify", model, "--against", other)
        assert (code, out) == (4, "")
        assert problem in err
    assert tool("verify", model, "--against", tmp_path / "none.npz").code == 4


# --- diff -------------------------------------------------------------------------------------


def test_diff_exits_with_0_or_5(tool: Tool, source: Path, tmp_path: Path) -> None:
    code, out, err = tool("diff", source, source)
    assert (code, err) == (0, "")
    assert out == f"{len(TENSORS)} tensors are the same, bit by bit\n"
    changed = {name: array for name, array in TENSORS.items() if name != "bn1.weight"}
    changed["bn1.bias"] = changed["bn1.bias"] + np.float32(1)
    changed["classifier.bias"] = changed["classifier.bias"][:3]
    changed["conv_stem.weight"] = np.full_like(changed["conv_stem.weight"], np.inf)
    other = tmp_path / "other.bin"
    other.write_bytes(safetensors_bytes({**changed, "new": np.ones(2)}))
    code, out, err = tool("diff", source, other)
    assert code == 5
    assert "only in " + str(source) + ": 1\n  bn1.weight\n" in out
    assert "only in " + str(other) + ": 1\n  new\n" in out
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "7 / 3" in rows["classifier.bias"]
    assert "not finite" in rows["conv_stem.weight"]
    assert "1.00e+00" in rows["bn1.bias"]
    assert "3 tensors differ, 1 are only in the first, 1 only in the second" in err


def test_diff_writes_json(tool: Tool, source: Path, tmp_path: Path) -> None:
    tool("convert", source, "-o", tmp_path / "out.h5")
    code, out, _ = tool("diff", tmp_path / "out.h5", source, "--format", "json")
    found = json.loads(out)
    assert (code, found["equal"], found["compared_by"]) == (0, True, "mapping")
    assert found["identical"] == 347


def test_diff_shows_the_worst_of_many(tool: Tool, tmp_path: Path) -> None:
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for path, by in zip(paths, (0, 1), strict=True):
        tensors = {f"x{n}": np.ones(2, np.float32) + by * n for n in range(1, 100)}
        path.write_bytes(safetensors_bytes(tensors))
    _, out, _ = tool("diff", *paths)
    lines = out.splitlines()
    assert lines[1].split()[0] == "x99"
    assert lines[-2] == "and 59 more; --format json lists all"
