"""Networks that are almost a MixNet: each refused with words that say what differs, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minimix.errors import WeightsError
from minimix.zoo import Architecture, BlockSpec
from tests.graph_checkpoints import Written
from tests.graph_networks import NARROW, plain
from tests.graph_writers import INPUT
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.topology import Operation

WRITTEN = {container: plain(container=container) for container in ("onnx", "openvino-ir")}


def with_block(n: int, **changes: Any) -> Architecture:
    """The narrow mixnet-s with some fields of one block changed."""
    blocks: list[BlockSpec] = list(NARROW.blocks)
    blocks[n] = replace(blocks[n], **changes)
    return replace(NARROW, blocks=tuple(blocks))


def inserted(written: Written, after: str, new: Operation) -> Checkpoint:
    """The checkpoint with an operation behind that of a role, read by all that read the other."""
    old = written.operation(after)
    operations = []
    for one in written.topology.operations:
        inputs = tuple(new.outputs[0] if i == old.outputs[0] else i for i in one.inputs)
        operations += [old, new] if one is old else [replace(one, inputs=inputs)]
    return written.with_operations(operations)


def pads_of(role: str, *pads: int) -> Callable[[Written], Checkpoint]:
    """Other pads: above, left, below, right."""

    def changed(written: Written) -> Checkpoint:
        if written.checkpoint.container == "onnx":
            return written.changed(role, attributes={"pads": pads})
        sides = {"pads_begin": written.stated(pads[:2]), "pads_end": written.stated(pads[2:])}
        return written.changed(role, attributes=sides)

    return changed


def strides_of(role: str, stride: int) -> Callable[[Written], Checkpoint]:
    return lambda w: w.changed(role, attributes={"strides": w.stated((stride, stride))})


def mean_of(value: str) -> Callable[[Written], Checkpoint]:
    """A squeeze-excite that reads another value."""
    return lambda w: w.reading("blocks.4.se.mean", 0, w.out(value))


def twice_added(written: Written) -> Checkpoint:
    name = written.out("blocks.2.add")
    shortcut, _ = written.operation("blocks.2.add").inputs
    return inserted(written, "blocks.2.add", Operation("more", "Add", (name, shortcut), ("y",), {}))


def from_elsewhere(written: Written) -> Checkpoint:
    """A residual connection that starts a block too early."""
    earlier = written.operation("blocks.5.add").inputs[0]
    return written.reading("blocks.6.add", 0, earlier)


def ended_by(kind: str) -> Callable[[Written], Checkpoint]:
    def changed(written: Written) -> Checkpoint:
        logits = written.topology.outputs[0]
        last = Operation("probabilities", kind, (logits,), ("p",), {"axis": 1})
        return written.with_operations([*written.topology.operations, last], outputs=("p",))

    return changed


def inputs(*shapes: tuple[int, ...]) -> Callable[[Written], Checkpoint]:
    named = {INPUT if n == 0 else f"more {n}": shape for n, shape in enumerate(shapes)}
    return lambda w: w.with_operations(w.topology.operations, inputs=named)


def outputs(*roles: str) -> Callable[[Written], Checkpoint]:
    return lambda w: w.with_operations(
        w.topology.operations, outputs=tuple(w.out(role) for role in roles)
    )


def weight_of(name: str, change: Callable[[Any], Any]) -> Callable[[Written], Checkpoint]:
    """Another array in place of one of our weights."""

    def changed(written: Written) -> Checkpoint:
        constant = written.made_of[name]
        return written.with_tensors(**{constant: change(written.checkpoint.tensors[constant])})

    return changed


def one_is_nan(array: Any) -> Any:
    changed = array.copy()
    changed.reshape(-1)[3] = np.nan
    return changed


def groups_swapped(written: Written) -> Checkpoint:
    """Both groups of an expansion read what the other one should."""
    first = written.operation("blocks.1.expand.0").inputs[0]
    second = written.operation("blocks.1.expand.1").inputs[0]
    changed = replace(written, checkpoint=written.reading("blocks.1.expand.0", 0, second))
    return changed.reading("blocks.1.expand.1", 0, first)


MISSES: dict[str, tuple[Callable[[Written], Checkpoint], str]] = {
    # The blocks.
    "another stride": (
        strides_of("blocks.1.mixconv", 1),
        r"blocks\.1\.mixconv: stride 1, expected 2",
    ),
    "a stride in an expansion": (
        strides_of("blocks.3.expand", 2),
        r"blocks\.3\.expand: stride 2, expected 1",
    ),
    "a padded projection": (
        pads_of("blocks.3.project", 1, 1, 1, 1),
        r"blocks\.3\.project: a 1x1 convolution is padded by \(1, 1, 1, 1\)",
    ),
    "the stem's stride": (strides_of("stem.conv", 1), r"stem\.conv: stride 1, expected 2"),
    "the stem's activation": (
        lambda w: w.changed("stem.conv.act", kind="Swish"),
        "stem: activation swish, expected relu",
    ),
    "the head's activation": (
        lambda w: w.changed("head.conv.act", kind="Swish"),
        "head: activation swish, expected relu",
    ),
    "no activation behind the head": (
        lambda w: w.reading("pool", 0, w.operation("head.conv.act").inputs[0]),
        r"the head, .*: expected a convolution and its activation, found a convolution, made by",
    ),
    "groups that read each other's channels": (
        groups_swapped,
        r"block 15 from the end, expansion: its 2 groups do not read consecutive channels of one "
        "value: from channel 0 on, found some channels, made by",
    ),
    "a residual connection twice": (
        twice_added,
        "block 14 from the end, projection: expected a convolution, found a sum, made by",
    ),
    "a residual connection from elsewhere": (
        from_elsewhere,
        r"block 10 from the end: the sum made by .* does not add the block's input",
    ),
    "squeeze-excite of another value": (
        mean_of("blocks.4.expand.act"),
        "block 12 from the end, squeeze-excite: expected to read the mean of the features that it "
        "gates, found an activation, made by",
    ),
    "squeeze-excite without its activation": (
        lambda w: w.reading("blocks.4.se.expand", 0, w.operation("blocks.4.se.act").inputs[0]),
        "squeeze-excite: expected a convolution and its activation, found a convolution",
    ),
    "squeeze-excite with another activation": (
        lambda w: w.changed("blocks.4.se.act", kind=w.operation("stem.conv.act").kind),
        r"blocks\.3\.se: activation swish, expected relu",
    ),
    "gates of other channels": (
        weight_of("blocks.4.se.expand.weight", lambda array: array[:-1]),
        r"a bias of shape \(48,\) for 47 channels|constant of shape .* beside features of shape "
        r"\(1, 47, 1, 1\)",
    ),
    "a classifier that reads no mean": (
        lambda w: w.reading("classifier", 0, w.out("head.conv.act")),
        "an activation of shape .* times a matrix .*; expected pooled features",
    ),
    # Convolutions.
    "a dilated kernel": (
        lambda w: w.changed("blocks.3.mixconv.1", attributes={"dilations": w.stated((2, 2))}),
        r"dilations \(2, 2\), but no released MixNet is dilated",
    ),
    "strides of two kinds": (
        lambda w: w.changed("stem.conv", attributes={"strides": w.stated((2, 1))}),
        r"strides \(2, 1\), expected two that are equal",
    ),
    "a picture longer on one side": (
        pads_of("blocks.3.mixconv.1", 1, 2, 2, 2),
        r"blocks\.3\.mixconv\.1: 5x5, stride 2, on 16 x 16 pixels is padded by \(1, 2, 2, 2\): .*"
        r"expected \(1, 1, 2, 2\) \(TensorFlow's SAME\) or \(2, 2, 2, 2\) \(symmetric\)",
    ),
    "SAME with the odd row above": (
        pads_of("stem.conv", 1, 1, 0, 0),
        r"stem\.conv: 3x3, stride 2, on 64 x 64 pixels is padded by \(1, 1, 0, 0\)",
    ),
    "both paddings": (
        pads_of("blocks.3.mixconv.1", 2, 2, 2, 2),
        r"blocks\.3\.mixconv\.1: symmetric padding, but stem\.conv has TensorFlow's SAME",
    ),
    "padding below zero": (
        pads_of("blocks.3.mixconv.1", -1, 1, 2, 2),
        r"padding of \(-1, 1, 2, 2\) pixels",
    ),
    "SAME_LOWER": (
        lambda w: w.changed("stem.conv", attributes={"auto_pad": "SAME_LOWER"}),
        "padding 'SAME_LOWER'",
    ),
    "a kernel that is no square": (
        weight_of("stem.conv.weight", lambda array: array[:, :, :2]),
        "a kernel of 2 x 3, expected a square",
    ),
    "a weight for other channels": (
        weight_of("head.conv.0.weight", lambda array: array[:, :-1]),
        r"a weight of shape \(8, 13, 1, 1\) in 1 groups for 14 channels",
    ),
    "quantised weights": (
        weight_of("head.conv.0.weight", lambda array: array.astype(np.int8)),
        r"a weight of shape \(8, 14, 1, 1\) and type int8",
    ),
    "a weight that is no number": (
        weight_of("blocks.2.project.1.weight", one_is_nan),
        r"blocks\.2\.project\.1\.weight: 1 of 27 values are not finite; it is made of '",
    ),
    "a weight beyond float32": (
        weight_of("head.conv.0.weight", lambda array: array.astype(np.float64) * 1e300),
        r"head\.conv\.0\.weight: 112 of 112 values are not finite",
    ),
    "an empty weight": (
        weight_of("head.conv.0.weight", lambda array: array[:0]),
        r"a weight of shape \(0, 14, 1, 1\)",
    ),
    "a weight of one number": (
        weight_of("head.conv.0.weight", lambda array: array[0, 0, 0, 0]),
        r"a weight of shape \(\)",
    ),
    # The whole.
    "probabilities": (
        ended_by("Softmax"),
        "'probabilities', a 'Softmax': gives probabilities; export the network up to what this "
        "reads, its logits; it reads '",
    ),
    "an unknown operation": (
        lambda w: w.changed("blocks.3.mixconv.act", kind="HardSwish"),
        "'.*', a 'HardSwish': occurs in no MixNet",
    ),
    "quantised features": (ended_by("FakeQuantize"), "is quantised; export the network"),
    "a value that nothing makes": (
        lambda w: w.reading("pool", 0, "nowhere"),
        "reads 'nowhere', which nothing before it makes",
    ),
    "operations in no order": (
        lambda w: w.with_operations(w.topology.operations[::-1]),
        "which nothing before it makes",
    ),
    "two inputs": (inputs((1, 3, 64, 64), (1, 3, 64, 64)), "2 inputs, expected one, the picture"),
    "no input": (inputs(), "0 inputs, expected one"),
    "two outputs": (outputs("classifier", "pool"), "2 outputs, expected one, the logits"),
    "features as the output": (
        outputs("head.conv.act"),
        "the output: expected a convolution, found an activation, made by",
    ),
    "a picture that is no square": (
        inputs((1, 3, 64, 96)),
        "an input of 64 x 96 pixels; expected a square of 32 to 4096",
    ),
    "a small picture": (inputs((1, 3, 16, 16)), "an input of 16 x 16 pixels; expected a square"),
    "a huge picture": (inputs((1, 3, 5000, 5000)), "an input of 5000 x 5000 pixels"),
    "one side free": (inputs((1, 3, 0, 64)), "an input of 0 x 64 pixels; .* or both free"),
    "a gray picture": (inputs((1, 1, 64, 64)), r"an input of shape \(1, 1, 64, 64\); expected"),
    "weights that nothing reads": (
        lambda w: w.with_tensors(spare=np.zeros((4, 4), np.float32)),
        r"'spare', float32 of shape \(4, 4\), is left over: the logits do not depend on it",
    ),
    "one number that nothing reads": (
        lambda w: w.with_tensors(spare=np.array(1.0, np.float32)),
        r"'spare', float32 of shape \(\), is left over",
    ),
}


@pytest.mark.parametrize("container", WRITTEN)
@pytest.mark.parametrize("miss", MISSES)
def test_a_near_miss_says_what_differs_and_where(miss: str, container: str) -> None:
    change, message = MISSES[miss]
    with pytest.raises(WeightsError, match=message) as caught:
        map_topology(change(WRITTEN[container]))
    assert str(caught.value).startswith("the graph is of no MixNet that minimix knows: ")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("container", WRITTEN)
def test_the_network_that_the_misses_are_made_of_is_none_itself(container: str) -> None:
    assert map_topology(WRITTEN[container].checkpoint).architecture == NARROW


BLOCKS: dict[str, tuple[Architecture, str]] = {
    "kernels in another order": (
        with_block(3, kernel_sizes=(7, 5, 3)),
        r"nearest is mixnet-s: blocks\.3: kernel_sizes \(7, 5, 3\), expected \(3, 5, 7\)",
    ),
    "another expansion": (
        with_block(2, expansion=4),
        r"blocks\.2: expansion 4, expected 3",
    ),
    "fewer groups": (
        with_block(4, expand_groups=1),
        r"blocks\.4: expand_groups 1, expected 2",
    ),
    "no squeeze-excite": (with_block(5, se_ratio=0.0), r"blocks\.5: squeeze-excite absent"),
    "no residual connection": (
        with_block(2, skip=False),
        r"blocks\.2: residual connection absent, expected present",
    ),
    "a swish too early": (
        with_block(2, swish=True),
        r"blocks\.2\.expand: activation swish, expected relu",
    ),
    "a block too few": (
        replace(NARROW, blocks=NARROW.blocks[:-1]),
        "nearest is mixnet-s: 15 blocks, expected 16",
    ),
}


@pytest.mark.parametrize("miss", BLOCKS)
def test_blocks_that_differ_are_named(miss: str) -> None:
    arch, message = BLOCKS[miss]
    with pytest.raises(WeightsError, match=message):
        map_topology(plain(arch).checkpoint)


def test_another_family_than_the_expected_one_is_refused() -> None:
    with pytest.raises(WeightsError, match="not mixnet-m: 16 blocks, expected 19"):
        map_topology(plain().checkpoint, "mixnet-m")
    with pytest.raises(WeightsError, match="expected mixnet-s, found mixnet-s-custom"):
        map_topology(plain().checkpoint, "mixnet-s")


def test_whole_numbers_that_nothing_reads_are_told_as_ignored() -> None:
    written = plain()
    mapped = map_topology(written.with_tensors(step=np.array(12345)))
    assert mapped.ignored["step"] == "whole numbers that the logits do not depend on"


def test_a_network_without_operations_is_refused() -> None:
    checkpoint = replace(plain().checkpoint, topology=None)
    with pytest.raises(WeightsError, match="onnx states no operations"):
        map_topology(checkpoint)
