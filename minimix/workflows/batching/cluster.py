"""Dask: where tasks run, what a process's death costs, and which picture is to blame for it.

A task whose process dies is run again by the scheduler.  When it has died too often, twice on a
cluster of our own, its chunk is cut in halves, until a single picture is left that ends its process
again and again: it fails, alone.  A process that was killed from outside, or another task's death
beside it, costs a retry at most.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import minimix
from minimix.errors import OutputError, UsageError
from minimix.model import Model
from minimix.workflows.batching import worker
from minimix.workflows.batching.chunks import Chunk
from minimix.workflows.batching.worker import Done, Options
from minimix.workflows.resuming.rows import Rows

DEATHS = 2
"""Processes that a task may end on a cluster of our own before its chunk is cut in halves."""

BLAMED_AFTER = 2
"""Times that Dask gives up a single picture before it is the picture's fault."""

_ADDRESS = re.compile(r"([a-z]+://)?[^/\s]+:[0-9]+/?")

WAIT_S = 60.0
"""Seconds for a worker to appear."""


@dataclass
class Place:
    """Where the work runs.

    Attributes:
        scheduler: address of a running one, such as ``tcp://host:8786``; None to start our own.
        jobs: processes of our own cluster.
        memory_bytes: that each may hold before it is ended.
        dashboard: host and port of our own cluster's page.
    """

    scheduler: str | None = None
    jobs: int = 1
    memory_bytes: int = 2 * 2**30
    dashboard: str = "127.0.0.1:0"


@dataclass
class Tally:
    """What the workers were seen to do.

    Attributes:
        processes: that finished something.
        most_bytes: memory of the largest, of those that were seen.
        given_up: tasks whose processes died too often.
        blamed: pictures that end their process.
    """

    processes: set[str] = field(default_factory=set)
    most_bytes: int = 0
    given_up: int = 0
    blamed: int = 0


class Cluster:
    """Workers with a model.  Made by ``connected``."""

    def __init__(self, client: Any, key: str, options: Options) -> None:
        self.client, self.options, self.tally = client, options, Tally()
        self._key = key

    @property
    def dashboard(self) -> str:
        """URL of the page that shows the workers; empty where there is none."""
        return str(self.client.dashboard_link or "")

    @property
    def threads(self) -> int:
        """Tasks that run at the same time."""
        return int(sum(self.client.nthreads().values()))

    def run(self, chunks: Iterable[tuple[int, Chunk]]) -> Iterator[tuple[int, int, Rows]]:
        """Numbered chunks -> (number, first position, rows) of spans, as they are finished."""
        ready: deque[_Span] = deque()
        fresh = (_Span(number, chunk, 0, len(chunk)) for number, chunk in chunks)
        waiting: dict[Any, _Span] = {}
        try:
            while True:
                for _ in range(self._room() - len(waiting)):
                    span = ready.popleft() if ready else next(fresh, None)
                    if span is None:
                        break
                    waiting[self._submit(span)] = span
                if not waiting:
                    return
                for future in self._finished(waiting):
                    span = waiting.pop(future)
                    rows = self._rows(future, span, ready)
                    if rows is not None:
                        yield span.number, span.start, rows
        finally:
            if self.client.status == "running":
                self.client.cancel(list(waiting))

    def _room(self) -> int:
        """Tasks that may wait: enough that no worker does, few enough that little is lost."""
        with _reached(self.client):
            return 2 + 2 * self.threads

    def _submit(self, span: _Span) -> Any:
        task = (self._key, span.chunk.absolute(), span.start, span.stop, self.options)
        with _reached(self.client):
            return self.client.submit(worker.classify_chunk, *task, pure=False)

    def _finished(self, waiting: Iterable[Any]) -> Iterable[Any]:
        """Those that have finished, at least one."""
        wait = import_module("distributed").wait
        with _reached(self.client), self.client.as_current():
            finished, _ = wait(list(waiting), return_when="FIRST_COMPLETED")
        return list(finished)

    def _rows(self, future: Any, span: _Span, ready: deque[_Span]) -> Rows | None:
        """A finished task's rows; None where it has to be done again, which is then ready."""
        distributed = import_module("distributed")
        try:
            with _reached(self.client):
                done: Done = future.result()
        except distributed.KilledWorker:
            self.tally.given_up += 1
            return self._after_deaths(span, ready)
        except CancelledError:  # the scheduler has lost it
            ready.append(span)
            return None
        self.tally.processes.add(done.process)
        self.tally.most_bytes = max(self.tally.most_bytes, done.peak_bytes)
        return done.rows

    def _after_deaths(self, span: _Span, ready: deque[_Span]) -> Rows | None:
        if len(span) > 1:
            middle = (span.start + span.stop) // 2
            ready.extend((replace(span, stop=middle), replace(span, start=middle)))
            return None
        if span.given_up + 1 < BLAMED_AFTER:
            ready.append(replace(span, given_up=span.given_up + 1))
            return None
        self.tally.blamed += 1
        why = "the process that reads it dies, each time: it needs more memory, or is malicious"
        return Rows(self.options.kind.empty(1), {0: why})


@dataclass(frozen=True)
class _Span:
    """Pictures of a chunk from ``start`` to before ``stop``."""

    number: int
    chunk: Chunk
    start: int
    stop: int
    given_up: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


@contextmanager
def connected(place: Place, model: Model, key: str, options: Options) -> Iterator[Cluster]:
    """Workers that have the model: a cluster of our own, or those of a running scheduler.

    Args:
        place: where.
        model: travels to each worker once; each task has one thread of it.
        key: tells this model from others that the same workers may have.
        options: of the rows.

    Raises:
        UsageError: Dask is not installed, there is no scheduler, or it has no workers that can run
            the model.
    """
    distributed = _distributed()
    with ExitStack() as stack:
        client = stack.enter_context(_client(distributed, place))
        where = place.scheduler or "the cluster of this machine"
        try:
            client.wait_for_workers(1, timeout=WAIT_S)
            plugin = _plugin(distributed, key, model, is_ours=place.scheduler is None)
            client.register_plugin(plugin, name=f"minimix-{key}")
        except TimeoutError as error:
            raise UsageError(
                f"{where}: no worker within {WAIT_S:.0f} s. Start some: dask worker ADDRESS"
            ) from error
        except distributed.comm.CommClosedError as error:
            raise UsageError(
                f"{where}: a worker ended while it loaded the model. Give it more memory"
            ) from error
        stack.callback(_forget, client, key)
        yield Cluster(client, key, options)


def _plugin(distributed: Any, key: str, model: Model, *, is_ours: bool) -> Any:
    """What gives the model to each worker, those that come later included."""

    class Install(distributed.WorkerPlugin):  # type: ignore[misc]
        """Cloudpickle takes it along whole; the workers need nothing but minimix."""

        def __init__(self) -> None:
            self.key, self.model, self.version = key, model, minimix.__version__

        def setup(self, worker: Any) -> None:
            from minimix.workflows.batching.worker import install, leave_interrupts

            if is_ours:
                leave_interrupts()
            install(self.key, self.model, self.version)

    return Install()


def _forget(client: Any, key: str) -> None:
    if client.status == "running":
        client.unregister_worker_plugin(f"minimix-{key}")


@contextmanager
def _reached(client: Any) -> Iterator[None]:
    """Turn what Dask raises when the scheduler is gone into an error that says how to go on."""
    try:
        yield
    except Exception as error:
        is_closed = isinstance(error, import_module("distributed").comm.CommClosedError)
        if client.status == "running" and not is_closed:
            raise
        raise OutputError(
            "the scheduler cannot be reached any more. What is done is kept: start it, and run the "
            "same again"
        ) from error


@contextmanager
def _client(distributed: Any, place: Place) -> Iterator[Any]:
    # What it says is said again by the errors that are raised.
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)
    if place.scheduler is not None:
        if not _ADDRESS.fullmatch(place.scheduler):  # Dask would look for it for minutes
            raise UsageError(f"{place.scheduler}: expected an address such as tcp://host:8786")
        try:
            client = distributed.Client(place.scheduler, timeout=WAIT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{place.scheduler}: no scheduler answers ({error}). Start one: dask scheduler"
            ) from error
        with client:
            yield client
        return
    dask = import_module("dask")
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        # What a worker holds is the model and a few pictures: nothing to be spilt to disk.
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": False,  # nothing would ever end the pause
        # Looking at each process a hundred times a second, and giving memory back to the system
        # after each picture, cost a tenth of the rate.
        "distributed.worker.profile.enabled": False,
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        with _without_interrupts():  # which processes inherit
            cluster = stack.enter_context(_local_cluster(distributed, place))
        yield stack.enter_context(distributed.Client(cluster, set_as_default=False))


def _local_cluster(distributed: Any, place: Place) -> Any:
    try:
        return distributed.LocalCluster(
            n_workers=place.jobs,
            threads_per_worker=1,
            processes=True,
            memory_limit=place.memory_bytes,
            dashboard_address=place.dashboard,
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:  # Dask's, of what kept the scheduler from starting
        cause = error.__cause__ or error
        raise UsageError(
            f"no cluster can be started here, with its dashboard on {place.dashboard}: {cause}"
        ) from error


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C meanwhile; those that come are lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        raise UsageError(
            f"batch needs Dask, which cannot be imported ({error}): pip install 'minimix[batch]'"
        ) from error
