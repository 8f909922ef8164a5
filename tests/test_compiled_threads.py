"""The compiled engine's threads: bit-equal results, whoever else runs, forks, or is busy."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from minimix.dialect import DIALECTS
from minimix.engine.compiled import CompiledEngine
from minimix.zoo import architecture, build
from tests.strategies import random_params

ROUNDS = 20
PATIENCE_S = 120
"""A test that takes longer hangs; the machine may be slow."""

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def network(name, seed):
    graph = build(architecture(name), DIALECTS["timm"])
    return graph, random_params(graph, seed)


def pictures(count, *size):
    shape = (count, *size, 3)
    return np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)


@pytest.fixture(scope="module")
def engines():
    """Two models with two threads each."""
    return [CompiledEngine(*network("mixnet-pocket", seed), threads=2) for seed in (1, 2)]


def run_beside_each_other(works):
    """Run functions at the same time, each on a thread of its own; raise what they raise."""
    failures = []

    def guarded(work):
        try:
            work()
        except BaseException as failure:  # handed to the main thread below
            failures.append(failure)

    # Daemons: a thread that hangs fails the test, and does not keep Python from ending.
    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    for failure in failures:
        raise failure


def test_any_number_of_threads_gives_the_same_bits():
    graph, params = network("mixnet-pocket", 1)
    x = pictures(3, 47, 64)
    results = [CompiledEngine(graph, params, threads=n).run(x)[0] for n in (1, 2, 3, 8)]
    assert len({result.tobytes() for result in results}) == 1


def test_several_python_threads_on_one_and_on_two_models_change_no_bit(engines):
    x = {size: pictures(2, *size) for size in ((32, 32), (40, 33))}
    expected = [{size: e.run(array)[0].tobytes() for size, array in x.items()} for e in engines]

    def work(start):
        for n in range(ROUNDS):
            which, size = (start + n // 2) % 2, list(x)[(start + n) % 2]
            (y,) = engines[which].run(x[size])
            assert y.tobytes() == expected[which][size]

    run_beside_each_other([lambda n=n: work(n) for n in range(4)])


def test_python_threads_may_all_ask_a_fresh_model_first(engines):
    graph, params = engines[0].graph, engines[0].params
    x = pictures(1, 33, 41)
    expected = engines[0].run(x)[0].tobytes()
    fresh, barrier = CompiledEngine(graph, params, threads=2), threading.Barrier(4)

    def work():
        barrier.wait()
        assert fresh.run(x)[0].tobytes() == expected

    run_beside_each_other([work] * 4)


def test_an_observer_that_runs_the_model_again_does_not_wait_for_itself(engines):
    x, logits = pictures(1, 32, 32), []
    expected = engines[0].run(x)[0].tobytes()

    def observe(node, array):
        if node.name == "classifier":
            logits.append(engines[0].run(x)[0])

    run_beside_each_other([lambda: engines[0].run(x, observe)])
    assert [y.tobytes() for y in logits] == [expected]


def test_a_busy_machine_slows_an_inference_and_does_not_stop_it(engines):
    x = pictures(1, 32, 32)
    expected = engines[0].run(x)[0].tobytes()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        end = time.monotonic() + 2
        count = 0
        while time.monotonic() < end:
            assert engines[0].run(x)[0].tobytes() == expected
            count += 1
        assert count >= 5
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_idle_models_do_not_use_the_processor(engines):
    x = pictures(2, 32, 32)
    for engine in engines:
        engine.run(x)
        engine.run(x[:1])
    time.sleep(0.1)
    used = time.process_time()
    time.sleep(1)
    assert time.process_time() - used < 0.1


PRELUDE = """
    import multiprocessing, os, signal, sys, threading
    import numpy as np
    from minimix.dialect import DIALECTS
    from minimix.engine.compiled import CompiledEngine
    from minimix.zoo import architecture, build
    from tests.strategies import random_params

    def make():
        graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
        return CompiledEngine(graph, random_params(graph, 1), threads=2)

    def picture(side):
        return np.random.default_rng(side).normal(0, 0.3, (1, side, 32, 3)).astype(np.float32)

    def logits(engine, side=32):
        return engine.run(picture(side))[0].tobytes()

    def in_child(work):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            ok = False
            try:
                ok = work()
            finally:
                os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the child ended with {status}"
"""


def run_script(tmp_path, text):
    """Run a script in a process of its own, with the prelude; its warnings are no errors."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(text), encoding="utf-8")
    # The script lies elsewhere: minimix and tests are found where this process finds them.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


@has_fork
def test_a_forked_child_and_its_parent_go_on(tmp_path):
    run_script(
        tmp_path,
        """
        engine = make()
        expected, other = logits(engine), logits(engine, 40)
        in_child(lambda: logits(engine) == expected and logits(engine, 40) == other)
        in_child(lambda: logits(make(), 40) == other)
        in_child(lambda: (in_child(lambda: logits(engine) == expected), True)[1])
        assert logits(engine) == expected
        """,
    )


@has_fork
def test_a_child_that_is_forked_while_others_plan_and_run_goes_on(tmp_path):
    run_script(
        tmp_path,
        """
        engine, ended = make(), threading.Event()
        expected = logits(engine)

        def plan():
            side = 33
            while not ended.is_set():
                logits(engine, side)
                side = side + 1

        def run():
            while not ended.is_set():
                assert logits(engine) == expected

        threads = [threading.Thread(target=plan), threading.Thread(target=run)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(6):
                ended.wait(0.15)
                in_child(lambda: logits(engine) == expected and len(logits(engine, 100)) > 0)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        """,
    )


def test_a_child_that_multiprocessing_spawns_computes_the_same_bits(tmp_path):
    run_script(
        tmp_path,
        """
        def work(side):
            return logits(make(), side)

        if __name__ == "__main__":
            engine = make()
            expected = [logits(engine, side) for side in (32, 40)]
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                assert pool.map_async(work, (32, 40)).get(100) == expected
        """,
    )


@has_fork
def test_a_child_that_multiprocessing_forks_computes_the_same_bits(tmp_path):
    run_script(
        tmp_path,
        """
        engine = make()
        expected = [logits(engine, side) for side in (32, 40)]

        def work(side):
            return logits(engine, side)

        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map_async(work, (32, 40)).get(100) == expected
        assert [logits(engine, side) for side in (32, 40)] == expected
        """,
    )


def test_a_program_ends_while_workers_sleep_and_while_they_work(tmp_path):
    run_script(
        tmp_path,
        """
        engine = make()
        logits(engine)

        def forever():
            while True:
                logits(engine)

        threading.Thread(target=forever, daemon=True).start()
        logits(engine)
        sys.exit(0)
        """,
    )
