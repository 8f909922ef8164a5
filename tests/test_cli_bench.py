"""``minimix bench``: what it measures, how it compares, in which forms.  No time is judged here."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from minimix import load
from minimix.cli import bench, bench_report
from minimix.errors import CheckError, UsageError
from minimix.workflows.bench import compare, sample_batch, time_by_kind
from minimix.workflows.timing import Timing, measure, ratio
from tests.cli import run
from weights_tools import peers

QUICK = ("--runs", "2", "--seconds", "0.001")


def needs(*packages):
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def model(tiny_model):
    return load(tiny_model, engine="reference")


class Shifted:
    """A peer that computes what minimix does, and then adds something."""

    version, budget = "1.2.3", 1e-3

    def __init__(self, model, shift=0.0):
        self.model, self.shift = model, shift

    def bind(self, x):
        return lambda: self.model(x) + np.float32(self.shift)


def compared(model, shift):
    load_peer = {"shifted": lambda same, threads: Shifted(same, shift)}
    wanted = {"threads": [1], "batches": [1, 2], "runs": 2, "seconds": 1e-3}
    return list(compare(lambda threads: model, load_peer, **wanted))


def test_turns_alternate_and_every_candidate_is_timed_as_often():
    calls = []
    candidates = {name: lambda name=name: calls.append(name) for name in "AB"}
    found = measure(candidates, rounds=3, seconds=1e-6)
    turns = [name for n, name in enumerate(calls) if n == 0 or calls[n - 1] != name]
    assert turns == ["A", "B"] * 3
    assert all(len(timing.rounds_ms) == 3 and timing.calls >= 9 for timing in found.values())


def test_statistics_are_those_of_rounds():
    timing = Timing(((1.0, 2.0, 9.0), (4.0, 4.0, 4.0), (3.0, 3.0, 5.0)))
    assert timing.medians_ms == (2.0, 4.0, 3.0)
    assert (timing.median_ms, timing.calls) == (3.0, 9)
    assert timing.spread == pytest.approx(2 / 3)
    assert 5.0 < timing.p95_ms < 9.0
    twice = Timing(tuple(tuple(2 * call for call in calls) for calls in timing.rounds_ms))
    assert ratio(twice, timing).median == ratio(twice, timing).smallest == 2.0


def test_a_peer_is_compared_for_every_batch_with_its_difference(model):
    found = compared(model, 0.0)
    assert [(entry.name, entry.batch) for entry in found] == [
        ("minimix", 1), ("shifted", 1), ("minimix", 2), ("shifted", 2),
    ]  # fmt: skip
    ours, theirs = found[2:]
    assert ours.ratio is None and ours.difference is None
    assert theirs.difference == 0.0 and theirs.version == "1.2.3"
    assert theirs.ratio.smallest <= theirs.ratio.median <= theirs.ratio.largest
    assert theirs.pictures_per_s == pytest.approx(2000 / theirs.timing.median_ms)


@pytest.mark.parametrize("shift", [1.0, float("nan")])
def test_a_peer_with_other_logits_is_refused(model, shift):
    with pytest.raises(CheckError, match=r"shifted 1.2.3: its logits differ.*at most 0.001"):
        compared(model, shift)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_the_parts_of_an_inference_have_all_its_multiply_adds(tiny_model, engine):
    if engine == "compiled":
        pytest.importorskip("numba")
    model = load(tiny_model, engine=engine, threads=2)
    kinds = time_by_kind(model, 3)
    assert sum(entry.macs for entry in kinds) == sum(model.graph.macs(64, 64).values())
    assert all(entry.elapsed_ms >= 0 and entry.count > 0 for entry in kinds)
    assert [entry.elapsed_ms for entry in kinds] == sorted(
        (entry.elapsed_ms for entry in kinds), reverse=True
    )
    assert {"conv", "mixconv", "pointwise", "linear"} <= {entry.kind for entry in kinds}


def test_the_sample_is_a_photograph_repeated(model):
    x = sample_batch(model, 3)
    assert x.shape == (3, 64, 64, 3) and (x[0] == x[2]).all() and x.std() > 0.1


def test_the_table_says_what_was_measured_on_what(capsys, tiny_model):
    argv = ("--model", tiny_model, "--threads", "1,2", "--batch", "1,2", "--kinds", *QUICK)
    code, out, err = run(capsys, "bench", "--engine", "reference", *argv)
    assert code == 0 and err == ""
    assert "mixnet-pocket (timm), 64 x 64 px, float32" in out and "numpy" in out
    assert sum(line.startswith("minimix ") for line in out.splitlines()) == 4
    assert "median ms" in out and "GMAC/s" in out and "faster" not in out


def test_markdown_bears_the_command_that_made_it(capsys, tiny_model):
    argv = ("--model", tiny_model, "--engine", "reference", "--threads", "1", *QUICK)
    out = run(capsys, "bench", *argv, "--format", "markdown").out
    command = f"minimix bench --model {tiny_model} --engine reference --threads 1 --runs 2"
    assert out.startswith(f"Made by `{command} --seconds 0.001 --format markdown`\n")
    heading, marks, *rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in (heading, marks, *rows)}) == 1
    assert marks.startswith("| --- | --: |")


def test_json_has_every_round(capsys, tiny_model):
    argv = ("--model", tiny_model, "--engine", "reference", "--threads", "1", *QUICK)
    document = json.loads(run(capsys, "bench", *argv, "--format", "json").out)
    (result,) = document["results"]
    assert document["schema_version"] == 1 and document["size"] == 64
    assert len(result["medians_ms"]) == 2 and result["calls"] >= 6
    assert result["minimix_faster"] is None and document["machine"]["cores"]


def test_start_up_runs_whole_processes(capsys, tiny_model):
    argv = ("--model", tiny_model, "--engine", "reference", "--threads", "1", "--startup")
    document = json.loads(
        run(capsys, "bench", *argv, "--runs", "1", "--seconds", "0.001", "--format", "json").out
    )
    (found,) = document["startup"]
    assert found["threads"] == 1 and found["cold_s"] > 0 and found["warm_s"] > 0
    assert found["peak_bytes"] is None or 2e7 < found["peak_bytes"] < 1e9


def test_a_process_that_fails_is_reported_with_its_words(capsys, tmp_path):
    from minimix.workflows.startup import measure_startup

    with pytest.raises(CheckError, match=r"failed with 4: error: .*nothing\.h5"):
        measure_startup(tmp_path / "nothing.h5", "reference", 1, 64, 1)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--against", "openvin"], "unknown runtime 'openvin'; known: onnxruntime, openvino"),
        (["--threads", "1,x"], "expected a whole number from 1 up, found 'x'"),
        (["--batch", ""], "expected a whole number from 1 up, found ''"),
        (["--seconds", "-1"], "expected seconds above 0, found '-1'"),
        (["--seconds", "nan"], "expected seconds above 0, found 'nan'"),
    ],
)
def test_a_wrong_wish_is_a_usage_error(capsys, argv, message):
    code, out, err = run(capsys, "bench", *argv)
    assert code == 2 and out == "" and message in err


@pytest.mark.parametrize("name", bench.PEERS)
def test_a_missing_runtime_is_named_with_the_command_that_installs_it(
    capsys, monkeypatch, tiny_model, name
):
    package = peers.PACKAGES[name][0]
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run(capsys, "bench", "--model", tiny_model, "--against", name)
    assert code == 2 and out == ""
    assert f"comparing with {name} needs {package}" in err and f"pip install {package}" in err


def test_the_command_line_knows_every_peer_there_is():
    assert bench.PEERS == tuple(peers.PEERS) == tuple(peers.PACKAGES)
    with pytest.raises(UsageError, match="no peer 'caffe'; known: onnxruntime"):
        peers.check_installed("caffe")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("onnxruntime", marks=needs("onnx", "onnxruntime")),
        pytest.param("openvino", marks=needs("onnx", "openvino")),
        pytest.param("openvino-bf16", marks=needs("onnx", "openvino")),
        pytest.param("torch", marks=needs("torch")),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_peers_compute_our_logits(name, batch):
    model = load("mixnet-pocket", engine="reference")  # trained: random ones punish bfloat16
    peer = peers.make_peer(name, model.graph, model.file.params, model.size, 2)
    light = np.linspace(0.8, 1, batch, dtype=np.float32)
    x = sample_batch(model, batch) * light[:, None, None, None]
    expected, call = model(x), peer.bind(x)
    del x
    for _ in range(2):
        found = call()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= peer.budget * np.abs(expected).max()


def test_markdown_cells_cannot_break_the_table():
    assert bench_report._markdown_row(["a|b", "c"]) == "| a\\|b | c |"
