"""What a first reader broke: results that replace the wrong file, and other surprises."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest

import minimix as mx
from minimix import ops, weights
from minimix.errors import GraphError, InputError, UsageError, WeightsError
from minimix.files import check_apart, replacing
from tests.cli import run
from weights_tools.__main__ import main


@pytest.fixture
def net(tiny_model):
    return mx.load(tiny_model)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_never_replaced_by_a_result(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="link or a device"), replacing(pipe, force=True):
        pass
    assert pipe.is_fifo()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_never_replaced_by_a_result(tmp_path, exists):
    target, link = tmp_path / "target", tmp_path / "link"
    if exists:
        target.write_text("kept")
    link.symlink_to(target)
    with pytest.raises(UsageError, match="link or a device"), replacing(link, force=True):
        pass
    assert link.is_symlink()


def test_a_result_that_would_replace_its_own_source_is_refused(tmp_path):
    source = tmp_path / "a" / ".." / "model.h5"
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="which it would replace"):
        check_apart(tmp_path / "model.h5", None, source)


def test_an_inspection_prints_no_escape_sequences(tmp_path, capsys):
    header = json.dumps({"__metadata__": {"evil": "\x1b[31mred"}}).encode()
    path = tmp_path / "evil.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    code, out, _ = run(capsys, "inspect", path, entry=main)
    assert code == 0
    assert "\x1b" not in out
    assert r"\x1b[31mred" in out


@pytest.mark.parametrize("size", [31, 4097, 10**11])
def test_a_size_out_of_range_is_a_usage_error(tiny_model, size):
    with pytest.raises(UsageError, match="at least 32 and at most 4096"):
        mx.load(tiny_model, size=size)


def test_a_pipe_without_end_is_not_read_to_its_end(net):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def seekable(self):
            return False

        def read(self, size=-1):
            assert 0 <= size < 2**30
            return bytes(size)

    with pytest.raises(InputError, match="bytes from a pipe"):
        net.classify(Endless())


@pytest.mark.parametrize("thing", [None, 5, object()])
def test_what_is_no_picture_is_refused_by_its_type(net, thing):
    with pytest.raises(InputError, match=f"found {type(thing).__name__}"):
        net.classify(thing)


def test_no_pictures_give_no_predictions(net):
    assert net.classify([]) == []


@pytest.mark.parametrize("top", [0, -1, 2.5, "3"])
def test_a_top_that_is_no_count_is_refused(net, top):
    with pytest.raises(UsageError, match="top is"):
        net.predictions(np.zeros((1, 7), np.float32), top=top)


def test_logits_of_another_model_are_refused(net):
    with pytest.raises(UsageError, match="has 7 classes"):
        net.predictions(np.zeros((1, 8), np.float32))


def test_steps_cannot_change_the_callers_picture(net):
    x = np.ones((1, 64, 64, 3), np.float32)
    for step in net.steps(x):
        with pytest.raises(ValueError, match="read-only"):
            step.output[...] = 0
    assert x.min() == 1


def test_weights_stay_read_only_even_when_asked(net):
    with pytest.raises(ValueError, match="WRITEABLE"):
        net.file.params["classifier.bias"].setflags(write=True)


def test_the_shape_of_a_wrong_input_names_the_input(net):
    with pytest.raises(GraphError, match="^image: expected"):
        net(np.zeros((1, 16, 64, 3), np.float32))
    with pytest.raises(GraphError, match="^image: expected"):
        net(np.zeros((64, 64, 3), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride 0"),
        ({"stride": -1}, "stride -1"),
        ({"dilation": 0}, "dilation 0"),
        ({"dilation": -1}, "dilation -1"),
    ],
)
def test_operators_refuse_steps_that_go_nowhere(arguments, message):
    x, weight = np.ones((1, 5, 5, 1), np.float32), np.ones((3, 3, 1), np.float32)
    with pytest.raises(GraphError, match=message):
        ops.depthwise(x, weight, **arguments)


def test_operators_refuse_integers_and_other_shapes():
    weight = np.ones((3, 3, 1), np.float32)
    with pytest.raises(GraphError, match="found uint8"):
        ops.depthwise(np.ones((1, 5, 5, 1), np.uint8), weight)
    with pytest.raises(GraphError, match=r"found float32 \(5, 5, 1\)"):
        ops.depthwise(np.ones((5, 5, 1), np.float32), weight)


def test_an_architecture_without_released_weights_says_so():
    with pytest.raises(WeightsError, match="no weights are released"):
        mx.load("mixnet-xxl")


def test_a_model_file_is_saved_and_loaded_by_a_plain_text_path(net, tmp_path):
    path = str(tmp_path / "copy.h5")
    weights.save(path, net.file)
    assert weights.load(path).labels == net.labels
