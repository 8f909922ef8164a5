"""Where converted models lie in the cache, who is working there, and how they are removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimix.cachedir import cache_folder, remove_empty, writing
from minimix.errors import OutputError, WeightsError
from minimix.hub import pins
from minimix.hub.events import FetchEvent, Progress
from minimix.hub.releases import RELEASES, Release

LOCK_NAME = "lock"


def cached_path(release: Release) -> Path:
    """Where the converted model lies, or would.

    Raises:
        OutputError: there is no cache folder, as the user has no home.
    """
    return _cache() / "models" / release.weights / f"{release.model}.h5"


def is_cached(release: Release) -> bool:
    """Whether the converted model is here.

    Raises:
        OutputError: there is no cache folder, or it cannot be looked into.
    """
    path = cached_path(release)
    with writing(path):
        return path.is_file()


def _cache() -> Path:
    try:
        return cache_folder()
    except RuntimeError as error:
        why = str(error).rstrip(".")
        raise OutputError(f"{why}; name a folder for the cache in MINIMIX_CACHE_DIR") from error


def workplace(release: Release) -> Path:
    """The folder of a fetch that is going on, or was interrupted."""
    return _cache() / "downloads" / f"{release.weights}-{release.model}"


@contextmanager
def holding(release: Release, tell: Progress) -> Iterator[None]:
    """Hold the release's workplace; ``tell`` is told if somebody else does."""
    from minimix.hub.locks import (
        alone_in,  # brings filelock, which a model in the cache does not need
    )

    def wait() -> None:
        tell(FetchEvent("waiting", f"{release.title}: another process is fetching it; waiting"))

    with alone_in(workplace(release) / LOCK_NAME, wait):
        yield


def _leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK_NAME]


def clear(folder: Path, kept: tuple[Path, ...]) -> None:
    """Remove what an earlier run, or this one, no longer needs; what can be resumed stays."""
    for path in _leftovers(folder):
        if path not in kept:
            with suppress(OSError):  # of no use, but in the way of nothing
                path.unlink()


def remove(release: Release, *, pins_too: bool = False) -> list[Path]:
    """Remove the converted model and what an interrupted fetch left; return what was removed.

    Args:
        pins_too: remove the pin as well, so that the next fetch may bring another file.

    Raises:
        WeightsError: another process is just fetching it.
        OutputError: it cannot be removed.
    """
    path, folder, pin = cached_path(release), workplace(release), pins.pin_path(release)

    def give_up(_: FetchEvent) -> None:
        raise WeightsError(f"{release.title}: another process is fetching it. Wait, or end that")

    with holding(release, give_up):
        unwanted = [path, *_leftovers(folder), *([pin] if pins_too else [])]
        found = [file for file in unwanted if os.path.lexists(file)]
        for file in found:
            with writing(file):
                file.unlink(missing_ok=True)
    remove_empty([path.parent, path.parent.parent, pin.parent, pin.parent.parent])
    return found


def explain(path: Path, error: WeightsError) -> WeightsError:
    """A model file's error -> the same, with what to do if the file is one of the cache."""
    for release in RELEASES.values():
        # Its name first: who has no cache folder may still have files of his own.
        if path.stem == release.model and path == cached_path(release):
            return WeightsError(
                f"{error}\nIt is the cache's copy of {release.title}. To have it anew:\n"
                f"  minimix models rm {release.arguments}\n"
                f"  minimix models fetch {release.arguments}"
            )
    return error
