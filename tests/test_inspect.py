"""An inspection says what is in a file, whole and in parts, and what it is of."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from minimix.errors import UsageError, WeightsError
from minimix.zoo import architecture
from tests.checkpoint_writers import (
    Global,
    Storage,
    Tensor,
    legacy_bytes,
    safetensors_bytes,
    state_dict,
    stored,
)
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.model_files import saved, tiny_file
from tests.reference import REFERENCE, needs_reference
from weights_tools.inspect import inspect, summarise

TENSORS = timm_tensors(CASES["mixnet_s-odd"])


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_statistics_are_those_of_the_finite_values(array: NDArray[Any]) -> None:
    found = summarise("x", array)
    values = array[np.isfinite(array)].astype(np.float64)
    assert (found.finite, found.not_finite) == (values.size, array.size - values.size)
    statistics = (found.mean, found.std, found.minimum, found.maximum)
    if values.size:
        expected = (values.mean(), values.std(), values.min(), values.max())
        np.testing.assert_allclose(statistics, expected, rtol=1e-12)
    else:
        assert statistics == (None, None, None, None)
    assert int(found.crc32, 16) == zlib.crc32(array.tobytes())


def test_numbers_near_the_largest_of_all_have_statistics_too() -> None:
    found = summarise("x", np.array([1.7e308, 1.7e308, -1.7e308, -1.7e308]))
    assert (found.mean, found.std, found.maximum) == (0.0, 1.7e308, 1.7e308)


def test_a_checksum_is_of_the_values_whatever_the_byte_order() -> None:
    values = np.arange(5.0)
    assert summarise("x", values.astype(">f8")) == summarise("x", values.astype("<f8"))


def test_a_checkpoint_is_recognised_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = stored(tmp_path, safetensors_bytes(TENSORS))
    found = inspect(path)
    assert found.container == "safetensors"
    assert found.size_bytes == path.stat().st_size
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [tensor.name for tensor in found.tensors] == list(TENSORS)
    assert found.recognised is not None
    assert (found.recognised.origin, found.recognised.architecture) == ("timm", "mixnet-s-custom")
    assert found.recognised.num_classes == 7
    assert found.recognised.dialects == ("timm", "timm-tf")
    assert found.recognised.pipelines == ("timm",)
    counters = sum(name.endswith("num_batches_tracked") for name in TENSORS)
    assert found.recognised.ignored == {"batch counter of training": counters}


def test_tensors_are_chosen_by_a_pattern(tmp_path: Path) -> None:
    path = stored(tmp_path, safetensors_bytes(TENSORS))
    found = inspect(path, "*.conv_dw.1.*")
    names = [name for name in TENSORS if ".conv_dw.1." in name]
    assert [tensor.name for tensor in found.tensors] == names
    assert found.tensor_count == len(TENSORS)
    with pytest.raises(UsageError, match="no tensor matches 'conv'; the first is conv_stem.weight"):
        inspect(path, "conv")


def test_what_is_no_mixnet_is_shown_and_why(tmp_path: Path) -> None:
    found = inspect(stored(tmp_path, safetensors_bytes({"a": np.ones((2, 3))})))
    assert [tensor.name for tensor in found.tensors] == ["a"]
    assert found.recognised is None
    assert "the names are of no MixNet" in found.problem
    tensors = {n: t for n, t in TENSORS.items() if n != "blocks.3.0.bn2.running_mean"}
    found = inspect(stored(tmp_path, safetensors_bytes(tensors)))
    assert len(found.tensors) == len(TENSORS) - 1
    assert "blocks.3.0.bn2.running_mean: missing" in found.problem


def test_an_empty_checkpoint_is_shown_too(tmp_path: Path) -> None:
    found = inspect(stored(tmp_path, safetensors_bytes({})))
    assert (found.tensors, found.tensor_count) == ((), 0)


def test_globals_that_are_refused_are_named_and_nothing_is_read(tmp_path: Path) -> None:
    state: Any = {
        "a": Tensor(Storage("0", np.ones(3, np.float32)), (3,)),
        "b": Global("os", "nice"),
    }
    found = inspect(stored(tmp_path, legacy_bytes(state)))
    assert found.refused == ("os.nice",)
    assert found.tensors == ()
    assert found.problem.startswith("not read")
    assert inspect(stored(tmp_path, legacy_bytes(state_dict({"a": np.ones(3)})))).refused == ()


def test_a_model_file_shows_its_parameters_in_order_and_its_origin(tmp_path: Path) -> None:
    file = replace(tiny_file(), dtype="float16")
    found = inspect(saved(tmp_path / "model.h5", file))
    assert found.container == "minimix model (hdf5)"
    assert [tensor.name for tensor in found.tensors] == list(file.graph.param_shapes)
    assert found.metadata == {"stored as": "float16", "tool": "tests", "source name": "random"}
    assert found.recognised is not None
    assert (found.recognised.architecture, found.recognised.dialects) == ("tiny", ("timm",))
    assert found.operations is None


def test_a_file_of_no_container_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="which no known checkpoint does"):
        inspect(stored(tmp_path, b"nothing known"))
    with pytest.raises(WeightsError, match="no such file"):
        inspect(tmp_path / "none")


def test_the_constants_of_an_openvino_network_send_to_its_xml(tmp_path: Path) -> None:
    constants = tmp_path / "net.bin"
    constants.write_bytes(b"\x01\x02 numbers")
    with pytest.raises(WeightsError, match=r"no known checkpoint does.* Is it complete\?$"):
        inspect(constants)
    (tmp_path / "net.xml").write_text("<net/>")
    with pytest.raises(WeightsError, match=r"Name the network that it belongs to: .*net\.xml$"):
        inspect(constants)


@needs_reference
def test_a_containers_operations_are_counted() -> None:
    found = inspect(REFERENCE / "openvino" / "mixnet-l.xml", "*")
    assert found.operations is not None
    groups = sum(len(block.kernel_sizes) for block in architecture("mixnet-l").blocks)
    assert found.operations.kinds["GroupConvolution"] == groups
    assert list(found.operations.inputs.values()) == [(1, 224, 224, 3)]
    assert len(found.operations.outputs) == 1
    assert list(found.parts) == ["mixnet-l.bin"]
    assert found.recognised is not None
    assert (found.recognised.architecture, found.recognised.dialects) == ("mixnet-l", ("omz",))


@needs_reference
@pytest.mark.parametrize(
    ("file", "origin", "dialects", "classes"),
    [
        ("timm/mixnet_s.pth", "timm", ("timm", "timm-tf"), 1000),
        ("tf/mixnet-s.tar.gz", "tensorflow", ("tensorflow",), 1000),
        ("mindcv/mixnet_s.ckpt", "mindcv", ("mindcv",), 1000),
    ],
)
def test_a_release_is_recognised(
    file: str, origin: str, dialects: tuple[str, ...], classes: int
) -> None:
    found = inspect(REFERENCE / file)
    assert found.recognised is not None
    assert (found.recognised.origin, found.recognised.architecture) == (origin, "mixnet-s")
    assert (found.recognised.dialects, found.recognised.num_classes) == (dialects, classes)
