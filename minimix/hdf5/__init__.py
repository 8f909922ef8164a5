"""HDF5 from strangers: the small part of the format that model files use, and nothing else.

libhdf5 crashes, hangs or takes memory without bound on damaged files, and opens other files and
plugins where a file asks for it.  Here are only: superblocks 0, 2 and 3; groups, old, compact and
dense, with hard links; whole numbers and texts as attributes; float32, float16 and byte arrays of a
fixed shape, contiguous or in chunks, plain or through shuffle and gzip.  Everything else is refused
by name, and each step costs no more than the file's own size.

HDF5's checksums of its own structures are not compared: a model file has others, which cover all
that it means.
"""

from minimix.hdf5.chunks import MAX_CHUNKS
from minimix.hdf5.contents import read
from minimix.hdf5.datasets import MAX_EXPANSION, Dataset, check_bounds
from minimix.hdf5.file import SIGNATURE, Group, opened
from minimix.hdf5.groups import MAX_LINKS
from minimix.hdf5.headers import MAX_MESSAGES
from minimix.hdf5.source import RefusedError, Source

__all__ = [
    "MAX_CHUNKS",
    "MAX_EXPANSION",
    "MAX_LINKS",
    "MAX_MESSAGES",
    "SIGNATURE",
    "Dataset",
    "Group",
    "RefusedError",
    "Source",
    "check_bounds",
    "opened",
    "read",
]
