"""Features of many pictures: any node, any format, in order, from where a run was cut."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from minimix.errors import InputError, UsageError
from minimix.inputs import Input, find_inputs
from minimix.model import Model, load
from minimix.workflows import feature_files, features
from minimix.workflows.decoding import decode_ahead
from minimix.workflows.features import extract_features
from minimix.workflows.node_output import NodeOutput
from minimix.workflows.resuming import tasks
from minimix.workflows.resuming.parts import parts_folder
from tests.cli import command, environment
from tests.model_files import saved, tiny_file
from tests.pictures import picture

SHAPE = (7, 5)


@pytest.fixture(scope="module")
def model():
    return Model(tiny_file(), engine="reference")


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, of which two are none."""
    (tmp_path / "in").mkdir()
    for n in range(12):
        Image.fromarray(picture(*SHAPE, seed=n)).save(tmp_path / "in" / f"{n:02}.png")
    for n in (3, 11):
        (tmp_path / "in" / f"{n:02}.png").write_bytes(b"broken")
    return tmp_path / "in"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_ROWS", 4)


def inputs_of(folder):
    return list(find_inputs([str(folder)]))


def read(path):
    """The columns of a file of features: path, features, ok, error; and its attributes."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in ("path", "features", "ok")}
            columns["error"] = np.full(len(columns["ok"]), "", object)
            columns["error"][~columns["ok"]] = file["error"]
            return columns, {name: str(file[name]) for name in ("model", "node")}
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            columns = {name: file[name][()] for name in ("features", "ok")}
            texts = {name: file[name].asstr()[()] for name in ("path", "error")}
            return columns | texts, {name: file.attrs[name] for name in ("model", "node")}
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    shape = eval(metadata["shape"], {})
    columns = {name: table[name].to_numpy() for name in ("path", "ok", "error")}
    columns["features"] = np.stack(table["features"].to_numpy()).reshape(-1, *shape)
    return columns, {name: metadata[name] for name in ("model", "node")}


def expected(model, folder, node="pool"):
    """Features by the trace of the model, picture by picture."""
    rows = {}
    for path in sorted(folder.iterdir()):
        try:
            x = model.preprocess(path)
        except InputError:
            continue
        with model.trace(x, keep=node) as trace:
            rows[str(path)] = trace[node].output[0]
    return rows


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet"])
@pytest.mark.parametrize("node", ["pool", "stem.conv"])
def test_every_format_holds_the_same_in_the_inputs_order(
    model, folder, tmp_path, ending, node, small_parts
):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out.{ending}"
    extracted = extract_features(model, inputs_of(folder), out, node=node, batch_size=3)
    columns, attributes = read(out)
    rows = expected(model, folder, node)
    names = [str(path) for path in sorted(folder.iterdir())]
    assert list(columns["path"]) == names
    assert columns["ok"].tolist() == [name in rows for name in names]
    assert columns["features"].dtype == np.float32
    for name, values, why in zip(names, columns["features"], columns["error"], strict=True):
        if name in rows:
            assert np.array_equal(values, rows[name])
            assert why == (None if ending == "parquet" else "")
        else:
            assert np.isnan(values).all() and "not an image" in why
    assert attributes == {"model": "tiny", "node": node}
    assert [name for name, _ in extracted.failed] == [names[3], names[11]]
    assert (extracted.count, extracted.found) == (12, 0)
    assert extracted.shape == columns["features"].shape[1:]
    assert not parts_folder(out).exists()


def test_the_same_inputs_make_the_same_bytes(model, folder, tmp_path):
    for name in ("a.npz", "b.npz"):
        extract_features(model, inputs_of(folder), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet"])
def test_names_that_are_no_text_are_escaped(model, folder, tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="no pyarrow; pip install 'minimix[batch]'")
    odd = folder / "\udcff.png"
    try:
        (folder / "00.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes only text")
    out = tmp_path / f"out.{ending}"
    extract_features(model, [Input(str(odd), lambda: odd)], out)
    assert list(read(out)[0]["path"]) == [str(folder / r"\xff.png")]


def test_one_long_reason_does_not_widen_the_rows_of_all_others(model, folder, tmp_path):
    def fail():
        raise InputError("x" * 500)

    good = folder / "00.png"
    inputs = [Input(str(good), lambda: good)] * 300
    inputs[7] = Input("bad", fail)
    extract_features(model, inputs, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        assert dict(zip(file["path"][~file["ok"]], file["error"], strict=True)) == {
            "bad": "x" * 500
        }
        assert file["error"].nbytes == 4 * 500


def test_a_run_that_was_cut_goes_on(model, folder, tmp_path, small_parts, monkeypatch):
    out = tmp_path / "out.npz"
    calls = count()

    class Cut(Exception):
        pass

    def cut(network, x):
        if next(calls) == 2:
            raise Cut
        return plain(network, x)

    plain = NodeOutput.__call__
    monkeypatch.setattr(NodeOutput, "__call__", cut)
    with pytest.raises(Cut):
        extract_features(model, inputs_of(folder), out, batch_size=4)
    assert not out.exists() and parts_folder(out).is_dir()
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "MOST_ROWS", 4)
    seen = []
    extracted = extract_features(
        model, inputs_of(folder), out, batch_size=2, progress=lambda *done: seen.append(done)
    )
    assert extracted.found == 8
    assert seen[0] == (8, 12) and seen[-1] == (12, 12)
    rows = expected(model, folder)
    columns, _ = read(out)
    for name, values in zip(columns["path"], columns["features"], strict=True):
        assert np.array_equal(values, rows[name]) if name in rows else np.isnan(values).all()
    assert len(extracted.failed) == 2


def test_other_options_or_changed_pictures_are_other_work(model, folder, tmp_path, monkeypatch):
    out = tmp_path / "out.npz"

    def stop(path):
        def write(*_):
            raise KeyboardInterrupt

        return write

    monkeypatch.setattr(features, "writer_for", stop)
    with pytest.raises(KeyboardInterrupt):
        extract_features(model, inputs_of(folder), out)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="options.node was pool, is stem.conv"):
        extract_features(model, inputs_of(folder), out, node="stem.conv")
    other = Model(tiny_file(seed=1), engine="reference")
    with pytest.raises(UsageError, match=r"model\.sha256 was \w{64}, is \w{64}"):
        extract_features(other, inputs_of(folder), out)
    with pytest.raises(UsageError, match="model.size was 32, is 64"):
        larger = Model(tiny_file(), engine="reference", size=64)
        extract_features(larger, inputs_of(folder), out)
    (folder / "03.png").write_bytes((folder / "00.png").read_bytes())
    with pytest.raises(UsageError, match=r"input 4, .*03\.png, has changed since"):
        extract_features(model, inputs_of(folder), out)
    extracted = extract_features(model, inputs_of(folder), out, restart=True)
    assert [Path(name).name for name, _ in extracted.failed] == ["11.png"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.txt", {}, r"features go to \.npz, \.parquet, \.h5; found '\.txt'"),
        ("out.npz", {"node": "pol"}, "node 'pol': tiny has none of that name; try pool"),
        ("no/out.npz", {}, "the folder .* does not exist"),
        ("in", {}, "in: is a folder; name a file"),
        ("out", {}, r"features go to .*\.h5; found no ending"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(
    model, folder, tmp_path, name, options, message
):
    with pytest.raises(UsageError, match=message):
        extract_features(model, inputs_of(folder), tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_file_is_replaced_only_by_force(model, folder, tmp_path):
    out = tmp_path / "out.npz"
    out.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        extract_features(model, inputs_of(folder), out)
    extract_features(model, inputs_of(folder), out, force=True)
    assert read(out)[1]["model"] == "tiny"


def test_where_no_input_can_be_read_nothing_is_written_or_kept(model, folder, tmp_path):
    out = tmp_path / "out.npz"
    out.write_text("precious")
    inputs = [*find_inputs(["nowhere", str(folder / "03.png"), str(tmp_path / "x*.png")])]
    message = "not written, as none of the 3 inputs could be read; the first: nowhere: no such"
    with pytest.raises(InputError, match=message):
        extract_features(model, inputs, out, force=True)
    assert out.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.npz"]


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet"])
def test_a_result_that_is_also_an_input_is_refused(model, folder, tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"picture.{ending}"
    out.write_bytes((folder / "00.png").read_bytes())
    named = str(folder / ".." / out.name)
    with pytest.raises(UsageError, match=f"picture.{ending}: is also .*, which it would replace"):
        extract_features(model, list(find_inputs([str(folder), named])), out, force=True)
    assert out.read_bytes() == (folder / "00.png").read_bytes()


def test_no_inputs_are_refused(model, tmp_path):
    with pytest.raises(UsageError, match="no inputs"):
        extract_features(model, [], tmp_path / "out.npz")


def test_without_pyarrow_parquet_is_refused_with_the_way_out(model, folder, tmp_path, monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(feature_files, "import_module", refuse)
    with pytest.raises(UsageError, match=r"pip install 'minimix\[batch\]', or write \.npz or \.h5"):
        extract_features(model, inputs_of(folder), tmp_path / "out.parquet")


def test_large_nodes_make_small_parts(model):
    task = tasks.Task(
        "test",
        model,
        lambda x: x,
        tasks.RowType(np.dtype("<f4"), (512, 512, 16)),
        [],
        "apply",
    )
    assert task.part_rows * task.kind.size_bytes <= tasks.MOST_PART_BYTES


def test_pictures_are_decoded_ahead_but_no_further_than_asked(model):
    opened, lock = [], threading.Lock()

    def source(n):
        def open_():
            with lock:
                opened.append(n)
            return picture(seed=n)

        return Input(str(n), open_)

    taken = decode_ahead(model, ((n, source(n)) for n in count()), exif="apply", ahead=4, threads=2)
    for n in range(6):
        key, x = next(taken)
        assert key == n and np.array_equal(x, model.preprocess(picture(seed=n)))
        with lock:
            assert max(opened) <= n + 4
    taken.close()


def test_an_error_that_is_no_input_s_ends_the_run(model):
    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        list(decode_ahead(model, [(0, Input("a", fail))], exif="apply", ahead=1))


@pytest.mark.skipif(sys.platform == "win32", reason="no kill without farewell here")
def test_a_process_that_was_killed_is_resumed_by_the_same_command(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(600):
        Image.fromarray(picture(*SHAPE, seed=n)).save(tmp_path / "in" / f"{n:03}.png")
    out, whole = tmp_path / "out.npz", tmp_path / "whole.npz"
    path = saved(tmp_path / "tiny.h5")
    options = ("--model", path, "--engine", "reference")
    argv = command("features", tmp_path / "in", "-o", out, *options)
    process = subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE)
    while process.poll() is None and not (parts_folder(out) / "part-000000").exists():
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -9 and not out.exists()
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=True)
    assert "had been done before" in done.stderr
    extract_features(load(path, engine="reference"), inputs_of(tmp_path / "in"), whole)
    assert out.read_bytes() == whole.read_bytes()
    assert not parts_folder(out).exists()
