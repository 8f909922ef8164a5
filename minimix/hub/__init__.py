"""Model name -> local model file: embedded, in the cache, or fetched and converted once."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from minimix.errors import UsageError, WeightsError
from minimix.hub.events import Progress
from minimix.hub.obtain import fetch_model, fetch_release
from minimix.hub.releases import EMBEDDED, MODELS, Release, find_release, known, suggestion
from minimix.zoo import FAMILIES

__all__ = ["embedded_path", "fetch_model", "fetch_release", "find", "is_path", "locate"]


def locate(
    name_or_path: str | Path,
    weights: str | None = None,
    *,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the model file that a name or path stands for; at its first use it is fetched.

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
    if not is_path(name_or_path):
        release = find(str(name_or_path), weights)
        return embedded_path() if release is None else fetch_model(release, offline, progress)
    if weights is not None:
        raise UsageError(
            f"{name_or_path}: a file has its own weights; leave out --weights {weights}, or name "
            f"one of {', '.join(MODELS)}"
        )
    return Path(name_or_path)


def is_path(name_or_path: str | Path) -> bool:
    """Whether it stands for a file: it has a separator, ends in ``.h5``, or names a file.

    The name of an architecture never does, whatever lies in the current folder.

    >>> is_path("mixnet-s"), is_path("./mixnet-s"), is_path("mine.h5")
    (False, True, True)
    """
    text = str(name_or_path)
    if not text or text in FAMILIES:
        return False
    path = Path(name_or_path)
    is_written_so = isinstance(name_or_path, Path) or any(c in text for c in {"/", os.sep})
    return is_written_so or path.suffix == ".h5" or _is_file(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long for a name, or a folder that we may not look into
        return False


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
    if not name:
        raise WeightsError(f"an empty model name; {known('', MODELS)}")
    here = "that is a file; expected the name of a model"
    problem = here if _is_file(Path(name)) else "no model of that name, and no such file"
    raise WeightsError(f"{name}: {problem}; {known(suggestion(name), MODELS)}")


def embedded_path() -> Path:
    """Where the embedded model lies."""
    return Path(str(resources.files("minimix") / "data" / f"{EMBEDDED}.h5"))
