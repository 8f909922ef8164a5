"""Two models are one network, or the check says where they part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import CheckError, UsageError, WeightsError
from minimix.passes import fold_batchnorm
from minimix.tolerances import RECORDED_LAYER, SAME_NETWORK
from minimix.weights import ModelFile
from tests.checkpoint_writers import safetensors_bytes
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from weights_tools.compare import compare_outputs, compare_params, seeded_pictures
from weights_tools.mappings.timm import map_timm
from weights_tools.open_model import open_model
from weights_tools.verify import Check

CASE = CASES["mixnet_s-odd"]


def model(**params: Any) -> ModelFile:
    """A narrow mixnet-s, some of its parameters replaced."""
    mapped = map_timm(timm_tensors(CASE))
    labels = tuple(f"class {n}" for n in range(CASE.classes))
    pipeline = PIPELINES["timm"].with_size(64)
    values = {**mapped.params, **params}
    return ModelFile(mapped.architecture, DIALECTS["timm"], pipeline, labels, values)


def folded(file: ModelFile) -> ModelFile:
    _, params = fold_batchnorm(file.graph, file.params)
    return replace(file, dialect=file.dialect.folded(), params=params)


def over(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_a_model_is_the_same_as_itself() -> None:
    params, outputs = (compare_params(model(), model()), compare_outputs(model(), model(), "auto"))
    assert (params.exact, params.different, params.problem) == (len(model().params), (), "")
    assert {check.largest for check in outputs} == {0.0}
    assert [check.name for check in outputs][:2] == ["stem.conv_act", "blocks.0.add"]
    assert [check.name for check in outputs][-2:] == ["pool", "logits"]


def test_a_folded_model_is_compared_by_its_outputs_alone() -> None:
    assert compare_params(model(), folded(model())).problem.startswith("batch norm is folded")
    checks = compare_outputs(model(), folded(model()), "reference")
    assert over(checks) == []
    assert 0 < checks[-1].largest < SAME_NETWORK == checks[-1].budget
    assert {check.budget for check in checks[:-1]} == {RECORDED_LAYER}


def test_a_changed_weight_is_named_and_seen_from_its_block_on() -> None:
    name = "blocks.4.mixconv.1.weight"
    changed = np.array(model().params[name])
    changed[2, 2, :3] += 0.5
    params = compare_params(model(), model(**{name: changed}))
    (found,) = params.different
    assert (found.name, found.differing) == (name, 3)
    assert found.largest == pytest.approx(0.5, rel=1e-6)
    assert found.share == pytest.approx(0.5 / np.abs(model().params[name]).max(), rel=1e-6)
    checks = compare_outputs(model(), model(**{name: changed}), "reference")
    assert over(checks)[0] == "blocks.4.add"
    assert over(checks)[-1] == "logits"


def test_the_worst_parameter_comes_first() -> None:
    names = ["stem.conv_bn.beta", "classifier.bias", "blocks.2.project_bn.mean"]
    changes = {
        name: model().params[name] + np.float32(by)
        for name, by in zip(names, (1e-3, 10.0, 0.1), strict=True)
    }
    found = compare_params(model(), model(**changes)).different
    assert [difference.name for difference in found] == [names[1], names[2], names[0]]


def test_another_dialect_is_another_network() -> None:
    other = replace(model(), dialect=DIALECTS["timm-tf"])
    assert compare_params(model(), other).different == ()
    assert over(compare_outputs(model(), other, "reference"))[0] == "stem.conv_act"


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_each_model_is_fed_as_its_own_pipeline_says(channels: Any) -> None:
    step = -1 if channels == "BGR" else 1
    stem = np.ascontiguousarray(model().params["stem.conv.weight"][:, :, ::step])
    mean, std = ((123.675, 116.28, 103.53)[::step], (58.395, 57.12, 57.375)[::step])
    pipeline = replace(
        model().pipeline, name="other", channels=channels, range=255.0, mean=mean, std=std
    )
    other = replace(model(**{"stem.conv.weight": stem}), pipeline=pipeline)
    assert over(compare_outputs(model(), other, "reference")) == []


def test_different_architectures_are_not_compared_but_told_apart() -> None:
    other = map_timm(timm_tensors(CASES["mixnet_m-deep"]))
    labels = tuple(f"class {n}" for n in range(other.architecture.num_classes))
    file = replace(model(), architecture=other.architecture, params=other.params, labels=labels)
    with pytest.raises(CheckError, match=r"mixnet-s-custom and mixnet-xxl-custom; .* is \("):
        compare_params(model(), file)
    with pytest.raises(CheckError, match="different networks"):
        compare_outputs(model(), file, "reference")
    blocks = model().architecture.blocks
    strides = (replace(blocks[0], stride=2), *blocks[1:])
    same_shapes = replace(model().architecture, blocks=strides)
    with pytest.raises(CheckError, match=r"output of blocks\.0 is"):
        compare_outputs(model(), replace(model(), architecture=same_shapes), "reference")


def test_the_seeded_pictures_use_the_whole_range_and_are_no_noise_alone() -> None:
    pictures = seeded_pictures(96).astype(int)
    assert pictures.min() < 30
    assert pictures.max() > 200
    neighbours = np.abs(np.diff(pictures, axis=2)).mean()
    assert neighbours < pictures.std() / 2


def test_a_model_file_and_a_checkpoint_open_alike(tmp_path: Path) -> None:
    weights.save(tmp_path / "model.h5", model())
    named, unnamed = tmp_path / "mixnet_s-narrow.bin", tmp_path / "narrow.bin"
    for path in (named, unnamed):
        path.write_bytes(safetensors_bytes(timm_tensors(CASE)))
    assert compare_params(open_model(tmp_path / "model.h5"), open_model(named)).different == ()
    with pytest.raises(UsageError, match=r"say which: --dialect[\s\S]*first: .*convert .*narrow"):
        open_model(unnamed)
    with pytest.raises(WeightsError, match="no such file"):
        open_model(tmp_path / "none.h5")
