"""NaN, infinities, denormals, black and white: what both engines make of unusual pictures."""

from __future__ import annotations

import platform
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minimix as mx
from minimix.dialect import DIALECTS, PIPELINES
from minimix.engine import make_engine
from minimix.errors import InputError
from minimix.tolerances import SAME_NETWORK
from minimix.zoo import build
from tests.model_files import ARCHITECTURE
from tests.strategies import random_params

ENGINES = ("compiled", "reference")
SIZE = (35, 40)
FLOAT = np.finfo(np.float32)

flushes = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"),
    reason="this processor is not told to flush denormals",
)


def pictures(count, *size, seed=0):
    shape = (count, *size, 3)
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def engine_of(name, dialect):
    graph = build(ARCHITECTURE, DIALECTS[dialect])
    return make_engine(name, graph, random_params(graph, 3), threads=2)


@pytest.fixture(scope="module")
def engines():
    """Engines by name and dialect, made when they are asked for."""
    made = {}

    def get(*key):
        if key not in made:
            made[key] = engine_of(*key)
        return made[key]

    return get


@pytest.fixture(scope="module")
def pocket():
    """The embedded model on both engines."""
    return {name: mx.load("mixnet-pocket", engine=name, threads=2) for name in ENGINES}


# --- not finite --------------------------------------------------------------------------------

places = st.tuples(st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1), st.integers(0, 2))
not_finite = st.sampled_from([np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=60)
@given(
    dialect=st.sampled_from(sorted(DIALECTS)),
    values=st.dictionaries(places, not_finite, min_size=1, max_size=4),
    count=st.integers(1, 4),
    data=st.data(),
)
def test_what_is_not_finite_stays_in_its_own_picture(engines, name, dialect, values, count, data):
    engine = engines(name, dialect)
    x = pictures(count, *SIZE)
    (expected,) = engine.run(x)
    amiss, which = x.copy(), data.draw(st.integers(0, count - 1))
    for place, value in values.items():
        amiss[(which, *place)] = value
    (logits,) = engine.run(amiss)
    others = np.arange(count) != which
    assert not np.isfinite(logits[which]).all()
    assert np.isnan(list(values.values())).any() <= np.isnan(logits[which]).all()
    assert logits[others].tobytes() == expected[others].tobytes()
    # Nothing of it stays behind in memory that is used again.
    assert engine.run(x)[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_both_engines_have_nan_at_the_same_places_of_every_node(engines, dialect):
    x = pictures(2, *SIZE)
    x[1, 7, 11, 2] = np.nan
    seen = {name: {} for name in ENGINES}
    for name in ENGINES:
        engines(name, dialect).run(
            x, lambda node, array, name=name: seen[name].update({node.name: np.isnan(array)})
        )
    for node, expected in seen["reference"].items():
        assert np.array_equal(seen["compiled"][node], expected), node
        assert not expected[0].any() and expected[1].any()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, FLOAT.max, -FLOAT.max])
def test_a_picture_of_nothing_else_has_no_scores_and_says_so(pocket, name, value):
    net = pocket[name]
    x = pictures(2, 96, 96)
    expected = net(x)
    x[1] = value
    logits = net(x)
    assert np.isnan(logits[1]).all()
    assert logits[0].tobytes() == expected[0].tobytes()
    assert net.predictions(logits[:1])[0].p > 0
    with pytest.raises(InputError, match="row 1 is NaN at class 0"):
        net.predictions(logits)


# --- denormal ----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(dialect=st.sampled_from(sorted(DIALECTS)), share=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_denormals_give_the_same_on_both_engines(engines, dialect, share, seed):
    rng = np.random.default_rng(seed)
    x = pictures(1, *SIZE, seed=seed)
    denormal = (rng.uniform(-1, 1, x.shape) * FLOAT.smallest_normal).astype(np.float32)
    x = np.where(rng.random(x.shape) < share, denormal, x)
    compiled, reference = (engines(name, dialect).run(x)[0] for name in ENGINES)
    assert np.abs(compiled - reference).max() <= SAME_NETWORK * np.abs(reference).max()


@pytest.mark.parametrize("name", ENGINES)
def test_a_picture_of_denormals_has_the_logits_of_a_black_one(pocket, name):
    x = pictures(2, 96, 96) * np.float32(1e-39)
    found, expected = pocket[name](x), pocket[name](np.zeros_like(x))
    assert np.abs(found - expected).max() <= SAME_NETWORK * np.abs(expected).max()


@flushes
@pytest.mark.parametrize("count", [1, 3])
def test_the_compiled_engine_takes_denormals_for_zero_and_so_at_full_speed(pocket, count):
    x = pictures(count, 96, 96) * np.float32(1e-39)
    assert (x != 0).mean() > 0.99 and (np.abs(x) < FLOAT.smallest_normal).all()
    net = pocket["compiled"]
    assert net(x).tobytes() == net(np.zeros_like(x)).tobytes()


@pytest.mark.parametrize("count", [1, 3])
def test_the_caller_s_denormals_stay_what_they_are(pocket, count):
    x, found = pictures(count, 96, 96), []

    def work():
        pocket["compiled"](x)
        found.append(np.float32(1e-40) * np.full(64, 2, np.float32))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert len(found) == 2 and all((values > 0).all() for values in found)


# --- black and white ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("pipeline", sorted(PIPELINES))
def test_pictures_of_one_colour_give_the_same_on_both_engines(engines, pipeline, level):
    from minimix.images import open_image, preprocess

    flat = open_image(np.full((50, 60, 3), level, np.uint8))
    x = preprocess([flat], PIPELINES[pipeline].with_size(40))
    for dialect in sorted(DIALECTS):
        compiled, reference = (engines(name, dialect).run(x)[0] for name in ENGINES)
        assert np.isfinite(reference).all()
        assert np.abs(compiled - reference).max() <= SAME_NETWORK * np.abs(reference).max()


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_pictures_are_classified_the_same_by_both_engines(pocket, level):
    flat = np.full((120, 100, 3), level, np.uint8)
    compiled, reference = (pocket[name].classify(flat, top=3) for name in ENGINES)
    assert [s.index for s in compiled.top] == [s.index for s in reference.top]
    assert sum(s.p for s in compiled.top) == pytest.approx(sum(s.p for s in reference.top))
