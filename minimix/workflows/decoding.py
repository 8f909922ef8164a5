"""Pictures decoded ahead in threads while the engine computes; their order stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from minimix.arrays import Array
from minimix.cores import available_cores
from minimix.errors import InputError
from minimix.images import Exif
from minimix.inputs import Input
from minimix.model import Model

K = TypeVar("K")


def decode_ahead(
    model: Model,
    items: Iterable[tuple[K, Input]],
    *,
    exif: Exif,
    ahead: int,
    threads: int | None = None,
) -> Generator[tuple[K, Array | InputError]]:
    """Inputs with a key each -> the key and (1, size, size, 3), or the error, in the same order.

    Args:
        model: whose input the pictures become.
        items: read as far as they are decoded, no further.
        exif: whether the orientation is applied.
        ahead: pictures that are decoded before they are asked for; the memory that this takes.
        threads: of the decoding; by default one per core.  Pillow lets others run meanwhile.
    """

    def prepare(item: Input) -> Array | InputError:
        try:
            return model.preprocess(item.open(), exif=exif)
        except InputError as error:
            return error

    waiting: deque[tuple[K, Future[Array | InputError]]] = deque()
    remaining = iter(items)
    executor = ThreadPoolExecutor(threads or available_cores(), "minimix-decode")
    try:
        while True:
            for key, item in islice(remaining, max(1, ahead) - len(waiting)):
                waiting.append((key, executor.submit(prepare, item)))
            if not waiting:
                return
            key, future = waiting.popleft()
            yield key, future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def reason(item: Input, error: InputError) -> str:
    """Why an input failed, without its name."""
    return str(error).removeprefix(f"{item.name}: ")
