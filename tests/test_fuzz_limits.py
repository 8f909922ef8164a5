"""Limits: constants with one kind of override, a variable of the environment each."""

from __future__ import annotations

import ast
import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import hdf5, inputs, weights
from minimix.errors import MinimixError, UsageError
from minimix.hub.releases import LARGEST_BYTES, largest_bytes
from minimix.images import open_image
from minimix.limits import in_force
from minimix.streams import open_stream, read_at_most
from minimix.workflows.batching.tar_shards import TarChunk
from tests.fuzz.seeds import row_of, seeds_of
from tests.model_files import rewritten, saved
from tests.packaging import tables
from tests.packaging.components import ROOT
from tests.pictures import picture
from weights_tools import readers

VARIABLE = "MINIMIX_MAX_NOTHING"
SOURCES = [path for room in ("minimix", "weights_tools") for path in (ROOT / room).rglob("*.py")]


@cache
def nodes():
    """The syntax of all files that know of a limit."""
    texts = [path.read_text("utf-8") for path in SOURCES]
    return [node for text in texts if "MINIMIX_MAX_" in text for node in ast.walk(ast.parse(text))]


def variables():
    """Of all limits that have an override."""
    calls = [node for node in nodes() if isinstance(node, ast.Call)]
    asked = [call for call in calls if ast.unparse(call.func) == "in_force"]
    return {ast.literal_eval(call.args[0]) for call in asked}


@given(value=st.integers(1, 10**15 - 1), default=st.sampled_from([7, 7.0]))
def test_the_variable_overrides_the_constant_and_keeps_its_kind(value, default):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        assert in_force(VARIABLE, default) == default
        patch.setenv(VARIABLE, "")
        assert in_force(VARIABLE, default) == default
        patch.setenv(VARIABLE, str(value))
        found = in_force(VARIABLE, default)
    assert found == value and type(found) is type(default)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1e6", "many", "²", "9" * 16, "9" * 5000])
def test_what_is_no_positive_number_is_a_usage_error_that_names_the_variable(value, monkeypatch):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UsageError, match=f"{VARIABLE} is .*expected a positive whole") as caught:
        in_force(VARIABLE, 7)
    assert len(str(caught.value)) < 200


def test_there_are_as_many_overrides_as_somebody_may_need():
    assert len(variables()) > 12
    assert all(name.startswith("MINIMIX_MAX_") for name in variables())


def test_all_overrides_are_in_the_table_of_limits():
    table = tables.limits()
    assert [variable for variable in variables() if f"`{variable}`" not in table] == []


def test_every_message_that_refuses_because_of_a_limit_names_its_variable():
    texts = [node.value for node in nodes() if isinstance(node, ast.Constant)]
    messages = [text for text in texts if isinstance(text, str) and "MINIMIX_MAX_" in text]
    for variable in variables():
        assert any(variable in text and text != variable for text in messages), variable


# --- each is heeded ---------------------------------------------------------------------------


def refused(monkeypatch, variable, value, call):
    """The message with which a call is refused under a limit, without which it is fine."""
    monkeypatch.delenv(variable, raising=False)
    call()
    monkeypatch.setenv(variable, str(value))
    with pytest.raises(MinimixError) as caught:
        call()
    assert variable in str(caught.value)
    monkeypatch.setenv(variable, "100000000000")
    call()
    return str(caught.value)


def test_pictures(monkeypatch):
    def opened():
        return open_image(picture())

    assert "over the limit of 100" in refused(monkeypatch, "MINIMIX_MAX_PIXELS", 100, opened)
    assert "a side may have 59" in refused(monkeypatch, "MINIMIX_MAX_SIDE", 59, opened)


class Pipe(io.BytesIO):
    name = "pipe"

    def seekable(self):
        return False


def test_pipes(monkeypatch):
    def opened():
        with open_stream(Pipe(b"x" * 100), "pipe") as stream:
            assert len(stream.read()) == 100

    assert "over 99 bytes" in refused(monkeypatch, "MINIMIX_MAX_PIPE_BYTES", 99, opened)


def test_bytes_in_a_shard(monkeypatch, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"x" * 100)
    chunk = TarChunk(str(path), (("a.jpg", 0, 100),))

    def opened():
        (item,) = chunk.inputs(range(1))
        item.open()

    assert "100 bytes; 99 at most" in refused(monkeypatch, "MINIMIX_MAX_BYTES", 99, opened)


def test_standard_input_and_urls_have_the_same_limit(monkeypatch):
    monkeypatch.setenv("MINIMIX_MAX_BYTES", "5")
    assert inputs.largest_bytes() == 5


def test_releases(monkeypatch):
    assert largest_bytes() == LARGEST_BYTES
    monkeypatch.setenv("MINIMIX_MAX_RELEASE_BYTES", "5")
    assert largest_bytes() == 5


def test_model_files(monkeypatch, tmp_path):
    path = rewritten(saved(tmp_path / "a.h5"), compression="gzip", chunks=(2,))

    def loaded():
        return weights.load(path)

    assert "at most 1 are read" in refused(monkeypatch, "MINIMIX_MAX_CHUNKS", 1, loaded)
    assert "of JSON" in refused(monkeypatch, "MINIMIX_MAX_HEADER_BYTES", 100, loaded)


def test_an_expansion_beyond_the_limit_may_be_allowed(monkeypatch):
    source = hdf5.Source(io.BytesIO(bytes(100)), 100)
    dataset = hdf5.Dataset("a", np.dtype("<f4"), (101,), (), (101,), ())
    with pytest.raises(hdf5.RefusedError, match="at most 4 per byte .*MINIMIX_MAX_EXPANSION"):
        hdf5.check_bounds([dataset], source)
    monkeypatch.setenv("MINIMIX_MAX_EXPANSION", "5")
    hdf5.check_bounds([dataset], source)


@pytest.mark.parametrize(
    ("container", "variable", "value"),
    [
        ("safetensors", "MINIMIX_MAX_HEADER_BYTES", 20),
        ("torch-zip", "MINIMIX_MAX_TENSORS", 1),
        ("torch-zip", "MINIMIX_MAX_OPCODES", 5),
        ("torch-zip", "MINIMIX_MAX_PICKLE_BYTES", 5),
        ("mindspore", "MINIMIX_MAX_TENSORS", 1),
        ("tensorflow-bundle", "MINIMIX_MAX_TENSORS", 1),
        ("tensorflow-tar", "MINIMIX_MAX_UNPACKED_BYTES", 600),
        ("openvino-ir", "MINIMIX_MAX_XML_BYTES", 20),
    ],
)
def test_checkpoints(container, variable, value, monkeypatch, tmp_path):
    seed = next(seed for seed in seeds_of(container) if seed.is_valid)
    path = row_of(container).store(tmp_path, seed.files)
    refused(monkeypatch, variable, value, lambda: readers.read(path))


@given(content=st.binary(max_size=50), most=st.integers(0, 60))
def test_reading_at_most_so_much_is_what_read_gives(content, most):
    assert read_at_most(io.BytesIO(content), most) == content[:most]
