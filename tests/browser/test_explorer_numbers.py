"""What the page shows is what the engine computed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minimix.palette import diverging, sequential
from tests.browser.conftest import open_all, shown


def test_the_magnifier_adds_up_to_the_output_that_the_model_computes(
    opened, panda, model, model_input
):
    wanted = ["stem.conv", "blocks.3.mixconv", "blocks.13.mixconv"]
    with model.trace(model_input, keep=[f"{name}" for name in wanted]) as trace:
        outputs = {step.name: step.output for step in trace if step.name in wanted}
    page = opened(panda.path)
    for name in wanted:
        page.evaluate("name => selectNode(name)", name)
        samples = panda.node(name)["magnifier"]
        assert samples
        for m, sample in enumerate(samples):
            page.locator(".panel:has(.magnifier) select").select_option(str(m))
            height, width, _ = panda.node(name)["shape"]
            for i, j in [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]:
                page.evaluate(
                    "([name, i, j]) => movePixel(nodesByName.get(name), i, j)", [name, i, j]
                )
                summed = shown(page, ".sums [data-fact=sum]")
                engine = float(outputs[name][0, i, j, sample["channel"]])
                assert shown(page, ".sums [data-fact=recorded]") == pytest.approx(engine, abs=1e-4)
                assert summed == pytest.approx(engine, abs=1e-4), (name, m, i, j)


def test_the_magnifier_goes_on_to_the_output_of_the_layer(opened, panda, model, model_input):
    node = panda.node("blocks.3.mixconv")
    last = node["members"][-1]["name"]
    with model.trace(model_input, keep=[last]) as trace:
        (output,) = (step.output for step in trace if step.name == last)
    page = opened(panda.path, "layers/blocks.3.mixconv")
    page.evaluate("movePixel(nodesByName.get('blocks.3.mixconv'), 2, 5)")
    channel = node["magnifier"][0]["channel"]
    given = shown(page, ".sums [data-fact=given]")
    assert given == pytest.approx(float(output[0, 2, 5, channel]), abs=1e-4)
    assert given == pytest.approx(shown(page, ".readout data"), abs=1e-6)


def test_padding_is_shown_as_padding_and_counted(opened, panda):
    page = opened(panda.path, "layers/blocks.3.mixconv")
    page.evaluate("movePixel(nodesByName.get('blocks.3.mixconv'), 0, 0)")
    assert page.locator(".products .padding").count() > 0
    assert "counted as 0" in page.locator(".sums").inner_text()


def test_the_cells_and_the_bias_add_up_to_the_logit_of_the_engine(
    opened, compared, model, model_input
):
    logits = model.run(model_input)[0]
    page = opened(compared.path)
    for k, index in enumerate(compared.document["classes"]):
        page.locator("#why select").select_option(str(k))
        line = ".why > :first-child .equation-line"
        cells, bias = (shown(page, f"{line} [data-fact={part}]") for part in ("cells", "bias"))
        assert cells + bias == pytest.approx(float(logits[index]), abs=1e-4)
        assert shown(page, f"{line} [data-fact=sum]") == pytest.approx(cells + bias, abs=1e-9)
        assert shown(page, f"{line} [data-fact=logit]") == pytest.approx(logits[index], abs=1e-4)


def test_the_macs_and_parameters_are_those_of_the_model(opened, panda, model):
    page = opened(panda.path, "cost")
    macs = model.graph.macs(model.size, model.size)
    page.get_by_label("MACs", exact=True).check()
    assert shown(page, "#pane-cost [data-fact=total]") == sum(macs.values())
    page.get_by_label("Parameters", exact=True).check()
    parameters = sum(map(model.graph.param_count, model.graph))
    assert shown(page, "#pane-cost [data-fact=total]") == parameters
    page.get_by_label("MACs", exact=True).check()
    open_all(page)
    listed = page.locator("#pane-cost .disclosed td data").evaluate_all(
        "cells => cells.map((cell) => Number(cell.value))"
    )
    nodes = panda.document["nodes"]
    assert listed == [sum(macs[each["name"]] for each in node["members"]) for node in nodes]
    page.evaluate("selectNode('blocks.3.mixconv')")
    members = panda.node("blocks.3.mixconv")["members"]
    assert shown(page, ".card [data-fact=macs]") == sum(macs[each["name"]] for each in members)


def test_times_are_those_that_were_recorded(opened, panda):
    times = panda.document["times"]
    page = opened(panda.path, "cost")
    assert shown(page, "[data-fact=inference]") == times["inference_ms"]
    assert shown(page, "#pane-cost [data-fact=total]") == times["nodes_ms"]
    timed = next(node for node in panda.document["nodes"] if node["ms"] is not None)
    page.evaluate("name => selectNode(name)", timed["name"])
    assert shown(page, ".card [data-fact=ms]") == timed["ms"]
    inside = next(node for node in panda.document["nodes"] if node["ms_in"] is not None)
    page.evaluate("name => selectNode(name)", inside["name"])
    assert f"inside {inside['ms_in']}" in page.locator(".card").inner_text()


def test_the_predictions_are_those_of_the_model(opened, panda):
    page = opened(panda.path)
    best = panda.document["pictures"][0]["top"][0]
    assert shown(page, ".bars [data-fact=p]") == best["p"]
    assert page.locator(".bars .best bdi").inner_text() == best["label"] == "giant panda"


@pytest.mark.parametrize("channel", range(3))
def test_the_values_of_the_picture_are_exact(opened, panda, model_input, channel):
    page = opened(panda.path, "layers/image")
    page.locator(".tile").nth(channel).click()
    for i, j in [(0, 0), (40, 17), (95, 95)]:
        page.evaluate("([i, j]) => movePixel(nodesByName.get('image'), i, j)", [i, j])
        assert shown(page, ".readout data") == float(model_input[0, i, j, channel])
        assert "exact" in page.locator(".readout").inner_text()


def test_values_of_feature_maps_are_as_near_as_they_say(opened, panda, model, model_input):
    with model.trace(model_input, keep=["blocks.5.add"]) as trace:
        (output,) = (step.output for step in trace if step.name == "blocks.5.add")
    page = opened(panda.path, "layers/blocks.5.add")
    maps = panda.node("blocks.5.add")["maps"]
    for n in (0, 3):
        page.locator(".tile").nth(n).click()
        page.evaluate("movePixel(nodesByName.get('blocks.5.add'), 4, 9)")
        error = (maps["high"][n] - maps["low"][n]) / 255 / 2
        engine = float(output[0, 4, 9, maps["channels"][n]])
        assert shown(page, ".readout data") == pytest.approx(engine, abs=error + 1e-4)


def test_frequency_responses_are_those_of_a_fourier_transform(opened, panda):
    page = opened(panda.path)
    rng = np.random.default_rng(5)
    kernel = rng.normal(size=(5, 5)).astype(np.float32)
    found = page.evaluate("flat => Array.from(spectrum(flat, 5))", kernel.ravel().tolist())
    # 25 frequencies from -1/2 to 1/2: a transform over 24 px, whose first one comes twice.
    full = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (24, 24))))
    np.testing.assert_allclose(np.reshape(found, (25, 25))[:24, :24], full, atol=1e-6)


def test_colours_are_those_of_the_palette(opened, panda):
    page = opened(panda.path)
    tables = page.evaluate("TABLES")
    np.testing.assert_array_equal(tables["sequential"], sequential())
    np.testing.assert_array_equal(tables["diverging"], diverging())


def test_receptive_fields_are_those_of_the_graph(opened, panda):
    page = opened(panda.path, "layers/blocks.3.mixconv")
    text = page.locator(".field-list").inner_text()
    sizes = [group["field"]["size"] for group in panda.node("blocks.3.mixconv")["groups"]]
    assert sorted(map(int, re.findall(r": (\d+) ×", text))) == sorted(sizes)
