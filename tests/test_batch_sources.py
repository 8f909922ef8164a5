"""Where a batch's pictures come from: folders, lists, stores, tar shards, Parquet tables."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minimix.errors import InputError, UsageError
from minimix.images import open_image
from minimix.inputs import MAX_BYTES
from minimix.workflows.batching.chunks import FileChunk
from minimix.workflows.batching.sources import Sources, from_line, to_line
from minimix.workflows.batching.tar_shards import TarChunk, members_of
from tests.pictures import encoded, picture

PICTURES = [encoded(Image.fromarray(picture(seed=n))) for n in range(8)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    return tmp_path


def chunks_of(*named, **options):
    return list(Sources(named, **options).chunks())


def names(chunks):
    return [name for chunk in chunks for name in chunk.names()]


def pixels_or_error(item):
    try:
        return np.asarray(open_image(item.open()))
    except InputError as error:
        return str(error).removeprefix(f"{item.name}: ")


def results(chunks):
    """What opening each picture gives, by its name."""
    return {
        item.name: pixels_or_error(item)
        for chunk in chunks
        for item in chunk.inputs(range(len(chunk)))
    }


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def is_picture(found, seed):
    return isinstance(found, np.ndarray) and np.array_equal(found, picture(seed=seed))


def test_files_are_chunks_of_the_size_that_was_asked_for(folder):
    for n in range(5):
        Path(f"{n}.png").write_bytes(PICTURES[n])
    found = chunks_of(".", chunk_size=2)
    assert [len(chunk) for chunk in found] == [2, 2, 1]
    assert names(found) == [f"./{n}.png" for n in range(5)]
    assert all(is_picture(value, n) for n, value in enumerate(results(found).values()))


def test_what_cannot_be_found_is_a_picture_that_fails(folder):
    Path("a.png").write_bytes(PICTURES[0])
    found = results(chunks_of("a.png", "none*.png", "gone.png", "shard.tar"))
    assert is_picture(found["a.png"], 0)
    assert found["none*.png"].startswith("no file matches this pattern")
    assert all("no such file" in found[name] for name in ("gone.png", "shard.tar"))


def test_a_list_names_pictures_and_shards(folder):
    write_tar("s.tar", [("x.png", PICTURES[1])])
    Path("a.png").write_bytes(PICTURES[0])
    Path("list").write_text("a.png\ns.tar\na.png\n")
    assert names(chunks_of(listed="list")) == ["a.png", "s.tar/x.png", "a.png"]


def test_a_folder_of_shards_is_their_pictures(folder):
    Path("in").mkdir()
    for n in (2, 1):
        write_tar(f"in/{n}.tar", [(f"{n}.png", PICTURES[n])])
    assert names(chunks_of("in")) == ["in/1.tar/1.png", "in/2.tar/2.png"]


def test_a_shard_gives_its_pictures_in_order_and_nothing_else(folder):
    write_tar(
        "s.tar",
        [
            ("000.json", b"{}"),
            ("000.png", PICTURES[0]),
            ("._000.png", b"of a Mac"),
            (f"{'long/' * 40}001.PNG", PICTURES[1]),
            ("002.cls", b"7"),
            ("002.jpg", b"no picture"),
        ],
        format=tarfile.GNU_FORMAT,
    )
    found = chunks_of("s.tar", chunk_size=2)
    assert [len(chunk) for chunk in found] == [2, 1]
    values = list(results(found).values())
    assert is_picture(values[0], 0) and is_picture(values[1], 1)
    assert values[2].startswith("not an image")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_shard_are_no_pictures(folder, kind):
    Path("secret.png").write_bytes(PICTURES[0])
    write_tar("s.tar", [("a.png", PICTURES[1])])
    with tarfile.open("s.tar", "a") as archive:
        link = tarfile.TarInfo("evil.png")
        link.type, link.linkname = kind, str(Path("secret.png").resolve())
        archive.addfile(link)
    found = results(chunks_of("s.tar"))
    assert is_picture(found["s.tar/a.png"], 1)
    assert "a link in the shard" in found["s.tar/evil.png"]


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_a_compressed_shard_is_refused(folder, compression):
    for name in ("s.tar", f"s.tar.{compression}"):
        with tarfile.open(name, f"w:{compression}") as archive:
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
        assert "npack" in results(chunks_of(name))[name]


@given(st.integers(1, 10 * 512))
def test_a_shard_that_is_cut_off_gives_what_is_whole_and_one_failure(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut.tar"
    members = [(f"{n}.png", bytes([n]) * 600) for n in range(3)]
    write_tar(path, members)
    path.write_bytes(path.read_bytes()[:length])
    whole = [name for n, (name, _) in enumerate(members) if length >= n * 1536 + 512 + 600]
    found = []
    try:
        for member in members_of(str(path)):
            found.append(member[0])
    except InputError:
        is_damaged = True
    else:
        is_damaged = False
    # A header alone is listed, too: its picture fails when its turn comes.
    assert found[: len(whole)] == whole and len(found) <= len(whole) + 1
    assert is_damaged == (length < 3 * 1536 + 512)


@given(st.integers(0, 3 * 1024 - 1), st.integers(1, 255))
def test_no_change_of_a_shard_loses_pictures_without_a_word(tmp_path_factory, place, change):
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    write_tar(path, [(f"{n}.png", b"x" * 10) for n in range(3)])
    body = bytearray(path.read_bytes())
    body[place] ^= change
    path.write_bytes(bytes(body))
    found = chunks_of(str(path))
    assert sum(map(len, found)) == 3 or any(isinstance(chunk, FileChunk) for chunk in found)
    assert place % 1024 < 512 or not any(isinstance(chunk, FileChunk) for chunk in found)


def test_a_member_that_is_too_large_fails_alone(folder):
    Path("s.tar").write_bytes(b"\0" * 1024)
    chunk = TarChunk("s.tar", (("big.png", 512, MAX_BYTES + 1),))
    ((_, why),) = results([chunk]).items()
    assert "at most" in why


def test_a_shard_that_changed_since_fails_and_says_so(folder):
    write_tar("s.tar", [("a.png", PICTURES[0]), ("b.png", PICTURES[1])])
    found = chunks_of("s.tar")
    Path("s.tar").write_bytes(Path("s.tar").read_bytes()[:600])
    assert all("shorter since" in why for why in results(found).values())
    Path("s.tar").unlink()
    assert all("no such file" in why for why in results(found).values())


def test_a_chunk_comes_back_from_its_line(folder):
    write_tar("s.tar", [("a.png", PICTURES[0])])
    for chunk in (*chunks_of("s.tar", "gone.png", "none*"), FileChunk(("\udcff.png",), {})):
        assert from_line(to_line(chunk)) == chunk
    # Whether the network may be used changes no row.
    offline = FileChunk(("a.png",), {}, offline=True)
    assert to_line(offline) == to_line(replace(offline, offline=False))
    assert from_line(to_line(offline), offline=True) == offline


def test_what_travels_means_the_same_in_another_folder(folder, monkeypatch):
    write_tar("s.tar", [("a.png", PICTURES[0])])
    Path("b.png").write_bytes(PICTURES[1])
    found = chunks_of("s.tar", "b.png", "https://host/c.png")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    moved = [chunk.absolute() for chunk in found]
    monkeypatch.chdir(folder)
    assert [chunk.absolute() for chunk in found] != moved
    absolute = [chunk.absolute() for chunk in found]
    assert names(absolute)[-1] == "https://host/c.png"
    monkeypatch.chdir(folder / "elsewhere")
    values = list(results([absolute[0], FileChunk(absolute[1].files[:1])]).values())
    assert is_picture(values[0], 0) and is_picture(values[1], 1)


def test_the_results_of_an_earlier_batch_are_no_source(folder):
    Path("in/old").mkdir(parents=True)
    Path("in/old/part-00000.parquet").write_bytes(b"PAR1")
    Path("in/old/part-of-a-panda.png").write_bytes(PICTURES[1])
    Path("in/old/_summary.json").write_text("{}")
    Path("in/a.png").write_bytes(PICTURES[0])
    assert names(chunks_of("in")) == ["in/a.png", "in/old/part-of-a-panda.png"]
    pytest.importorskip("pyarrow", reason="no pyarrow; pip install 'minimix[batch]'")
    Path("in/old/_summary.json").unlink()
    assert "in/old/part-00000.parquet" in names(chunks_of("in"))


@pytest.mark.parametrize("line", ["[]", "{}", '["a", "files", {}, []]', '["a", "bad", {}, []]'])
def test_a_line_that_is_no_chunk_is_a_value_error(line):
    with pytest.raises(ValueError):
        from_line(line)


def test_the_line_of_a_file_changes_with_the_file(folder):
    Path("a.png").write_bytes(PICTURES[0])
    (chunk,) = chunks_of("a.png")
    before = to_line(chunk)
    Path("a.png").write_bytes(PICTURES[0] + b"!")
    assert to_line(chunk) != before


class TestStores:
    """Pictures in a store that fsspec knows."""

    @pytest.fixture
    def store(self, folder):
        fsspec = pytest.importorskip("fsspec", reason="no fsspec; pip install 'minimix[batch]'")
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        yield lambda name, content: memory.pipe(f"/{name}", content)
        memory.store.clear()

    def test_a_folder_a_pattern_and_a_file(self, store):
        store("in/b.png", PICTURES[1])
        store("in/a.png", PICTURES[0])
        store("in/.hidden.png", PICTURES[2])
        store("in/notes.txt", b"no")
        assert names(chunks_of("memory://in/")) == ["memory:///in/a.png", "memory:///in/b.png"]
        assert names(chunks_of("memory://in/b*")) == ["memory:///in/b.png"]
        found = results(chunks_of("memory://in"))
        assert [is_picture(value, n) for n, value in enumerate(found.values())] == [True, True]

    def test_a_shard(self, store, folder):
        write_tar("s.tar", [("a.png", PICTURES[3])])
        store("s.tar", Path("s.tar").read_bytes())
        found = results(chunks_of("memory://s.tar"))
        assert is_picture(found["memory:///s.tar/a.png"], 3)

    def test_what_is_not_there_fails(self, store):
        for name in ("memory://gone.png", "memory://gone/*.png", "memory://gone.tar"):
            (why,) = results(chunks_of(name)).values()
            assert "no such file" in why or "no picture, shard or table there" in why

    def test_an_unknown_store_is_a_usage_error(self, store):
        (why,) = results(chunks_of("nonsense://a.png")).values()
        assert "nonsense" in why

    def test_offline_refuses_what_is_elsewhere(self, store):
        for name in ("s3://bucket/a.png", "https://host/s.tar", "https://host/a.png"):
            (why,) = results(chunks_of(name, offline=True)).values()
            assert "the network is forbidden" in why


class TestTables:
    """Pictures in Parquet."""

    @pytest.fixture
    def write(self, folder):
        pyarrow = pytest.importorskip("pyarrow", reason="no pyarrow; pip install 'minimix[batch]'")
        parquet = pytest.importorskip("pyarrow.parquet")

        def write(path, columns, rows_of_group=3):
            parquet.write_table(pyarrow.table(columns), path, row_group_size=rows_of_group)

        return write

    def test_rows_are_numbered_over_all_row_groups(self, write):
        write("t.parquet", {"image": PICTURES, "label": list(range(8))})
        found = chunks_of("t.parquet", chunk_size=2)
        assert [len(chunk) for chunk in found] == [2, 1, 2, 1, 2]
        values = results(found)
        assert list(values) == [f"t.parquet#{n}" for n in range(8)]
        assert all(is_picture(value, n) for n, value in enumerate(values.values()))
        again = [from_line(to_line(chunk)) for chunk in found]
        assert again == found

    def test_records_with_bytes_and_a_path(self, write):
        records = [{"bytes": content, "path": "x"} for content in PICTURES[:2]]
        write("t.parquet", {"picture": records, "other": [b"1", b"2"]}, 1)
        found = results(chunks_of("t.parquet", image_column="picture"))
        assert all(is_picture(value, n) for n, value in enumerate(found.values()))

    def test_a_column_whose_name_has_a_dot(self, write):
        write("t.parquet", {"image.jpg": PICTURES[:2]})
        found = results(chunks_of("t.parquet"))
        assert all(is_picture(value, n) for n, value in enumerate(found.values()))

    def test_large_groups_are_large_chunks_and_small_ones_are_not(self, write, monkeypatch):
        write("t.parquet", {"image": PICTURES}, 8)
        group = sum(map(len, PICTURES))
        monkeypatch.setattr("minimix.workflows.batching.parquet._MOST_BEHIND", group // 4)
        assert [len(chunk) for chunk in chunks_of("t.parquet", chunk_size=2)] == [4, 4]
        assert [len(chunk) for chunk in chunks_of("t.parquet", chunk_size=5)] == [5, 3]
        assert all(
            is_picture(value, n)
            for n, value in enumerate(results(chunks_of("t.parquet", chunk_size=2)).values())
        )

    def test_memory_is_of_the_pictures_that_are_read_and_not_of_their_group(self, write):
        pyarrow = pytest.importorskip("pyarrow")
        noise = np.random.default_rng(7).bytes
        write("t.parquet", {"image": [noise(20_000) for _ in range(8_000)]}, 8_000)
        (chunk, *_) = chunks_of("t.parquet", chunk_size=16)
        pool = pyarrow.default_memory_pool()
        before = pool.bytes_allocated()
        tracemalloc.start()  # what Python's own file gives to pyarrow
        values = chunk.inputs(range(len(chunk)))
        next(values)
        held = tracemalloc.get_traced_memory()[1] + pool.bytes_allocated() - before
        tracemalloc.stop()
        # A page of pyarrow's has 1,024 rows, of 20 MB here; the group has 160.
        assert held < 100 * 2**20
        values.close()

    def test_the_usual_name_decides_between_several(self, write):
        write("t.parquet", {"mask": [b"", b""], "jpg": PICTURES[:2]})
        found = results(chunks_of("t.parquet"))
        assert all(is_picture(value, n) for n, value in enumerate(found.values()))

    @pytest.mark.parametrize(
        "columns, options, message",
        [
            ({"a": [1]}, {}, r"no column of bytes .*; it has a \(int64\)"),
            ({"a": [b""], "b": [b""]}, {}, "several columns of bytes: a, b; name that"),
            ({"a": [b""]}, {"image_column": "b"}, "no column 'b'; it has a"),
            ({"a": ["x"]}, {"image_column": "a"}, "is of string; expected bytes"),
            ({"a": [b""]}, {"identity": "id"}, "no column 'id'"),
        ],
    )
    def test_a_table_without_pictures_is_a_usage_error(self, write, columns, options, message):
        write("t.parquet", columns)
        with pytest.raises(UsageError, match=message):
            chunks_of("t.parquet", **options)

    def test_empty_rows_and_broken_bytes_fail_alone(self, write):
        write("t.parquet", {"image": [PICTURES[0], None, b"no picture", PICTURES[3]]})
        values = list(results(chunks_of("t.parquet")).values())
        assert is_picture(values[0], 0) and is_picture(values[3], 3)
        assert values[1] == "no bytes in this row" and values[2].startswith("not an image")

    def test_an_id_column_names_the_rows(self, write):
        write("t.parquet", {"image": PICTURES[:4], "id": [10, 11, 12, 13]})
        assert names(chunks_of("t.parquet", identity="id")) == ["10", "11", "12", "13"]

    def test_a_table_that_is_not_there_is_a_failure(self, write):
        assert "no such file" in results(chunks_of("gone.parquet"))["gone.parquet"]

    def test_no_parquet_is_a_failure(self, folder, write):
        Path("t.parquet").write_bytes(b"PAR1 and nonsense PAR1")
        (why,) = results(chunks_of("t.parquet")).values()
        assert "cannot be read" in why
