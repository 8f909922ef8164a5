"""A ``Model`` in other processes and threads: the same bits, the weights once, nothing compiled."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest

import minimix as mx
from minimix import images
from tests.pictures import encoded, picture

PATIENCE_S = 120

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

PRELUDE = """
    import multiprocessing, os, signal, sys, threading
    import numpy as np
    import minimix as mx

    x = np.random.default_rng(1).normal(0, 0.3, (3, 64, 64, 3)).astype(np.float32)

    def logits(model):
        return model(x).tobytes()

    def make():
        return mx.load(sys.argv[1], threads=2)

    def beside(work, count=2):
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        return threads
"""


@pytest.fixture
def run_script(tmp_path, tiny_model):
    """Run a script in a process of its own: threads, forks and warnings there are its own."""

    def run(text):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(text), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, str(path), str(tiny_model)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr

    return run


def network_input(count=2):
    return np.random.default_rng(0).normal(0, 0.3, (count, 64, 64, 3)).astype(np.float32)


def test_a_pickle_holds_the_weights_once_and_nothing_that_was_planned_or_compiled(tiny_model):
    net = mx.load(tiny_model, threads=2)
    fresh = pickle.dumps(net)
    expected = net(network_input())
    used = pickle.dumps(net)
    weights_bytes = sum(array.nbytes for array in net.file.params.values())
    assert len(used) == len(fresh)
    assert weights_bytes < len(used) < 1.02 * weights_bytes + 50_000
    copy = pickle.loads(used)
    assert copy(network_input()).tobytes() == expected.tobytes()
    assert not any(array.flags.writeable for array in copy.file.params.values())


def test_a_copy_is_planned_anew_where_it_arrives(tiny_model):
    net = mx.load(tiny_model, threads=2)
    net.prepare()
    copy = pickle.loads(pickle.dumps(net))
    assert (copy.threads, copy.size, copy.engine.name) == (2, 64, net.engine.name)
    assert copy.engine is not net.engine
    if net.engine.name == "compiled":
        assert len(net.engine._prepared) == 1 and len(copy.engine._prepared) == 0


def test_a_deep_copy_within_a_process_is_the_model_itself(tiny_model):
    net = mx.load(tiny_model, engine="reference")
    assert deepcopy([net])[0] is net


def test_a_spawned_process_computes_the_same_bits(run_script):
    run_script(
        """
        if __name__ == "__main__":
            model = make()
            expected = logits(model)
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                assert pool.map_async(logits, [model] * 4).get(100) == [expected] * 4
        """
    )


@has_fork
def test_a_forked_process_computes_the_same_bits_after_the_pool_has_run(run_script):
    run_script(
        """
        model = make()
        expected = logits(model)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map_async(logits, [model] * 4).get(100) == [expected] * 4
        assert logits(model) == expected
        """
    )


@has_fork
def test_a_child_forked_while_others_decode_and_compute_opens_pictures_and_computes(run_script):
    run_script(
        """
        import io
        from PIL import Image
        stream, ended = io.BytesIO(), threading.Event()
        Image.fromarray(np.arange(90 * 80 * 3, dtype="u4").reshape(90, 80, 3).astype("u1")).save(
            stream, "PNG"
        )
        content = stream.getvalue()
        model = make()
        expected = model.classify(content)

        def go_on():
            while not ended.is_set():
                assert model.classify([content] * 4) == [expected] * 4

        threads = beside(go_on)
        try:
            for _ in range(12):
                ended.wait(0.05)
                pid = os.fork()
                if pid == 0:
                    signal.alarm(30)
                    code = 1
                    try:
                        code = int(model.classify([content] * 3) != [expected] * 3)
                    finally:
                        os._exit(code)
                assert os.waitpid(pid, 0)[1] == 0
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        """
    )


def test_many_threads_call_one_model_at_once(tiny_model):
    net = mx.load(tiny_model, threads=2)
    x = network_input(3)
    expected, barrier = net(x).tobytes(), threading.Barrier(8)
    contents = [encoded(images.open_image(picture(seed=n))) for n in range(3)]
    predictions = net.classify(contents)

    def work(_):
        barrier.wait(PATIENCE_S)
        for _ in range(5):
            assert net(x).tobytes() == expected
            assert net.classify(contents) == predictions

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(work, range(8)))


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib_gives_the_same_bits(run_script, backend):
    pytest.importorskip("joblib", reason="joblib is not installed; it comes with scikit-learn")
    run_script(
        f"""
        import joblib

        if __name__ == "__main__":
            model = make()
            expected = logits(model)
            parallel = joblib.Parallel(2, backend={backend!r})
            found = parallel(joblib.delayed(model)(x) for _ in range(4))
            assert [y.tobytes() for y in found] == [expected] * 4
        """
    )


def test_a_dask_cluster_of_processes_gives_the_same_bits(run_script):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'minimix[batch]'")
    run_script(
        """
        from distributed import Client, LocalCluster

        if __name__ == "__main__":
            model = make()
            expected = logits(model)
            options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
            with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
                (there,) = client.scatter([model], broadcast=True)
                futures = [client.submit(logits, there, pure=False) for _ in range(6)]
                assert client.gather(futures) == [expected] * 6
        """
    )
