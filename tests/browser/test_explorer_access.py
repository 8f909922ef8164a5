"""The page can be read by everyone: axe finds nothing, and it fits every width."""

from __future__ import annotations

import copy

import pytest

from minimix.explorer.page import write_page
from minimix.explorer.record import Record
from tests.browser.conftest import Written, open_all

LAYERS = ["stem.conv", "blocks.3.se", "classifier", "blocks.3"]


@pytest.fixture(scope="session")
def axe():
    module = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="no axe-playwright-python; pip install minimix[browser]",
    )
    return module.Axe()


def violations(axe, page):
    found = axe.run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200], len(each["nodes"])) for each in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_axe_finds_no_violation(opened, compared, axe, theme, width):
    page = opened(compared.path, width=width, theme=theme)
    for view in ("prediction", "cost", "about"):
        page.locator(f"#tab-{view}").click()
        assert violations(axe, page) == [], view
    page.evaluate("selectNode('blocks.3.mixconv')")
    assert violations(axe, page) == []


@pytest.mark.parametrize("name", LAYERS)
def test_axe_finds_no_violation_in_any_kind_of_layer(opened, panda, axe, name):
    page = opened(panda.path, f"layers/{name}", theme="dark")
    open_all(page)
    assert violations(axe, page) == []


LONG = "ILSVRC2012_val_00000001_resized_from_original_cropped_2x.JPEG"


@pytest.fixture(scope="module")
def long_named(compared, tmp_path_factory):
    """The comparison, with names that have no place to break."""
    document = copy.deepcopy(compared.document)
    for picture in document["pictures"]:
        picture["name"] = LONG
        for row in picture["top"]:
            row["label"] = LONG
        picture["occlusion"]["label"] = LONG
    document["labels"] = [LONG] * len(document["labels"])
    document["model"]["name"] = LONG
    path = tmp_path_factory.mktemp("long") / "page.html"
    path.write_bytes(write_page(Record(document, compared.record.buffers)))
    return Written(Record(document, compared.record.buffers), path)


@pytest.mark.parametrize("which", ["compared", "long_named"])
@pytest.mark.parametrize("width", [360, 600, 900, 1280, 1600])
def test_the_page_never_scrolls_sideways(opened, request, which, width):
    page = opened(request.getfixturevalue(which).path, width=width)
    places = ["selectNode('image')", "showView('cost')", "showView('about')"]
    places += [f"selectNode({name!r})" for name in LAYERS] + ["showView('prediction')"]
    for place in places:
        page.evaluate(place)
        open_all(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, place


def test_the_theme_can_be_turned(opened, panda):
    page = opened(panda.path, theme="light")
    grounds = []
    for _ in range(3):
        page.locator("#theme").click()
        colour = "getComputedStyle(document.body).backgroundColor"
        grounds.append((page.locator("#theme").inner_text(), page.evaluate(colour)))
    assert grounds == [
        ("Theme: light", "rgb(255, 255, 255)"),
        ("Theme: dark", "rgb(18, 20, 23)"),
        ("Theme: system", "rgb(255, 255, 255)"),
    ]
