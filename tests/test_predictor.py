"""``BatchPredictor``: the contract of Ray Data's ``map_batches``, without Ray."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from PIL import Image

import minimix as mx
from minimix.errors import UsageError
from tests.pictures import encoded, picture

COUNT = 5


def jpeg(seed):
    return encoded(Image.fromarray(picture(50, 70, seed=seed)), "JPEG")


def objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.fixture(scope="module")
def predict(tiny_model):
    return mx.BatchPredictor(tiny_model, engine="reference", threads=2, batch_size=2, top=3)


@pytest.fixture(scope="module")
def net(tiny_model):
    return mx.load(tiny_model, engine="reference")


def same(rows, net, sources):
    """Whether every row is what ``classify`` says of its picture."""
    for n, source in enumerate(sources):
        best = net.classify(source).top[0]
        assert (rows["label"][n], rows["index"][n]) == (best.label, best.index)
        assert rows["p"][n] == pytest.approx(best.p, abs=2e-6)
        assert rows["error"][n] == ""
    return True


def test_it_is_a_class_that_is_called_with_a_batch():
    assert inspect.isclass(mx.BatchPredictor)
    assert "model" in inspect.signature(mx.BatchPredictor).parameters
    assert mx.BatchPredictor.__call__ is not type.__call__


def test_bytes_paths_and_arrays_are_pictures(predict, net, tmp_path):
    contents = [jpeg(n) for n in range(COUNT)]
    paths = [tmp_path / f"{n}.jpg" for n in range(COUNT)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    arrays = [picture(40 + n, 60, seed=n) for n in range(COUNT)]
    square = np.stack([picture(48, 48, seed=n) for n in range(COUNT)])
    assert same(predict({"image": objects(contents)}), net, contents)
    assert same(predict({"image": objects([bytearray(c) for c in contents])}), net, contents)
    assert same(predict({"image": objects(list(map(str, paths)))}), net, contents)
    assert same(predict({"image": np.array(list(map(str, paths)))}), net, contents)
    assert same(predict({"image": objects(paths)}), net, contents)
    assert same(predict({"image": objects(arrays)}), net, arrays)
    assert same(predict({"image": square}), net, list(square))


def test_columns_are_kept_and_added_in_their_types(predict):
    batch = {"id": np.arange(COUNT), "image": np.stack([picture(40, 40)] * COUNT)}
    rows = predict(batch)
    assert list(rows) == ["id", "image", "label", "index", "p", "top", "error"]
    assert all(type(column) is np.ndarray and len(column) == COUNT for column in rows.values())
    assert [rows[name].dtype.str for name in ("index", "p")] == ["<i8", "<f4"]
    assert np.array_equal(rows["id"], batch["id"]) and list(batch) == ["id", "image"]
    assert [list(entry) for entry in rows["top"][0]] == [["index", "label", "p"]] * 3
    assert rows["top"][0][0]["label"] == rows["label"][0]


def test_records_of_bytes_and_a_path_are_pictures_by_their_bytes(predict, net, tmp_path):
    contents = [jpeg(n) for n in range(COUNT)]
    records = [{"bytes": content, "path": f"{n}.jpg"} for n, content in enumerate(contents)]
    assert same(predict({"image": records}), net, contents)
    file = tmp_path / "a.jpg"
    file.write_bytes(contents[0])
    others = [{"bytes": None, "path": str(file)}, {"bytes": None, "path": None}, {"png": b""}]
    rows = predict({"image": others})
    assert rows["label"][0] == net.classify(file).label and rows["error"][0] == ""
    assert all("found NoneType" in why for why in rows["error"][1:])
    rows = predict({"image": [{"bytes": b"broken", "path": "7.jpg"}]})
    assert "not an image" in rows["error"][0]


def test_lists_are_columns_and_come_back_as_they_were(predict, net):
    contents = [jpeg(0) + b"\0\0", jpeg(1)]  # NumPy's own type of bytes ends before NULs
    rows = predict({"image": contents, "tags": [["a"], ["b", "c"]], "id": [7, 8], "of": ["x", "y"]})
    assert same(rows, net, contents)
    assert rows["image"].tolist() == contents and rows["tags"].tolist() == [["a"], ["b", "c"]]
    assert rows["id"].dtype == np.int64 and rows["of"].dtype == "<U1"


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars"])
def test_tables_are_batches_too(predict, net, library):
    module = pytest.importorskip(library)
    columns = {"image": [jpeg(n) for n in range(COUNT)], "id": list(range(COUNT))}
    made = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    records = [{"bytes": content} for content in columns["image"]]
    tables = [(made, columns)]
    if library == "pyarrow":
        tables += [(made.combine_chunks().to_batches()[0], columns)]
        tables += [(module.table({"image": records, "id": columns["id"]}), columns)]
    for table, expected in tables:
        rows = predict(table)
        assert list(rows) == ["image", "id", "label", "index", "p", "top", "error"]
        assert same(rows, net, expected["image"])
        assert rows["id"].tolist() == expected["id"]


def test_arrow_s_columns_in_a_mapping_are_columns(predict, net):
    pyarrow = pytest.importorskip("pyarrow")
    contents = [jpeg(n) for n in range(2)]
    assert same(predict({"image": pyarrow.array(contents)}), net, contents)
    assert same(predict({"image": pyarrow.chunked_array([contents])}), net, contents)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"image": jpeg(0)}, "column 'image' is one bytes; expected a list or an array"),
        ({"image": "a.png"}, "column 'image' is one str"),
        ({"image": None}, "column 'image' is one NoneType"),
        ({"image": {"bytes": b"", "path": ""}}, "column 'image' is one dict"),
        ({"image": Image.fromarray(picture(8, 8))}, "column 'image' is one Image"),
        ({"image": [b"", b""], "id": 7}, "column 'id' is one int; expected a list or an array"),
        ({"image": picture(8, 8)}, r"array of \(8, 8, 3\).*expected \(N, H, W, 3\)"),
        ({"image": np.ones((2, 5))}, r"array of \(2, 5\)"),
        (
            {"image": [b"", b""], "id": [1, 2], "x": [1, 2, 3], "y": []},
            "image has 2 rows, but x has 3 rows, y has 0 rows",
        ),
        ([b"", b""], "the batch is a list; expected columns by name"),
        (b"", "the batch is a bytes; expected columns by name"),
        (picture(8, 8), "the batch is a ndarray; expected columns by name"),
    ],
)
def test_a_batch_that_is_no_table_of_pictures_is_refused_whole(predict, batch, message):
    with pytest.raises(UsageError, match=message):
        predict(batch)


@pytest.mark.parametrize(
    "options", [{"engine": "reference"}, {"threads": 1}, {"engine": "compiled", "threads": 2}]
)
def test_a_loaded_model_has_its_engine_and_threads_already(net, options):
    with pytest.raises(UsageError, match=f"a loaded model.*{' and '.join(options)}.*minimix.load"):
        mx.BatchPredictor(net, **options)


def test_top_is_left_out_unless_asked_for(tiny_model):
    rows = mx.BatchPredictor(tiny_model, engine="reference")({"image": objects([jpeg(0)])})
    assert list(rows) == ["image", "label", "index", "p", "error"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"no picture at all", "not an image that Pillow"),
        (b"", "empty"),
        (jpeg(0)[:-900], "truncated"),
        ("nowhere.jpg", "cannot be opened"),
        (None, "NoneType"),
        (3.5, "found float"),
        (np.zeros((4, 4, 3)), "of uint8"),
    ],
)
def test_a_bad_picture_is_an_error_in_its_row_and_no_more(predict, net, bad, why):
    good = jpeg(1)
    rows = predict({"image": objects([good, bad, good])})
    assert why in rows["error"][1] and not rows["error"][1].startswith("nowhere.jpg: ")
    assert (rows["label"][1], rows["index"][1], rows["top"][1]) == ("", -1, [])
    assert np.isnan(rows["p"][1])
    kept = {name: column[[0, 2]] for name, column in rows.items()}
    assert same(kept, net, [good, good])


@pytest.mark.parametrize("column", [objects([]), np.empty((0, 8, 8, 3), np.uint8)])
def test_an_empty_batch_has_the_same_columns(predict, column):
    rows = predict({"image": column})
    full = predict({"image": objects([jpeg(0)])})
    assert {k: v.dtype for k, v in rows.items() if k != "image"} == {
        k: v.dtype for k, v in full.items() if k != "image"
    }
    assert all(len(values) == 0 for values in rows.values())


def test_pictures_that_all_fail_are_rows_too(predict):
    rows = predict({"image": objects([b"x"] * COUNT)})
    assert (rows["index"] == -1).all() and all(rows["error"])


def test_a_column_that_is_missing_or_would_be_overwritten_is_refused(predict, tiny_model):
    with pytest.raises(UsageError, match="no column 'image' of pictures; the batch has: bytes"):
        predict({"bytes": objects([jpeg(0)])})
    batch = {"image": objects([jpeg(0)]), "label": np.array(["panda"])}
    with pytest.raises(UsageError, match="the batch has label already.*prefix="):
        predict(batch)
    other = mx.BatchPredictor(tiny_model, prefix="predicted_", engine="reference")
    assert list(other(batch)) == ["image", "label"] + [
        f"predicted_{name}" for name in ("label", "index", "p", "error")
    ]


@pytest.mark.parametrize("argument", ["top", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_numbers_that_cannot_be_used_are_refused(argument, value, tiny_model):
    with pytest.raises(UsageError, match=f"{argument} is .*; expected a whole number from 1 up"):
        mx.BatchPredictor(tiny_model, **{argument: value})


def test_it_pickles_without_the_weights_of_a_model_that_was_named(predict, net, tiny_model):
    content = pickle.dumps(predict)
    assert len(content) < 1000
    batch = {"image": objects([jpeg(n) for n in range(COUNT)])}
    copy = pickle.loads(content)(batch)
    rows = predict(batch)
    assert all(np.array_equal(copy[name], rows[name]) for name in ("label", "index", "p", "error"))
    given = pickle.loads(pickle.dumps(mx.BatchPredictor(net)))
    assert same(given(batch), net, batch["image"])
    assert "BatchPredictor of column 'image' by <minimix.Model" in repr(given)


def test_ray_maps_batches_with_it(tiny_model):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = ray.data.from_items([{"image": jpeg(n), "id": n} for n in range(COUNT)])
        options = {"model": str(tiny_model), "engine": "reference", "threads": 1}
        done = rows.map_batches(
            mx.BatchPredictor, fn_constructor_kwargs=options, batch_size=2, concurrency=1
        ).take_all()
    finally:
        ray.shutdown()
    net = mx.load(tiny_model, engine="reference")
    assert {row["id"]: row["label"] for row in done} == {
        n: net.classify(jpeg(n)).top[0].label for n in range(COUNT)
    }
