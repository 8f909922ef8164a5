"""What the environment says about the network: forbidden altogether, or other places to fetch from.

Proxies are not here: requests reads ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` itself.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from minimix.errors import UsageError

OFFLINE_VARIABLE = "MINIMIX_OFFLINE"
MIRROR_VARIABLE = "MINIMIX_MIRROR"


def is_offline() -> bool:
    """Whether the environment forbids the network: MINIMIX_OFFLINE is set, and not to 0."""
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


def places(url: str) -> list[str]:
    """A release's URL -> the addresses to try, in order: on the mirrors if there are any, else it.

    MINIMIX_MIRROR lists base addresses, separated by white space.  Each takes the place of
    ``https://HOST``; the path stays.

    Raises:
        UsageError: a mirror is no http or https address.

    >>> places("https://host/folder/file.pth")
    ['https://host/folder/file.pth']
    """
    mirrors = os.environ.get(MIRROR_VARIABLE, "").split()
    path = urlsplit(url).path
    return [_checked(base).rstrip("/") + path for base in mirrors] or [url]


def _checked(base: str) -> str:
    try:
        parts = urlsplit(base)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable &= parts.port != 0
    except ValueError:  # of a port that is no number, or of brackets that hold no IPv6 address
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise UsageError(
            f"{MIRROR_VARIABLE}: {without_password(base)!r} is no base address; expected "
            "http://HOST[/PATH] or https://HOST[/PATH], several separated by white space"
        )
    return base


def without_password(address: str) -> str:
    """An address as messages and files may show it.

    A password with an unescaped ``/``, ``?`` or ``#`` looks like a path: where an ``@`` is left,
    all before it is hidden.

    >>> without_password("https://me:secret@mirror/weights")
    'https://mirror/weights'
    >>> without_password("https://me:sec/ret@mirror")
    'https://...@mirror'
    """
    shown = re.sub(r"^(\w+://)?[^/?#]*@", r"\1", address)
    return re.sub(r"^(\w+://)?.*@", r"\1...@", shown, flags=re.DOTALL)
