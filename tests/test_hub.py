"""A name or a path becomes the path of a model file, or advice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minimix
from minimix import hub, weights
from minimix.dialect import DIALECTS
from minimix.errors import UsageError, WeightsError
from minimix.hub.releases import MODELS, RELEASES, WEIGHTS, WORTH, Release
from minimix.zoo import FAMILIES
from tests.reference import REFERENCE, needs_reference


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


def test_a_text_too_long_for_a_file_s_name_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no model of that name, and no such file; known: "):
        hub.locate("x" * 5000)


def test_a_file_is_told_from_the_name_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mixnet-s.h5"
    with pytest.raises(WeightsError, match="no model of that name, and no such file; known: "):
        hub.find(str(path))
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"mixnet-s\.h5: that is a file; expected the name of a"):
        hub.find(str(path))


def test_the_name_of_an_architecture_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixnet-pocket").write_bytes(b"")
    assert hub.locate("mixnet-pocket") == hub.embedded_path()


def test_a_path_is_a_path_even_where_a_release_has_its_name(tmp_path: Path) -> None:
    assert hub.locate(tmp_path / "mixnet-s") == tmp_path / "mixnet-s"


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("mixnet-poket", "mixnet-pocket"),
        ("mixnet_s", "mixnet-s"),
        ("MixNet-M", "mixnet-m"),
        ("tf_mixnet_l", "mixnet-l --weights timm-tf"),
        ("tf_mixnet_m.in1k", "mixnet-m --weights timm-tf"),
        ("mixnet_xl.ra_in1k", "mixnet-xl"),
        ("mixnet_xl_ra-aac3c00c.pth", "mixnet-xl"),
    ],
)
def test_a_misspelt_name_is_corrected_and_the_known_ones_are_listed(typed: str, meant: str) -> None:
    known = ", ".join(MODELS)
    with pytest.raises(WeightsError, match="no model of that name, and no such file; ") as caught:
        hub.locate(typed)
    assert str(caught.value).endswith(f"; did you mean {meant}? Known: {known}")


def test_a_name_like_no_other_is_not_corrected() -> None:
    with pytest.raises(WeightsError, match="no such file; known: mixnet-pocket, mixnet-s, "):
        hub.locate("resnet")
    with pytest.raises(WeightsError, match="an empty model name"):
        hub.locate("")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("mixnet-xl", "tf", "mixnet-xl with weights tf: not released. There are mixnet-s: timm, "),
        ("mixnet-xxl", "timm", "mixnet-xxl with weights timm: not released"),
        ("mixnet-s", "tensorflow", r"unknown weights 'tensorflow'; known: timm, timm-tf, tf, mind"),
        ("mixnet-s", "mindspore", r"did you mean mindcv\?"),
        ("mixnet-pocket", "timm", "ships inside the package and needs no weights"),
        ("model.h5", "timm", "a file has its own weights; leave out --weights timm"),
        ("folder/mixnet-s", "tf", "a file has its own weights"),
    ],
)
def test_weights_that_do_not_exist_are_a_usage_error(name: str, weights: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hub.locate(name, weights)


def test_an_architecture_without_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="mixnet-xxl: an architecture of which no weights are"):
        hub.locate("mixnet-xxl")


# --- the table of releases --------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES.values(), ids=lambda release: release.title)
def test_every_release_is_one_of_a_known_family_and_dialect(release: Release) -> None:
    assert RELEASES[release.model, release.weights] is release
    assert release.model in FAMILIES and release.dialect in DIALECTS
    assert release.weights in WEIGHTS and release.license
    assert re.fullmatch(r"https://[\w.]+/[\w./-]+", release.url)
    assert (release.accuracy is None) == (not release.accuracy_source)


def test_every_release_says_how_it_is_checked_and_what_that_is_worth() -> None:
    checks = {release.title: release.check for release in RELEASES.values()}
    assert checks.pop("mixnet-l (tf)") == "digest"
    assert checks.pop("mixnet-s (tf)") == "size"
    assert checks.pop("mixnet-m (tf)") == "none"
    for title, check in checks.items():
        assert check == ("none" if "mindcv" in title else "prefix")
    assert set(WORTH) == {"digest", "prefix", "size", "none"}
    for release in RELEASES.values():
        is_stated = release.sha256_prefix and f"-{release.sha256_prefix}." in release.url
        assert is_stated or release.weights in ("tf", "mindcv")
        assert len(release.sha384) in (0, 96)


@needs_reference
def test_the_table_says_what_the_recorded_facts_say() -> None:
    facts = (REFERENCE / "FACTS.md").read_text("utf-8")
    section = facts[facts.index("## Where releases live") : facts.index("## TensorFlow bundle")]
    for release in RELEASES.values():
        file = release.file
        if release.weights == "tf":  # these are listed as a pattern
            assert "storage.googleapis.com/cloud-tpu-checkpoints/mixnet/mixnet-{s,m,l}" in section
            assert release.url.endswith(f"/cloud-tpu-checkpoints/mixnet/{release.model}.tar.gz")
            if release.size_bytes is not None:
                assert f"{release.model} {release.size_bytes:,} bytes" in section
        else:
            folder = release.url.removeprefix("https://").removesuffix(file)
            assert folder in section and file in section
            if release.size_bytes is not None:
                assert re.search(rf"{re.escape(file)} \({release.size_bytes:,}\b", section)
        assert release.sha384 in section
        if release.accuracy is not None:
            assert "{:.2f}/{:.2f}".format(*release.accuracy) in section


def test_names_are_listed_by_pattern() -> None:
    assert minimix.list_models() == list(MODELS)
    assert minimix.list_models("*-[sm]") == ["mixnet-s", "mixnet-m"]
    assert minimix.list_models("resnet*") == []
