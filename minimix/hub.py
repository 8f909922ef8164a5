"""Model name -> local model file.  The embedded model is here; the others are converted by hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from minimix.errors import WeightsError
from minimix.zoo import FAMILIES

_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be asked for by name.

    Attributes:
        file: the embedded file's name, or empty.
        url: where the released checkpoint lies, or empty.
        size_bytes: of the released checkpoint.
        sha256_prefix: the part of the checksum that the release's own name states.
        license: of the weights.
        note: one line about origin and accuracy.
    """

    name: str
    note: str
    license: str
    file: str = ""
    url: str = ""
    size_bytes: int = 0
    sha256_prefix: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether the model ships inside the package."""
        return bool(self.file)


def _timm(name: str, release: str, size_bytes: int, top1: float) -> ModelEntry:
    return ModelEntry(
        name,
        f"timm, 1000 ImageNet classes, 224 px, {top1:.2f} % top-1 as published",
        "Apache-2.0 (timm); trained on ImageNet",
        url=f"{_TIMM}/{release}",
        size_bytes=size_bytes,
        sha256_prefix=release.removesuffix(".pth").rpartition("-")[2],
    )


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "mixnet-pocket",
            "minimix, 40 classes of pictograms, 96 px, embedded",
            "Apache-2.0; trained on drawings from Noto Color Emoji (SIL OFL 1.1)",
            file="mixnet-pocket.h5",
        ),
        _timm("mixnet-s", "mixnet_s-a907afbc.pth", 16_727_982, 76.00),
        _timm("mixnet-m", "mixnet_m-4647fc68.pth", 20_298_347, 77.27),
        _timm("mixnet-l", "mixnet_l-5a9a2ed8.pth", 29_608_232, 78.97),
        _timm("mixnet-xl", "mixnet_xl_ra-aac3c00c.pth", 48_001_170, 80.49),
    )
}
"""Every model that has a name."""


def fetch_by_hand(entry: ModelEntry) -> str:
    """Return the two commands that bring a released model here."""
    file = entry.url.rpartition("/")[2]
    return (
        f"  curl -LO {entry.url}\n"
        f"  python -m weights_tools convert {file} -o {entry.name}.h5\n"
        f"then use it as --model {entry.name}.h5"
    )


def locate(name_or_path: str | Path) -> Path:
    """Return the model file that a name or path stands for.

    A path is what has a separator or the ending ``.h5``, or names an existing file.

    Raises:
        WeightsError: no such model; or its weights are not embedded, with the commands that
            fetch and convert them.

    >>> locate("mixnet-pocket").name
    'mixnet-pocket.h5'
    """
    text = str(name_or_path)
    entry = MODELS.get(text)
    if entry is not None and entry.is_embedded:
        return Path(str(resources.files("minimix") / "data" / entry.file))
    if entry is not None:
        raise WeightsError(
            f"{text}: not embedded; fetch the released weights ({entry.size_bytes:,} bytes) and "
            f"convert them:\n{fetch_by_hand(entry)}"
        )
    if not text:
        raise WeightsError(f"an empty model name; known: {', '.join(MODELS)}")
    if text in FAMILIES:
        raise WeightsError(
            f"{text}: an architecture of which no weights are released; name your own model file, "
            f"or one of {', '.join(MODELS)}"
        )
    path = Path(name_or_path)
    is_path = isinstance(name_or_path, Path) or any(c in text for c in {"/", os.sep})
    if is_path or path.suffix == ".h5":
        return path
    if path.is_file():
        return path
    close = get_close_matches(text, MODELS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise WeightsError(
        f"{text}: no model of that name, and no such file; {hint}Known: {', '.join(MODELS)}"
    )
