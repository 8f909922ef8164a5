"""What runs in a worker's process: the model, loaded once, and chunks -> rows."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minimix
from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.images import Exif
from minimix.inputs import Input
from minimix.labels import top_k
from minimix.model import Model
from minimix.ops import softmax
from minimix.workflows.batching.chunks import Chunk
from minimix.workflows.decoding import Prepared, decode, decode_ahead
from minimix.workflows.resuming.rows import Rows, RowType
from minimix.workflows.resuming.tasks import computed

DOWNLOADS = 8
"""Pictures that a worker fetches from other machines at the same time."""

_models: dict[str, Model] = {}
"""What ``install`` left here, by the key of the work."""


@dataclass(frozen=True)
class Options:
    """What rows depend on beside the model and the picture.

    Attributes:
        top: classes of a row.
        exif: whether the orientation that a camera noted is applied.
        batch_size: pictures computed together.
    """

    top: int = 5
    exif: Exif = "apply"
    batch_size: int = 16

    @property
    def kind(self) -> RowType:
        """A row: the best classes' indices and probabilities, best first."""
        return RowType(np.dtype([("index", "<i4"), ("p", "<f4")]), (self.top,))


@dataclass(frozen=True)
class Done:
    """What a worker did.

    Attributes:
        rows: of the pictures, in order.
        process: which process, on which machine.
        peak_bytes: memory that it has held, see ``_peak_bytes``.
    """

    rows: Rows
    process: str
    peak_bytes: int


def install(key: str, model: Model, version: str) -> None:
    """Keep a model, ready to run, for the tasks of this process.

    Raises:
        UsageError: this machine has another minimix than the one that sent it.
    """
    if version != minimix.__version__:
        raise UsageError(
            f"a worker on {socket.gethostname()} has minimix {minimix.__version__}, and the run is "
            f"of {version}; install the same everywhere"
        )
    model.prepare()
    _models[key] = model


def leave_interrupts() -> None:
    """Let Ctrl-C, which reaches all processes of a terminal, end the one that asked alone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def classify_chunk(key: str, chunk: Chunk, start: int, stop: int, options: Options) -> Done:
    """Rows of a chunk's pictures from ``start`` to before ``stop``."""
    if key not in _models:
        raise UsageError(
            f"a worker on {socket.gethostname()} could not load the model; see its log"
        )
    rows = rows_of(_models[key], chunk, range(start, stop), options)
    return Done(rows, f"{socket.gethostname()}:{os.getpid()}", _peak_bytes())


def rows_of(model: Model, chunk: Chunk, span: range, options: Options) -> Rows:
    """What a model says of some of a chunk's pictures; those that fail have a reason instead."""
    items = ((item, item) for item in chunk.inputs(span))
    with closing(_decoded(model, items, chunk, options)) as decoded:
        return computed(
            decoded,
            len(span),
            lambda x: _best(model(x), options),
            options.kind,
            options.batch_size,
        )


def _decoded(
    model: Model, items: Iterable[tuple[Input, Input]], chunk: Chunk, options: Options
) -> Generator[Prepared[Input]]:
    if not chunk.waits:
        return decode(model, items, exif=options.exif)
    ahead = 2 * options.batch_size
    return decode_ahead(model, items, exif=options.exif, ahead=ahead, threads=DOWNLOADS)


def _best(logits: Array, options: Options) -> NDArray[Any]:
    """(N, classes) logits -> (N, top) rows."""
    indices, p = top_k(softmax(logits), options.top)
    rows = options.kind.empty(len(logits))
    rows["index"], rows["p"] = indices, p
    return rows


def _peak_bytes() -> int:
    """Memory that this process has held at most; where the system does not say, that it holds."""
    status = Path("/proc/self/status")
    if status.is_file():
        (peak,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(peak.split()[1]) * 1024
    import psutil  # comes with Dask

    return int(psutil.Process().memory_info().rss)
