"""A conversion is held against what another framework recorded; anything wrong must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import InputError, WeightsError
from minimix.model import Model
from minimix.tolerances import RECORDED_LAYER, RECORDED_LOGITS
from minimix.weights import ModelFile
from tests.golden import seeded
from tests.golden.recordings import recording, timm_tensors
from tests.golden.seeded import CASES
from tests.reference import REFERENCE, needs_reference
from weights_tools.convert import read_model
from weights_tools.mappings.timm import map_timm
from weights_tools.verify import Check, check_images, check_layers, recorded_layers

CASE = CASES["tf_mixnet_s-odd"]
Recording = dict[str, NDArray[Any]]


def model_of(dialect: str = "timm-tf", **params: Any) -> Model:
    """The narrow network of a recording, some of its parameters replaced."""
    mapped = map_timm(timm_tensors(CASE))
    labels = tuple(f"class {n}" for n in range(CASE.classes))
    pipeline = PIPELINES["timm"].with_size(64)
    file = ModelFile(
        mapped.architecture, DIALECTS[dialect], pipeline, labels, {**mapped.params, **params}
    )
    return Model(file, engine="reference")


def written(folder: Path, change: Callable[[Recording], object] = lambda recording: None) -> Path:
    """A recording in the form of the reference files, from one of ``make_timm.py``, changed."""
    stored = recording(CASE)
    places = [
        seeded.sample_positions(CASE, str(layer), int(size))
        for layer, size in zip(stored["layers"], stored["layer_sizes"], strict=True)
    ]
    content: dict[str, Any] = {
        "images": np.array(["one", "two"]),
        "logits": stored["logits"],
        "inputs": seeded.pictures(CASE).transpose(0, 3, 1, 2),
        "layers": stored["layers"],
        "layer_sample_idx": np.array(places),
        "layer_sample_val": stored["layer_values"],
    }
    content = {key: np.array(values) for key, values in content.items()}
    change(content)
    np.savez(folder / "recorded.npz", **content)
    return folder / "recorded.npz"


# --- the released files -----------------------------------------------------------------------


@needs_reference
@pytest.mark.parametrize("name", ["mixnet_s.pth", "tf_mixnet_m.safetensors"])
def test_a_released_checkpoint_agrees_in_every_layer_and_on_every_photograph(name: str) -> None:
    source = REFERENCE / "timm" / name
    recorded = source.with_name(f"{source.stem}_ref.npz")
    model = Model(read_model(source).model, engine="reference")
    layers = check_layers(model, recorded)
    assert [check.name for check in layers] == [*recorded_layers(model.graph), "logits"]
    images = check_images(model, recorded, REFERENCE / "images")
    assert len(images) == 8
    assert [check for check in layers + images if not check.ok] == []


@needs_reference
def test_photographs_through_the_wrong_pipeline_are_noticed() -> None:
    source = REFERENCE / "timm" / "mixnet_s.pth"
    file = replace(read_model(source).model, pipeline=PIPELINES["mindcv"])
    checks = check_images(
        Model(file, engine="reference"),
        source.with_name("mixnet_s_ref.npz"),
        REFERENCE / "images",
    )
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


def test_a_difference_that_is_no_number_is_never_within_a_budget() -> None:
    assert Check("x", 1.0, 1.0).ok
    assert not Check("x", 1.1, 1.0).ok
    assert not Check("x", float("nan"), 1.0).ok


def test_a_recorded_number_that_is_none_is_noticed(tmp_path: Path) -> None:
    def spoil(content: Recording) -> None:
        content["layer_sample_val"][3, 0, 0] = np.nan

    checks = check_layers(model_of(), written(tmp_path, spoil))
    assert [check.name for check in checks if not check.ok] == ["blocks.2.add"]


# --- recordings that cannot be used -----------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4" + b"\0" * 60])
def test_a_file_that_is_no_recording_is_an_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "recorded.npz"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"recorded\.npz: no readable recording"):
        check_layers(model_of(), path)


def test_a_missing_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.npz: no readable recording"):
        check_layers(model_of(), tmp_path / "none.npz")


def test_a_damaged_recording_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 255
    path.write_bytes(body)
    with pytest.raises(WeightsError, match=r"recorded\.npz: no readable recording"):
        check_layers(model_of(), path)
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(WeightsError, match=r"recorded\.npz: no readable recording"):
        check_layers(model_of(), path)


def test_a_single_array_is_no_recording(tmp_path: Path) -> None:
    with (tmp_path / "recorded.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(WeightsError, match=r"recorded\.npz: "):
        check_layers(model_of(), tmp_path / "recorded.npz")


def test_a_recording_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content.update(images=np.array([{}, {}], object)))
    with pytest.raises(WeightsError, match="allow_pickle"):
        check_layers(model_of(), path)


def keep_four_layers(content: Recording) -> None:
    for key in ("layers", "layer_sample_idx", "layer_sample_val"):
        content[key] = content[key][:4]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.pop("logits"), "the recording has no logits"),
        (lambda c: c.update(logits=np.zeros((2, 9))), "19 layers and 9 classes; .* has 19 and 7"),
        (keep_four_layers, "a recording of 4 layers and 7 classes; .* has 19 and 7"),
        (lambda c: c.update(layer_sample_val=np.zeros((4, 2, 48))), "layers"),
        (lambda c: c["layer_sample_idx"].fill(10**7), "stem.conv_act has fewer values than"),
        (lambda c: c["layer_sample_idx"].fill(-1), "layer_sample_idx|fewer values"),
        (lambda c: c.update(layer_sample_idx=np.zeros((4, 48), int)), "layer"),
        (lambda c: c.update(layer_sample_val=np.zeros((19, 2, 5))), "layer_sample"),
        (lambda c: c.update(logits=np.zeros(7)), "logits"),
        (lambda c: c.update(images=np.zeros(3)), "images"),
        (lambda c: c.update(inputs=np.zeros((2, 5, 64, 64))), "inputs"),
        (lambda c: c.update(inputs=np.zeros(3)), "inputs"),
    ],
)
def test_a_recording_of_another_network_is_an_error(
    change: Callable[[Recording], object], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=rf"recorded\.npz: .*({problem})"):
        check_layers(model_of(), written(tmp_path, change))


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
        Check("one", 0.0, RECORDED_LOGITS),
        Check("two", 0.0, RECORDED_LOGITS),
    ]
    (folder / "two.bmp").unlink()
    with pytest.raises(InputError, match=r"images: no image called two, which recorded\.npz"):
        check_images(model, path, folder)
