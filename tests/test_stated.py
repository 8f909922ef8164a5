"""What minimix exported says of itself converts back to the same model, checked against tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import hub, weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import UsageError, WeightsError
from minimix.model import Model
from minimix.passes import fold_batchnorm
from minimix.tolerances import SAME_NETWORK
from minimix.weights import ModelFile
from tests.foreign_names import narrow_network
from tests.graph_networks import plain
from tests.model_files import saved
from tests.reference import REFERENCE, needs_reference
from weights_tools import readers, stated
from weights_tools.compare import seeded_pictures
from weights_tools.convert import Wanted, read_model
from weights_tools.export_safetensors import export_safetensors
from weights_tools.inspect import inspect
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.mappings.timm import map_timm
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.recordings import normalised
from weights_tools.report import provenance
from weights_tools.stated import as_stated

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None, reason="onnx is missing: pip install 'minimix[onnx]'"
)
LABELS = ("panda", "köttur", "パンダ", 'a "b"', "a\nb", "", "\u2028")
PIPELINE_OF = {"timm": "timm", "timm-tf": "timm", "omz": "omz"}
"""Dialect -> the pipeline that comes with it, where the names differ."""


def model_of(dialect: str, *, is_folded: bool = False) -> ModelFile:
    """A narrow mixnet-s with 7 classes, pictures of 64 pixels and a mean of its own."""
    arch, params = narrow_network()
    usual = PIPELINES[PIPELINE_OF.get(dialect, dialect)].with_size(64)
    pipeline = replace(usual, mean=(0.25, 0.5, 0.75), std=(0.2, 0.3, 0.4))
    said, is_omz = DIALECTS[dialect], dialect == "omz"
    usual_norm = DIALECTS["timm-tf"] if is_omz else said
    provenance = {"license": f"of {dialect}, für alle"}
    file = ModelFile(arch, usual_norm, pipeline, LABELS, params, provenance)
    if not is_folded and not is_omz:
        return file
    return replace(folded(file), dialect=said.folded())


def folded(file: ModelFile) -> ModelFile:
    _, params = fold_batchnorm(file.graph, file.params)
    return replace(file, dialect=file.dialect.folded(), params=params)


def as_safetensors(folder: Path, file: ModelFile) -> Path:
    # A name that says of every dialect but one the wrong one.
    out = folder / "mixnet_s-a907afbc.safetensors"
    export_safetensors(saved(folder / "model.h5", file), out, force=True)
    return out


def as_onnx(folder: Path, file: ModelFile) -> Path:
    from weights_tools.export_onnx import export

    out = folder / "mixnet_s-a907afbc.onnx"
    export(saved(folder / "model.h5", file), out, force=True)
    return out


def assert_same_model(found: ModelFile, expected: ModelFile) -> None:
    """Check everything but where the parameters came from."""
    for what in ("architecture", "dialect", "pipeline", "labels"):
        assert getattr(found, what) == getattr(expected, what), what
    assert found.provenance["license"] == expected.provenance["license"]
    assert found.params.keys() == expected.params.keys()
    for name, array in expected.params.items():
        assert found.params[name].tobytes() == array.tobytes(), name


def logits(file: ModelFile) -> Any:
    x = normalised(seeded_pictures(64), file.pipeline)
    return Model(file, engine="reference")(x)


# --- forth and back ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_folded", [False, True], ids=["norms", "folded"])
@pytest.mark.parametrize("dialect", ["timm", "timm-tf", "tensorflow", "mindcv"])
def test_safetensors_convert_back_to_the_model_that_was_exported(
    dialect: str, is_folded: bool, tmp_path: Path
) -> None:
    file = model_of(dialect, is_folded=is_folded)
    conversion = read_model(as_safetensors(tmp_path, file))
    assert_same_model(conversion.model, file)
    assert conversion.dialect_reason == conversion.pipeline_reason == "as the file states"
    used = {name for names in conversion.mapped.sources.values() for name in names}
    assert used | conversion.mapped.ignored.keys() == conversion.kinds.keys()
    assert not used & conversion.mapped.ignored.keys()


@needs_onnx
@pytest.mark.parametrize("is_folded", [False, True], ids=["norms", "folded"])
@pytest.mark.parametrize("dialect", ["timm", "timm-tf", "tensorflow", "mindcv", "omz"])
def test_onnx_converts_back_to_the_model_that_was_exported_folded(
    dialect: str, is_folded: bool, tmp_path: Path
) -> None:
    file = model_of(dialect, is_folded=is_folded)
    conversion = read_model(as_onnx(tmp_path, file))
    assert_same_model(conversion.model, file if file.dialect.is_folded else folded(file))
    assert conversion.dialect_reason == conversion.pipeline_reason == "as the file states"


def test_a_model_for_bgr_comes_back_from_safetensors_for_rgb_with_the_same_logits(
    tmp_path: Path,
) -> None:
    file = model_of("omz")
    found = read_model(as_safetensors(tmp_path, file)).model
    turned = replace(
        file.pipeline, channels="RGB", mean=file.pipeline.mean[::-1], std=file.pipeline.std[::-1]
    )
    stem = {"stem.conv.weight": np.ascontiguousarray(file.params["stem.conv.weight"][:, :, ::-1])}
    expected = replace(file, pipeline=turned, params={**file.params, **stem})
    assert_same_model(found, expected)
    largest = np.abs(logits(file)).max()
    np.testing.assert_allclose(logits(found), logits(file), rtol=0, atol=SAME_NETWORK * largest)


@pytest.mark.parametrize("export", [as_safetensors, pytest.param(as_onnx, marks=needs_onnx)])
def test_the_embedded_model_comes_back(
    export: Callable[[Path, ModelFile], Path], tmp_path: Path
) -> None:
    file = weights.load(hub.locate("mixnet-pocket"))
    found = read_model(export(tmp_path, file)).model
    assert_same_model(found, folded(file) if export is as_onnx else file)


@needs_onnx
@needs_reference
def test_open_model_zoo_s_network_survives_onnx(tmp_path: Path) -> None:
    file = read_model(REFERENCE / "openvino" / "mixnet-l.xml").model
    assert_same_model(read_model(as_onnx(tmp_path, file)).model, file)


def test_options_confirm_what_the_file_states_and_do_not_change_it(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path, model_of("tensorflow"))
    read_model(path, Wanted(dialect="tensorflow", pipeline="tensorflow"))
    with pytest.raises(UsageError, match="'timm' was asked for, the file states tensorflow"):
        read_model(path, Wanted(dialect="timm"))
    with pytest.raises(UsageError, match="'omz' was asked for, the file is made for tensorflow"):
        read_model(path, Wanted(pipeline="omz"))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefg"))
    assert read_model(path, Wanted(labels=labels)).model.labels == tuple("abcdefg")


def test_a_model_without_a_licence_comes_back_without_one(tmp_path: Path) -> None:
    file = replace(model_of("timm"), provenance={})
    found = read_model(as_safetensors(tmp_path, file)).model
    assert found.provenance["license"] == "not stated in the file"


def test_an_inspection_shows_what_the_file_states(tmp_path: Path) -> None:
    found = inspect(as_safetensors(tmp_path, model_of("mindcv"))).recognised
    assert found is not None
    assert (found.dialects, found.pipelines) == (("mindcv",), ("mindcv",))


# --- what is refused --------------------------------------------------------------------------


@cache
def written(dialect: str = "tensorflow", *, is_folded: bool = False) -> Checkpoint:
    """An export as it is read, without a file."""
    from weights_tools import export_safetensors as exporting

    file = model_of(dialect, is_folded=is_folded)
    metadata = exporting._metadata(file, "")
    tensors = exporting.timm_tensors(file)
    return Checkpoint("safetensors", tensors, metadata, Path("net"), 0, "")


def network(**changes: Any) -> Checkpoint:
    """A network's graph with what an ONNX export of ours states of it."""
    fields = {"container": "onnx", **changes}
    metadata = {
        "onnx.producer": "minimix 1",
        "dialect": json.dumps(DIALECTS["tensorflow"].folded().to_json()),
        "pipeline": json.dumps(PIPELINES["tensorflow"].with_size(64).to_json()),
        "labels": json.dumps(list("abcde")),
        "license": "",
    }
    return replace(plain(**fields).checkpoint, metadata=metadata)


def saying(checkpoint: Checkpoint, **texts: str | None) -> Checkpoint:
    """The checkpoint with other statements; None takes one away."""
    said = {key: text for key, text in (checkpoint.metadata | texts).items() if text is not None}
    return replace(checkpoint, metadata=said)


def dialect_text(of: str = "tensorflow", **changes: Any) -> str:
    return json.dumps(DIALECTS[of].to_json() | changes)


def pipeline_text(**changes: Any) -> str:
    return json.dumps(PIPELINES["tensorflow"].with_size(64).to_json() | changes)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"trained_as": None}, "trained_as is missing"),
        ({"license": None}, "license is missing"),
        ({"labels": None}, "labels is missing"),
        ({"pipeline": ""}, "pipeline is no JSON: "),
        ({"pipeline": "[" * 100_000}, "pipeline is no JSON: "),
        ({"labels": '["' + "a" * stated.MAX_CHARACTERS + '"]'}, "labels has 1048580 characters"),
        ({"labels": '{"a": 1}'}, "labels are no list of texts"),
        ({"labels": "[1, 2, 3, 4, 5, 6, 7]"}, "labels are no list of texts"),
        ({"labels": '["a", "b"]'}, "labels are 2, and its tensors are of 7"),
        ({"labels": json.dumps(["\ud800"] * 7)}, "labels is no valid text"),
        ({"license": "\udc80"}, "license is no valid text"),
        ({"trained_as": "[]"}, "dialect: "),
        ({"trained_as": dialect_text(more=1)}, "dialect: .*'more'"),
        ({"trained_as": dialect_text(**{"a\nb\x1b": 1})}, r"dialect: .*a\\nb\\x1b"),
        ({"trained_as": dialect_text(padding="x" * 10_000)}, "dialect: padding is 'xxx"),
        ({"trained_as": dialect_text(name=["tensorflow"])}, "dialect: name is "),
        ({"trained_as": dialect_text(batch_norm_eps=10**400)}, "int too large"),
        ({"trained_as": dialect_text(batch_norm_eps=1e-4)}, "batch norm's eps is 0.0001"),
        (
            {"trained_as": dialect_text("timm")},
            r"dialect 'timm' \(symmetric padding, .*\) is not that of its tensors",
        ),
        ({"trained_as": dialect_text(batch_norm_eps=None)}, "bn1.weight is not 1 throughout"),
        ({"dialect": "timm"}, "dialect 'tensorflow' .* is not that of its tensors"),
        ({"dialect": None}, "dialect 'tensorflow' .* is not that of its tensors"),
        ({"pipeline": pipeline_text(size=8)}, "pipeline: size is 8"),
        ({"pipeline": pipeline_text(std=[1, float("nan"), 1])}, "pipeline: std is "),
        ({"architecture": "mixnet-m"}, "architecture is mixnet-m, and its tensors are of mixnet-s"),
    ],
)
def test_a_statement_that_minimix_does_not_make_is_one_error(
    texts: dict[str, str | None], problem: str
) -> None:
    checkpoint = saying(written(), **texts)
    with pytest.raises(WeightsError, match=f"^its metadata say .* wrote it, but .*{problem}") as e:
        as_stated(checkpoint, map_timm(checkpoint.tensors))
    assert len(str(e.value)) < 1000 and str(e.value).isprintable()
    assert str(e.value).endswith("Somebody changed it: export the model again")


@pytest.mark.parametrize(
    ("fields", "texts", "problem"),
    [
        ({"size": 96}, {}, "pipeline has 64 pixels, and its network 96"),
        ({"mean": (1.0, 2.0, 3.0)}, {}, "its network normalises pictures, as none does that"),
        ({}, {"dialect": dialect_text()}, r"squeeze-excite as block\) is not that of its tensors"),
        ({}, {"dialect": dialect_text("timm", batch_norm_eps=None)}, "'timm' .symmetric padding"),
        ({}, {"dialect": dialect_text("omz", se_activation="relu")}, "squeeze-excite as relu"),
    ],
)
def test_a_graph_that_contradicts_the_statements_is_an_error(
    fields: dict[str, Any], texts: dict[str, str | None], problem: str
) -> None:
    checkpoint = saying(network(**fields), **texts)
    with pytest.raises(WeightsError, match=f"wrote it, but .*{problem}"):
        as_stated(checkpoint, map_topology(checkpoint))


@pytest.mark.parametrize("size", [64, 33])
def test_a_graph_that_agrees_with_the_statements_is_as_they_say(size: int) -> None:
    # At 33 pixels both paddings put zeros at the same places.
    checkpoint = saying(network(size=size), pipeline=pipeline_text(size=size))
    found = as_stated(checkpoint, map_topology(checkpoint))
    assert found.dialects == (DIALECTS["tensorflow"].folded(),)
    assert (found.pipelines[0].size, found.labels) == (size, tuple("abcde"))


@pytest.mark.parametrize(
    "texts",
    [
        {"tool": "another 1.0"},
        {"tool": None},
        {"trained_as": None, "pipeline": None, "labels": None, "license": None},
    ],
)
def test_what_another_program_wrote_is_not_taken_from_it(texts: dict[str, str | None]) -> None:
    checkpoint = saying(written(), **texts)
    mapped = map_timm(checkpoint.tensors)
    assert as_stated(checkpoint, mapped) is mapped


KEYS = ("tool", "trained_as", "pipeline", "labels", "license", "dialect", "architecture")
ODD = st.sampled_from([None, "", "null", "0", '"a"', "[]", "{}", "NaN", "1e999", "\ud800"])


@given(texts=st.dictionaries(st.sampled_from(KEYS), ODD | st.text(), min_size=1, max_size=3))
def test_any_text_in_the_metadata_is_one_error_or_the_same_tensors(
    texts: dict[str, str | None],
) -> None:
    checkpoint = saying(written(is_folded=True), **texts)
    mapped = map_timm(checkpoint.tensors)
    try:
        found = as_stated(checkpoint, mapped)
    except WeightsError as error:
        assert str(error).isprintable() and len(str(error)) < 1000
    else:
        assert found is mapped or found.dialects == (DIALECTS["tensorflow"].folded(),)


def test_the_error_names_the_file(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path, model_of("timm"))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"symmetric", b"symmetrik"))
    with pytest.raises(WeightsError, match=f"^{path}: its metadata say .* 'symmetrik'"):
        read_model(path)
    assert "'symmetrik'" in inspect(path).problem
    assert readers.read(path).metadata["tool"].startswith("minimix ")


def test_the_report_of_a_folded_export_needs_the_file_no_more(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path, model_of("tensorflow", is_folded=True))
    conversion = read_model(path)
    path.unlink()
    found = provenance(conversion)
    rows = {row["name"]: row for row in found["tensors"]}
    assert rows.keys() == conversion.model.params.keys()
    (source,) = rows["stem.conv.bias"]["sources"]
    assert source == {"name": "bn1.bias", "shape": [8], "dtype": "float32"}
    reasons = {row["name"]: row["reason"] for row in found["ignored"]}
    assert reasons["bn1.running_var"] == "of a batch norm that only adds"
    assert found["license"] == "of tensorflow, für alle"
