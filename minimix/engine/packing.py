"""A plan's memories as arrays: packed weights, and the table of calls with real addresses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.engine.kernels.job import ROW
from minimix.engine.plan import IMAGE, RUNS, SCRATCH, WEIGHTS, Plan
from minimix.params import Params

ROW_WORDS = ROW // 8
"""Integers per row of the table: the kernel's address, then its arguments."""

SLACK_BYTES = 16384
"""Behind every memory: tiles are computed whole, and weights are asked for ahead of time."""


def aligned(size_bytes: int, alignment: int = 64) -> NDArray[np.uint8]:
    """Zeroed bytes that begin at a multiple of ``alignment``."""
    block = np.zeros(size_bytes + alignment, np.uint8)
    start = -block.ctypes.data % alignment
    return block[start : start + size_bytes]


def pack_weights(plan: Plan, params: Params) -> NDArray[np.uint8]:
    """Gather the parameters in the order in which the plan reads them."""
    memory = aligned(plan.weights_floats * 4 + SLACK_BYTES)
    floats = memory[: plan.weights_floats * 4].view(np.float32)
    for piece in plan.gathers:
        if piece.param is None:
            continue
        source: Array = params[piece.param]
        table = source.reshape(-1, source.shape[-1])
        # Padding lanes pick the row or column of zeros that is put behind the last one.
        padded = np.zeros((table.shape[0] + 1, table.shape[1] + 1), np.float32)
        padded[:-1, :-1] = table
        target = floats[piece.offset : piece.offset + piece.floats]
        packed = padded[np.ix_(piece.rows, piece.columns)] * np.float32(piece.factor)
        target[:] = packed.ravel()
    return memory


def call_table(
    plan: Plan, addresses: dict[str, int], bases: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of (kernel, arguments...), the rows' arguments that hold the picture's address).

    Args:
        plan: whose calls are wanted.
        addresses: of the kernels, by name.
        bases: of the memories, by name; that of the results is ``arena``.
    """
    calls = list(plan.calls)
    table = np.zeros((len(calls), ROW_WORDS), np.int64)
    image = []
    known = {RUNS: bases[RUNS], WEIGHTS: bases[WEIGHTS], SCRATCH: bases[SCRATCH], IMAGE: 0}
    known |= {name: bases["arena"] + buffer.offset for name, buffer in plan.buffers.items()}
    for n, call in enumerate(calls):
        row = [addresses[call.kernel.name]]
        for argument in call.arguments:
            if isinstance(argument, int):
                row.append(argument)
                continue
            if argument.memory == IMAGE:
                image.append((n, len(row)))
            row.append(known[argument.memory] + argument.offset)
        table[n, : len(row)] = row
    return table, np.array(image, np.int64).reshape(-1, 2)
