"""``python -m weights_tools``: what each command prints, writes and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix import hub, weights
from minimix.hub.releases import Release
from tests import onnx_writers
from tests.checkpoint_writers import (
    Global,
    Storage,
    Tensor,
    legacy_bytes,
    safetensors_bytes,
    state_dict,
)
from tests.cli import ROOT, Outcome, environment, run
from tests.foreign_names import narrow_network, tensorflow_tensors, with_averages
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import listing, saved
from tests.tensorflow_writers import bundle_of, written
from weights_tools import readers
from weights_tools.__main__ import main
from weights_tools.commands.writing import shortened

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


# --- help -------------------------------------------------------------------------------------


def test_help_shows_every_command_and_needs_no_numpy() -> None:
    code = (
        "import sys\nfrom weights_tools.commands import build_parser\n"
        "parser = build_parser()\n"
        "texts = [parser.format_help(), *(c.format_help() for c in parser.commands.values())]\n"
        "print(all('python -m weights_tools ' in text for text in texts), *parser.commands)\n"
        "print(sorted({'numpy', 'h5py', 'numba', 'requests', 'rich'} & sys.modules.keys()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert answer.stdout.splitlines() == [
        "True fetch inspect convert verify diff export",
        "[]",
    ], answer.stderr


def test_an_unknown_command_is_answered_with_the_nearest(tool: Tool) -> None:
    assert (tool("inspekt").code, "did you mean inspect?" in tool("inspekt").err) == (2, True)


# --- inspect ----------------------------------------------------------------------------------


def test_inspect_shows_the_network_and_its_tensors(tool: Tool, source: Path) -> None:
    code, out, err = tool("inspect", source, "--tensors", "conv_stem*")
    assert (code, err) == (0, "")
    assert "recognised: mixnet-s-custom (timm), 7 classes\n" in out
    assert "dialect timm or timm-tf, pipeline timm\n" in out
    assert "tensors: batch counter of training\n" in out
    assert [line.split()[0] for line in out.splitlines()[-4:-2]] == ["tensor", "conv_stem.weight"]
    assert out.endswith(f"\n{len(TENSORS)} tensors, 1 of them shown\n")


def test_inspect_writes_json_that_any_reader_takes(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "odd.bin"
    odd = {"a": np.array([np.nan, np.inf, 2.0]), "b": np.zeros((0, 3)), "c": np.array(7)}
    path.write_bytes(safetensors_bytes(odd))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    code, out, _ = tool("inspect", path, "--format", "json")
    found = json.loads(out, parse_constant=refuse)
    assert (code, found["schema_version"], found["recognised"]) == (0, 2, None)
    rows = {tensor["name"]: tensor for tensor in found["tensors"]}
    assert (rows["a"]["finite"], rows["a"]["mean"], rows["b"]["mean"]) == (1, 2.0, None)
    _, out, _ = tool("inspect", path)
    assert "2 not finite" in out
    assert "scalar" in out


def test_inspect_refuses_what_it_cannot_find(tool: Tool, source: Path, tmp_path: Path) -> None:
    assert tool("inspect", tmp_path / "none").code == 4
    assert tool("inspect", source, "--tensors", "nothing").code == 2


def test_inspect_shows_what_a_refused_pickle_would_import_and_exits_with_4(
    tool: Tool, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(legacy_bytes({"a": Global("os", "nice")}))
    code, out, err = tool("inspect", path)
    assert (code, "refused globals: os.nice\n" in out) == (4, True)
    assert "model.pth: refused: it would import 'os.nice', which no state dict needs" in err
    code, out, _ = tool("inspect", path, "--format", "json")
    assert (code, json.loads(out)["refused"]) == (4, ["os.nice"])


def test_inspect_says_which_sides_of_a_networks_input_are_free(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_writers.SMALL)
    assert "input x: (free, 3, 8)\n" in tool("inspect", path).out


def test_long_names_are_cut_in_the_middle_on_a_terminal(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"a{'b' * 90}/c{'d' * 90}/kernel"
    path = tmp_path / "long.bin"
    path.write_bytes(safetensors_bytes({name: np.ones(3, np.float32)}))
    assert name in tool("inspect", path).out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((100, 24)))
    lines = tool("inspect", path).out.splitlines()
    (row,) = [line for line in lines if line.startswith("ab")]
    assert len(row) <= 100
    assert "...dd" in row
    assert "d/kernel " in row


@pytest.mark.parametrize("width", [16, 30, 60, 61, 100])
def test_a_shortened_name_has_its_ends(width: int) -> None:
    name = "begin" + "x" * 50 + "finish"
    short = shortened(name, width)
    assert len(short) == min(width, len(name))
    assert name.startswith(short.partition("...")[0])
    assert name.endswith(short.rpartition("...")[2])


# --- convert ----------------------------------------------------------------------------------


def test_convert_reports_where_every_parameter_came_from(
    tool: Tool, source: Path, tmp_path: Path
) -> None:
    report = tmp_path / "map.json"
    code, out, _ = tool("convert", source, "-o", tmp_path / "out.h5", "--report", report)
    assert code == 0
    assert "dialect timm, from the release's name, mixnet_*" in out
    assert "license: not stated in the file\n" in out
    assert "of the file" not in out
    found = json.loads(report.read_text("utf-8"))
    model = weights.load(tmp_path / "out.h5")
    assert found["source"] == model.provenance["source"]
    assert (found["origin"], found["architecture"]["name"]) == ("timm", "mixnet-s-custom")
    assert found["dialect"]["reason"] == "from the release's name, mixnet_*"
    rows = {row["name"]: row for row in found["tensors"]}
    assert rows.keys() == model.params.keys()
    used = [source["name"] for row in rows.values() for source in row["sources"]]
    ignored = [row["name"] for row in found["ignored"]]
    assert sorted(used + ignored) == sorted(TENSORS)
    for row in found["tensors"]:
        assert row["shape"] == list(model.params[row["name"]].shape)
        (origin,) = row["sources"]
        assert origin["shape"] == list(TENSORS[origin["name"]].shape)
    changes = {name: rows[name]["change"] for name in rows}
    assert changes["stem.conv.weight"] == "OIHW -> (K, K, Cin, Cout)"
    assert changes["blocks.3.mixconv.1.weight"] == "OIHW -> (K, K, C)"
    assert changes["blocks.3.se.reduce.weight"] == "OIHW -> (Cin, Cout)"
    assert changes["blocks.3.expand.0.weight"] == "OIHW -> (Cin, Cout)"
    assert changes["classifier.weight"] == "(Cout, Cin) -> (Cin, Cout)"
    assert changes["classifier.bias"] == changes["stem.conv_bn.mean"] == "as it is"
    assert found["ignored"][0]["reason"] == "batch counter of training"


def test_convert_writes_nothing_where_the_report_cannot_be_written(
    tool: Tool, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "map.json").write_text("kept")
    for name, problem in (("map.json", "exists already"), ("out.h5", "which it would replace")):
        outcome = tool("convert", source, "-o", tmp_path / "out.h5", "--report", tmp_path / name)
        assert outcome.code == 2
        assert problem in outcome.err
    assert listing(tmp_path) == ["map.json", source.name]


def test_convert_says_what_it_took_of_a_training_checkpoint(tool: Tool, tmp_path: Path) -> None:
    path, report = tmp_path / "mixnet_s-last.pth", tmp_path / "map.json"
    ema = {"x": Tensor(Storage("of its own", np.zeros(3, np.float32)), (3,))}
    path.write_bytes(
        legacy_bytes({"state_dict": state_dict(TENSORS), "state_dict_ema": ema, "epoch": 7})
    )
    code, out, _ = tool("convert", path, "-o", tmp_path / "out.h5", "--report", report)
    assert code == 0
    assert "of the file taken: state_dict; ignored: state_dict_ema (dict), epoch=7\n" in out
    source = json.loads(report.read_text("utf-8"))["source"]
    assert (source["taken"], source["ignored"]) == ("state_dict", "state_dict_ema (dict), epoch=7")


def test_convert_takes_averages_or_raw_weights_as_it_is_told(tool: Tool, tmp_path: Path) -> None:
    arch, params = narrow_network()
    folder = tmp_path / "mixnet-s"
    folder.mkdir()
    source = written(folder, bundle_of(with_averages(tensorflow_tensors(arch, params))))
    stem = params["stem.conv.weight"]
    for options, expected in ((), stem), (("--raw",), stem + np.float32(1)):
        out = tmp_path / f"out{len(options)}.h5"
        assert tool("convert", source, "-o", out, *options).code == 0
        np.testing.assert_array_equal(weights.load(out).params["stem.conv.weight"], expected)


def test_convert_refuses_raw_weights_of_what_has_no_averages(
    tool: Tool, source: Path, tmp_path: Path
) -> None:
    code, _, err = tool("convert", source, "-o", tmp_path / "out.h5", "--raw")
    assert (code, "of timm have no moving averages beside them: leave out --raw" in err) == (
        4,
        True,
    )


# --- export -----------------------------------------------------------------------------------


def test_export_takes_the_format_from_the_ending_or_as_told(
    tool: Tool, source: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.h5"
    tool("convert", source, "-o", model)
    code, out, err = tool("export", model, "-o", tmp_path / "mixnet_s.safetensors")
    assert (code, "347 tensors" in out) == (0, True)
    assert err.startswith("note: timm.create_model has no name for mixnet-s-custom")
    told = tmp_path / "told.bin"
    assert tool("export", model, "-o", told, "--format", "safetensors").code == 0
    assert told.read_bytes() == (tmp_path / "mixnet_s.safetensors").read_bytes()
    assert readers.detect(told) == "safetensors"


def test_an_export_converts_back_and_verifies_without_being_told_anything(
    tool: Tool, source: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model.h5", tmp_path / "mixnet_s.safetensors"
    tool("convert", source, "-o", model, "--dialect", "timm-tf")
    tool("export", model, "-o", out)
    said = tool("convert", out, "-o", tmp_path / "again.h5").out
    assert "dialect timm-tf, as the file states\npipeline timm, as the file states\n" in said
    code, said, _ = tool("verify", model, "--against", out, "--engine", "reference")
    assert (code, said.startswith("parameters: 347 of 347 are the same")) == (0, True)
    assert tool("diff", model, out).code == 0


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("out.bin",), "the ending says no format; end it in .onnx or .safetensors"),
        (("out",), "the ending says no format"),
        (("out.safetensors", "--size", "64"), "--size goes with ONNX"),
        (("out.bin", "--format", "pth"), "known: onnx, safetensors"),
    ],
)
def test_export_refuses_what_it_cannot_write(
    tool: Tool, argv: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    name, *options = argv
    code, _, err = tool("export", saved(tmp_path / "m.h5"), "-o", tmp_path / name, *options)
    assert code == 2
    assert problem in err
    assert listing(tmp_path) == ["m.h5"]


# --- fetch ------------------------------------------------------------------------------------


def test_fetch_keeps_the_releases_own_name(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fetch_release(release: Release, out: Path, **options: Any) -> Path:
        asked.append((release.title, out, options["offline"], options["force"]))
        out.write_bytes(b"1234")
        return out

    monkeypatch.setattr(hub, "fetch_release", fetch_release)
    monkeypatch.chdir(tmp_path)
    code, out, _ = tool("fetch", "mixnet-s", "--weights", "tf")
    assert code == 0
    assert out.startswith("mixnet-s.tar.gz: mixnet-s (tf), 4 bytes\nchecked: the size, ")
    tool("fetch", "mixnet-m", "-o", tmp_path / "m.pth", "--offline", "--force")
    assert asked == [
        ("mixnet-s (tf)", Path("mixnet-s.tar.gz"), False, False),
        ("mixnet-m (timm)", tmp_path / "m.pth", True, True),
    ]


@pytest.mark.parametrize(
    ("argv", "code", "problem"),
    [
        (("mixnet-s", "--weights", "keras"), 2, "keras"),
        (("mixnet-xl", "--weights", "tf"), 2, "not released"),
        (("mixnet-s", "--offline"), 4, "the network is forbidden"),
        (("mixnet-pocket",), 2, "mixnet-pocket: ships inside the package; there is nothing to fet"),
        (("mixnet-pocket", "--weights", "tf"), 2, "needs no weights; leave out --weights tf"),
        (("foo",), 4, "foo: no model of that name, and no such file; known: mixnet-pocket, "),
        (("tf_mixnet_s",), 4, "did you mean mixnet-s --weights timm-tf? Known: mixnet-pocket, "),
        (("",), 4, "an empty model name; known: mixnet-pocket, "),
    ],
)
def test_fetch_says_what_it_cannot_have(
    tool: Tool, argv: tuple[str, ...], code: int, problem: str, tmp_path: Path
) -> None:
    outcome = tool("fetch", *argv, "-o", tmp_path / "out")
    assert outcome.code == code
    assert problem in outcome.err
    assert listing(tmp_path) == []
