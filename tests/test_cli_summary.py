"""``minimix summary``: the published counts, the columns, the formats."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli import run

# FACTS of the released families: parameters and multiply-adds at 224 px.
FAMILIES = {
    "mixnet-s": (4_134_606, 239_173_360),
    "mixnet-m": (5_014_382, 339_172_672),
    "mixnet-l": (7_329_252, 555_251_792),
    "mixnet-xl": (11_896_768, 904_010_880),
    "mixnet-xxl": (23_961_752, 1_992_725_184),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("blocks", [(), ("--blocks",)])
def test_totals_are_the_published_ones_and_need_no_weights(capsys, name, blocks):
    code, out, _ = run(capsys, "summary", "--model", name, *blocks, "--format", "json")
    document = json.loads(out)
    lines = document["stages" if blocks else "nodes"]
    assert code == 0
    assert (document["parameters"], document["macs"]) == FAMILIES[name]
    assert sum(line["parameters"] for line in lines) == document["parameters"]
    assert sum(line["macs"] for line in lines) == document["macs"]


@pytest.mark.parametrize(
    ("name", "macs"), [("mixnet-s", 256), ("mixnet-m", 360), ("mixnet-l", 565)]
)
def test_the_paper_s_count_stands_beside(capsys, name, macs):
    out = run(capsys, "summary", "--model", name, "--blocks").out
    assert f"The paper prints {macs} M multiply-adds for {name}" in out
    assert "Moving statistics are not parameters." in out


def test_the_table_fits_a_hundred_columns_and_aligns(capsys):
    lines = run(capsys, "summary", "--model", "mixnet-l").out.splitlines()
    rows = lines[: lines.index("")]
    assert max(map(len, lines)) <= 100
    assert len({len(row) for row in rows}) == 1
    assert rows[-1].split() == ["total", "7,329,252", "555,251,792"]
    (mixconv,) = [row for row in rows if row.startswith("blocks.3.mixconv ")]
    assert "3 5 7 9" in mixconv and "(1, 28, 28, 240)" in mixconv


def test_blocks_have_a_line_each(capsys):
    out = run(capsys, "summary", "--model", "mixnet-s", "--blocks").out
    (row,) = [line for line in out.splitlines() if line.startswith("blocks.13 ")]
    assert "3 5 7 9 11" in row and "(1, 7, 7, 200)" in row
    assert sum(line.startswith("blocks.") for line in out.splitlines()) == 16


def test_a_model_file_is_summarised_at_its_own_size(capsys, tiny_model):
    document = json.loads(run(capsys, "summary", "--model", tiny_model, "--format", "json").out)
    assert (document["size"], document["paper_macs"]) == (64, None)
    assert document["nodes"][-1]["output_shape"] == [1, 7]


def test_size_and_batch_scale_shapes_and_multiply_adds(capsys):
    argv = ("summary", "--model", "mixnet-s", "--format", "json", "--blocks")
    one = json.loads(run(capsys, *argv).out)
    two = json.loads(run(capsys, *argv, "--batch", "2", "--size", "224").out)
    assert two["macs"] == 2 * one["macs"] and two["parameters"] == one["parameters"]
    assert two["stages"][1]["output_shape"] == [2, 112, 112, 16]


def test_csv_has_the_same_lines(capsys):
    rows = list(csv.DictReader(io.StringIO(run(capsys, "summary", "--format", "csv").out)))
    document = json.loads(run(capsys, "summary", "--format", "json").out)
    assert [row["name"] for row in rows] == [node["name"] for node in document["nodes"]]
    assert [int(row["macs"]) for row in rows] == [node["macs"] for node in document["nodes"]]


def test_kernel_sizes_have_their_colours(capsys, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    out = run(capsys, "summary", "--model", "mixnet-s", "--color", "always").out
    for rgb in ("0;114;178", "230;159;0", "0;158;115", "204;121;167", "213;94;0"):
        assert f"38;2;{rgb}m" in out


def test_a_size_below_the_smallest_is_a_usage_error(capsys):
    code, _, err = run(capsys, "summary", "--size", "31")
    assert code == 2 and "at least 32 px" in err


def test_an_unknown_model_is_exit_code_4(capsys):
    code, _, err = run(capsys, "summary", "--model", "mixnet-ss")
    assert code == 4 and "did you mean mixnet-s?" in err
