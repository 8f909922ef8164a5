"""What is exported for timm is read back bit by bit, by our reader and by the format's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import UsageError
from minimix.model import Model
from minimix.passes import fold_batchnorm
from minimix.weights import ModelFile
from minimix.zoo import Architecture, architecture, build
from tests.foreign_names import narrow_architectures
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import saved, tiny_file
from tests.reference import REFERENCE, needs_reference
from tests.strategies import random_params
from weights_tools import export_safetensors as exporting
from weights_tools import readers
from weights_tools.compare import seeded_pictures
from weights_tools.convert import read_model
from weights_tools.export_safetensors import export_safetensors, timm_model_of, unit_variance
from weights_tools.mappings.timm import map_timm
from weights_tools.recordings import normalised

Array = NDArray[Any]
FAMILIES = ["mixnet-s", "mixnet-m", "mixnet-l", "mixnet-xl", "mixnet-xxl"]


def model_of(arch: Architecture, dialect: str = "timm", seed: int = 0) -> ModelFile:
    params = random_params(build(arch, DIALECTS[dialect]), seed)
    labels = tuple(f"class {n}" for n in range(arch.num_classes))
    pipeline = PIPELINES["timm"].with_size(64)
    return ModelFile(arch, DIALECTS[dialect], pipeline, labels, params)


def narrow() -> ModelFile:
    """A narrow mixnet-s whose activations keep their size."""
    mapped = map_timm(timm_tensors(CASES["tf_mixnet_s-odd"]))
    return replace(model_of(mapped.architecture, "timm-tf"), params=mapped.params)


def folded(file: ModelFile) -> ModelFile:
    _, params = fold_batchnorm(file.graph, file.params)
    return replace(file, dialect=file.dialect.folded(), params=params)


def exported(folder: Path, file: ModelFile, name: str = "model.safetensors") -> Path:
    export_safetensors(saved(folder / "model.h5", file), folder / name, force=True)
    return folder / name


# --- forth and back ---------------------------------------------------------------------------


@settings(max_examples=15)
@given(arch=narrow_architectures(), dialect=st.sampled_from(["timm", "timm-tf", "tensorflow"]))
def test_an_export_is_read_back_bit_by_bit(
    arch: Architecture, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = model_of(arch, dialect)
    path = exported(tmp_path_factory.mktemp("export"), file)
    mapped = map_timm(readers.read(path).tensors)
    assert mapped.ignored == {}
    assert mapped.params.keys() == file.params.keys()
    for name, array in mapped.params.items():
        assert array.tobytes() == file.params[name].tobytes(), name


def test_the_formats_own_package_reads_the_same(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    file = narrow()
    found = safetensors.load_file(exported(tmp_path, file))
    expected = exporting.timm_tensors(file)
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == array.tobytes() for name, array in expected.items())


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_values_are_timms_own(case: str, tmp_path: Path) -> None:
    tensors = timm_tensors(CASES[case])
    mapped = map_timm(tensors)
    file = replace(model_of(mapped.architecture, CASES[case].dialect), params=mapped.params)
    found = readers.read(exported(tmp_path, file)).tensors
    expected = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name


@needs_reference
@pytest.mark.parametrize("name", ["mixnet_s", "tf_mixnet_m"])
def test_every_name_of_a_release_is_exported(name: str) -> None:
    lines = (REFERENCE / "timm" / f"{name}_keys.txt").read_text("utf-8").splitlines()
    expected = {line.split()[0] for line in lines if "num_batches_tracked" not in line}
    dialect = "timm-tf" if name.startswith("tf_") else "timm"
    family = name.removeprefix("tf_").replace("_", "-")
    assert exporting.timm_tensors(model_of(architecture(family), dialect)).keys() == expected


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = (exported(tmp_path, narrow(), name) for name in ("a.safetensors", "b.safetensors"))
    assert a.read_bytes() == b.read_bytes()
    assert int.from_bytes(a.read_bytes()[:8], "little") % 8 == 0


# --- folded models ----------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_the_batch_norms_of_a_folded_model_divide_by_exactly_one(eps: float) -> None:
    assert np.sqrt(unit_variance(eps) + np.float32(eps)) == np.float32(1)


def test_a_folded_model_gets_batch_norms_that_change_no_bit_of_its_logits(tmp_path: Path) -> None:
    file = folded(narrow())
    mapped = map_timm(readers.read(exported(tmp_path, file)).tensors)
    back = replace(narrow(), params=mapped.params)
    assert not back.dialect.is_folded
    weights_alike = [name for name in file.params if not name.endswith("bias")]
    assert all(back.params[n].tobytes() == file.params[n].tobytes() for n in weights_alike)
    x = normalised(seeded_pictures(64), file.pipeline)
    ours, again = (Model(model, engine="reference")(x) for model in (file, back))
    np.testing.assert_array_equal(ours, again)


def test_a_model_for_bgr_is_turned_to_rgb(tmp_path: Path) -> None:
    file = folded(narrow())
    stem = np.ascontiguousarray(file.params["stem.conv.weight"][:, :, ::-1])
    mean, std = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    pipeline = replace(PIPELINES["omz"], size=64, mean=mean, std=std)
    turned = replace(file, params={**file.params, "stem.conv.weight": stem}, pipeline=pipeline)
    rgb, bgr = (readers.read(exported(tmp_path, m, n)) for m, n in ((file, "a"), (turned, "b")))
    assert all(rgb.tensors[n].tobytes() == bgr.tensors[n].tobytes() for n in rgb.tensors)
    found = json.loads(bgr.metadata["pipeline"])
    assert (found["channels"], found["mean"]) == ("RGB", list(mean[::-1]))
    made = export_safetensors(tmp_path / "model.h5", tmp_path / "c")
    assert len(made.notes) == 2
    assert "BGR to RGB" in made.notes[1]


# --- what the file says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "dialect", "expected"),
    [
        *((name, "timm", name.replace("-", "_")) for name in FAMILIES),
        ("mixnet-l", "tensorflow", "tf_mixnet_l"),
        ("mixnet-m", "omz", "tf_mixnet_m"),
        ("mixnet-xl", "timm-tf", ""),
        ("mixnet-pocket", "timm", ""),
    ],
)
def test_the_network_has_timms_name(family: str, dialect: str, expected: str) -> None:
    arch = architecture(family, num_classes=2)
    assert (
        timm_model_of(replace(narrow(), architecture=arch, dialect=DIALECTS[dialect])) == expected
    )


def test_the_metadata_say_what_it_is(tmp_path: Path) -> None:
    metadata = readers.read(exported(tmp_path, narrow())).metadata
    assert metadata["format"] == "pt"
    assert (metadata["architecture"], metadata["dialect"]) == ("mixnet-s-custom", "timm-tf")
    assert metadata["timm_model"] == ""
    assert json.loads(metadata["trained_as"]) == DIALECTS["timm-tf"].to_json()
    assert json.loads(metadata["labels"]) == list(narrow().labels)
    assert json.loads(metadata["pipeline"]) == PIPELINES["timm"].with_size(64).to_json()


def test_relu_inside_squeeze_excite_is_told_to_whoever_loads_the_file(tmp_path: Path) -> None:
    file = replace(narrow(), dialect=DIALECTS["mindcv"])
    made = export_safetensors(saved(tmp_path / "model.h5", file), tmp_path / "out")
    (note,) = [note for note in made.notes if "squeeze-excite" in note]
    assert "force_act_layer=torch.nn.ReLU" in note


def test_pictures_normalised_otherwise_are_told_to_whoever_loads_the_file(tmp_path: Path) -> None:
    def notes(**changes: Any) -> str:
        file = replace(narrow(), pipeline=replace(narrow().pipeline, **changes))
        source = saved(tmp_path / "model.h5", file)
        return " ".join(export_safetensors(source, tmp_path / "out", force=True).notes)

    assert "normalised" not in notes()
    usual = PIPELINES["tensorflow"]
    assert "normalised" not in notes(range=255.0, mean=usual.mean, std=usual.std)
    assert "normalised" in notes(mean=(0.5, 0.5, 0.5))
    assert "normalised" in notes(std=(1.0, 1.0, 1.0))


# --- what is refused --------------------------------------------------------------------------


def test_blocks_that_timm_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny: timm has no network of these 3 blocks; it has"):
        exported(tmp_path, tiny_file())
    assert not (tmp_path / "model.safetensors").exists()


def test_another_eps_than_timms_is_refused(tmp_path: Path) -> None:
    file = replace(narrow(), dialect=replace(DIALECTS["timm"], batch_norm_eps=1e-4))
    with pytest.raises(UsageError, match="eps is 0.0001, but .* symmetric padding have 1e-05"):
        exported(tmp_path, file)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = exported(tmp_path, narrow())
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        export_safetensors(tmp_path / "model.h5", path)
    with pytest.raises(UsageError, match="which it would replace"):
        export_safetensors(tmp_path / "model.h5", tmp_path / "model.h5", force=True)
    assert path.read_bytes() == before
    assert weights.load(tmp_path / "model.h5").architecture.name == "mixnet-s-custom"


@pytest.mark.parametrize("dialect", ["timm", "timm-tf"])
def test_an_export_converts_again_to_the_same_parameters(dialect: str, tmp_path: Path) -> None:
    file = replace(narrow(), dialect=DIALECTS[dialect])
    again = read_model(exported(tmp_path, file)).model
    assert again.dialect == file.dialect
    assert {n: a.tobytes() for n, a in again.params.items()} == {
        n: a.tobytes() for n, a in file.params.items()
    }
