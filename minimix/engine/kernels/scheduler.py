"""The scheduler: ordinary Python that Numba compiles, run by every thread of an inference.

All threads walk the same phases.  An item is claimed by a compare-and-swap on its phase's counter,
and a phase is over when all of its items are done, whoever did them.  A worker that finds no job
for a while goes to sleep on a lock of Python's own (``PyThread_acquire_lock``, which needs no GIL
and exists wherever Python does); putting up a job wakes the sleepers.

While they compute, threads take denormal numbers for zero; a thread of the caller's gets its own
setting back.

Counters, a cache line each: [epoch << 32 | items claimed, items done].

Only a process that must compile imports this module, and with it Numba.  What Numba makes of the
three functions at the end, LLVM IR that needs nothing of Numba's any more (``exported``), becomes
an object on disk like that of any kernel, and every process loads that
(``library.SchedulerLibrary``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numba import cfunc, njit, types

from minimix.engine.kernels import job as at
from minimix.engine.kernels.atomics import (
    add_word,
    call_function,
    call_kernel,
    flush_denormals,
    load_word,
    pause,
    restore_state,
    store_word,
    swap_if,
)

SPINS = 3000
"""Looks at the notice before a worker sleeps: some 50 microseconds."""

PATIENCE = 2000
"""Looks at a counter before the processor is offered to others."""

_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
"""nogil: other Python threads run meanwhile; the others keep exceptions out of the code."""


@njit(**_OPTIONS)
def run_item(job: int, table: int, item: int) -> None:
    """Make the calls of one item."""
    entry = load_word(job + at.ITEMS) + item * at.RANGE
    for row in range(load_word(entry), load_word(entry + 8)):
        call_kernel(table + row * at.ROW)


@njit(**_OPTIONS)
def wait_for(address: int, value: int, board: int) -> None:
    """Wait until a word is at least ``value``."""
    looks = 0
    while load_word(address) < value:
        pause()
        looks += 1
        if looks > PATIENCE:
            call_function(load_word(board + at.GIVE_WAY), 0, 0)


@njit(**_OPTIONS)
def run_phases(job: int, table: int, epoch: int, board: int) -> None:
    """Work on a job until it is done, together with whoever else does."""
    for phase in range(load_word(job + at.PHASE_COUNT)):
        entry = load_word(job + at.PHASES) + phase * at.RANGE
        first, counter = load_word(entry), load_word(job + at.COUNTERS) + phase * at.LINE
        size, done = load_word(entry + 8) - first, 0
        while True:
            claimed = load_word(counter)
            item = claimed - (epoch << 32)
            if item >= size:
                break
            if swap_if(counter, claimed, claimed + 1):
                run_item(job, table, first + item)
                done += 1
        add_word(counter + 8, done)
        wait_for(counter + 8, size, board)


@cfunc(types.void(types.int64), nopython=True)
def run_alone(job: int) -> None:
    """Do a job without anyone's help."""
    table = load_word(load_word(job + at.TABLES))
    phases, count = load_word(job + at.PHASES), load_word(job + at.PHASE_COUNT)
    state = flush_denormals()
    for item in range(load_word(phases + (count - 1) * at.RANGE + 8)):
        run_item(job, table, item)
    restore_state(state)


@cfunc(types.void(types.int64, types.int64, types.int64), nopython=True)
def run_together(job: int, board: int, workers: int) -> None:
    """Put a job up for ``workers`` workers and work on it too; return when it is done."""
    epoch = (load_word(board + at.NOTICE) >> 8) + 1
    for phase in range(load_word(job + at.PHASE_COUNT)):
        counter = load_word(job + at.COUNTERS) + phase * at.LINE
        store_word(counter + 8, 0)
        store_word(counter, epoch << 32)
    store_word(board + at.JOB, job)
    store_word(board + at.LEFT, 0)
    store_word(board + at.NOTICE, (epoch << 8) + workers)
    for n in range(workers):
        worker = board + at.WORKERS + n * at.LINE
        if swap_if(worker + at.ASLEEP, 1, 0):
            call_function(load_word(board + at.RELEASE), load_word(worker + at.LOCK), 0)
    state = flush_denormals()
    run_phases(job, load_word(load_word(job + at.TABLES)), epoch, board)
    restore_state(state)
    # Nobody may join any more; who has joined must have left before the job's memory is free.
    notice = load_word(board + at.NOTICE)
    while not swap_if(board + at.NOTICE, notice, epoch << 8):
        notice = load_word(board + at.NOTICE)
    wait_for(board + at.LEFT, workers - (notice & 255), board)


@njit(**_OPTIONS)
def is_wanted(board: int, last: int) -> bool:
    """Whether there is a job for a worker that has seen epoch ``last``."""
    notice = load_word(board + at.NOTICE)
    return (notice & 255) > 0 and (notice >> 8) != last


@cfunc(types.void(types.int64, types.int64), nopython=True)
def work(board: int, number: int) -> None:
    """A worker's life: join jobs as they are put up, sleep in between, until the process ends."""
    worker = board + at.WORKERS + number * at.LINE
    last, looks = 0, 0
    flush_denormals()  # the thread is ours: nothing to restore
    while True:
        notice = load_word(board + at.NOTICE)
        place, epoch = notice & 255, notice >> 8
        if place > 0 and epoch != last:
            if swap_if(board + at.NOTICE, notice, notice - 1):
                last, looks = epoch, 0
                job = load_word(board + at.JOB)
                run_phases(job, load_word(load_word(job + at.TABLES) + place * 8), epoch, board)
                add_word(board + at.LEFT, 1)
            continue
        pause()
        looks += 1
        if looks < SPINS:
            continue
        looks = 0
        store_word(worker + at.ASLEEP, 1)
        # A job that was put up just now has seen nobody asleep: look once more.
        if is_wanted(board, last) and swap_if(worker + at.ASLEEP, 1, 0):
            continue
        call_function(load_word(board + at.ACQUIRE), load_word(worker + at.LOCK), 1)


def exported() -> Iterator[tuple[str, str]]:
    """Names -> LLVM IR that defines each as a C function; Numba compiles them on import.

    Numba's own C function (``cfunc.<name>``) hands exceptions to Python, for which it needs Numba
    in the process.  Nothing here raises: a wrapper without that calls the same inner function.
    """
    for function in (run_alone, run_together, work):
        inner = function.native_name.removeprefix("cfunc.")
        words = [f"i64 %word{n}" for n in range(function.__wrapped__.__code__.co_argcount)]
        yield (
            function.__name__,
            f"{function.inspect_llvm()}\n"
            f"define void @{function.__name__}({', '.join(words)}) {{\n"
            f"  %result = alloca ptr\n"
            f"  %error = alloca ptr\n"
            f"  call i32 @{inner}({', '.join(['ptr %result', 'ptr %error', *words])})\n"
            f"  ret void\n"
            f"}}\n",
        )
