"""Operations that a MixNet has, used as none uses them: refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minimix.errors import WeightsError
from tests.graph_checkpoints import Written
from tests.graph_networks import FOLDED, plain
from tests.graph_writers import INPUT
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.readers.checkpoint import Checkpoint

Spelled = tuple[dict[str, Any], Callable[[Written], Checkpoint], str]
SPELLED: dict[str, Spelled] = {
    "batch norm that trains": (
        {"norm": "batch-norm"},
        lambda w: w.changed("BatchNormalization", attributes={"training_mode": 1}),
        "batch norm that trains; export the network for evaluation",
    ),
    "batch norm of a negative variance": (
        {"norm": "batch-norm"},
        lambda w: w.reading("BatchNormalization", 4, w.operation("BatchNormalization").inputs[3]),
        r"stem\.conv\.weight: .* of 108 values are not finite",
    ),
    "a swish of another slope": (
        {"swish": "operation"},
        lambda w: w.changed("Swish", attributes={"alpha": 2.0}),
        "a 'Swish': is a swish with another beta than 1",
    ),
    "a sigmoid of another value": (
        {"swish": "sigmoid"},
        lambda w: w.reading("blocks.4.mixconv.act", 0, w.out("blocks.4.expand.act")),
        "'Mul': gates of shape .*, expected|'Mul': .* times the sigmoid of",
    ),
    "a product without a sigmoid": (
        {"swish": "sigmoid"},
        lambda w: w.reading("blocks.4.mixconv.act", 1, w.out("blocks.4.expand.act")),
        "'Mul': a product of a convolution and an activation, expected a sigmoid among them",
    ),
    "pads that mirror": (
        {"padding": "pad"},
        lambda w: w.changed("Pad", attributes={"mode": "reflect"}),
        "'Pad': pads with something else than zeros",
    ),
    "pads of ones": (
        {"padding": "pad"},
        lambda w: w.changed("Pad", attributes={"value": 1.0}),
        "'Pad': pads with something else than zeros",
    ),
    "padding twice": (
        {"padding": "pad"},
        lambda w: w.changed("stem.conv", attributes={"auto_pad": "SAME_UPPER"}),
        "a convolution that pads what is padded already",
    ),
    "a mean over channels": (
        {},
        lambda w: w.changed("pool", inputs=(w.out("head.conv.act"),), attributes={"axes": (1, 2)}),
        r"'ReduceMean': a mean over the axes \(1, 2\), expected \(2, 3\)",
    ),
    "a mean over windows": (
        {"pool": "pool"},
        lambda w: w.changed("pool", kind="AveragePool", attributes={"kernel_shape": (1, 1)}),
        r"a mean over windows of \(1, 1\), .*; expected all pixels, \(2, 2\)",
    ),
    "a product that is scaled": (
        {"classifier": "gemm"},
        lambda w: w.changed("classifier", attributes={"alpha": 0.5}),
        "'Gemm': a product with transA, alpha or beta",
    ),
    "a bias along the width": (
        {"classifier": "convolution", "bias": "add"},
        lambda w: w.with_tensors(**{w.operation("Add").inputs[1]: np.ones(4, np.float32)}),
        r"a constant of shape \(4,\) .* beside features of shape \(1, 4, 32, 32\); expected one "
        "number, or one for each of the 4 channels on axis 1",
    ),
    "every second channel": (
        {"parts": "slices"},
        lambda w: w.changed(
            "Slice", inputs=(*w.operation("Slice").inputs[:4], w.operation("Slice").inputs[2])
        ),
        "'Slice': takes channels in steps of",
    ),
    "parts of other sizes": (
        {"parts": "split"},
        lambda w: w.changed(
            "Split", inputs=w.operation("Split").inputs[:1], attributes={"split": (1, 1)}
        ),
        r"'Split': cuts 4 channels into \[1, 1\], which are 2",
    ),
    "a picture scaled by nothing": (
        {"std": (1.0, 0.0, 1.0)},
        lambda w: w.checkpoint,
        r"the picture is scaled by \[1\.0, inf, 1\.0\] .*, which is no normalisation",
    ),
    "a picture with a mean of its own for each pixel": (
        {"mean": (1.0, 2.0, 3.0)},
        lambda w: w.with_tensors(**{w.operation("Sub").inputs[1]: np.ones((64, 64), np.float32)}),
        r"a constant of shape \(64, 64\) .* beside features of shape \(1, 3, 64, 64\)",
    ),
    "a picture whose channels come twice": (
        {"reversed": True},
        lambda w: w.with_tensors(**{w.operation("Gather").inputs[1]: np.array([2, 2, 0])}),
        r"channels of a picture in the order \[2, 2, 0\]",
    ),
    "a picture that stays channels last": (
        {"channels_last": True},
        lambda w: w.reading("stem.conv", 0, INPUT),
        r"a convolution of the picture of shape \(1, 64, 64, 3\), whose channels are on axis 3",
    ),
    "a picture turned on its side": (
        {"channels_last": True},
        lambda w: w.changed("Transpose", attributes={"perm": (0, 3, 2, 1)}),
        r"turns features of shape \(1, 64, 64, 3\) into the order \(0, 3, 2, 1\)",
    ),
    "ReLU in a squeeze-excite, with SAME padding": (
        {"dialect": replace(FOLDED["timm-tf"], se_activation="relu")},
        lambda w: w.checkpoint,
        r"blocks\.3\.se: activation relu, as in MindCV's, but its padding is TensorFlow's SAME",
    ),
}


@pytest.mark.parametrize("miss", SPELLED)
def test_an_operation_used_as_no_mixnet_uses_it_says_so(miss: str) -> None:
    fields, change, message = SPELLED[miss]
    with pytest.raises(WeightsError, match=message):
        map_topology(change(plain(**fields)))
