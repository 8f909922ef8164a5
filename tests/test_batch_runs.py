"""Batches as a user runs them: processes that start, die, are cut off and go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

import minimix
from minimix.errors import UsageError
from minimix.workflows.batching.sources import Sources, to_line
from minimix.workflows.resuming.parts import open_parts, parts_folder
from tests.cli import command, environment
from tests.model_files import saved
from tests.pictures import picture

pytest.importorskip("distributed", reason="no Dask; pip install 'minimix[batch]'")
psutil = pytest.importorskip("psutil")

FAST = ("--format", "ndjson", "--jobs", "2")
LONG_S = 300.0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with 300 pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(300):
        Image.fromarray(picture(120, 160, seed=n)).save(folder / f"{n:03d}.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """What an undisturbed run makes of them."""
    out = tmp_path_factory.mktemp("whole") / "results"
    done = spawn("batch", pictures, "-o", out, *FAST)
    assert done.returncode == 0, done.stderr.decode()
    return lines_of(out)


def spawn(*argv):
    """Run to the end, however busy the machine is."""
    argv = command(*argv)
    return subprocess.run(argv, env=environment(), capture_output=True, timeout=LONG_S, check=False)


def lines_of(out):
    return [line for path in sorted(out.glob("part-*")) for line in path.read_bytes().splitlines()]


def rows_of(out):
    return [json.loads(line) for line in lines_of(out)]


def wait_until(condition, what):
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {LONG_S} s"
        time.sleep(0.02)


@contextmanager
def started(*argv):
    """A process that is not waited for, and does not outlive the test."""
    process = subprocess.Popen(
        command(*argv) if argv[0] == "batch" else list(argv),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def has_parts(out, count=1):
    return lambda: len(list(out.with_name(f"{out.name}.parts").glob("part-[0-9]*[0-9]"))) >= count


def workers_of(process):
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]


def test_rows_are_what_classify_says(whole, pictures):
    net = minimix.load("mixnet-pocket")
    rows = [json.loads(line) for line in whole]
    assert [row["path"] for row in rows] == [str(path) for path in sorted(pictures.iterdir())]
    for row in rows[::37]:
        expected = net.classify(row["path"])
        assert [score["index"] for score in row["top"]] == [s.index for s in expected.top]
        assert [score["p"] for score in row["top"]] == pytest.approx(
            [s.p for s in expected.top], abs=2e-6
        )


def test_failures_are_rows_and_the_exit_code_is_3(tmp_path, pictures):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    out = tmp_path / "results"
    named = [tmp_path / "bad.jpg", pictures / "000.jpg", tmp_path / "gone.jpg"]
    done = spawn("batch", *named, "-o", out, *FAST)
    assert done.returncode == 3
    assert b"2 of 3 pictures failed" in done.stderr
    errors = [row["error"] for row in rows_of(out)]
    assert errors[0].startswith("not an image") and errors[1] is None
    assert errors[2].startswith("no such file")
    assert json.loads((out / "_summary.json").read_text())["failed"] == 2


def test_results_are_kept_unless_forced(tmp_path, pictures):
    out = tmp_path / "results"
    argv = ("batch", pictures / "000.jpg", "-o", out, *FAST)
    assert spawn(*argv).returncode == 0
    again = spawn(*argv)
    assert again.returncode == 2 and b"exists already; give --force" in again.stderr
    assert spawn(*argv, "--force").returncode == 0
    assert len(rows_of(out)) == 1 and [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_folder_of_anything_else_is_never_replaced(tmp_path, pictures):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years of work")
    done = spawn("batch", pictures, "-o", tmp_path / "results", *FAST, "--force")
    assert done.returncode == 2 and b"thesis.txt" in done.stderr
    assert (tmp_path / "results" / "thesis.txt").read_text() == "years of work"


def test_a_run_that_was_killed_goes_on_and_ends_the_same(tmp_path, pictures, whole):
    out = tmp_path / "results"
    with started("batch", pictures, "-o", out, *FAST) as process:
        wait_until(has_parts(out), "part")
        workers = workers_of(process)
        process.kill()
        process.wait()
    assert not out.exists()
    wait_until(lambda: not any(worker.is_running() for worker in workers), "end of the workers")
    other = spawn("batch", pictures, "-o", out, *FAST, "--top", "3")
    assert other.returncode == 2 and b"options.top was 5, is 3" in other.stderr
    done = spawn("batch", pictures, "-o", out, *FAST)
    assert done.returncode == 0 and b"had been done before" in done.stderr
    assert lines_of(out) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_ctrl_c_says_how_to_go_on_and_leaves_no_process(tmp_path, pictures):
    out = tmp_path / "results"
    argv = command("batch", pictures, pictures, pictures, "-o", out, *FAST)
    process = subprocess.Popen(
        argv, env=environment(), stderr=subprocess.PIPE, start_new_session=True
    )
    wait_until(has_parts(out), "part")
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 130
    assert b"the same command goes on" in err and b"Traceback" not in err
    assert not any(worker.is_running() for worker in workers)


def test_a_worker_that_is_killed_costs_a_retry(tmp_path, pictures, whole):
    out = tmp_path / "results"
    with started("batch", pictures, "-o", out, *FAST) as process:
        wait_until(has_parts(out), "part")
        for worker in workers_of(process):
            worker.kill()
        _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, err.decode()
    assert lines_of(out) == whole


def test_the_picture_that_kills_its_process_is_blamed_alone(tmp_path, pictures):
    for n in range(5):
        (tmp_path / f"{n}.jpg").write_bytes((pictures / f"00{n}.jpg").read_bytes())
    # Within the limit of pixels, and more than the memory that a process may have.
    Image.new("RGB", (9400, 9400), "red").save(tmp_path / "2a.png")
    out = tmp_path / "results"
    done = spawn("batch", tmp_path, "-o", out, *FAST, "--memory", "360MiB", "--exif", "ignore")
    assert done.returncode == 3, done.stderr.decode()
    assert b"processes died" in done.stderr
    failed = {Path(row["path"]).name: row["error"] for row in rows_of(out) if row["error"]}
    assert list(failed) == ["2a.png"] and "dies, each time" in failed["2a.png"]
    assert len(rows_of(out)) == 6


def test_two_runs_never_work_at_the_same_results(tmp_path, pictures):
    out = tmp_path / "results"
    many = [pictures] * 8  # the first must not be done before the second begins
    with started("batch", *many, "-o", out, *FAST) as process:
        wait_until(has_parts(out), "part")
        second = spawn("batch", *many, "-o", out, *FAST)
        assert second.returncode == 2 and b"another process works here" in second.stderr
        process.communicate(timeout=LONG_S)
    assert process.returncode == 0 and len(rows_of(out)) == 2400


@pytest.fixture
def cluster(tmp_path):
    """A scheduler, its address, and two workers, started by their own commands."""
    file = tmp_path / "scheduler.json"
    dask = (sys.executable, "-m", "dask")
    here = ("--scheduler-file", str(file), "--no-dashboard")
    worker = (*dask, "worker", *here, "--nthreads", "1", "--nworkers", "1")
    with started(*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *here) as scheduler:
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), "scheduler")
        with started(*worker), started(*worker):
            yield scheduler, json.loads(file.read_text())["address"]


def test_a_cluster_of_other_processes_gives_the_same_rows(tmp_path, pictures, whole, cluster):
    out = tmp_path / "results"
    place = ("--format", "ndjson", "--scheduler", cluster[1])
    done = spawn("batch", pictures, "-o", out, *place)
    assert done.returncode == 0, done.stderr.decode()
    assert lines_of(out) == whole


def test_where_the_scheduler_is_lost_the_work_is_kept(tmp_path, pictures, cluster):
    out = tmp_path / "results"
    place = ("--format", "ndjson", "--scheduler", cluster[1])
    with started("batch", *[pictures] * 20, "-o", out, *place) as process:
        wait_until(has_parts(out), "part")
        cluster[0].kill()
        _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 1
    assert b"the scheduler cannot be reached any more" in err and b"Traceback" not in err
    assert has_parts(out)()


def test_the_dashboard_answers_where_the_note_says(tmp_path, pictures):
    pytest.importorskip("bokeh")
    with started("batch", *[pictures] * 20, "-o", tmp_path / "results", *FAST) as process:
        address = process.stderr.readline().decode().split()[-1]
        with urlopen(address) as page:
            assert page.status == 200 and b"Dask" in page.read()


def test_where_nothing_is_found_nothing_is_written(tmp_path, pictures):
    out = tmp_path / "results"
    gone = spawn("batch", tmp_path / "gone", tmp_path / "none*.png", "-o", out, *FAST)
    assert gone.returncode == 3
    assert b"gone: no such file" in gone.stderr and b"1 more" in gone.stderr
    assert list(tmp_path.iterdir()) == []
    done = spawn("batch", pictures / "000.jpg", "-o", out, *FAST)
    assert done.returncode == 0, done.stderr.decode()


def test_a_model_of_fewer_classes_gives_those_that_it_has(tmp_path, pictures):
    model = saved(tmp_path / "three.h5")
    done = spawn("batch", pictures / "000.jpg", "-o", tmp_path / "r", "--model", model, *FAST)
    assert done.returncode == 0, done.stderr.decode()
    (row,) = rows_of(tmp_path / "r")
    assert len(row["top"]) == 3


def test_a_changed_picture_is_named(tmp_path, pictures):
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes((pictures / "000.jpg").read_bytes())
    out = tmp_path / "results"
    sources = Sources((str(tmp_path),))
    lines = [to_line(chunk) for chunk in sources.chunks()]
    with open_parts(parts_folder(out), {"command": "batch"}, lines) as parts:
        parts.write(0, b"done")
    (tmp_path / "1.jpg").write_bytes(b"another")
    lines = [to_line(chunk) for chunk in sources.chunks()]
    with (
        pytest.raises(UsageError, match=r"input 2, \S+1\.jpg, has changed since"),
        open_parts(parts_folder(out), {"command": "batch"}, lines),
    ):
        pass


@pytest.mark.parametrize(
    "place, message",
    [
        (("--dashboard", "no host"), "expected HOST:PORT"),
        (("--dashboard", "nowhere.invalid:0"), "no cluster can be started here"),
        (("--scheduler", "foo"), "expected an address such as tcp://host:8786"),
    ],
)
def test_a_place_that_cannot_be_is_a_usage_error_at_once(tmp_path, pictures, place, message):
    began = time.monotonic()
    done = spawn("batch", pictures, "-o", tmp_path / "results", *place)
    assert done.returncode == 2 and message in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert time.monotonic() - began < 60
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_for_the_model_is_said(tmp_path, pictures, monkeypatch):
    from minimix.workflows.batching.cluster import Place, connected
    from minimix.workflows.batching.worker import Options

    model = minimix.load("mixnet-pocket", engine="reference")
    place = Place(jobs=1, memory_bytes=64 * 2**20)  # less than Python and NumPy take
    with (
        pytest.raises(UsageError, match="more memory|no worker within"),
        connected(place, model, "key", Options()),
    ):
        pass


def test_a_worker_near_its_limit_is_not_paused_for_ever():
    from minimix.workflows.batching.cluster import Place, connected
    from minimix.workflows.batching.worker import Options

    model = minimix.load("mixnet-pocket", engine="reference")
    with connected(Place(jobs=1), model, "key", Options()) as cluster:
        fractions = cluster.client.run(
            lambda dask_worker: (
                dask_worker.memory_manager.memory_pause_fraction,
                dask_worker.memory_manager.memory_spill_fraction,
                dask_worker.memory_manager.memory_target_fraction,
            )
        )
    assert list(fractions.values()) == [(False, False, False)]


def test_where_no_scheduler_is_it_says_so(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("minimix.workflows.batching.cluster.WAIT_S", 1.0)
    from minimix.workflows.batching.cluster import Place, connected
    from minimix.workflows.batching.worker import Options

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = Place(scheduler=f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        model = minimix.load("mixnet-pocket", engine="reference")
        with (
            pytest.raises(UsageError, match="no scheduler answers"),
            connected(place, model, "key", Options()),
        ):
            pass
