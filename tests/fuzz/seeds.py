"""What is under test, one row each: small valid files, and the oracle of their container."""

from __future__ import annotations

from functools import cache
from random import Random

from tests.fuzz import (
    model_rule,
    oracle_graphs,
    oracle_protobuf,
    oracle_tensorflow,
    oracle_torch,
    seeds_graphs,
    seeds_hdf5,
    seeds_tensorflow,
    seeds_torch,
)
from tests.fuzz.declared import Oracle
from tests.fuzz.mutations import Files, Seed, mangled
from tests.fuzz.parsers import PARSERS
from tests.fuzz.samples import Row

ROWS: tuple[Row, ...] = (
    Row("safetensors", seeds_torch.safetensors, oracle_torch.safetensors),
    Row("torch-zip", seeds_torch.torch_zip, oracle_torch.torch_zip),
    Row("torch-legacy", seeds_torch.torch_legacy, oracle_torch.torch_legacy),
    Row("openvino-ir", seeds_graphs.openvino, oracle_graphs.openvino, "net.xml"),
    Row("onnx", seeds_graphs.onnx, oracle_graphs.onnx),
    Row("tensorflow-bundle", seeds_tensorflow.bundle, oracle_tensorflow.bundle, "model.ckpt.index"),
    Row("tensorflow-tar-gz", seeds_tensorflow.packed_archive, oracle_tensorflow.archive),
    Row("tensorflow-tar", seeds_tensorflow.plain_archive, oracle_tensorflow.archive),
    Row("mindspore", seeds_graphs.mindspore, oracle_protobuf.mindspore),
    Row("hdf5", seeds_hdf5.model_files, seeds_hdf5.undecided, examine=model_rule.examine),
)
"""Every reader; one joins by a row."""

ALL: tuple[Row, ...] = (*ROWS, *PARSERS)
"""All that read bytes from outside."""

ORACLES: dict[str, Oracle] = {row.container: row.oracle for row in ROWS}


def row_of(container: str) -> Row:
    """The row of that name."""
    (row,) = (row for row in ALL if row.container == container)
    return row


@cache
def seeds_of(container: str) -> tuple[Seed, ...]:
    """The valid files of one row, made once."""
    return tuple(row_of(container).seeds())


def make_input(row: Row, seed: int, index: int) -> tuple[Seed, Files]:
    """The files that one number stands for, the same in every run, and what they are made of.

    Number 0 and on are the seeds as they are: a reader that refuses everything is no success.
    """
    seeds = seeds_of(row.container)
    if index < len(seeds):
        return seeds[index], seeds[index].files
    return mangled(Random(f"{seed}/{row.container}/{index}"), seeds)
