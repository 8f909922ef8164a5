"""Machine code that somebody else has put into the cache, whole and with the right key, is not run.

``tests/test_kernel_cache.py`` has what is refused, and how it is said; here the code is looked at
that is run in the end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from minimix.engine.kernels import jit
from minimix.engine.kernels.cache import CodeCache
from tests.filling_kernels import Fill, library, numbers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no owners and modes")

STRANGER = 12345
HONEST, PLANTED = 1, 2


@dataclass(frozen=True)
class Plant:
    """A kernel that goes by another's name and stores another number."""

    name = Fill(HONEST).name

    def emit(self, k):
        Fill(PLANTED).emit(k)


@pytest.fixture
def folder(tmp_path):
    """A cache in which the plant lies under the honest kernel's name, key and checksum."""
    folder = tmp_path / "kernels"
    ((name, code),) = jit.compile_kernels([Plant()], 4, wide_x86=False)
    CodeCache(folder).store(library(folder)[0]._key, name, code)
    return folder


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, STRANGER, STRANGER)


def move_behind_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


REFUSED = {
    "another user's folder": give_away,
    "another user's file": lambda folder: give_away(only_file(folder)),
    "a folder that the group may write to": lambda folder: folder.chmod(0o770),
    "a folder that all may write to": lambda folder: folder.chmod(0o1777),
    "a file that the group may write to": lambda folder: only_file(folder).chmod(0o620),
    "a file that all may write to": lambda folder: only_file(folder).chmod(0o602),
    "a link to a folder": move_behind_a_link,
    "a link to a file": lambda folder: move_behind_a_link(only_file(folder)),
}


def test_the_plant_would_be_run_if_only_the_user_could_have_put_it_there(folder):
    lib, told = library(folder)
    assert numbers(lib, HONEST) == [PLANTED] and told == []


@pytest.mark.parametrize("how", REFUSED)
def test_code_that_another_user_could_have_written_is_not_run(folder, how, caplog):
    REFUSED[how](folder)
    lib, told = library(folder)
    assert numbers(lib, HONEST) == [HONEST] and told == [1, 0]
    (note,) = caplog.messages
    assert "compiled in memory" in note and "MINIMIX_CACHE_DIR" in note


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.9, 1.0])
def test_code_of_which_a_byte_was_altered_is_compiled_and_stored_anew(folder, share, caplog):
    file = only_file(folder)
    content = bytearray(file.read_bytes())
    content[round(share * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    lib, told = library(folder)
    assert numbers(lib, HONEST) == [HONEST] and told == [1, 0]
    assert numbers(library(folder)[0], HONEST) == [HONEST] and file.read_bytes() != content
    assert caplog.messages == []
