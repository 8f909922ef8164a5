"""Pictures decoded ahead in threads while the engine computes; their order stays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Generic, TypeVar

from minimix.arrays import Array
from minimix.cores import thread_count
from minimix.errors import InputError
from minimix.images import Exif
from minimix.inputs import Input
from minimix.model import Model

K = TypeVar("K")
Prepared = tuple[K, Array | InputError]
"""An input's key, and its (1, size, size, 3) or why there is none."""

PATIENCE_S = 0.05
"""How long a picture that could be computed waits for others to be computed with."""

FAREWELL_S = 1.0
"""How long those who leave early wait for what is being decoded; a download can take minutes."""


def decode_ahead(
    model: Model,
    items: Iterable[tuple[K, Input]],
    *,
    exif: Exif,
    ahead: int,
    threads: int | None = None,
) -> Generator[Prepared[K]]:
    """Inputs with a key each -> the key and (1, size, size, 3), or the error, in the same order.

    Args:
        model: whose input the pictures become.
        items: read as far as they are decoded, no further, by whoever asks for the next.
        exif: whether the orientation is applied.
        ahead: pictures that are decoded before they are asked for; the memory that this takes.
        threads: of the decoding; by default the model's.  Pillow lets others run meanwhile.
    """
    waiting: deque[tuple[K, Future[Array | InputError]]] = deque()
    remaining = iter(items)
    decoders = _Decoders(partial(_prepare, model, exif), _decoding_threads(model, threads))
    try:
        while True:
            for key, item in islice(remaining, max(1, ahead) - len(waiting)):
                waiting.append((key, decoders.submit(item)))
            if not waiting:
                return
            key, future = waiting.popleft()
            yield key, future.result()
    finally:
        decoders.close()


def decode(model: Model, items: Iterable[tuple[K, Input]], *, exif: Exif) -> Generator[Prepared[K]]:
    """As ``decode_ahead``, by the caller's own thread: for processes that have one core each."""
    for key, item in items:
        yield key, _prepare(model, exif, item)


def decoded_batches(
    model: Model,
    items: Iterable[tuple[K, Input]],
    *,
    exif: Exif,
    size: int,
    threads: int | None = None,
) -> Generator[list[Prepared[K]]]:
    """Inputs, which may arrive slowly -> what can be computed together now, in the same order.

    A batch is full, or nothing more has arrived, or its first picture has waited ``PATIENCE_S``
    for the next: no picture waits for an input that is not there yet.

    Args:
        model: whose input the pictures become.
        items: read in a thread, at most ``2 * size`` ahead.
        exif: whether the orientation is applied.
        size: pictures of a full batch.
        threads: of the decoding; by default the model's.
    """
    decoders = _Decoders(partial(_prepare, model, exif), _decoding_threads(model, threads))
    feed = _Feed(decoders, items, 2 * size)
    try:
        entry = feed.next()
        while entry is not None:
            key, future = entry
            batch = [(key, future.result())]
            entry = _fill(batch, feed, size)
            yield batch
            entry = entry or feed.next()
    finally:
        feed.close()
        decoders.close()


def _fill(
    batch: list[Prepared[K]], feed: _Feed[K], size: int
) -> tuple[K, Future[Array | InputError]] | None:
    """Add what has arrived and is decoded soon; return what has arrived and is not, if any."""
    end = time.monotonic() + PATIENCE_S
    while len(batch) < size and (entry := feed.next(wait=False)) is not None:
        key, future = entry
        wait([future], max(0.0, end - time.monotonic()))
        if not future.done():
            return entry
        batch.append((key, future.result()))
    return None


def _prepare(model: Model, exif: Exif, item: Input) -> Array | InputError:
    try:
        return model.preprocess(item.open(), exif=exif)
    except InputError as error:
        return error


def _decoding_threads(model: Model, threads: int | None) -> int:
    return thread_count(model.threads if threads is None else threads)


class _Decoders:
    """Threads that prepare inputs.  The process does not wait for them when it ends."""

    def __init__(self, prepare: Callable[[Input], Array | InputError], threads: int) -> None:
        self._prepare = prepare
        self._tasks: SimpleQueue[tuple[Input, Future[Array | InputError]] | None] = SimpleQueue()
        self._threads: Sequence[Thread] = [
            Thread(target=self._work, name=f"minimix-decode-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: Input) -> Future[Array | InputError]:
        """Have an input prepared, after those that were submitted before."""
        future: Future[Array | InputError] = Future()
        self._tasks.put((item, future))
        return future

    def close(self) -> None:
        """Forget what is not begun, and have the threads end."""
        while not self._tasks.empty():
            try:
                self._tasks.get_nowait()
            except Empty:  # a thread was faster
                break
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + FAREWELL_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            item, future = task
            try:
                future.set_result(self._prepare(item))
            except BaseException as error:  # raised again by whoever asks for the result
                future.set_exception(error)


class _Feed(Generic[K]):
    """A thread that reads inputs, however slowly they come, and has them prepared."""

    def __init__(self, decoders: _Decoders, items: Iterable[tuple[K, Input]], ahead: int) -> None:
        self._decoders, self._items = decoders, items
        self._arrived: SimpleQueue[tuple[K, Future[Array | InputError]] | None] = SimpleQueue()
        self._room = Semaphore(ahead)
        self._closed = self._ended = False
        self._failure: BaseException | None = None
        # A daemon: it may be waiting for a list's next line, which may never come.
        Thread(target=self._read, name="minimix-inputs", daemon=True).start()

    def next(self, *, wait: bool = True) -> tuple[K, Future[Array | InputError]] | None:
        """The next input; None at the end, or if it would have to be waited for."""
        if self._ended:
            return None
        try:
            entry = self._arrived.get(wait)
        except Empty:
            return None
        if entry is None:
            self._ended = True
            if self._failure is not None:
                raise self._failure
        else:
            self._room.release()
        return entry

    def close(self) -> None:
        """Read no further."""
        self._closed = True
        self._room.release()

    def _read(self) -> None:
        try:
            items = iter(self._items)
            while self._room.acquire() and not self._closed:
                key, item = next(items)
                self._arrived.put((key, self._decoders.submit(item)))
        except StopIteration:
            self._arrived.put(None)
        except BaseException as error:  # raised again by whoever asks for the next input
            self._failure = error
            self._arrived.put(None)


def reason(item: Input, error: InputError) -> str:
    """Why an input failed, without its name."""
    return str(error).removeprefix(f"{item.name}: ")
