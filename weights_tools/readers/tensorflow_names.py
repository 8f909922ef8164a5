"""The files of a TensorFlow bundle by name, in a folder or in an archive.

PREFIX.index | PREFIX.data-00000-of-00001 ... | checkpoint, a text that says which is newest
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from weights_tools.readers.checkpoint import shown

INDEX_SUFFIX = ".index"
STATE_NAME = "checkpoint"
MAX_STATE_BYTES = 2**16
"""How much of ``checkpoint`` is looked at; the newest bundle stands in its first line."""

_SHARD = re.compile(r"(.+)\.data-[0-9]{5,}-of-[0-9]{5,}")
# Names with escapes are not looked for: such a text is as good as none.
_NEWEST = re.compile(r'^model_checkpoint_path:\s*"([^"\\]{1,1024})"\s*$', re.MULTILINE)
LISTED = 8
"""How many names a message has."""


def shard_name(prefix: str, shard: int, num_shards: int) -> str:
    """Bundle's prefix, number of a shard, number of shards -> the shard's file name.

    >>> shard_name("model.ckpt", 0, 1)
    'model.ckpt.data-00000-of-00001'
    """
    return f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"


def index_of_shard(name: str) -> str | None:
    """File name -> the name of the index beside it, where the name is that of a shard.

    >>> index_of_shard("model.ckpt.data-00000-of-00001")
    'model.ckpt.index'
    """
    match = _SHARD.fullmatch(name)
    return match[1] + INDEX_SUFFIX if match else None


def newest_bundle(state: bytes) -> str | None:
    """Text of a ``checkpoint`` file -> the prefix that it names, if that can be in its folder.

    The folder was often another one when the text was written; of an absolute path only the
    last part counts.

    >>> newest_bundle(b'model_checkpoint_path: "/tmp/run/model.ckpt-7"')
    'model.ckpt-7'
    """
    match = _NEWEST.search(state.decode("utf-8", "replace"))
    path = PurePosixPath(match[1]) if match else PurePosixPath()
    return path.name if path.is_absolute() or len(path.parts) == 1 else None


def choose_bundle(prefixes: Sequence[str], named: Collection[str]) -> str:
    """Prefixes of the bundles there are, those that ``checkpoint`` files name -> the one to read.

    >>> choose_bundle(["model-1", "model-2"], ["model-2"])
    'model-2'

    Raises:
        ValueError: there is none, or several and no text that names one of them.
    """
    newest = [prefix for prefix in prefixes if prefix in named]
    candidates = newest or list(prefixes)
    if len(candidates) != 1:
        raise ValueError(f"{len(candidates)} TensorFlow bundles{_listing(candidates)}; expected 1")
    return candidates[0]


def _listing(names: Sequence[str]) -> str:
    return f" ({listed(names)})" if names else ""


def listed(names: Sequence[str]) -> str:
    """Names -> the first of them quoted, for a message.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(shown(name) for name in names[:LISTED]) + more
