"""A recording is read in the form that it has, or refused; how its inputs are fed is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minimix.dialect import PIPELINES
from minimix.errors import WeightsError
from minimix.tolerances import RECORDED_LOGITS
from tests.recorded import Recording, in_pipeline, model_of, written
from weights_tools.recordings import network_input, normalised, read_recording
from weights_tools.verify import Check, check_layers


def pixels_of(content: Recording) -> NDArray[np.float32]:
    """The pixels that a recording's inputs would be made of, unrounded; the darkest is 0."""
    x = content["inputs"].transpose(0, 2, 3, 1)
    return np.asarray((x - x.min()) * 40, np.float32)


def test_inputs_before_mean_and_deviation_are_told_by_their_range(tmp_path: Path) -> None:
    content: Recording = {}
    written(tmp_path, content.update)
    pixels = pixels_of(content)
    # Such a pipeline that these pixels become the recorded inputs.
    low = float(content["inputs"].min())
    pipeline = replace(PIPELINES["tensorflow"], size=64, mean=(-40 * low,) * 3, std=(40.0,) * 3)

    def as_pixels(content: Recording) -> None:
        content["inputs"] = pixels.transpose(0, 3, 1, 2)

    model, path = in_pipeline(model_of(), pipeline), written(tmp_path, as_pixels)
    _, how = network_input(read_recording(path), pipeline)
    assert how == "0..255, RGB: normalised by the pipeline tensorflow"
    assert [check for check in check_layers(model, path) if not check.ok] == []
    _, how = network_input(read_recording(written(tmp_path)), pipeline)
    assert how == "as the network sees them"


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_recorded_pixels_are_brought_into_the_models_order(channels: Any, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (1, 65, 97, 3)).astype(np.uint8)
    pipeline = replace(PIPELINES["timm"], channels=channels, mean=(0.4, 0.5, 0.6))
    model = in_pipeline(model_of(), pipeline)
    ordered = pixels if channels == "BGR" else pixels[..., ::-1]
    logits = model(normalised(ordered, pipeline, channels)).astype(np.float64)
    path = tmp_path / "pixels.npz"
    stored = {"images": np.array(["one"]), "logits_f64_reference": logits}
    np.savez(path, inputs_bgr_u8=pixels, **stored)
    assert check_layers(model, path) == [Check("logits", "reference", 0.0, RECORDED_LOGITS)]
    _, how = network_input(read_recording(path), pipeline)
    turned = "" if channels == "BGR" else ", turned into RGB"
    assert how == f"0..255, BGR{turned}: normalised by the pipeline timm"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs_bgr_u8": np.zeros((3, 65, 97, 3), np.uint8)}, "inputs_bgr_u8 is .*at most 2"),
        ({"inputs_bgr_u8": np.zeros((1, 3, 65, 97), np.uint8)}, "inputs_bgr_u8 is"),
        ({"inputs_bgr_u8": np.zeros((1, 65, 97, 3), np.uint16)}, "inputs_bgr_u8 is .*uint16"),
        ({"inputs_bgr_u8": np.zeros((1, 65, 97, 3))}, "inputs_bgr_u8 is of type float64"),
        ({"images": np.array(["one"])}, "images is"),
        ({"logits_f64_reference": np.zeros((2, 8))}, "0 layers and 8 classes"),
    ],
)
def test_recorded_pixels_of_another_network_are_an_error(
    changes: Recording, problem: str, tmp_path: Path
) -> None:
    content = {
        "images": np.array(["one", "two"]),
        "logits_f64_reference": np.zeros((2, 7)),
        "inputs_bgr_u8": np.zeros((1, 65, 97, 3), np.uint8),
    }
    np.savez(tmp_path / "recorded.npz", **{**content, **changes})
    with pytest.raises(WeightsError, match=rf"recorded\.npz: .*{problem}"):
        check_layers(model_of(), tmp_path / "recorded.npz")


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
