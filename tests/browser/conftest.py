"""The explorer's page in a real browser: Debian's Chromium, or the one MINIMIX_CHROMIUM names.

Whatever the page writes to the console, every error and every request but the one for the page
itself fails the test that had it open.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minimix
from minimix.explorer.page import write_page
from minimix.explorer.record import Record
from minimix.explorer.recording import record

ROOT = Path(__file__).resolve().parents[2]
PANDA = ROOT / "tutorials" / "images" / "panda.png"
BUS = ROOT / "minimix" / "data" / "pictures" / "bus" / "1.png"

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright; pip install minimix[browser]"
    )
    path = os.environ.get("MINIMIX_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on the PATH, and MINIMIX_CHROMIUM is not set")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def model():
    return minimix.load("mixnet-pocket")


@dataclass(frozen=True)
class Written:
    """A recording and the file of its page."""

    record: Record
    path: Path

    @property
    def document(self) -> dict[str, Any]:
        return self.record.document

    def node(self, name: str) -> dict[str, Any]:
        return next(node for node in self.document["nodes"] if node["name"] == name)


@pytest.fixture(scope="session")
def panda(model, tmp_path_factory):
    """The page of the panda."""
    return _written(tmp_path_factory, record(model, PANDA, machine="the tests' machine"))


@pytest.fixture(scope="session")
def compared(model, tmp_path_factory):
    """The page of the panda beside the bus."""
    recorded = record(model, PANDA, compare=BUS, machine="the tests' machine")
    return _written(tmp_path_factory, recorded)


@pytest.fixture(scope="session")
def model_input(model):
    """(1, H, W, 3): the panda as the network reads it."""
    with Image.open(PANDA) as image:
        return np.asarray(model.preprocess(image))


def _written(tmp_path_factory, recorded: Record) -> Written:
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_bytes(write_page(recorded))
    return Written(recorded, path)


@dataclass
class Opener:
    """Opens pages in fresh contexts and hears what they say."""

    browser: Any
    contexts: list[Any] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def __call__(
        self, path: Path, place: str = "", *, width: int = 1280, height: int = 900,
        theme: str = "light", **options: Any,
    ) -> Any:  # fmt: skip
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, **options
        )
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.heard.append(f"error: {error}"))
        page.on("request", lambda request: self._requested(request.url, path))
        page.goto(path.as_uri() + (f"#{place}" if place else ""))
        page.wait_for_selector("html[data-ready]")
        return page

    def _requested(self, url: str, path: Path) -> None:
        # Pictures within the page are asked for under their data: address.
        if url.split("#")[0] != path.as_uri() and not url.startswith("data:"):
            self.heard.append(f"request: {url}")


@pytest.fixture
def opened(chromium):
    """Call with a page's path -> the page, open; nothing may be heard from it."""
    opener = Opener(chromium)
    yield opener
    for context in opener.contexts:
        context.close()
    assert opener.heard == []


def open_all(page: Any) -> None:
    """Open every disclosure that can be seen, and wait until what it holds is built."""
    page.locator("details:visible").evaluate_all(
        "boxes => boxes.forEach((b) => { b.open = true; })"
    )
    page.locator("details[open] > .disclosed:empty").first.wait_for(state="detached")


def shown(page: Any, selector: str) -> float:
    """Return the exact number behind the text that the page shows."""
    return float(page.locator(selector).first.get_attribute("value"))
