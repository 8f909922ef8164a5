"""A name or a path becomes the path of a model file, or advice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minimix
from minimix import hub, weights
from minimix.errors import WeightsError
from minimix.zoo import FAMILIES


def test_the_embedded_model_is_a_file_of_the_package() -> None:
    path = hub.locate("mixnet-pocket")
    assert path.parent == Path(minimix.__file__).parent / "data"
    assert path.name == "mixnet-pocket.h5"


@pytest.mark.skipif(
    not hub.locate("mixnet-pocket").is_file(), reason="the embedded model is not there yet"
)
def test_the_embedded_model_is_what_its_name_says() -> None:
    file = weights.load(hub.locate("mixnet-pocket"))
    assert file.architecture.name == "mixnet-pocket"
    assert file.pipeline.size == FAMILIES["mixnet-pocket"].size
    assert file.dtype == "float16"
    assert hub.locate("mixnet-pocket").stat().st_size <= 2_000_000


@pytest.mark.parametrize("text", ["model.h5", "folder/model", "./model", "/x/mixnet-s"])
def test_what_looks_like_a_path_is_taken_as_one(text: str) -> None:
    assert hub.locate(text) == Path(text)
    assert hub.locate(Path("model")) == Path("model")


def test_an_existing_file_needs_no_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_bytes(b"")
    assert hub.locate("mine") == Path("mine")


@pytest.mark.parametrize("name", [n for n, entry in hub.MODELS.items() if not entry.is_embedded])
def test_a_released_model_comes_with_the_commands_that_fetch_and_convert_it(name: str) -> None:
    entry = hub.MODELS[name]
    file = entry.url.rpartition("/")[2]
    with pytest.raises(WeightsError, match="not embedded") as caught:
        hub.locate(name)
    message = str(caught.value)
    assert f"curl -LO {entry.url}\n" in message
    assert f"python -m weights_tools convert {file} -o {name}.h5" in message
    assert f"{entry.size_bytes:,} bytes" in message


@pytest.mark.parametrize("name", [n for n, entry in hub.MODELS.items() if not entry.is_embedded])
def test_every_released_model_states_what_proves_it_the_right_one(name: str) -> None:
    entry = hub.MODELS[name]
    assert re.fullmatch(r"https://.+/mixnet_\w+-[0-9a-f]{8}\.pth", entry.url)
    assert entry.url.endswith(f"-{entry.sha256_prefix}.pth")
    assert entry.size_bytes > 10**7
    assert entry.license and "top-1" in entry.note
    assert name in FAMILIES


def test_a_misspelt_name_is_corrected_and_the_known_ones_are_listed() -> None:
    with pytest.raises(
        WeightsError, match=r"mixnet-poket: no model .*did you mean mixnet-pocket\?"
    ):
        hub.locate("mixnet-poket")
    with pytest.raises(WeightsError, match=f"Known: {', '.join(hub.MODELS)}$"):
        hub.locate("resnet")


def test_names_are_listed_by_pattern() -> None:
    assert minimix.list_models() == list(hub.MODELS)
    assert minimix.list_models("*-[sm]") == ["mixnet-s", "mixnet-m"]
    assert minimix.list_models("resnet*") == []
