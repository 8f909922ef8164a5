"""A release -> its file: fetched, checked, pinned, and converted if it is for the cache.

The one room that calls weights_tools, and only when something is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cachedir import CACHE_ADVICE, make_folder, writing
from minimix.errors import OutputError, UsageError, WeightsError
from minimix.hub import pins
from minimix.hub.events import FetchEvent, Progress, unwatched
from minimix.hub.modelcache import cached_path, clear, holding, is_cached, workplace
from minimix.hub.releases import Release, by_hand, largest_bytes
from minimix.network import OFFLINE_VARIABLE, is_offline, places

if TYPE_CHECKING:
    from minimix.hub.partial import PartialFile


def fetch_model(
    release: Release, offline: bool | None = None, progress: Progress | None = None
) -> Path:
    """Return the converted model's file; if it is not in the cache, fetch and convert it.

    Several processes at once do it once.

    Raises:
        WeightsError: it cannot be fetched, is not the released file, or cannot be converted.
        OutputError: the cache cannot be written.
    """
    path = cached_path(release)
    if is_cached(release):
        return path
    _check_online(release, offline)
    tell, folder = progress or unwatched, workplace(release)
    with holding(release, tell):
        if is_cached(release):  # whoever was here before us has done it
            return path
        source, converted = folder / release.file, folder / path.name
        part = _partial(source, CACHE_ADVICE)
        clear(folder, part.paths)

        def accept(_: Path) -> None:
            part.finish(source)  # readers look at a release's name
            tell(FetchEvent("converting", f"converting {release.file}"))
            _convert(release, source, converted)

        try:
            pins.keep_pin(release, _fetch(release, part, accept, tell))
            with writing(path):
                make_folder(path.parent)
                converted.replace(path)
        finally:
            clear(folder, part.paths)
    return path


def fetch_release(
    release: Release,
    out: Path,
    *,
    progress: Progress | None = None,
    offline: bool | None = None,
    force: bool = False,
) -> Path:
    """Fetch a released file itself, unconverted, checked and pinned; return ``out``.

    On its way it is ``OUT.part`` with ``OUT.part.json``; a file there that is not ours stays.

    Raises:
        UsageError: ``out`` exists and ``force`` is not given, or something is in the way.
        WeightsError: it cannot be fetched or is not the released file; ``out`` stays as it was.
        OutputError: ``out`` or the cache, which keeps the pin, cannot be written.
    """
    from minimix.files import check_free

    tell = progress or unwatched
    part = _partial(out, "Make room there, or name another file to write")
    _check_online(release, offline)

    def accept(path: Path) -> None:
        if release.check in ("size", "none"):  # a web page has a size, too
            _read(release, path)

    with holding(release, tell):  # another process may just be making what these look for
        check_free(out, force=force)
        part.check_ours()
        sha256 = _fetch(release, part, accept, tell)
        try:
            pins.keep_pin(release, sha256)
            part.finish(out)
        except OutputError:
            part.remove()
            raise
    return out


def _check_online(release: Release, offline: bool | None) -> None:
    if offline or is_offline():
        raise WeightsError(
            f"{release.title}: has to be fetched, and the network is forbidden (--offline or "
            f"{OFFLINE_VARIABLE}). Where it is not: minimix models fetch {release.arguments}\n"
            f"On another machine:\n{by_hand(release)}"
        )


def _partial(path: Path, advice: str) -> PartialFile:
    from minimix.hub.partial import PartialFile

    return PartialFile(path.with_name(f"{path.name}.part"), advice)


def _fetch(
    release: Release, part: PartialFile, accept: Callable[[Path], None], tell: Progress
) -> str:
    """Fetch what ``accept`` takes; its SHA-256."""
    # Costs the import of requests, which those who have their models do not need.
    from minimix.hub.checksums import Expected
    from minimix.hub.fetch import FetchError, fetch

    expected = Expected(
        release.size_bytes,
        largest_bytes(),
        release.sha256_prefix,
        release.sha384,
        pins.read_pin(release),
    )
    try:
        return fetch(places(release.url), part, expected, accept=accept, progress=tell)
    except FetchError as error:
        advice = (
            f"It is not what was fetched first; {pins.pin_path(release)} has its sha256. Somebody "
            "replaced the release, or what you receive. To accept it on purpose:\n"
            f"  minimix models rm {release.arguments} --pins\n"
            f"  minimix models fetch {release.arguments}"
            if error.contradicts_pin
            else f"Fetch it by hand and convert it:\n{by_hand(release)}"
        )
        reasons = "".join(f"\n  {line}" for line in str(error).split("\n"))
        raise WeightsError(f"{release.title}: cannot be fetched{reasons}\n{advice}") from error


def _read(release: Release, source: Path) -> None:
    """Check that a file can be converted; errors as ``_convert``."""
    from weights_tools.convert import Wanted, read_model

    with _converting(release, source):
        read_model(source, Wanted(model=release.model, dialect=release.dialect))


def _convert(release: Release, source: Path, converted: Path) -> None:
    """Convert a released file.

    Raises:
        DiffersError: it holds something else, or is damaged.
        OutputError: the cache cannot be written.
    """
    from weights_tools.convert import Wanted, convert

    with _converting(release, source):
        wanted = Wanted(model=release.model, dialect=release.dialect, license=release.license)
        convert(source, converted, wanted, force=True)


@contextmanager
def _converting(release: Release, source: Path) -> Iterator[None]:
    from minimix.hub.checksums import DiffersError

    try:
        yield
    except (WeightsError, UsageError) as error:
        # The file is not kept, so that the name it had on its way is of no use to anybody.
        why = str(error).replace(str(source), release.file).replace(f"{source.parent}{os.sep}", "")
        raise DiffersError(f"not the released model, and not kept: {why}") from error
