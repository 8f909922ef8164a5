"""Released checkpoints become model files whole, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import UsageError, WeightsError
from minimix.hub.releases import RELEASES
from minimix.labels import imagenet_classes
from minimix.operators import SqueezeExcite
from tests.checkpoint_writers import (
    Storage,
    Tensor,
    legacy_bytes,
    safetensors_bytes,
    state_dict,
)
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import listing
from tests.reference import REFERENCE, needs_reference
from weights_tools import readers
from weights_tools.convert import Wanted, convert, read_model
from weights_tools.mappings.layouts import to_oihw

Array = NDArray[Any]
TENSORS = timm_tensors(CASES["mixnet_s-odd"])
"""A narrow mixnet-s with 7 classes, under timm's names."""

RELEASE = RELEASES["mixnet-s", "timm"]
BYTES = safetensors_bytes(TENSORS)
SHA256, SIZE = hashlib.sha256(BYTES).hexdigest(), len(BYTES)


def checkpoint(folder: Path, tensors: Any = TENSORS, name: str = "mixnet_s-narrow.bin") -> Path:
    path = folder / name
    path.write_bytes(safetensors_bytes(tensors))
    return path


# --- the released files -----------------------------------------------------------------------


@needs_reference
@pytest.mark.parametrize(
    ("file", "name", "dialect"),
    [
        ("mixnet_s.pth", "mixnet-s", "timm"),
        ("tf_mixnet_m.safetensors", "mixnet-m", "timm-tf"),
    ],
)
def test_a_released_checkpoint_is_converted_without_losing_a_bit(
    file: str, name: str, dialect: str, tmp_path: Path
) -> None:
    source = REFERENCE / "timm" / file
    conversion = convert(source, tmp_path / "model.h5", Wanted(model=name))
    model = weights.load(tmp_path / "model.h5")
    assert (model.architecture.name, model.dialect.name) == (name, dialect)
    assert (model.pipeline, model.labels) == (PIPELINES["timm"], imagenet_classes())
    tensors, nodes = readers.read(source).tensors, {node.name: node for node in model.graph}
    for ours, (theirs,) in conversion.mapped.sources.items():
        node = nodes[next(n for n, owned in model.graph.param_names.items() if ours in owned)]
        back, expected = model.params[ours], tensors[theirs]
        if isinstance(node.operator, SqueezeExcite):
            back = back.T.reshape(expected.shape) if expected.ndim == 4 else back
        elif back.ndim > 1:
            back = to_oihw(back, node.operator)
        assert back.tobytes() == expected.tobytes(), ours
    assert set(conversion.mapped.ignored) == set(tensors) - {
        theirs for (theirs,) in conversion.mapped.sources.values()
    }


# --- what is written --------------------------------------------------------------------------


def test_the_file_says_where_every_parameter_came_from(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    convert(source, tmp_path / "model.h5")
    provenance = weights.load(tmp_path / "model.h5").provenance
    assert provenance["source"] == {
        "name": "mixnet_s-narrow.bin",
        "container": "safetensors",
        "size_bytes": source.stat().st_size,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert provenance["tensors"]["blocks.3.mixconv.1.weight"] == ["blocks.2.0.conv_dw.1.weight"]
    assert provenance["tool"].startswith("minimix ")
    assert len(provenance["tensors"]) + len(provenance["ignored"]) == len(TENSORS)
    assert set(provenance["ignored"].values()) == {"batch counter of training"}


def test_converting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    convert(source, tmp_path / "a.h5")
    convert(source, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_half_precision_is_asked_for(tmp_path: Path) -> None:
    conversion = convert(checkpoint(tmp_path), tmp_path / "model.h5", Wanted(dtype="float16"))
    loaded = weights.load(tmp_path / "model.h5")
    assert loaded.dtype == "float16"
    for name, array in conversion.model.params.items():
        np.testing.assert_array_equal(loaded.params[name], array.astype(np.float16))


def test_class_names_are_numbers_unless_they_are_given(tmp_path: Path) -> None:
    source, labels = checkpoint(tmp_path), tmp_path / "labels.txt"
    assert read_model(source).model.labels[:2] == ("class 0", "class 1")
    labels.write_text("a\nb\nc\nd\ne\nf\ngrüße\n", encoding="utf-8")
    assert read_model(source, Wanted(labels=labels)).model.labels == (*"abcdef", "grüße")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a\nb\n", "2 lines for 7 classes"),
        (b"", "0 lines for 7 classes"),
        (b"a\n\n\n\n\n\n \n", "line 2 is blank"),
        (b"\xff\n" * 7, "is not UTF-8 text: "),
    ],
)
def test_class_names_that_do_not_fit_are_a_usage_error(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_bytes(content)
    with pytest.raises(UsageError, match=rf"labels\.txt: {problem}"):
        read_model(checkpoint(tmp_path), Wanted(labels=labels))
    with pytest.raises(UsageError, match=r"none\.txt: no such file"):
        read_model(checkpoint(tmp_path), Wanted(labels=tmp_path / "none.txt"))
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory$"):
        read_model(checkpoint(tmp_path), Wanted(labels=tmp_path))


def test_only_line_ends_divide_class_names(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeffa\u2028b\r\nc\x0bd\re\x85\nf\x1c\ng\nh\ni".encode())
    found = read_model(checkpoint(tmp_path), Wanted(labels=labels)).model.labels
    assert found == ("a\u2028b", "c\x0bd", "e\x85", "f\x1c", "g", "h", "i")


# --- whose weights ----------------------------------------------------------------------------


def test_weights_of_nobody_known_have_no_licence(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, name=RELEASE.file.replace("a907afbc", "mine"))
    assert read_model(path).model.provenance["license"] == "not stated in the file"
    fetched = read_model(path, Wanted(license="of the release")).model
    assert fetched.provenance["license"] == "of the release"


@pytest.mark.parametrize(
    ("published", "license_"),
    [
        ({"sha256_prefix": SHA256[:8], "size_bytes": SIZE}, RELEASE.license),
        ({"sha256_prefix": "", "size_bytes": SIZE}, RELEASE.license),
        ({"sha256_prefix": "", "size_bytes": SIZE + 1}, "not stated in the file"),
        ({"sha256_prefix": "", "size_bytes": None}, "not stated in the file"),
    ],
)
def test_a_release_known_by_its_name_and_what_is_published_of_it_has_its_licence(
    published: dict[str, Any], license_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RELEASES, ("mixnet-s", "timm"), replace(RELEASE, **published))
    found = read_model(checkpoint(tmp_path, name=RELEASE.file))
    assert found.model.provenance["license"] == license_
    renamed = read_model(checkpoint(tmp_path))
    assert renamed.model.provenance["license"] == "not stated in the file"


# --- which dialect ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "requested", "dialect", "reason"),
    [
        ("mixnet_s-mine.pth", None, "timm", r"mixnet_\*"),
        ("mixnet_s-20240101.pth", None, "timm", r"mixnet_\*"),
        ("mixnet_xl_ra-mine.pth", None, "timm", r"mixnet_\*"),
        ("mixnet_m.safetensors", None, "timm", r"mixnet_\*"),
        ("tf_mixnet_s-mine.pth", None, "timm-tf", r"tf_mixnet_\*"),
        ("model.safetensors", "timm-tf", "timm-tf", "as asked for"),
        ("mixnet_s-mine.pth", "timm-tf", "timm-tf", "as asked for"),
    ],
)
def test_the_dialect_is_asked_for_or_told_from_the_releases_name(
    name: str, requested: str | None, dialect: str, reason: str, tmp_path: Path
) -> None:
    conversion = read_model(checkpoint(tmp_path, name=name), Wanted(dialect=requested))
    assert conversion.model.dialect == DIALECTS[dialect]
    assert conversion.dialect_reason.endswith(reason.replace("\\", ""))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "mixnet_mytf.safetensors", "mixnet_.bin", "my_mixnet_s.bin"]
)
def test_a_dialect_is_never_guessed(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"say which: --dialect timm or --dialect timm-tf"):
        read_model(checkpoint(tmp_path, name=name))
    with pytest.raises(UsageError, match="'omz' was asked for, its tensors are of timm or timm-tf"):
        read_model(checkpoint(tmp_path), Wanted(dialect="omz"))


# --- what is refused --------------------------------------------------------------------------


def without(name: str) -> dict[str, Array]:
    return {n: t for n, t in TENSORS.items() if n != name}


def with_nan(name: str) -> dict[str, Array]:
    values = np.array(TENSORS[name])
    values.flat[0] = np.nan
    return {**TENSORS, name: values}


SE = "blocks.2.0.se.conv_reduce.bias"


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (without(SE), f"{SE}: missing; blocks.3.se.reduce.bias of mixnet-s-custom is made of it"),
        (
            without("conv_head.weight"),
            r"conv_head\.weight: missing; head\.conv\.0\.weight of mixnet-s-custom",
        ),
        (without("classifier.weight"), r"classifier\.weight: missing; our classifier\.weight"),
        (
            without("blocks.2.0.conv_dw.1.weight"),
            r"conv_dw\.1\.weight: missing, but blocks\.2\.0\.conv_dw\.2\.weight is there",
        ),
        ({**TENSORS, "more": np.zeros(2)}, "1 tensors left over .*: more"),
        ({**TENSORS, SE: np.zeros(9, np.float32)}, rf"{SE}: gives \(9,\), but blocks\.3\.se"),
        ({**TENSORS, SE: np.zeros(4, np.int32)}, "expected floating point, found int32"),
        (with_nan(SE), r"blocks\.3\.se\.reduce\.bias: 1 of 4 values are not finite"),
        (with_nan("bn1.running_var"), r"stem\.conv_bn\.variance: 1 of 8 values are not finite"),
        (
            {**TENSORS, "bn1.running_var": np.full(8, -1, np.float32)},
            r"stem\.conv_bn\.variance: a variance is negative",
        ),
        (
            {"conv1.weight": np.zeros(3)},
            r"1 tensors, but the names are of no MixNet .*first: conv1",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_error_and_writes_nothing(
    tensors: dict[str, Array], problem: str, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path, tensors)
    with pytest.raises(WeightsError, match=rf"^{source}: .*{problem}"):
        convert(source, tmp_path / "model.h5")
    assert listing(tmp_path) == [source.name]


def test_another_model_than_the_expected_one_is_an_error(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    with pytest.raises(
        WeightsError, match="expected mixnet-s, found mixnet-s-custom: stem_channels"
    ):
        convert(source, tmp_path / "model.h5", Wanted(model="mixnet-s"))
    with pytest.raises(WeightsError, match="not mixnet-m: 16 blocks, expected 19"):
        convert(source, tmp_path / "model.h5", Wanted(model="mixnet-m"))
    assert listing(tmp_path) == [source.name]


def test_an_output_that_exists_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    out = tmp_path / "model.h5"
    out.write_text("old")
    with pytest.raises(UsageError, match="model.h5: exists already"):
        convert(tmp_path / "none.pth", out)
    convert(checkpoint(tmp_path), out, force=True)
    assert weights.load(out).architecture.name == "mixnet-s-custom"


@needs_reference
def test_a_release_whose_bytes_are_not_those_its_name_states_is_refused(tmp_path):
    renamed = tmp_path / "mixnet_s-a907afbc.pth"
    renamed.symlink_to(REFERENCE / "timm" / "mixnet_s.pth")
    with pytest.raises(WeightsError, match="begins with a907afbc, .* or rename what is your own"):
        convert(renamed, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_what_was_taken_of_a_training_checkpoint_and_what_was_left_is_noted(tmp_path: Path) -> None:
    training = {
        "epoch": 7,
        "state_dict": state_dict(TENSORS),
        "state_dict_ema": {"x": Tensor(Storage("of its own", np.zeros(3, np.float32)), (3,))},
        "optimizer": {"lr": 0.1},
    }
    path = tmp_path / "mixnet_s-last.pth"
    path.write_bytes(legacy_bytes(training))
    conversion = read_model(path)
    noted = {
        "taken": "state_dict",
        "ignored": "epoch=7, state_dict_ema (dict), optimizer (dict)",
    }
    assert conversion.notes == noted
    source = conversion.model.provenance["source"]
    assert {key: source[key] for key in noted} == noted


def test_an_unknown_architecture_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="unknown architecture 'mixnet-q'"):
        convert(tmp_path / "absent.pth", tmp_path / "out.h5", Wanted(model="mixnet-q"))
