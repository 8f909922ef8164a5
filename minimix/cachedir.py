"""Where minimix keeps what it can make again: downloads, compiled kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """MINIMIX_CACHE_DIR, or the platform's folder.  Nothing is created.

    Linux: ``$XDG_CACHE_HOME/minimix``, by default ``~/.cache/minimix``; macOS:
    ``~/Library/Caches/minimix``; Windows: ``%LOCALAPPDATA%/minimix/Cache``.

    Raises:
        RuntimeError: none of the variables is set, and the user has no home.
    """
    chosen = os.environ.get("MINIMIX_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData/Local") / "minimix" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/minimix"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "minimix"
