"""Model name -> local model file: embedded, in the cache, or fetched, checked and converted once.

The one room that calls weights_tools, and only when something is converted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cachedir import make_folder, writing
from minimix.errors import MinimixError, UsageError, WeightsError
from minimix.hub import pins
from minimix.hub.events import FetchEvent, Progress, unwatched
from minimix.hub.modelcache import cached_path, clear, holding, workplace
from minimix.hub.releases import (
    EMBEDDED,
    LARGEST_BYTES,
    MODELS,
    Release,
    by_hand,
    find_release,
    suggestion,
)
from minimix.network import OFFLINE_VARIABLE, is_offline, places
from minimix.zoo import FAMILIES

if TYPE_CHECKING:
    from minimix.hub.partial import PartialFile


def locate(
    name_or_path: str | Path,
    weights: str | None = None,
    *,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the model file that a name or path stands for; at its first use it is fetched.

    A path is what has a separator or the ending ``.h5``, or names an existing file.

    Args:
        weights: whose, one of ``minimix.hub.releases.WEIGHTS``; by default timm's.
        offline: forbid the network, as MINIMIX_OFFLINE does.
        progress: is told what is fetched; see ``minimix.hub.events``.

    Raises:
        UsageError: nobody released these weights of this model, or there is no choice of weights.
        WeightsError: no such model; or it cannot be fetched, with what to do by hand.
        OutputError: the cache cannot be written.

    >>> locate("mixnet-pocket").name
    'mixnet-pocket.h5'
    """
    text = str(name_or_path)
    if text in MODELS:
        release = find(text, weights)
        return embedded_path() if release is None else fetch_model(release, offline, progress)
    if not text:
        raise WeightsError(f"an empty model name; known: {', '.join(MODELS)}")
    path = Path(name_or_path)
    is_path = isinstance(name_or_path, Path) or any(c in text for c in {"/", os.sep})
    if text not in FAMILIES and (is_path or path.suffix == ".h5" or path.is_file()):
        if weights is not None:
            raise UsageError(
                f"{text}: a file has its own weights; leave out --weights {weights}, or name one "
                f"of {', '.join(MODELS)}"
            )
        return path
    find(text, weights)
    raise AssertionError(f"{text}: neither known nor unknown")


def find(name: str, weights: str | None = None) -> Release | None:
    """Name of a model -> its release; None for the embedded model.

    Raises:
        UsageError: nobody released these weights of this model.
        WeightsError: no model has this name.
    """
    if name == EMBEDDED and weights is None:
        return None
    if name in MODELS or (name in FAMILIES and weights is not None):
        return find_release(name, weights)
    if name in FAMILIES:
        raise WeightsError(
            f"{name}: an architecture of which no weights are released; name your own model file, "
            f"or one of {', '.join(MODELS)}"
        )
    meant = suggestion(name)
    hint = f"did you mean {meant}? " if meant else ""
    raise WeightsError(
        f"{name}: no model of that name, and no such file; {hint}Known: {', '.join(MODELS)}"
    )


def embedded_path() -> Path:
    """Where the embedded model lies."""
    return Path(str(resources.files("minimix") / "data" / f"{EMBEDDED}.h5"))


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
    with writing(path):
        if path.is_file():
            return path
    _check_online(release, offline)
    tell, folder = progress or unwatched, workplace(release)
    with holding(release, tell):
        if path.is_file():  # whoever was here before us has done it
            return path
        source, converted = folder / release.file, folder / path.name
        part = _partial(source)
        clear(folder, part.paths)
        try:
            sha256 = _fetch(release, part, tell)
            part.finish(source)
            tell(FetchEvent("converting", f"converting {release.file}"))
            _convert(release, source, converted)
            pins.keep_pin(release, sha256)
            with writing(path):
                make_folder(path.parent)
                converted.replace(path)
        finally:
            clear(folder, part.paths)
    return path


def fetch_release(
    name: str,
    weights: str | None,
    out: Path,
    *,
    progress: Progress | None = None,
    offline: bool | None = None,
    force: bool = False,
) -> Path:
    """Fetch a released file itself, unconverted, checked and pinned; return ``out``.

    Raises:
        UsageError: there is no such release, or ``out`` exists and ``force`` is not given.
        WeightsError: it cannot be fetched or is not the released file; ``out`` stays as it was.
        OutputError: ``out`` or the cache, which keeps the pin, cannot be written.
    """
    from minimix.files import check_free

    release = find(name, weights)
    if release is None:
        raise UsageError(f"{name}: ships inside the package; there is nothing to fetch")
    check_free(out, force=force)
    _check_online(release, offline)
    tell, part = progress or unwatched, _partial(out)
    with holding(release, tell):
        sha256 = _fetch(release, part, tell)
        try:
            if release.check in ("size", "none"):  # a web page has a size, too
                _read(release, part.path)
            pins.keep_pin(release, sha256)
        except MinimixError:
            part.remove()
            raise
        part.finish(out)
    return out


def _check_online(release: Release, offline: bool | None) -> None:
    if offline or is_offline():
        raise WeightsError(
            f"{release.title}: has to be fetched, and the network is forbidden (--offline or "
            f"{OFFLINE_VARIABLE}). Where it is not: minimix models fetch {release.arguments}\n"
            f"On another machine:\n{by_hand(release)}"
        )


def _partial(path: Path) -> PartialFile:
    from minimix.hub.partial import PartialFile

    return PartialFile(path.with_name(f"{path.name}.part"))


def _fetch(release: Release, part: PartialFile, tell: Progress) -> str:
    """Have the released file at ``part``; its SHA-256."""
    # Costs the import of requests, which those who have their models do not need.
    from minimix.hub.checksums import Expected
    from minimix.hub.fetch import FetchError, fetch

    expected = Expected(
        release.size_bytes,
        LARGEST_BYTES,
        release.sha256_prefix,
        release.sha384,
        pins.read_pin(release),
    )
    try:
        return fetch(places(release.url), part, expected, progress=tell)
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
        WeightsError: it holds something else, or is damaged.
        OutputError: the cache cannot be written.
    """
    from weights_tools.convert import Wanted, convert

    with _converting(release, source):
        wanted = Wanted(model=release.model, dialect=release.dialect)
        convert(source, converted, wanted, force=True)


@contextmanager
def _converting(release: Release, source: Path) -> Iterator[None]:
    try:
        yield
    except (WeightsError, UsageError) as error:
        # The file is removed, so that its folder is of no use to anybody.
        why = str(error).replace(f"{source.parent}{os.sep}", "")
        raise WeightsError(
            f"{release.title}: fetched, but it is not the released model, and was not kept: {why}\n"
            f"Fetch it by hand and convert it:\n{by_hand(release)}"
        ) from error
