"""The transformer for scikit-learn's pipelines, with and without scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import minimix as mx
from minimix.embedder import Embedder
from minimix.errors import InputError, UsageError, WeightsError
from minimix.model import Model
from tests.cli import ROOT, environment
from tests.model_files import saved, tiny_file
from tests.pictures import encoded, picture


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "tiny.h5")


@pytest.fixture(scope="module")
def model():
    return Model(tiny_file(), engine="reference")


PICTURES = [picture(seed=n) for n in range(7)]


def expected(model, pictures, node="pool"):
    with model.trace(model.preprocess(list(pictures)), keep=node) as trace:
        return trace[node].output.reshape(len(pictures), -1)


def test_it_is_one_of_the_public_names():
    assert mx.Embedder is Embedder


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32])
@pytest.mark.parametrize("node", ["pool", "stem.conv"])
def test_features_are_the_node_s_output_a_row_a_picture(model, node, batch_size):
    found = Embedder(model, node, batch_size).fit_transform(PICTURES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(model, PICTURES, node), rtol=1e-5, atol=1e-6)


def test_pictures_come_as_paths_bytes_arrays_and_images(model, tmp_path):
    image = Image.fromarray(PICTURES[0])
    file = tmp_path / "a.png"
    image.save(file)
    embedder = Embedder(model)
    one = embedder.transform([PICTURES[0]])
    assert np.array_equal(
        embedder.transform([file, str(file), encoded(image), image]), one.repeat(4, 0)
    )
    assert np.array_equal(embedder.transform(np.array([str(file)] * 2)), one.repeat(2, 0))
    assert np.array_equal(embedder.transform(np.array([str(file)], object)), one)
    assert np.array_equal(embedder.transform(np.stack([PICTURES[0]] * 2)), one.repeat(2, 0))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pictures as files, by name."""
    folder = tmp_path_factory.mktemp("pictures")
    for n, pixels in enumerate(PICTURES[:3]):
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return [str(folder / f"{n}.png") for n in range(3)]


def test_a_table_of_one_column_is_that_column(model, files):
    rows = Embedder(model, batch_size=2).transform(files)
    for column in (np.array(files)[:, None], np.array(files, object)[:, None]):
        assert np.array_equal(Embedder(model, batch_size=2).transform(column), rows)
    for library in ("pandas", "polars"):
        table = pytest.importorskip(library).DataFrame({"path": files})
        assert np.array_equal(Embedder(model, batch_size=2).transform(table), rows)
        assert np.array_equal(Embedder(model, batch_size=2).transform(table["path"]), rows)
    arrow = pytest.importorskip("pyarrow").table(
        {"image": [encoded(Image.fromarray(x)) for x in PICTURES[:3]]}
    )
    assert np.array_equal(Embedder(model, batch_size=2).transform(arrow), rows)


def test_a_table_of_several_columns_or_none_is_refused(model, files):
    message = r"expected one column of pictures, found 2 \(path, other\); choose one"
    for library in ("pandas", "polars"):
        make = pytest.importorskip(library).DataFrame
        with pytest.raises(UsageError, match=message):
            Embedder(model).transform(make({"path": files, "other": files}))
        with pytest.raises(UsageError, match=r"found 0 \(none\); choose one"):
            Embedder(model).transform(make())
    with pytest.raises(UsageError, match=r"found 2 \(0, 1\); choose one"):
        Embedder(model).transform(np.array([files[:2]] * 3))


def test_no_pictures_are_no_rows(model):
    assert Embedder(model).transform([]).shape == (0, 6)


def test_parameters_are_got_and_set_by_name(model):
    embedder = Embedder("mixnet-pocket", batch_size=4)
    assert embedder.get_params() == {
        "model": "mixnet-pocket",
        "node": "pool",
        "batch_size": 4,
        "exif": "apply",
        "threads": None,
    }
    assert embedder.set_params(model=model, node="stem.conv") is embedder
    assert embedder.transform(PICTURES[:2]).shape == (2, 16 * 16 * 4)
    embedder.set_params(node="pool")
    assert embedder.transform(PICTURES[:2]).shape == (2, 6)
    with pytest.raises(UsageError, match="Embedder has no 'nod'; known: model, node"):
        embedder.set_params(nod="pool")


def test_features_have_names(model):
    embedder = Embedder(model).fit(PICTURES)
    assert embedder.n_features_out_ == 6
    assert embedder.get_feature_names_out().tolist() == [f"pool_{n}" for n in range(6)]


def test_a_pickle_is_small_and_gives_the_same_features(path):
    embedder = Embedder(path, threads=1).fit(PICTURES)
    before = embedder.transform(PICTURES)
    content = pickle.dumps(embedder)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).transform(PICTURES), before)


def test_a_loaded_model_pickles_by_value(model):
    again = pickle.loads(pickle.dumps(Embedder(model)))
    assert np.array_equal(again.transform(PICTURES), Embedder(model).transform(PICTURES))


@pytest.mark.parametrize(
    ("options", "X", "error", "message"),
    [
        ({}, "a.png", UsageError, "expected a list of pictures"),
        ({}, ["nope.png"], InputError, "nope.png: cannot be opened"),
        ({}, [[1.0, 2.0]], InputError, "a picture is a path"),
        ({}, np.ones((2, 3)), InputError, "expected a picture, found numbers"),
        ({}, [1, 2], InputError, "expected a picture, found numbers"),
        ({"batch_size": 0}, PICTURES, UsageError, "batch_size is 0"),
        ({"node": "nope"}, PICTURES, UsageError, "has none of that name"),
        ({"model": "nope.h5"}, PICTURES, WeightsError, "no such file"),
        ({"threads": 1}, PICTURES, UsageError, "a loaded model .* threads .* minimix.load"),
    ],
)
def test_what_is_no_picture_or_no_option_is_refused(model, options, X, error, message):
    with pytest.raises(error, match=message):
        Embedder(**{"model": model, **options}).transform(X)


def test_arguments_are_checked_when_used_not_when_given():
    assert Embedder("nope", batch_size=-1).get_params()["batch_size"] == -1


def test_scikit_learn_is_not_imported():
    code = (
        "import sys, numpy as np, minimix as mx\n"
        "model = mx.load('mixnet-pocket', engine='reference')\n"
        "mx.Embedder(model).fit_transform([np.zeros((9, 9, 3), np.uint8)])\n"
        "print('sklearn' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, env=environment(), capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_tables_have_named_columns(model, container):
    library = pytest.importorskip(container)
    embedder = Embedder(model).set_output(transform=container)
    table = embedder.set_output(transform=None).fit_transform(PICTURES)
    assert isinstance(table, library.DataFrame)
    assert list(table.columns) == [f"pool_{n}" for n in range(6)]
    array = embedder.set_output(transform="default").transform(PICTURES)
    assert type(array) is np.ndarray and np.array_equal(table.to_numpy(), array)


def test_a_pandas_table_keeps_its_index(model, tmp_path):
    pandas = pytest.importorskip("pandas")
    file = tmp_path / "a.png"
    Image.fromarray(PICTURES[0]).save(file)
    X = pandas.Series([str(file)] * 2, index=["x", "y"])
    table = Embedder(model).set_output(transform="pandas").transform(X)
    assert table.index.tolist() == ["x", "y"]


def test_a_table_that_cannot_be_had_is_refused(model, monkeypatch):
    with pytest.raises(UsageError, match="no container of features 'xarray'; known: default"):
        Embedder(model).set_output(transform="xarray")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        Embedder(model).set_output(transform="pandas").transform(PICTURES)


class TestWithScikitLearn:
    @pytest.fixture(autouse=True)
    def sklearn(self):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")

    def test_clones_have_the_same_parameters_and_features(self, path, model):
        from sklearn.base import clone

        for embedder in (Embedder(path, batch_size=2, threads=1), Embedder(model)):
            other = clone(embedder.fit(PICTURES))
            assert "n_features_out_" not in vars(other)
            assert np.array_equal(other.transform(PICTURES), embedder.transform(PICTURES))
        assert clone(Embedder(model)).model is model  # the weights are there once

    def test_it_takes_its_column_in_a_column_transformer(self, model, files):
        from sklearn.compose import ColumnTransformer

        pandas = pytest.importorskip("pandas")
        table = pandas.DataFrame({"path": files, "width": [1.0, 2.0, 3.0]}, index=list("xyz"))
        steps = [("pictures", Embedder(model), ["path"]), ("numbers", "passthrough", ["width"])]
        both = ColumnTransformer(steps)
        found = both.fit_transform(table)
        assert np.array_equal(found[:, :6], Embedder(model).transform(files))
        assert both.get_feature_names_out().tolist()[-2:] == ["pictures__pool_5", "numbers__width"]
        named = both.set_output(transform="pandas").fit_transform(table)
        assert named.index.tolist() == list("xyz") and named.shape == (3, 7)
        array = ColumnTransformer([("pictures", Embedder(model), [0])]).fit_transform(
            table.to_numpy()
        )
        assert np.array_equal(array, found[:, :6])

    def test_it_is_a_step_of_a_pipeline_that_learns_classes(self, model):
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        dark = [picture(seed=n) // 4 for n in range(8)]
        light = [255 - picture(seed=n) // 4 for n in range(8, 16)]
        X, y = dark + light, [0] * 8 + [1] * 8
        pipeline = make_pipeline(Embedder(model), StandardScaler(), LogisticRegression())
        assert pipeline.fit(X, y).score(X, y) == 1.0
        assert pipeline[:-1].get_feature_names_out().tolist()[0] == "pool_0"
        search = GridSearchCV(pipeline, {"embedder__node": ["pool", "blocks.1.se"]}, cv=2)
        assert search.fit(X, y).best_score_ == 1.0
        assert "Embedder" in repr(pipeline) and "Embedder" in pipeline._repr_html_()

    def test_the_output_is_chosen_for_a_pipeline_or_by_configuration(self, model):
        pandas = pytest.importorskip("pandas")
        from sklearn import config_context
        from sklearn.base import clone
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pipeline = make_pipeline(Embedder(model), StandardScaler()).set_output(transform="pandas")
        assert isinstance(clone(pipeline)[0].fit_transform(PICTURES), pandas.DataFrame)
        assert pipeline.fit_transform(PICTURES).columns.tolist()[0] == "pool_0"
        with config_context(transform_output="pandas"):
            assert isinstance(Embedder(model).transform(PICTURES), pandas.DataFrame)
        assert type(Embedder(model).transform(PICTURES)) is np.ndarray

    def test_it_says_what_it_is(self):
        from sklearn.utils import get_tags
        from sklearn.utils.validation import check_is_fitted

        tags = get_tags(Embedder())
        assert tags.estimator_type == "transformer" and not tags.requires_fit
        check_is_fitted(Embedder())

    def test_it_follows_the_conventions_that_need_no_table_of_numbers(self):
        from sklearn.utils import estimator_checks as checks

        for check in (
            checks.check_no_attributes_set_in_init,
            checks.check_get_params_invariance,
            checks.check_set_params,
            checks.check_estimator_cloneable,
            checks.check_estimator_repr,
            checks.check_parameters_default_constructible,
        ):
            check("Embedder", Embedder())
