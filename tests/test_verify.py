"""A conversion is held against what another framework recorded; anything wrong must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix import weights
from minimix.dialect import PIPELINES
from minimix.engine import EngineName, has_numba
from minimix.errors import InputError
from minimix.model import Model
from minimix.tolerances import RECORDED_LAYER, RECORDED_LOGITS
from minimix.weights import ModelFile
from tests.golden.recordings import timm_tensors
from tests.recorded import CASE, Recording, model_of, written
from tests.reference import REFERENCE, needs_reference
from weights_tools.__main__ import main
from weights_tools.mappings.timm import map_timm
from weights_tools.verify import Check, check_images, check_layers, recorded_layers

ENGINES = ["reference", *(["compiled"] if has_numba() else [])]


# --- the released files -----------------------------------------------------------------------


RELEASED = {
    "timm": ("timm/mixnet_s.pth", "timm/mixnet_s_ref.npz"),
    "timm-tf": ("timm/tf_mixnet_m.safetensors", "timm/tf_mixnet_m_ref.npz"),
    "tensorflow": ("tf/mixnet-s.tar.gz", "tf/mixnet-s_ref.npz"),
    "mindcv": ("mindcv/mixnet_s.ckpt", "mindcv/mixnet_s_ref.npz"),
    "omz": ("openvino/mixnet-l.xml", "openvino/mixnet-l_ref.npz"),
}
"""Dialect -> a released file, and what its framework recorded."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[ModelFile, Path]]:
    """A function: dialect -> the model that the command line converts, and the recording."""
    folder = tmp_path_factory.mktemp("converted")

    @cache
    def convert(dialect: str) -> tuple[ModelFile, Path]:
        checkpoint, recorded = RELEASED[dialect]
        out = folder / f"{dialect}.h5"
        with pytest.raises(SystemExit) as left:
            main(["convert", str(REFERENCE / checkpoint), "-o", str(out)])
        assert left.value.code == 0
        return weights.load(out), REFERENCE / recorded

    return convert


@needs_reference
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dialect", RELEASED)
def test_a_released_checkpoint_agrees_in_every_layer(
    dialect: str, engine: EngineName, released: Any
) -> None:
    file, recorded = released(dialect)
    assert file.dialect.name == dialect
    model = Model(file, engine=engine)
    checks = check_layers(model, recorded)
    layers = recorded_layers(model.graph) if dialect != "omz" else []
    assert [check.name for check in checks] == [*layers, "logits"]
    assert {check.engine for check in checks} == {engine}
    assert [check for check in checks if not check.ok] == []


@needs_reference
@pytest.mark.parametrize("dialect", ["timm", "timm-tf", "mindcv", "omz"])
def test_a_released_checkpoint_agrees_on_every_photograph(dialect: str, released: Any) -> None:
    file, recorded = released(dialect)
    images = check_images(Model(file), recorded, REFERENCE / "images")
    assert len(images) == 8
    assert [check for check in images if not check.ok] == []


@needs_reference
def test_photographs_through_the_wrong_pipeline_are_noticed(released: Any) -> None:
    file, recorded = released("timm")
    wrong = Model(replace(file, pipeline=PIPELINES["mindcv"]))
    checks = check_images(wrong, recorded, REFERENCE / "images")
    assert not any(check.ok for check in checks)


# --- what is noticed --------------------------------------------------------------------------


def test_the_right_network_passes_every_check(tmp_path: Path) -> None:
    checks = check_layers(model_of(), written(tmp_path))
    assert [check.name for check in checks[:2]] == ["stem.conv_act", "blocks.0.add"]
    assert [check.name for check in checks[-3:]] == ["head.conv_act", "pool", "logits"]
    assert [check for check in checks if not check.ok] == []
    assert {check.budget for check in checks[:-1]} == {RECORDED_LAYER}
    assert checks[-1].budget == RECORDED_LOGITS


def test_the_wrong_dialect_fails_from_the_first_layer_on(tmp_path: Path) -> None:
    checks = check_layers(model_of("timm"), written(tmp_path))
    assert not any(check.ok for check in checks)


def test_a_changed_weight_fails_from_its_own_block_on(tmp_path: Path) -> None:
    name = "blocks.4.mixconv.1.weight"
    changed: Any = np.array(map_timm(timm_tensors(CASE)).params[name])
    changed[2, 2] += 0.05 * abs(changed).max()
    checks = {c.name: c for c in check_layers(model_of(**{name: changed}), written(tmp_path))}
    unchanged = {"stem", *(f"blocks.{n}" for n in range(4))}
    for layer, check in checks.items():
        assert check.ok == (layer.rpartition(".")[0] in unchanged), layer


def test_recordings_with_channels_last_are_read_too(tmp_path: Path) -> None:
    model, path = model_of(), written(tmp_path)
    expected = check_layers(model, path)

    def channels_last(content: Recording) -> None:
        content["inputs"] = content["inputs"].transpose(0, 2, 3, 1)
        shapes = model.graph.infer(1, CASE.height, CASE.width)
        for n, layer in enumerate(recorded_layers(model.graph)):
            shape = shapes[layer].shape[1:]
            if len(shape) == 3:
                H, W, C = shape
                c, i, j = np.unravel_index(content["layer_sample_idx"][n], (C, H, W))
                content["layer_sample_idx"][n] = np.ravel_multi_index((i, j, c), shape)

    assert check_layers(model, written(tmp_path, channels_last)) == expected


@pytest.mark.skipif(not has_numba(), reason="Numba is not installed")
def test_the_compiled_engine_is_checked_in_every_layer_too(tmp_path: Path) -> None:
    model = model_of(engine="compiled")
    checks = check_layers(model, written(tmp_path))
    assert len(checks) == 1 + len(recorded_layers(model.graph))
    assert [check for check in checks if not check.ok or check.engine != "compiled"] == []


def test_a_difference_that_is_no_number_is_never_within_a_budget() -> None:
    assert Check("x", "reference", 1.0, 1.0).ok
    assert not Check("x", "reference", 1.1, 1.0).ok
    assert not Check("x", "reference", float("nan"), 1.0).ok


def test_a_recorded_number_that_is_none_is_noticed(tmp_path: Path) -> None:
    def spoil(content: Recording) -> None:
        content["layer_sample_val"][3, 0, 0] = np.nan

    checks = check_layers(model_of(), written(tmp_path, spoil))
    assert [check.name for check in checks if not check.ok] == ["blocks.2.add"]


def test_images_are_found_by_name_whatever_their_ending(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    model, folder = model_of(), tmp_path / "images"
    folder.mkdir()
    pictures = (np.random.default_rng(0).random((2, 70, 80, 3)) * 255).astype(np.uint8)
    for name, pixels in zip(("one.png", "two.bmp"), pictures, strict=True):
        image.fromarray(pixels).save(folder / name)
    logits = np.concatenate([model(model.preprocess(pixels)) for pixels in pictures])
    path = written(tmp_path, lambda content: content.update(logits=logits))
    assert check_images(model, path, folder) == [
        Check("one", "reference", 0.0, RECORDED_LOGITS),
        Check("two", "reference", 0.0, RECORDED_LOGITS),
    ]
    (folder / "two.bmp").unlink()
    with pytest.raises(InputError, match=r"images: no image called two, which recorded\.npz"):
        check_images(model, path, folder)
