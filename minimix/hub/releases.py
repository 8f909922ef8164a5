"""The released weights as data: where each file lies, and what there is to check it against."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Literal

from minimix.errors import UsageError
from minimix.limits import in_force

WEIGHTS = ("timm", "timm-tf", "tf", "mindcv")
"""Whose weights can be asked for; the first is the default."""

EMBEDDED = "mixnet-pocket"
"""The model that ships inside the package."""

EMBEDDED_NOTE = "40 classes of pictograms; ships inside the package"
EMBEDDED_LICENSE = "Apache-2.0; trained on drawings from Noto Color Emoji (SIL OFL 1.1)"

LARGEST_BYTES = 128 * 2**20
"""Bytes that are accepted of a file whose size nobody published; the largest known has 54 MB."""


def largest_bytes() -> int:
    """Bytes that are accepted of a file whose size nobody published: see ``LARGEST_BYTES``.

    Raises:
        UsageError: ``MINIMIX_MAX_RELEASE_BYTES`` is no positive whole number.
    """
    return in_force("MINIMIX_MAX_RELEASE_BYTES", LARGEST_BYTES)


Check = Literal["digest", "prefix", "size", "none"]

WORTH: dict[Check, tuple[str, ...]] = {
    "digest": ("nobody can make another file of the same digest",),
    "prefix": (
        "32 bits tell a damaged download from a good one;",
        "they do not stop someone who forges a file on purpose",
    ),
    "size": (
        "a cut download is noticed, changed bytes are not, but for what conversion checks:",
        "the container's own checksums, and every tensor's name and shape",
    ),
    "none": (
        "nothing is published to compare with; only conversion looks at the file:",
        "its container, and every tensor's name and shape",
    ),
}
"""What each kind of check proves, in lines for people."""


@dataclass(frozen=True)
class Release:
    """The weights of one model as somebody released them.

    Attributes:
        model: the name to ask for; also the architecture that the file must turn out to hold.
        weights: whose they are, one of ``WEIGHTS``.
        url: the file's place.
        dialect: how the code that trained them reads the architecture (``minimix.dialect``).
        license: of the weights.
        size_bytes: of the file; None where nobody published it.
        sha256_prefix: the digits of the SHA-256 that the release's own name states, or empty.
        sha384: all 96 digits, or empty.
        accuracy: top-1 and top-5 on ImageNet in per cent; None where none was published.
        accuracy_source: whose figures these are.
        elsewhere: what else is known to lie where, in lines for people.
    """

    model: str
    weights: str
    url: str
    dialect: str
    license: str
    size_bytes: int | None = None
    sha256_prefix: str = ""
    sha384: str = ""
    accuracy: tuple[float, float] | None = None
    accuracy_source: str = ""
    elsewhere: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What messages call it: ``mixnet-s (timm)``."""
        return f"{self.model} ({self.weights})"

    @property
    def file(self) -> str:
        """The release's own file name, which its readers look at."""
        return self.url.rpartition("/")[2]

    @property
    def arguments(self) -> str:
        """What names it on the command line: ``mixnet-s --weights tf``, ``mixnet-s``."""
        is_default = self.weights == WEIGHTS[0]
        return self.model if is_default else f"{self.model} --weights {self.weights}"

    @property
    def accuracy_text(self) -> str:
        """The published accuracy in words."""
        if self.accuracy is None:
            return "no accuracy published"
        top1, top5 = self.accuracy
        return f"{top1:.2f} % top-1, {top5:.2f} % top-5, {self.accuracy_source}"

    @property
    def check(self) -> Check:
        """The strongest check that the published facts allow."""
        if self.sha384:
            return "digest"
        if self.sha256_prefix:
            return "prefix"
        return "none" if self.size_bytes is None else "size"

    @property
    def check_text(self) -> str:
        """The check in words; ``WORTH`` says what it proves."""
        size = "" if self.size_bytes is None else f"the size, {self.size_bytes:,} bytes"
        digits = "; the digits in its name are not known to be one" * (self.weights == "mindcv")
        return {
            "digest": f"{size}, and the whole sha384, {self.sha384[:16]}...",
            "prefix": f"{size}, and the sha256, which begins with {self.sha256_prefix} "
            "as the release's own name states",
            "size": f"{size}, and no checksum",
            "none": f"none: neither size nor checksum is published{digits}",
        }[self.check]


_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
_HUB = "https://huggingface.co/timm"
_TF = "https://storage.googleapis.com/cloud-tpu-checkpoints/mixnet"
_MINDCV = "https://download.mindspore.cn/toolkits/mindcv/mixnet"
_OMZ = (
    "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/mixnet-l/"
    "mixnet-l.tar.gz"
)


def _timm(
    model: str, weights: str, file: str, size_bytes: int, accuracy: tuple[float, float], hub: str
) -> Release:
    return Release(
        model,
        weights,
        f"{_TIMM}/{file}",
        dialect=weights,
        license="Apache-2.0, as timm releases its weights; trained on ImageNet",
        size_bytes=size_bytes,
        sha256_prefix=file.removesuffix(".pth").rpartition("-")[2],
        accuracy=accuracy,
        accuracy_source="as timm publishes",
        elsewhere=(f"{_HUB}/{hub}/resolve/main/model.safetensors (another container)",),
    )


_tf = partial(
    Release,
    weights="tf",
    dialect="tensorflow",
    license="Apache-2.0, as Google's tpu repository states; trained on ImageNet",
)
_mindcv = partial(
    Release,
    weights="mindcv",
    dialect="mindcv",
    license="Apache-2.0, as MindCV releases its weights; trained on ImageNet",
)

# fmt: off
RELEASES: dict[tuple[str, str], Release] = {
    (release.model, release.weights): release
    for release in (
        _timm("mixnet-s", "timm", "mixnet_s-a907afbc.pth", 16_727_982, (76.00, 92.80),
              "mixnet_s.ft_in1k"),
        _timm("mixnet-s", "timm-tf", "tf_mixnet_s-89d3354b.pth", 16_738_218, (75.66, 92.63),
              "tf_mixnet_s.in1k"),
        _tf("mixnet-s", url=f"{_TF}/mixnet-s.tar.gz", size_bytes=30_633_801),
        _mindcv("mixnet-s", url=f"{_MINDCV}/mixnet_s-2a5ef3a3.ckpt", accuracy=(75.58, 95.54),
                accuracy_source="as MindCV publishes (recipe of 2.5.0)",
                elsewhere=(f"{_MINDCV}/mixnet_s-fe4fcc63-910v2.ckpt (newer)",)),
        _timm("mixnet-m", "timm", "mixnet_m-4647fc68.pth", 20_298_347, (77.27, 93.42),
              "mixnet_m.ft_in1k"),
        _timm("mixnet-m", "timm-tf", "tf_mixnet_m-0f4d8805.pth", 20_310_871, (76.95, 93.16),
              "tf_mixnet_m.in1k"),
        _tf("mixnet-m", url=f"{_TF}/mixnet-m.tar.gz"),
        _mindcv("mixnet-m", url=f"{_MINDCV}/mixnet_m-74cc4cb1.ckpt"),
        _timm("mixnet-l", "timm", "mixnet_l-5a9a2ed8.pth", 29_608_232, (78.97, 94.18),
              "mixnet_l.ft_in1k"),
        _timm("mixnet-l", "timm-tf", "tf_mixnet_l-6c92e0c8.pth", 29_620_756, (78.77, 94.00),
              "tf_mixnet_l.in1k"),
        _tf("mixnet-l", url=f"{_TF}/mixnet-l.tar.gz", size_bytes=54_302_843,
            sha384="6207ab87851c7e2c8f3dafe716a596b2f52dd88c6c5db0d51795e312f3cad62c"
                   "715a35c1f03311084f43566660ac691b",
            accuracy=(78.30, 93.91), accuracy_source="as Open Model Zoo measured",
            elsewhere=(f"{_OMZ} (the same file)",)),
        _mindcv("mixnet-l", url=f"{_MINDCV}/mixnet_l-978edf2b.ckpt"),
        _timm("mixnet-xl", "timm", "mixnet_xl_ra-aac3c00c.pth", 48_001_170, (80.49, 94.94),
              "mixnet_xl.ra_in1k"),
    )
}
"""Every release, by model and weights."""
# fmt: on

MODELS: dict[str, tuple[str, ...]] = {
    EMBEDDED: (),
    **{
        model: tuple(weights for other, weights in RELEASES if other == model)
        for model, _ in RELEASES
    },
}
"""Every model that can be asked for by name -> whose weights are released; none: embedded."""


def find_release(model: str, weights: str | None = None) -> Release:
    """Return the release of a model's weights, by default timm's.

    Raises:
        UsageError: nobody released these; the message lists what exists.

    >>> find_release("mixnet-s", "tf").file
    'mixnet-s.tar.gz'
    """
    found = RELEASES.get((model, weights or WEIGHTS[0]))
    if found is not None:
        return found
    if model == EMBEDDED:
        raise UsageError(
            f"{model}: ships inside the package and needs no weights; leave out --weights "
            f"{weights}, or name one of {', '.join(name for name in MODELS if MODELS[name])}"
        )
    if weights is not None and weights not in WEIGHTS:
        close = get_close_matches(weights, WEIGHTS, n=1, cutoff=0.4)
        raise UsageError(
            f"unknown weights {weights!r}; {known(close[0] if close else '', WEIGHTS)}"
        )
    listed = "; ".join(f"{name}: {', '.join(whose)}" for name, whose in MODELS.items() if whose)
    raise UsageError(
        f"{model} with weights {weights or WEIGHTS[0]}: not released. There are {listed}"
    )


def known(meant: str, names: Iterable[str]) -> str:
    """What may have been meant, or nothing, and all that there is -> the end of a message.

    >>> known("", ["a", "b"]), known("b", ["a", "b"])
    ('known: a, b', 'did you mean b? Known: a, b')
    """
    listed = ", ".join(names)
    return f"did you mean {meant}? Known: {listed}" if meant else f"known: {listed}"


def by_hand(release: Release) -> str:
    """The two commands that bring a released model here without this module."""
    return (
        f"  curl -LO {release.url}\n"
        f"  python -m weights_tools convert {release.file} -o {release.model}.h5\n"
        f"then use it as --model {release.model}.h5"
    )


def suggestion(text: str) -> str:
    """What was typed -> the model that was meant, as arguments of the command line, or empty.

    >>> suggestion("tf_mixnet_s.in1k"), suggestion("mixnet_m"), suggestion("mixnet-poket")
    ('mixnet-s --weights timm-tf', 'mixnet-m', 'mixnet-pocket')
    """
    spelt = re.fullmatch(r"(tf[-_])?(mixnet[-_][a-z]+?)(_ra)?(-[0-9a-f]{8})?(\.\w+)*", text.lower())
    if spelt:
        model = spelt[2].replace("_", "-")
        weights = "timm-tf" if spelt[1] else WEIGHTS[0]
        if (model, weights) in RELEASES:
            return RELEASES[model, weights].arguments
    close = get_close_matches(text, MODELS, n=1)
    return close[0] if close else ""
