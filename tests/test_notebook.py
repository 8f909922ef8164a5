"""What notebooks are shown: true numbers, escaped text, pictures that open, no scripts."""

from __future__ import annotations

import base64
import dataclasses
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import minimix
from minimix import markup, mosaic, png
from minimix.dialect import DIALECTS
from minimix.model import Model
from minimix.operators import Activation, BatchNorm
from minimix.palette import KERNEL_COLOURS
from minimix.results import Prediction, Score, Trace
from minimix.zoo import architecture, build
from tests.pictures import picture

VOID = {"img", "br"}


class Page(HTMLParser):
    """Reads markup strictly: every element is closed, in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.images, self.rows, self.words = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture(scope="module")
def net(tiny_model):
    return minimix.load(tiny_model, engine="reference")


@pytest.fixture(scope="module")
def trace(net):
    with net.trace(net.preprocess(picture())) as kept:
        return kept


def shown(something):
    html = something._repr_html_()
    page = Page(html)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "javascript:" not in html and "http" not in html and " on" not in html.split("<div")[0]
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    assert all(image["alt"] for image in page.images)
    return page


def opened(image):
    content = base64.b64decode(image["src"].partition(",")[2], validate=True)
    return Image.open(io.BytesIO(content))


def number(cell):
    return int(cell.replace(",", "") or 0)


def test_a_model_shows_its_facts_and_a_row_for_each_block(net):
    page = shown(net)
    blocks = [row for row in page.rows if len(row) == 5][1:]
    assert [row[0] for row in blocks] == list(net.graph.stages)
    facts = dict(row for row in page.rows if len(row) == 2)
    assert sum(number(row[3]) for row in blocks) == number(facts["parameters"])
    assert sum(number(row[4]) for row in blocks) == number(facts["multiply-adds"])
    assert number(facts["multiply-adds"]) == sum(net.graph.macs(64, 64).values())
    kernels = {row[0]: row[1] for row in blocks}
    assert kernels["blocks.13"] == "3×35×57×79×911×11"


def test_a_prediction_shows_every_class_with_a_bar_as_long_as_its_probability():
    top = (Score(3, "giant panda", 0.9412), Score(1, "bear", 0.05))
    html = Prediction(top)._repr_html_()
    page = shown(Prediction(top))
    assert page.rows[1:] == [["giant panda", "", "94.1 %"], ["bear", "", "5.0 %"]]
    assert 'style="width:94.1%"' in html and 'style="width:5.0%"' in html


def test_text_from_outside_is_escaped(net):
    evil = '<script>alert("1")</script>'
    assert evil in shown(Prediction((Score(0, evil, 1.0),))).text
    labels = (evil, *net.labels[1:])
    page = shown(Model(dataclasses.replace(net.file, labels=labels), engine="reference"))
    assert evil in page.text


def test_a_trace_has_a_row_for_each_step_and_pictures_where_a_convolution_ends(trace):
    page = shown(trace)
    assert [row[0] for row in page.rows[1:]] == [step.name for step in trace]
    passing = {
        source
        for step in trace
        if isinstance(step.node.operator, BatchNorm | Activation)
        for source in step.node.inputs
    }
    expected = [s.name for s in trace if s.output.ndim == 4 and s.name not in passing]
    assert len(page.images) == len(expected)
    assert [image["alt"].rpartition(" of ")[2] for image in page.images] == expected


def test_an_empty_trace_can_be_shown():
    assert shown(Trace()).text.startswith("0 steps")


def test_the_pictures_are_those_of_the_liveliest_channels(trace):
    step = trace["blocks.3.mixconv"]
    (image,) = shown(step).images
    energy = np.square(step.output[0].astype(np.float64)).mean(axis=(0, 1))
    best = np.argsort(-energy, kind="stable")[:4].tolist()
    assert image["alt"] == f"channels {', '.join(map(str, best))} of blocks.3.mixconv"
    drawn = opened(image)
    assert drawn.mode == "RGBA" and drawn.width > 3 * drawn.height
    assert np.asarray(drawn)[..., 3].min() == 0  # between the maps


def test_a_step_shows_its_shape_its_formula_and_its_groups(trace):
    page = shown(trace["blocks.3.mixconv"])
    facts = dict(row for row in page.rows if len(row) == 2)
    assert facts["kind"] == "mixconv" and facts["output"].startswith("8 × 8 × 96, 1 picture")
    assert facts["groups"] == "3×332 channels5×532 channels7×732 channels"
    assert "Σ over di, dj" in facts["formula"] and facts["attributes"].startswith("stride 2")


def test_the_gates_that_are_shown_are_the_highest_and_the_lowest(trace):
    gates = np.sort(trace["blocks.3.se"].gates[0])
    rows = [row for row in shown(trace["blocks.3.se"]).rows if row[0].startswith("channel ")]
    values = [float(row[2]) for row in rows]
    np.testing.assert_allclose(values, [*gates[:-6:-1], *gates[4::-1]], atol=5e-4)


def test_every_step_and_every_node_can_be_shown(trace):
    for step in trace:
        assert step.name in shown(step).text
        assert shown(step.node).text.startswith(step.name)


@pytest.mark.parametrize("name", ["mixnet-s", "mixnet-m"])
def test_a_node_without_a_run_shows_kind_kernels_inputs_and_formula(name):
    graph = build(architecture(name), DIALECTS["timm"])
    for node in graph:
        facts = dict(shown(node).rows)
        assert facts["kind"] == node.kind.replace("_", " ")
        assert facts.get("reads", "") == ", ".join(node.inputs)
        assert bool(facts.get("formula")) == (node.kind != "input")
        assert facts.get("kernels", "") == "".join(f"{k}×{k}" for k in node.kernel_sizes)


def test_a_kernel_size_has_its_colour_and_always_its_label():
    style = markup.card("x")
    for size, colour in KERNEL_COLOURS.items():
        assert f".k{size}{{border-left-color:{colour}}}" in style
        assert markup.kernel(size) == f'<span class="k k{size}">{size}×{size}</span>'
    assert markup.kernel(13) == '<span class="k">13×13</span>'


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))))
def test_a_png_holds_the_pixels_that_went_in(rgba):
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.encode(rgba)))), rgba)


@given(
    arrays(np.float64, (6, 4), elements=st.floats(-9, 9)),
    st.sampled_from([1, 2, 3, 6]),
    st.sampled_from([1, 2, 4]),
)
def test_shrinking_by_whole_factors_keeps_the_mean(plane, height, width):
    small = mosaic.resized(plane, height, width)
    assert small.shape == (height, width)
    np.testing.assert_allclose(small.mean(), plane.mean(), atol=1e-12)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))
def test_growing_by_a_whole_factor_repeats_pixels(H, W, factor):
    plane = np.arange(H * W, dtype=float).reshape(H, W)
    grown = mosaic.resized(plane, H * factor, W * factor)
    np.testing.assert_array_equal(grown, plane.repeat(factor, 0).repeat(factor, 1))


@given(st.integers(1, 20), st.integers(1, 30))
def test_no_size_leaves_the_range_of_the_values(size, wanted):
    plane = np.random.default_rng(size).normal(size=(size, size))
    drawn = mosaic.resized(plane, wanted, wanted)
    assert plane.min() - 1e-12 <= drawn.min() and drawn.max() <= plane.max() + 1e-12


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_shown_without_a_warning(net, value):
    with np.errstate(all="ignore"):
        with net.trace(np.full((1, 32, 32, 3), value, np.float32)) as trace:
            pass
    assert len(Page(trace._repr_html_()).images) > 0
    for name in ("image", "stem.conv"):
        assert Page(trace[name]._repr_html_()).images
