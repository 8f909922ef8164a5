"""Graphs that nobody would write: one WeightsError each, and soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import WeightsError
from minimix.zoo import build
from tests.graph_checkpoints import Written
from tests.graph_networks import plain
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.mappings.graphs.vocabulary import VOCABULARIES
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.topology import Attribute, Operation, Topology

OPERATIONS = 10_000
SECONDS = 10.0
"""Of processor time, for a graph of that many operations: fifty times what an idle machine needs,
a small part of what anything quadratic would.
"""

WRITTEN = {container: plain(container=container) for container in VOCABULARIES}

HUGE = st.integers(-(2**70), 2**70)
NUMBERS = st.integers(-3, 5) | HUGE
ATTRIBUTES = (
    NUMBERS
    | st.floats()
    | st.sampled_from(["", "1,1", "2, 2", "-1", "1," * 5000, "nan", "true", "same_upper", "VALID"])
    | st.text(max_size=5)
    | st.lists(NUMBERS, max_size=5).map(tuple)
    | st.lists(st.floats(), max_size=3).map(tuple)
    | st.lists(st.text(max_size=3), max_size=3).map(tuple)
)
ATTRIBUTE_NAMES = st.sampled_from(
    "axis axes perm pads pads_begin pads_end strides dilations group auto_pad kernel kernel_shape "
    "to destination_type epsilon alpha beta transA transB transpose_a transpose_b keepdims "
    "keep_dims num_splits num_outputs split special_zero allowzero min max value mode pad_mode "
    "training_mode starts ends".split()
)
ARRAYS = hnp.arrays(
    st.sampled_from(["float32", "float16", "float64", "int64", "int32", "uint8", "bool"]),
    st.sampled_from([(), (0,), (1,), (3,), (4,), (2, 0, 3)]) | hnp.array_shapes(max_dims=5),
)

SHAPES = st.sampled_from([(1, 3, 64, 64), (0, 0, 0, 0), (2, 64, 64, 3)])


@st.composite
def nonsense(draw: st.DrawFn) -> Checkpoint:
    """Random operations on random values, with random attributes."""
    container = draw(st.sampled_from(sorted(VOCABULARIES)))
    kinds = st.sampled_from([*VOCABULARIES[container], "Softmax", "Loop"])
    tensors = {f"c{n}": array for n, array in enumerate(draw(st.lists(ARRAYS, max_size=5)))}
    names = ["picture", *tensors]
    operations = []
    for n in range(draw(st.integers(1, 8))):
        outputs = tuple(f"v{n}.{k}" for k in range(draw(st.integers(0, 3))))
        operations.append(
            Operation(
                f"operation {n}",
                draw(kinds),
                tuple(draw(st.lists(st.sampled_from([*names, ""]), min_size=2, max_size=5))),
                outputs,
                draw(st.dictionaries(ATTRIBUTE_NAMES, ATTRIBUTES, max_size=4)),
            )
        )
        names += outputs
    any_shape = st.lists(st.integers(0, 2**60), max_size=5).map(tuple)
    shape = draw(any_shape if draw(st.integers(0, 9)) == 9 else SHAPES)
    topology = Topology({"picture": shape}, (names[-1],), tuple(operations))
    return Checkpoint(container, tensors, {}, Path("nonsense"), 0, "", topology)


@settings(max_examples=150)
@given(nonsense())
def test_nonsense_is_a_weights_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(WeightsError, match=".") as caught:
        map_topology(checkpoint)
    assert len(str(caught.value)) < 2000


def _edit(draw: st.DrawFn, written: Written) -> Checkpoint:
    """Change one thing of a network: an operation, a constant, the input or the output."""
    checkpoint, topology = written.checkpoint, written.topology
    place = draw(st.integers(0, len(topology.operations) - 1))
    old = topology.operations[place]
    values = st.sampled_from(sorted({name for one in topology.operations for name in one.inputs}))
    operations: list[Operation] = list(topology.operations)
    match draw(st.sampled_from(["attribute", "input", "kind", "gone", "twice", "moved", "array"])):
        case "attribute":
            name = draw(
                st.sampled_from(sorted(old.attributes)) if old.attributes else ATTRIBUTE_NAMES
            )
            operations[place] = replace(old, attributes={**old.attributes, name: draw(ATTRIBUTES)})
        case "input":
            inputs = list(old.inputs)
            inputs[draw(st.integers(0, len(inputs) - 1))] = draw(values | st.just(""))
            operations[place] = replace(old, inputs=tuple(inputs))
        case "kind":
            kinds = sorted(VOCABULARIES[checkpoint.container])
            operations[place] = replace(old, kind=draw(st.sampled_from(kinds)))
        case "gone":
            operations.pop(place)
        case "twice":
            operations.insert(draw(st.integers(0, place)), old)
        case "moved":
            operations.insert(draw(st.integers(0, place)), operations.pop(place))
        case _:
            name = draw(st.sampled_from(sorted(checkpoint.tensors)))
            return written.with_tensors(**{name: draw(_arrays_like(checkpoint.tensors[name]))})
    return written.with_operations(operations)


def _arrays_like(array: Any) -> st.SearchStrategy[Any]:
    """Arrays of other shapes and types, and numbers that are none."""
    changed = [
        array[None],
        array.reshape(-1),
        array.T,
        array.reshape(-1)[:0],
        array.astype(np.float64),
        np.ones(array.shape, np.int64) * 2**40,
        np.full_like(array, np.nan if array.dtype.kind == "f" else 0),
        np.full_like(array, np.inf if array.dtype.kind == "f" else 1),
    ]
    return st.sampled_from(changed) | ARRAYS


@st.composite
def changed_networks(draw: st.DrawFn) -> Checkpoint:
    """A network with one to three things changed."""
    written = WRITTEN[draw(st.sampled_from(sorted(WRITTEN)))]
    for _ in range(draw(st.integers(1, 3))):
        written = replace(written, checkpoint=_edit(draw, written))
    return written.checkpoint


@settings(max_examples=100)
@given(changed_networks())
def test_a_changed_network_is_whole_or_a_weights_error(checkpoint: Checkpoint) -> None:
    try:
        mapped = map_topology(checkpoint)
    except WeightsError as error:
        assert len(str(error)) < 2000
    else:
        shapes = build(mapped.architecture, mapped.dialects[0]).param_shapes
        assert {name: array.shape for name, array in mapped.params.items()} == shapes
        assert all(np.isfinite(array).all() for array in mapped.params.values())


WIDE = 1024
"""Channels of the chains below: what each operation copies would show."""

TENSORS: dict[str, Any] = {
    "stem": np.ones((WIDE, 3, 1, 1), np.float32),
    "matrix": np.ones((WIDE, WIDE, 1, 1), np.float32),
    "half": np.ones((WIDE, WIDE, 1, 1), np.float16),
    "bias": np.ones((WIDE, 1, 1), np.float32),
    "number": np.ones((), np.float32),
    "size": np.ones((), np.int64),
    "swapped": np.array([2, 1, 0]),
    "shape": np.array([0, -1, 1, 1]),
    "halves": np.array([WIDE // 2, WIDE // 2]),
    "many": np.ones(WIDE, np.int64),
    "four": np.ones(WIDE, np.float32),
    "depthwise": np.ones((WIDE, 1, 3, 3), np.float32),
    "dense": np.ones((WIDE, 10), np.float32),
}


def _chain(
    kind: str,
    *constants: str,
    start: str = "stem.out",
    twice: bool = False,
    **attributes: Attribute,
) -> Callable[[], list[Operation]]:
    """The same operation on its own result, again and again; ``twice``: as both operands."""

    def made() -> list[Operation]:
        operations, last = (
            [Operation("stem", "Conv", ("picture", "stem"), ("stem.out",), {})],
            start,
        )
        for n in range(OPERATIONS):
            inputs = (last, last) if twice else (last, *constants)
            operations.append(Operation(f"{kind} {n}", kind, inputs, (f"v{n}",), attributes))
            last = f"v{n}"
        return operations

    return made


def _fan(
    kind: str, *constants: str, of: str = "stem.out", outputs: int = 1, **attributes: Attribute
) -> Callable[[], list[Operation]]:
    """The same operation on one value, again and again, nothing of which is let go."""

    def made() -> list[Operation]:
        stem = Operation("stem", "Conv", ("picture", "stem"), ("stem.out",), {})
        names = [tuple(f"v{n}.{k}" for k in range(outputs)) for n in range(OPERATIONS)]
        return [
            stem,
            *(
                Operation(f"{kind} {n}", kind, (of, *constants), outs, attributes)
                for n, outs in enumerate(names)
            ),
        ]

    return made


def _blocks() -> list[Operation]:
    """Blocks as a MixNet has them, but two thousand."""
    stem = Operation("stem", "Conv", ("picture", "stem"), ("stem.out",), {})
    operations, last = [stem], "stem.out"

    def add(kind: str, *constants: str, **attributes: Attribute) -> None:
        nonlocal last
        name = f"v{len(operations)}"
        operations.append(
            Operation(f"{kind} {name}", kind, (last, *constants), (name,), attributes)
        )
        last = name

    add("Relu")
    for _ in range(OPERATIONS // 5):
        add("Conv", "matrix")
        add("Relu")
        add("Conv", "depthwise", group=WIDE, pads=(1, 1, 1, 1))
        add("Relu")
        add("Conv", "matrix")
    add("Conv", "matrix")
    add("Relu")
    add("ReduceMean", axes=(2, 3), keepdims=0)
    add("MatMul", "dense")
    return operations


CHAINS = {
    "sigmoids": _chain("Sigmoid"),
    "convolutions": _chain("Conv", "matrix"),
    "sums of a value and itself": _chain("Add", twice=True),
    "concatenations of a value and itself": _chain("Concat", twice=True, axis=1),
    "numbers added to themselves": _chain("Add", start="number", twice=True),
    "numbers added to others": _chain("Add", "number", start="size"),
    "constants put beside themselves": _chain("Concat", start="shape", twice=True, axis=0),
    "scales": _chain("Mul", "bias"),
    "shifts": _chain("Add", "number"),
    "batch norms": _chain("BatchNormalization", "four", "four", "four", "four"),
    "blocks": _blocks,
    "identities": _chain("Identity"),
    "pads": _chain("Pad", pads=(0, 0, 1, 1, 0, 0, 1, 1)),
    "picture turned": _chain("Gather", "swapped", start="picture", axis=1),
    "picture scaled": _chain("Mul", "number", start="picture"),
    "weights turned": _chain("Transpose", start="matrix"),
    "weights reshaped": _chain("Reshape", "shape", start="matrix"),
    "axes added": _chain("Unsqueeze", start="number", axes=(0,)),
    "shapes of shapes": _chain("Shape"),
    "many convolutions of one value": _fan("Conv", "half"),
    "many scales of one value": _fan("Mul", "bias"),
    "many groups": _fan("Conv", "matrix", group=2**40),
    "many parts": _fan("Split", "many", axis=1, outputs=2),
    "many halves": _fan("Split", "halves", axis=1, outputs=2),
    "weights converted": _fan("Cast", of="half", to=1),
}


@pytest.mark.parametrize("chain", sorted(CHAINS))
def test_ten_thousand_operations_are_refused_at_once(chain: str) -> None:
    operations = CHAINS[chain]()
    outputs = operations[-1].outputs[:1]
    topology = Topology({"picture": (1, 3, 64, 64)}, outputs, tuple(operations))
    start = time.process_time()
    with pytest.raises(WeightsError, match="no MixNet") as caught:
        map_topology(Checkpoint("onnx", TENSORS, {}, Path("chain"), 0, "", topology))
    assert time.process_time() - start < SECONDS
    assert len(str(caught.value)) < 2000
