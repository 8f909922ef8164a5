"""Work in numbered parts: cut anywhere, it goes on; damaged or foreign, it is not used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.errors import OutputError, UsageError
from minimix.workflows.resuming import rows as row_files
from minimix.workflows.resuming.parts import is_product, open_parts, parts_folder
from minimix.workflows.resuming.rows import Rows, RowType
from tests.cli import environment

MANIFEST = {"command": "test", "options": {"node": "pool"}}
LINES = ['["a.jpg", 1, 2, null]', '["b.jpg", 3, 4, null]', '["c.jpg", 5, 6, null]']


def text(index, content):
    return content.decode()


def work(out, manifest=MANIFEST, lines=LINES, **options):
    return open_parts(parts_folder(out), manifest, lines, 3, **options)


def finish(out, parts):
    for n in parts.missing(text):
        parts.write(n, f"part {n};".encode())
    with parts.result(out) as temporary:
        temporary.write_text("".join(parts.read(n, text) for n in range(parts.count)))


def cut(out, written=(0, 2)):
    """Work of which some parts are done."""
    with work(out) as parts:
        for n in written:
            parts.write(n, f"part {n};".encode())
    return parts_folder(out)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parts_are_assembled_in_order_and_the_folder_goes(tmp_path):
    out = tmp_path / "out.txt"
    with work(out) as parts:
        assert parts.missing(text) == [0, 1, 2]
        finish(out, parts)
    assert out.read_text() == "part 0;part 1;part 2;"
    assert names(tmp_path) == ["out.txt"]


def test_what_is_missing_is_all_that_is_done_again(tmp_path):
    out = tmp_path / "out.txt"
    folder = cut(out)
    assert names(folder) == ["inputs.ndjson", "manifest.json", "part-000000", "part-000002"]
    with work(out) as parts:
        assert parts.missing(text) == [1]
        finish(out, parts)
    assert out.read_text() == "part 0;part 1;part 2;"


@pytest.mark.parametrize(
    "damage",
    [
        lambda part: part.write_bytes(b""),
        lambda part: part.write_bytes(part.read_bytes()[:-1]),
        lambda part: part.write_bytes(part.read_bytes() + b"x"),
        lambda part: part.write_bytes(part.read_bytes().replace(b"part 0", b"part 9")),
        lambda part: part.write_bytes(part.with_name("part-000002").read_bytes()),
        lambda part: part.unlink(),
    ],
    ids=["emptied", "cut", "longer", "changed", "another part's", "removed"],
)
def test_a_damaged_part_is_missing(tmp_path, damage):
    out = tmp_path / "out.txt"
    damage(cut(out) / "part-000000")
    with work(out) as parts:
        assert parts.missing(text) == [0, 1]
        finish(out, parts)
    assert out.read_text() == "part 0;part 1;part 2;"


def test_a_part_of_other_work_is_missing(tmp_path):
    with work(tmp_path / "other", {"command": "other"}) as parts:
        parts.write(0, b"part 0;")
    stolen = (parts_folder(tmp_path / "other") / "part-000000").read_bytes()
    out = tmp_path / "out.txt"
    (cut(out) / "part-000000").write_bytes(stolen)
    with work(out) as parts:
        assert parts.missing(text) == [0, 1]


def test_a_part_that_its_reader_refuses_is_missing(tmp_path):
    def refuse(index, content):
        if index == 2:
            raise ValueError("no result")

    cut(tmp_path / "out.txt")
    with work(tmp_path / "out.txt") as parts:
        assert parts.missing(refuse) == [1, 2]


def test_a_part_that_is_damaged_during_the_run_is_an_error(tmp_path):
    with work(tmp_path / "out.txt") as parts:
        parts.write(0, b"good")
        (parts.folder / "part-000000").write_bytes(b"bad")
        with pytest.raises(OutputError, match="damaged just now"):
            parts.read(0, text)


@pytest.mark.parametrize(
    ("manifest", "lines", "message"),
    [
        ({**MANIFEST, "options": {"node": "stem"}}, LINES, "options.node was pool, is stem"),
        ({**MANIFEST, "size": 96}, LINES, "size was not there, is 96"),
        (MANIFEST, LINES[:2], "input 3 was c.jpg, is none"),
        (MANIFEST, [*LINES, '["d.jpg"]'], "input 4 was none, is d.jpg"),
        (MANIFEST, LINES[::-1], "input 1 was a.jpg, is c.jpg"),
        (MANIFEST, [*LINES[:2], '["c.jpg", 5, 7, null]'], "input 3, c.jpg, has changed since"),
    ],
)
def test_other_work_is_refused_with_what_differs_and_stays(tmp_path, manifest, lines, message):
    out = tmp_path / "out.txt"
    before = names(cut(out))
    with pytest.raises(UsageError, match=message) as caught, work(out, manifest, lines):
        pytest.fail("it was opened")
    assert "--restart to discard" in str(caught.value)
    assert names(parts_folder(out)) == before


def test_restart_discards_other_work(tmp_path):
    out = tmp_path / "out.txt"
    cut(out)
    with work(out, {"command": "other"}, restart=True) as parts:
        assert parts.missing(text) == [0, 1, 2]


def test_a_damaged_manifest_is_refused_until_restart(tmp_path):
    out = tmp_path / "out.txt"
    (cut(out) / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged; give --restart"), work(out):
        pytest.fail("it was opened")
    with work(out, restart=True) as parts:
        assert parts.missing(text) == [0, 1, 2]


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, restart):
    folder = parts_folder(tmp_path / "out.txt")
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    with (
        pytest.raises(UsageError, match="thesis.txt, which is no work of minimix"),
        work(tmp_path / "out.txt", restart=restart),
    ):
        pytest.fail("it was opened")
    assert names(folder) == ["thesis.txt"]


def test_a_link_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    parts_folder(tmp_path / "out.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"), work(tmp_path / "out.txt"):
        pytest.fail("it was opened")


def test_one_process_works_at_a_time(tmp_path):
    out = tmp_path / "out.txt"
    errors = []

    def other():
        try:
            with work(out):
                pass
        except UsageError as error:
            errors.append(str(error))

    with work(out) as parts:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        finish(out, parts)
    assert len(errors) == 1 and "another process works here" in errors[0]
    assert names(tmp_path) == ["out.txt"]


def test_nothing_is_left_where_nothing_was_begun(tmp_path):
    def failing():
        yield LINES[0]
        raise UsageError("the list ends")

    with (
        pytest.raises(UsageError, match="the list ends"),
        open_parts(parts_folder(tmp_path / "out.txt"), MANIFEST, failing(), 3),
    ):
        pytest.fail("it was opened")
    assert names(tmp_path) == []


def test_a_missing_parent_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match="cannot be read or written"),
        open_parts(tmp_path / "no" / "x.parts", MANIFEST, LINES, 3),
    ):
        pytest.fail("it was opened")


def test_only_the_finished_result_is_the_work_s_product(tmp_path):
    out, folder = tmp_path / "out.txt", cut(tmp_path / "out.txt")
    assert not is_product(folder, out)
    out.write_text("result")
    assert not is_product(folder, out)
    digest = "f0b3e2eb4d4bd3a09e4cbbc0f0a6de0ac92ee8ce5a4c0b1cd7ab9dbb0fbd5c3f"
    (folder / "result.json").write_text(json.dumps({"sha256": digest}))
    assert not is_product(folder, out)


# A process that is killed before each of its steps in turn, by forks of a process without threads.
KILLED_EVERYWHERE = r"""
import os, signal, sys
from pathlib import Path
from minimix.workflows.resuming.parts import is_product, open_parts, parts_folder

def run(out, kill_at):
    step = 0
    def counted(name):
        plain = getattr(Path, name)
        def stepping(self, *args, **options):
            nonlocal step
            step += 1
            if step == kill_at:
                if name == "write_bytes":  # half of it
                    plain(self, args[0][: len(args[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(self, *args, **options)
        return stepping
    for name in ("replace", "write_bytes", "unlink", "mkdir", "rmdir"):
        setattr(Path, name, counted(name))
    text = lambda index, content: content.decode()
    folder = parts_folder(out)
    assert not out.exists() or is_product(folder, out)
    lines = [f'["{n}.jpg", null]' for n in range(3)]
    with open_parts(folder, {"command": "test"}, lines, 3) as parts:
        for n in parts.missing(text):
            parts.write(n, f"part {n};".encode() * 100)
        with parts.result(out) as temporary:
            temporary.write_bytes("".join(parts.read(n, text) for n in range(3)).encode())

def killed(out, kill_at):
    child = os.fork()
    if child == 0:
        try:
            run(out, kill_at)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)

expected = "".join(f"part {n};" * 100 for n in range(3))
kill_at = 0
while True:
    kill_at += 1
    out = Path(sys.argv[1]) / str(kill_at) / "out.txt"
    out.parent.mkdir()
    was_killed = killed(out, kill_at)
    if out.exists():  # under its name there is all or nothing
        assert out.read_text() == expected, kill_at
    if not out.exists() or is_product(parts_folder(out), out):
        assert not killed(out, 0)
    assert out.read_text() == expected, kill_at
    assert os.listdir(out.parent) == ["out.txt"], (kill_at, os.listdir(out.parent))
    if not was_killed:
        break
print(kill_at)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_kill_at_any_step_loses_nothing_and_leaves_nothing_half(tmp_path):
    run = [sys.executable, "-c", KILLED_EVERYWHERE, str(tmp_path)]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


KINDS = st.builds(
    RowType,
    st.sampled_from(
        [np.dtype("<f4"), np.dtype("<i4"), np.dtype([("top", "<i4", 2), ("p", "<f4")])]
    ),
    st.lists(st.integers(1, 3), max_size=2).map(tuple),
)


@given(KINDS, st.dictionaries(st.integers(0, 4), st.text(max_size=20)), st.integers(0, 255))
def test_rows_come_back_as_they_were(kind, failed, seed):
    values = np.frombuffer(
        np.random.default_rng(seed).bytes(5 * kind.size_bytes), kind.dtype
    ).reshape(5, *kind.shape)
    back = row_files.decode(row_files.encode(Rows(values, failed)), kind, 5)
    assert back.values.tobytes() == values.tobytes()
    assert back.failed == failed
    assert back.ok.tolist() == [n not in failed for n in range(5)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        (2).to_bytes(8, "little") + b"{}" + bytes(7),
        (2).to_bytes(8, "little") + b"[]" + bytes(8),
        (2).to_bytes(8, "little") + b"{x" + bytes(8),
        (10).to_bytes(8, "little") + b'{"2": "x"}' + bytes(8),
        (8).to_bytes(8, "little") + b'{"0": 1}' + bytes(8),
    ],
)
def test_bytes_that_are_no_rows_are_refused(content):
    with pytest.raises(ValueError):
        row_files.decode(content, RowType(np.dtype("<f4")), 2)
