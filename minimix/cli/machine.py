"""What this machine and this installation are, for ``doctor`` and ``bench`` to print."""

from __future__ import annotations

from pathlib import Path


def cpu_name() -> str:
    """The processor's name, as its maker prints it where the system says."""
    import platform

    listing = Path("/proc/cpuinfo")  # Linux; others answer through platform
    if listing.is_file():
        for line in listing.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def package_version(package: str) -> str:
    """The installed version of a package, or that there is none."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
