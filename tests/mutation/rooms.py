"""What is mutated, and the tests that are to notice."""

from __future__ import annotations

from typing import NamedTuple


class Room(NamedTuple):
    """Some modules.

    Attributes:
        sources: files and folders, from the root of the checkout.
        tests: files whose tests run in this process and reach the sources; folders of modules
            whose doctests do.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_{name}.py" for name in names)


_ENGINE = (
    "draft layout memory packing plan plan_conv plan_elementwise plan_head plan_pointwise planner"
)

ROOMS = {
    "ops": Room(
        ("minimix/ops",),
        (
            "minimix/ops",
            *_tests(
                "ops",
                "ops_laws",
                "operators",
                "golden",
                "golden_tensorflow",
                "passes",
                "reference_engine",
            ),
        ),
    ),
    "planner": Room(
        tuple(f"minimix/engine/{name}.py" for name in _ENGINE.split()),
        (
            "minimix/engine/draft.py",
            "minimix/engine/layout.py",
            *_tests(
                "plan", "covered_phases", "covered_plans", "compiled_engine", "compiled_inputs"
            ),
        ),
    ),
    "readers": Room(
        ("weights_tools/readers",),
        (
            "weights_tools/readers",
            *_tests(
                "covered_pickles",
                "covered_readers",
                "mindspore_reader",
                "onnx_reader",
                "onnx_refused",
                "openvino_reader",
                "openvino_refused",
                "protobuf",
                "readers",
                "snappy",
                "sorted_table",
                "tensorflow_damage",
                "tensorflow_reader",
                "tensorflow_tar",
                "torch_readers",
                "unpickler",
            ),
        ),
    ),
    "hdf5": Room(
        ("minimix/hdf5",),
        _tests("hdf5", "weights", "weights_damage", "weights_header"),
    ),
}
"""By the name that the command line knows."""
