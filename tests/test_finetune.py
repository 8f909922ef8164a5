"""A new classifier on a frozen backbone: exact, honest about its accuracy, an ordinary model."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from minimix import load, weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import InputError, UsageError
from minimix.model import Model
from minimix.workflows.finetuning import finetune as module
from minimix.workflows.finetuning.classifier import Learner
from minimix.workflows.finetuning.data import gather
from minimix.workflows.finetuning.finetune import Options, finetune
from minimix.workflows.node_output import NodeOutput
from minimix.workflows.validation.classes import Classes
from minimix.workflows.validation.layout import recognise
from minimix.workflows.validation.validate import validate
from minimix.zoo import build
from tests.model_files import ARCHITECTURE, tiny_file
from tests.new_classes import draw_folder
from tests.strategies import random_params

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

SOME = ("flag", "fish", "cactus")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("lesson"), 6, seed=1, names=SOME)


def tiny(name="timm"):
    dialect = DIALECTS[name]
    pipeline = PIPELINES[name.replace("timm-tf", "timm")].with_size(32)
    params = random_params(build(ARCHITECTURE, dialect), 3)
    return Model(tiny_file(dialect=dialect, pipeline=pipeline, params=params), engine="reference")


def rows(rng, count, classes, channels=20):
    """(N, channels) of very unequal scales, one channel dead, and their classes."""
    scales = 10.0 ** rng.uniform(-1, 1, channels) * (np.arange(channels) > 0)
    y = np.arange(count) % classes
    return (
        rng.normal(0, 1, (count, channels)) + np.eye(classes, channels, 2)[y] * 2
    ) * scales + 5, y


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("count", [13, 60])
def test_scores_are_scikit_learn_s_decision_function_of_standardised_features(
    kind, classes, balanced, count
):
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = rows(np.random.default_rng(4), count, classes)
    weight = "balanced" if balanced else None
    theirs = (
        RidgeClassifier(alpha=0.3 * count, class_weight=weight)
        if kind == "ridge"
        else LogisticRegression(C=1 / (0.3 * count), class_weight=weight, max_iter=5000, tol=1e-8)
    )
    expected = make_pipeline(StandardScaler(), theirs).fit(X, y).decision_function(X)
    classifier = Learner(kind, balanced).fit(X, y, 0.3)
    found = classifier(X)
    assert classifier.has_converged
    if classes == 2:
        np.testing.assert_allclose(found[:, 0], -found[:, 1], atol=1e-9)
        found = found[:, 1] if kind == "ridge" else found[:, 1] - found[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-3 if kind == "logistic" else 1e-7)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_model_s_logits_are_the_classifier_s_scores_in_every_dialect(tmp_path, lesson, name):
    model, out = tiny(name), tmp_path / "new.h5"
    done = finetune(model, gather(lesson), out, Options(views=1))
    assert not (tmp_path / "new.h5.parts").exists()
    file = weights.load(out)
    assert file.labels == tuple(sorted(SOME)) and file.architecture.num_classes == 3
    assert file.dialect == model.file.dialect and file.pipeline == model.pipeline
    for key, value in model.file.params.items():
        assert key.startswith("classifier.") or np.array_equal(file.params[key], value), key
    new = load(out, engine="reference")
    x = new.preprocess([item.open() for item in gather(lesson).inputs])
    pooled = NodeOutput(model, "pool")(x).astype(np.float64)
    scores = pooled @ done.file.params["classifier.weight"] + done.file.params["classifier.bias"]
    np.testing.assert_allclose(new(x), scores, rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_file_and_another_another(tmp_path, lesson):
    contents = []
    for n, seed in enumerate((0, 0, 1)):
        finetune(
            tiny(),
            gather(lesson),
            tmp_path / f"{n}.h5",
            Options(Learner("ridge"), views=1, seed=seed),
        )
        contents.append((tmp_path / f"{n}.h5").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_the_file_says_where_it_comes_from(tmp_path, lesson):
    model = tiny()
    source = {"name": "tiny.pth", "sha256": "ab" * 32}
    file = replace(model.file, provenance={"license": "MIT", "source": source, "tool": "x"})
    done = finetune(Model(file, engine="reference"), gather(lesson), tmp_path / "n.h5")
    found = weights.load(tmp_path / "n.h5").provenance
    assert found["license"] == "backbone: MIT; classifier: learned from your pictures"
    assert found["source"] == source and found["tool"].endswith("finetune")
    told = found["finetuning"]
    assert told["backbone"]["name"] == "tiny" and len(told["backbone"]["sha256"]) == 64
    assert told["folder"] == str(lesson) and told["pictures"] == dict.fromkeys(sorted(SOME), 6)
    assert told["accuracy"]["how"] == "cross-validated" and told["accuracy"]["count"] == 18
    assert told["accuracy"]["balanced"] == pytest.approx(done.accuracy.balanced)
    assert (told["classifier"], told["views"], told["seed"]) == ("logistic", 8, 0)
    assert told["penalty"] == done.penalty


def test_a_backbone_that_was_finetuned_itself_keeps_its_story(tmp_path, lesson):
    options = Options(Learner("ridge"), views=0)
    one = replace(tiny().file, provenance={"license": "MIT"})
    finetune(Model(one, engine="reference"), gather(lesson), tmp_path / "1.h5", options)
    first = load(tmp_path / "1.h5", engine="reference")
    finetune(first, gather(lesson), tmp_path / "2.h5", replace(options, seed=1))
    found = weights.load(tmp_path / "2.h5").provenance
    assert found["finetuning"]["seed"] == 1
    assert found["finetuning"]["backbone"]["finetuning"] == first.file.provenance["finetuning"]
    assert found["license"] == "backbone: MIT; classifier: learned from your pictures"


def test_held_out_pictures_are_learned_from_in_the_end_unless_train_is_asked_for(tmp_path, lesson):
    for final, learned in (("all", 18), ("train", 12)):
        options = Options(Learner("ridge"), held_out=1 / 3, views=0, final=final)
        done = finetune(tiny(), gather(lesson), tmp_path / f"{final}.h5", options)
        assert done.learned == learned
        assert done.accuracy.how == ("held-out" if final == "train" else "cross-validated")
    assert done.accuracy.total.count == 6 and done.penalty == done.accuracy.penalties[0]


def test_enough_pictures_are_held_out(tmp_path, lesson, monkeypatch):
    monkeypatch.setattr("minimix.workflows.finetuning.assessing.FEWEST_HELD_OUT", 2)
    options = Options(Learner("ridge"), held_out=0.34, views=0)
    done = finetune(tiny(), gather(lesson), tmp_path / "n.h5", options)
    assert done.accuracy.how == "held-out" and done.accuracy.total.count == 6
    assert done.learned == 18


def test_what_cannot_be_read_is_listed_and_the_rest_is_learned_from(tmp_path):
    folder = draw_folder(tmp_path / "lesson", 4, seed=1, names=SOME)
    (folder / "fish" / "bad.png").write_bytes(b"no picture")
    done = finetune(tiny(), gather(folder), tmp_path / "n.h5", Options(Learner("ridge")))
    ((name, why),) = done.failed
    assert name.endswith("bad.png") and "not an image" in why
    assert done.counts == (4, 4, 4) and done.learned == 12


def test_a_class_of_which_too_little_can_be_read_is_refused_and_nothing_left_behind(tmp_path):
    folder = draw_folder(tmp_path / "lesson", 2, seed=1, names=SOME)
    (folder / "fish" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"of class 'fish' 1 picture can be read(.|\n)*1\.png"):
        finetune(tiny(), gather(folder), tmp_path / "n.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["lesson"]


def test_a_cut_run_goes_on_with_the_features_it_has(tmp_path, lesson, monkeypatch):
    def cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "assess", cut)
    options = Options(Learner("ridge"), views=1)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny(), gather(lesson), tmp_path / "n.h5", options)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="views was 1, is 2"):
        finetune(tiny(), gather(lesson), tmp_path / "n.h5", replace(options, views=2))
    assert finetune(tiny(), gather(lesson), tmp_path / "n.h5", options).found == 18
    other = finetune(tiny(), gather(lesson), tmp_path / "whole.h5", options)
    assert (tmp_path / "n.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert other.found == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"views": 65}, "views are 65; expected 0 to 64"),
        ({"held_out": 0, "final": "train"}, "without held-out pictures"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Options(**options)


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, lesson, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UsageError, match=r"pip install 'minimix\[finetune\]'"):
        finetune(tiny(), gather(lesson), tmp_path / "n.h5")


def test_eight_things_that_mixnet_pocket_has_never_seen_are_told_apart_after_ten_pictures_each(
    tmp_path,
):
    """Ten pictures of each to learn from; twelve others, never seen, as the exam."""
    pocket = load("mixnet-pocket")
    folder = draw_folder(tmp_path / "lesson", 10, seed=1)
    exam = draw_folder(tmp_path / "exam", 12, seed=2)
    assert not {path.name for path in folder.iterdir()} & set(pocket.labels)
    said = finetune(
        pocket, gather(folder), tmp_path / "new.h5", Options(Learner("ridge"), views=4)
    ).accuracy
    new = load(tmp_path / "new.h5")
    report = validate(new, recognise(exam, Classes.of(new)), exam, out=tmp_path / "rows.csv")
    found = report.scores.top1
    assert found.count == 96 and found.value > 0.7  # guessing would be 0.125
    # What was said beforehand and what was found agree within both intervals.
    assert said.total.interval[0] <= found.interval[1]
    assert found.interval[0] <= said.total.interval[1]
