"""Machine code on disk: found again, never wrong, never another user's, and never in the way."""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import cachedir
from minimix.engine.kernels import cache, jit
from minimix.engine.kernels.cache import CodeCache, environment_key, pack, shared_cache, unpack
from minimix.engine.kernels.library import KernelLibrary
from tests.filling_kernels import library, numbers

KEY = bytes(range(32))
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no owners and modes")


@pytest.fixture
def folder(tmp_path):
    """A folder's name, as yet free."""
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def notes():
    """What is said to the user."""
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("minimix")
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


# --- a file ---

names = st.text(max_size=30)
codes = st.binary(max_size=300)


@given(key=st.binary(min_size=32, max_size=32), name=names, code=codes)
def test_what_was_packed_is_unpacked(key, name, code):
    assert unpack(pack(key, name, code), key, name) == code


@given(name=names, code=codes, data=st.data())
def test_a_file_with_any_byte_changed_is_not_unpacked(name, code, data):
    packed = bytearray(pack(KEY, name, code))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(packed), KEY, name) is None


@given(name=names, code=codes, data=st.data())
def test_a_file_that_is_cut_short_or_has_more_at_its_end_is_not_unpacked(name, code, data):
    packed = pack(KEY, name, code)
    assert unpack(packed[: data.draw(st.integers(0, len(packed) - 1))], KEY, name) is None
    assert unpack(packed + data.draw(st.binary(min_size=1)), KEY, name) is None


@given(name=names, other=names, code=codes)
def test_a_file_of_another_function_or_key_is_not_unpacked(name, other, code):
    packed = pack(KEY, name, code)
    assert unpack(packed, bytes(32), name) is None
    assert (unpack(packed, KEY, other) is None) == (name != other)


# --- the key ---


def test_the_key_depends_on_every_setting_and_on_where_one_ends():
    keys = {environment_key(s) for s in ([], [16], [8], ["16", ""], ["1", "6"], ["", "16"])}
    assert len(keys) == 6


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_the_key_depends_on_the_compilers_version(monkeypatch, package):
    before, version = environment_key([]), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9.9" if name == package else version(name)
    )
    assert environment_key([]) != before


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [("sys", "version", "4.0"), ("sys", "platform", "plan9"), ("platform", "machine", lambda: "?")],
)
def test_the_key_depends_on_python_and_the_platform(monkeypatch, module, name, value):
    before = environment_key([])
    monkeypatch.setattr(f"{module}.{name}", value)
    assert environment_key([]) != before


def test_the_key_depends_on_the_text_and_the_name_of_every_source_file(monkeypatch, tmp_path):
    def key():
        monkeypatch.setattr(cache, "_SOURCES", cache.source_hashes(tmp_path))
        return environment_key([])

    (tmp_path / "a.py").write_text("1")
    keys = [key()]
    (tmp_path / "a.py").write_text("2")
    keys.append(key())
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    keys.append(key())
    assert len(set(keys)) == 3


def test_all_kernels_and_the_scheduler_are_among_the_sources():
    assert {"conv.py", "pointwise.py", "builder.py", "scheduler.py"} <= cache._SOURCES.keys()


def test_without_source_files_there_is_no_cache_and_one_note(monkeypatch, folder, notes):
    monkeypatch.setattr(cache, "_SOURCES", {})
    lib, told = library(folder)
    assert numbers(lib, 1) == [1] and numbers(lib, 2) == [2]
    assert not folder.exists()
    assert len(notes) == 1 and "holds no source files" in notes[0]


def test_libraries_of_different_settings_do_not_share_code():
    variants = [(4, 16, False), (8, 16, False), (16, 32, False), (16, 32, True), (4, 32, False)]
    keys = {KernelLibrary(w, n, wide_x86=wide)._key for w, n, wide in variants}
    assert len(keys) == len(variants)


def test_the_host_names_its_compiler_its_processor_and_only_features_that_it_has():
    version, triple, processor, features = jit.host()
    assert version == importlib.metadata.version("llvmlite")
    assert triple and processor
    assert features.split(",") == sorted(features.split(","))


# --- a folder ---


def test_what_is_stored_is_found_and_the_rest_is_missing_without_a_note(folder, notes):
    kept = CodeCache(folder)
    assert kept.load(KEY, ["a", "b"]) == {}
    assert not folder.exists()
    kept.store(KEY, "a", b"code")
    assert CodeCache(folder).load(KEY, ["a", "b"]) == {"a": b"code"}
    assert kept.load(bytes(32), ["a"]) == {}
    assert notes == []


def test_names_that_are_too_long_for_a_file_are_kept_apart(folder):
    kept, long = CodeCache(folder), "x" * 500
    kept.store(KEY, long + "a", b"1")
    kept.store(KEY, long + "b", b"2")
    assert kept.load(KEY, [long + "a", long + "b"]) == {long + "a": b"1", long + "b": b"2"}


@posix
def test_the_folder_and_its_files_are_their_owners_alone(folder):
    CodeCache(folder).store(KEY, "a", b"code")
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def refused(folder, notes, words):
    """Whether a filled folder is neither read nor written, with one note."""
    before = sorted(folder.iterdir())
    kept = CodeCache(folder)
    found = kept.load(KEY, ["a"])
    kept.store(KEY, "b", b"code")
    kept.load(KEY, ["a"])
    return found == {} and sorted(folder.iterdir()) == before and len(notes) == 1 and (
        words in notes[0] and "MINIMIX_CACHE_DIR" in notes[0]
    )  # fmt: skip


@pytest.fixture
def filled(folder):
    """A folder that holds ``a``."""
    CodeCache(folder).store(KEY, "a", b"code")
    return folder


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(filled, notes, mode):
    filled.chmod(mode)
    assert refused(filled, notes, "kernels may be written by other users")


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_to_is_refused(filled, notes, mode):
    next(filled.iterdir()).chmod(mode)
    assert refused(filled, notes, ".code may be written by other users")


@posix
def test_a_folder_of_another_user_is_refused(filled, notes, monkeypatch):
    if os.geteuid() == 0:
        os.chown(filled, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert refused(filled, notes, "belongs to user")


@posix
def test_a_file_of_another_user_is_refused(filled, notes):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(next(filled.iterdir()), 12345, -1)
    assert refused(filled, notes, ".code belongs to user 12345")


@posix
def test_a_link_in_place_of_the_folder_is_refused(filled, notes):
    link = filled.with_name("link")
    link.symlink_to(filled)
    assert refused(link, notes, "link is a symbolic link")


@posix
def test_a_link_in_place_of_a_file_is_refused(filled, notes):
    file = next(filled.iterdir())
    file.rename(filled.parent / "elsewhere")
    file.symlink_to(filled.parent / "elsewhere")
    assert refused(filled, notes, ".code is a symbolic link")


@posix
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused(filled, notes, make):
    file = next(filled.iterdir())
    file.unlink()
    make(file, 0o600)
    kept = CodeCache(filled)
    assert kept.load(KEY, ["a"]) == {}
    assert len(notes) == 1 and kept.folder is None


def test_a_file_in_place_of_the_folder_is_noted_once(folder, notes):
    folder.parent.mkdir()
    folder.write_text("")
    lib, _ = library(folder)
    assert numbers(lib, 1) == [1] and numbers(lib, 2) == [2]
    assert len(notes) == 1 and "compiled in memory" in notes[0]
    assert folder.read_text() == ""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("function", ["mkdir", "replace"])
def test_a_disk_that_takes_nothing_is_noted_once(monkeypatch, folder, notes, function, code):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    lib, told = library(folder)
    assert numbers(lib, 1, 2) == [1, 2] and numbers(lib, 3) == [3]
    assert told == [2, 1, 0, 1, 0]
    assert len(notes) == 1 and os.strerror(code) in notes[0]
    assert not folder.exists() or list(folder.iterdir()) == []


@posix
def test_a_disk_that_fills_up_while_a_file_is_written_is_noted_and_left_clean(
    monkeypatch, folder, notes
):
    real = cache._open

    def full(path, flags, directory=None):
        handle = real(path, flags, directory)
        if flags & os.O_WRONLY:
            os.close(handle)
            return os.open("/dev/full", os.O_WRONLY)
        return handle

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(cache, "_open", full)
    assert numbers(library(folder)[0], 1, 2) == [1, 2]
    assert len(notes) == 1 and "No space left" in notes[0]
    assert list(folder.iterdir()) == []


def test_a_cache_that_is_closed_twice_says_so_once(folder, notes):
    kept = CodeCache(folder)
    kept.close("first")
    kept.close("second")
    assert kept.folder is None
    assert notes == ["kernels are compiled in memory, without the cache: first"]


# --- where the folder is ---


def test_the_environment_variable_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "mine"))
    assert shared_cache.__wrapped__().folder == tmp_path / "mine" / "kernels"


def test_the_tests_have_a_cache_of_their_own(tmp_path_factory):
    assert tmp_path_factory.getbasetemp() in cachedir.cache_folder().parents


def test_a_user_without_a_home_has_no_cache_and_one_note(monkeypatch, notes):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("MINIMIX_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    kept = shared_cache.__wrapped__()
    kept.store(KEY, "a", b"code")
    assert kept.folder is None and kept.load(KEY, ["a"]) == {}
    assert len(notes) == 1 and "home" in notes[0] and "MINIMIX_CACHE_DIR" in notes[0]
