"""What a batch leaves behind: a folder that other tools read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minimix.workflows.batching import results
from minimix.workflows.batching.results import Block, write_results
from minimix.workflows.batching.worker import Options
from minimix.workflows.resuming.rows import Rows

LABELS = ("panda", "bär", "fox")


def block(start, count, failed=()):
    values = Options(top=2).kind.empty(count)
    values["index"], values["p"] = [1, 2], [0.75, 0.125]
    names = [f"{n}.png" for n in range(start, start + count)]
    return Block(names, Rows(values, {n: "broken" for n in failed}))


TOP = [{"index": 1, "label": "bär", "p": 0.75}, {"index": 2, "label": "fox", "p": 0.125}]


def test_ndjson_has_a_line_per_picture_in_order(tmp_path):
    write_results(tmp_path, [block(0, 2, failed=[1]), block(2, 1)], LABELS, "ndjson")
    (path,) = tmp_path.iterdir()
    assert path.name == "part-00000.ndjson"
    first, second, third = map(json.loads, path.read_text("utf-8").splitlines())
    assert first == {"path": "0.png", "index": 1, "label": "bär", "p": 0.75, "top": TOP} | {
        "error": None
    }
    assert second == {"path": "1.png", "index": None, "label": None, "p": None, "top": None} | {
        "error": "broken"
    }
    assert third["path"] == "2.png"


def test_files_are_begun_when_one_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROWS_OF_FILE", 4)
    write_results(tmp_path, [block(3 * n, 3) for n in range(4)], LABELS, "ndjson")
    sizes = {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()}
    assert sizes == {"part-00000.ndjson": 6, "part-00001.ndjson": 3, "part-00002.ndjson": 3}


def test_names_that_are_no_unicode_are_escaped(tmp_path):
    odd = Block(["a\udcff.png"], block(0, 1).rows)
    write_results(tmp_path, [odd], LABELS, "ndjson")
    assert json.loads((tmp_path / "part-00000.ndjson").read_text())["path"] == "a\\xff.png"


@pytest.mark.parametrize("rows_of_group", [1, 4, 10_000])
def test_parquet_is_typed_and_read_as_one_table(tmp_path, monkeypatch, rows_of_group):
    dataset = pytest.importorskip("pyarrow.dataset", reason="pip install 'minimix[batch]'")
    monkeypatch.setattr(results, "ROWS_OF_GROUP", rows_of_group)
    monkeypatch.setattr(results, "ROWS_OF_FILE", 5)
    write_results(tmp_path, [block(3 * n, 3, failed=[1]) for n in range(3)], LABELS, "parquet")
    (tmp_path / "_summary.json").write_text("{}")
    table = dataset.dataset(tmp_path).to_table()
    assert str(table.schema.field("p").type) == "float"
    assert table["path"].to_pylist() == [f"{n}.png" for n in range(9)]
    assert table["error"].to_pylist() == [None, "broken", None] * 3
    assert table["label"].to_pylist() == ["bär", None, "bär"] * 3
    assert table["top"][0].as_py() == TOP and table["top"][1].as_py() is None


def test_probabilities_have_six_decimals(tmp_path):
    third = block(0, 1)
    third.rows.values["p"] = np.float32(1 / 3)
    write_results(tmp_path, [third], LABELS, "ndjson")
    assert json.loads((tmp_path / "part-00000.ndjson").read_text())["p"] == 0.333333
