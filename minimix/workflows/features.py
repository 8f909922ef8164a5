"""Features of many pictures: what one node of a network produces for each, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minimix.errors import InputError, UsageError
from minimix.files import check_apart, check_free
from minimix.images import Exif
from minimix.inputs import Input
from minimix.model import Model
from minimix.workflows.feature_files import Features, Write, writer_for
from minimix.workflows.node_output import NodeOutput
from minimix.workflows.resuming.parts import is_product, parts_folder
from minimix.workflows.resuming.rows import RowType
from minimix.workflows.resuming.tasks import Progress, Task, complete, model_facts, opened, results

POOLED = "pool"
"""The node whose output describes a whole picture: one number per channel of the head."""


@dataclass(frozen=True)
class Extracted:
    """What a run did.

    Attributes:
        count: inputs, those that failed included.
        found: how many had been done by an earlier run.
        failed: (name, why) of every input that has no features.
        shape: of one picture's features.
    """

    count: int
    found: int
    failed: tuple[tuple[str, str], ...]
    shape: tuple[int, ...]


def check_result(out: Path, *, force: bool) -> Write:
    """Check that features can be written to a file; return what writes them.

    Raises:
        UsageError: it exists, its ending is unknown, or its library is not installed.
    """
    check_free(out, force=True)  # a folder has no ending to speak of
    write = writer_for(out)
    check_free(out, force=force or is_product(parts_folder(out), out))
    return write


def extract_features(
    model: Model,
    inputs: Sequence[Input],
    out: str | Path,
    *,
    node: str = POOLED,
    exif: Exif = "apply",
    batch_size: int = 16,
    force: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> Extracted:
    """Write a node's output for every input, in order, to a .npz, .parquet or .h5 file.

    The work is kept in ``OUT.parts/`` and assembled at the end; the same call goes on where
    another was cut.  Rows of inputs that failed are NaN; where all did, nothing is written.

    Args:
        model: the network.
        inputs: ``minimix.inputs.find_inputs`` makes them.
        out: the file; see ``minimix.workflows.feature_files`` for what it holds.
        node: a node's name, by default the pooled features.
        exif: whether the orientation that a camera noted is applied.
        batch_size: pictures computed together.
        force: replace an existing file.
        restart: discard what an earlier run left behind.
        progress: called with the pictures done, and their number.

    Raises:
        InputError: no input could be read.
        UsageError: there is no such node, the file exists or is an input, its ending is unknown, or
            its library is not installed; other work is kept there, or another process is at it; no
            inputs.
        OutputError: the disk is full, the folder is read-only.
    """
    out = Path(out)
    write = check_result(out, force=force)
    if not inputs:
        raise UsageError("no inputs; name at least one picture")
    # Of other endings none can be it; a hundred thousand names take a while to resolve.
    alike = (item.name for item in inputs if item.name.endswith(out.suffix))
    check_apart(out, *map(Path, alike))
    network = NodeOutput(model, node)
    kind = RowType(np.dtype("<f4"), network.shape)
    task = Task("features", model, network, kind, inputs, exif, batch_size, options={"node": node})
    failed: list[tuple[str, str]] = []
    with opened(task, parts_folder(out), restart=restart) as parts:
        found = complete(task, parts, progress)
        for span, rows in results(task, parts):
            failed += [(inputs[span[n]].name, why) for n, why in sorted(rows.failed.items())]
        if len(failed) == len(inputs):
            parts.remove()
            raise InputError(_nothing_read(out, failed))
        facts = model_facts(model)
        names = [item.name for item in inputs]
        attributes = {"model": facts["name"], "model_sha256": facts["sha256"], "node": node}
        with parts.result(out) as temporary:
            features = Features(
                names, network.shape, attributes, lambda: (rows for _, rows in results(task, parts))
            )
            write(temporary, features)
    return Extracted(len(inputs), found, tuple(failed), network.shape)


def _nothing_read(out: Path, failed: list[tuple[str, str]]) -> str:
    name, why = failed[0]
    many = f"none of the {len(failed):,} inputs could be read; the first"
    none = many if len(failed) > 1 else "the input could not be read"
    return f"{out}: not written, as {none}: {name}: {why}"
