"""Dialects and pipelines: stored beside the weights, read back strictly."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.dialect import DIALECTS, PIPELINES, Dialect, Pipeline
from minimix.errors import MinimixError, UsageError, WeightsError

NUMBERS = st.floats(-1e3, 1e3)
TRIPLES = st.tuples(NUMBERS, NUMBERS, NUMBERS)
POSITIVE = st.floats(1e-3, 1e3)
ANY_DIALECT = st.builds(
    Dialect,
    name=st.text(max_size=9),
    padding=st.sampled_from(["same", "symmetric"]),
    batch_norm_eps=st.none() | st.floats(1e-9, 1),
    se_activation=st.sampled_from(["block", "relu"]),
)
ANY_PIPELINE = st.builds(
    Pipeline,
    name=st.text(max_size=9),
    size=st.integers(32, 2000),
    crop=st.sampled_from(["short-side", "short-side-floor", "center-square", "center-fraction"]),
    crop_fraction=st.floats(0.01, 1),
    resize=st.sampled_from(["pillow-bicubic", "tensorflow-bilinear", "opencv-cubic"]),
    channels=st.sampled_from(["RGB", "BGR"]),
    range=st.sampled_from([1.0, 255.0]),
    mean=TRIPLES,
    std=st.tuples(POSITIVE, POSITIVE, POSITIVE),
)


def through_json(thing):
    return type(thing).from_json(json.loads(json.dumps(thing.to_json())))


@given(ANY_DIALECT | ANY_PIPELINE)
def test_dialects_and_pipelines_survive_json(thing):
    copy = through_json(thing)
    assert copy == thing
    assert hash(copy) == hash(thing)


@pytest.mark.parametrize("thing", [*DIALECTS.values(), *PIPELINES.values()])
def test_those_of_the_released_systems_survive_json(thing):
    assert through_json(thing) == thing


RELEASED = [
    ("timm", "symmetric", 1e-5, "block"),
    ("timm-tf", "same", 1e-3, "block"),
    ("tensorflow", "same", 1e-3, "block"),
    ("mindcv", "symmetric", 1e-5, "relu"),
    ("omz", "same", None, "block"),
]


@pytest.mark.parametrize(("name", "padding", "eps", "se_activation"), RELEASED)
def test_the_released_dialects_are_those_of_their_systems(name, padding, eps, se_activation):
    assert DIALECTS[name] == Dialect(name, padding, eps, se_activation)
    assert len(DIALECTS) == len(RELEASED)


def test_all_are_found_under_their_own_name():
    assert all(dialect.name == name for name, dialect in DIALECTS.items())
    assert all(pipeline.name == name for name, pipeline in PIPELINES.items())


@given(ANY_DIALECT)
def test_folding_a_dialect_drops_the_batch_norm_and_nothing_else(dialect):
    folded = dialect.folded()
    assert folded.is_folded
    assert folded.folded() == folded
    assert dialect.is_folded == (dialect.batch_norm_eps is None)
    assert dataclasses.replace(folded, batch_norm_eps=dialect.batch_norm_eps) == dialect


@given(ANY_PIPELINE, st.integers(32, 2000))
def test_another_size_changes_the_size_and_nothing_else(pipeline, size):
    other = pipeline.with_size(size)
    assert other.size == size
    assert other.short_side == int(size / pipeline.crop_fraction)
    assert other.with_size(pipeline.size) == pipeline


@pytest.mark.parametrize(("size", "short_side"), [(224, 256), (96, 109), (32, 36)])
def test_the_short_side_of_timm_is_rounded_down(size, short_side):
    assert PIPELINES["timm"].with_size(size).short_side == short_side


def test_neither_can_be_changed():
    for thing in (DIALECTS["timm"], PIPELINES["timm"]):
        with pytest.raises(dataclasses.FrozenInstanceError, match="name"):
            thing.name = "other"


WRONG = [
    (DIALECTS["timm"], {"padding": "valid"}, "padding is 'valid'; known: same, symmetric"),
    (DIALECTS["timm"], {"padding": None}, "padding is None"),
    (DIALECTS["timm"], {"se_activation": "swish"}, "se_activation is 'swish'; known: block, relu"),
    (PIPELINES["timm"], {"crop": "square"}, "crop is 'square'; known: short-side, "),
    (PIPELINES["timm"], {"resize": "bicubic"}, "resize is 'bicubic'; known: pillow-bicubic"),
    (PIPELINES["timm"], {"channels": "rgb"}, "channels is 'rgb'; known: RGB, BGR"),
    (PIPELINES["timm"], {"range": 2.0}, "range is 2.0; expected 1.0 or 255.0"),
    (PIPELINES["timm"], {"crop_fraction": 0.0}, "crop_fraction is 0.0"),
    (PIPELINES["timm"], {"crop_fraction": 1.1}, "crop_fraction is 1.1"),
    (PIPELINES["timm"], {"crop_fraction": math.nan}, "crop_fraction is nan"),
    (PIPELINES["timm"], {"size": 31}, "size is 31; expected .* at least 32"),
    (PIPELINES["timm"], {"size": 224.0}, "size is 224.0; expected a whole number"),
    (PIPELINES["timm"], {"mean": (0.5, 0.5)}, "mean has 2 values; expected 3"),
    (PIPELINES["timm"], {"std": (1.0, 1.0, 1.0, 1.0)}, "std has 4 values; expected 3"),
    (PIPELINES["timm"], {"std": (1.0, 0.0, 1.0)}, "std is .*; expected three positive numbers"),
    (PIPELINES["timm"], {"std": (1.0, -1.0, 1.0)}, "std is .*; expected three positive numbers"),
]


@pytest.mark.parametrize(("thing", "change", "message"), WRONG)
def test_a_wrong_value_is_refused_when_made_and_when_read(thing, change, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(thing, **change)
    with pytest.raises(WeightsError, match=message):
        type(thing).from_json(thing.to_json() | change)


NOT_NUMBERS = [
    (DIALECTS["timm"], {"batch_norm_eps": "1e-5"}),
    (DIALECTS["timm"], {"batch_norm_eps": -1e-5}),
    (DIALECTS["timm"], {"batch_norm_eps": math.nan}),
    (DIALECTS["timm"], {"name": 5}),
    (PIPELINES["timm"], {"crop_fraction": "0.875"}),
    (PIPELINES["timm"], {"mean": ("a", "b", "c")}),
    (PIPELINES["timm"], {"mean": (math.nan, 0.0, 0.0)}),
    (PIPELINES["timm"], {"mean": 0.5}),
    (PIPELINES["timm"], {"std": (1.0, math.nan, 1.0)}),
    (PIPELINES["timm"], {"std": (math.inf, 1.0, 1.0)}),
    (PIPELINES["timm"], {"std": None}),
]


@pytest.mark.parametrize(("thing", "change"), NOT_NUMBERS)
def test_a_value_of_the_wrong_kind_is_refused_when_read(thing, change):
    with pytest.raises(WeightsError, match=f"{next(iter(change))}|not iterable|not supported"):
        type(thing).from_json(thing.to_json() | change)


@pytest.mark.parametrize("thing", [DIALECTS["timm"], PIPELINES["timm"]])
def test_a_field_that_is_missing_or_unknown_is_named(thing):
    fields = thing.to_json()
    with pytest.raises(WeightsError, match="mood"):
        type(thing).from_json(fields | {"mood": "good"})
    del fields["name"]
    with pytest.raises(WeightsError, match="name"):
        type(thing).from_json(fields)


@pytest.mark.parametrize("cls", [Dialect, Pipeline])
@pytest.mark.parametrize("fields", [[], None, "timm", 3])
def test_what_is_no_object_is_refused(cls, fields):
    with pytest.raises(WeightsError, match=cls.__name__.lower()):
        cls.from_json(fields)


def test_every_error_has_one_parent():
    assert issubclass(UsageError, MinimixError)
    assert issubclass(WeightsError, MinimixError)
