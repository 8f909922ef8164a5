"""What a checkpoint means beyond its numbers: the dialect of its network, the pipeline of images.

Both are frozen, stored with the weights, and never guessed from a file's name at load time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Literal, TypeVar, get_args

from minimix.errors import UsageError, WeightsError

T = TypeVar("T")
Padding = Literal["same", "symmetric"]
SqueezeExciteActivation = Literal["block", "relu"]
Crop = Literal["short-side", "short-side-floor", "center-square", "center-fraction"]
Resize = Literal["pillow-bicubic", "tensorflow-bilinear", "opencv-cubic"]
Channels = Literal["RGB", "BGR"]

SMALLEST_SIZE = 32
"""The smallest image side, in pixels, that a MixNet accepts: it halves the picture five times."""


LARGEST_SIZE = 4096
"""The largest image side, in pixels: beyond it, memory rather than patience runs out."""


@dataclass(frozen=True)
class Dialect:
    """How the code that trained a checkpoint reads the same architecture.

    Attributes:
        name: where it comes from: ``timm``, ``timm-tf``, ``tensorflow``, ``mindcv``, ``omz``.
        padding: ``same`` (TensorFlow: the extra row and column of stride 2 go to the bottom and
            right) or ``symmetric`` (``dilation * (K - 1) // 2`` on every side).
        batch_norm_eps: added to the variance; ``None`` when batch norm is already folded.
        se_activation: inside squeeze-excite, the ``block``'s own activation or always ``relu``.
    """

    name: str
    padding: Padding
    batch_norm_eps: float | None
    se_activation: SqueezeExciteActivation = "block"

    def __post_init__(self) -> None:
        _check_name("dialect", self.name)
        if self.batch_norm_eps is not None:
            _check_numbers("dialect", "batch_norm_eps", (self.batch_norm_eps,), 1)
            if self.batch_norm_eps < 0:
                raise UsageError(
                    f"dialect: batch_norm_eps is {self.batch_norm_eps}; expected 0 or more"
                )
        _check_choice("dialect", "padding", self.padding, get_args(Padding))
        _check_choice(
            "dialect", "se_activation", self.se_activation, get_args(SqueezeExciteActivation)
        )

    @property
    def is_folded(self) -> bool:
        """Whether the convolutions carry biases and no batch norm follows them."""
        return self.batch_norm_eps is None

    def folded(self) -> Dialect:
        """Return the same dialect with batch norm folded into the convolutions."""
        return replace(self, batch_norm_eps=None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; ``Dialect.from_json`` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Dialect:
        """Build from ``to_json``'s fields.

        Raises:
            WeightsError: a field is unknown, missing or has a value that no dialect has.
        """
        return _from_fields(cls, "dialect", fields)


@dataclass(frozen=True)
class Pipeline:
    """How a picture becomes the network's input, stored with the weights.

    Attributes:
        name: where it comes from: ``timm``, ``tensorflow``, ``mindcv``, ``omz``.
        size: height and width of the input, in pixels.
        crop: ``short-side`` (resize so that the short side is ``int(size / crop_fraction)``, then
            cut the centre), ``short-side-floor`` (the same with MindCV's offsets),
            ``center-square`` (cut a square of ``crop_fraction`` of the short side, then resize),
            ``center-fraction`` (cut ``crop_fraction`` of each side, then resize).
        crop_fraction: see ``crop``.
        resize: the interpolation, named after the library that defines it.
        channels: ``RGB`` or ``BGR``.
        range: the value of a white pixel before ``mean`` and ``std``: 1.0 or 255.0.
        mean: per channel, in units of ``range``.
        std: per channel, in units of ``range``.
    """

    name: str
    size: int
    crop: Crop
    crop_fraction: float
    resize: Resize
    channels: Channels
    range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        _check_name("pipeline", self.name)
        _check_numbers("pipeline", "crop_fraction", (self.crop_fraction,), 1)
        _check_numbers("pipeline", "mean", self.mean, 3)
        _check_numbers("pipeline", "std", self.std, 3)
        _check_choice("pipeline", "crop", self.crop, get_args(Crop))
        _check_choice("pipeline", "resize", self.resize, get_args(Resize))
        _check_choice("pipeline", "channels", self.channels, get_args(Channels))
        if self.range not in (1.0, 255.0):
            raise UsageError(f"pipeline: range is {self.range!r}; expected 1.0 or 255.0")
        if not 0.0 < self.crop_fraction <= 1.0:
            raise UsageError(f"pipeline: crop_fraction is {self.crop_fraction!r}; expected 0..1")
        if type(self.size) is not int or not SMALLEST_SIZE <= self.size <= LARGEST_SIZE:
            raise UsageError(
                f"pipeline: size is {self.size!r}; expected a whole number of pixels, "
                f"at least {SMALLEST_SIZE} and at most {LARGEST_SIZE}"
            )
        if min(self.std) <= 0.0:
            raise UsageError(f"pipeline: std is {self.std!r}; expected three positive numbers")

    @property
    def short_side(self) -> int:
        """Side, in pixels, that the short side is resized to before a ``short-side`` crop."""
        return int(self.size / self.crop_fraction)

    def with_size(self, size: int) -> Pipeline:
        """Return the same pipeline for another input size, in pixels."""
        return replace(self, size=size)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; ``Pipeline.from_json`` reads them back."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Pipeline:
        """Build from ``to_json``'s fields.

        Raises:
            WeightsError: a field is unknown, missing or has a value that no pipeline has.
        """
        if isinstance(fields, dict):
            # JSON has lists where Python has tuples.
            fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return _from_fields(cls, "pipeline", fields)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise UsageError(f"{what}: name is {name!r}; expected text")


def _check_numbers(what: str, field: str, values: object, count: int) -> None:
    if not isinstance(values, tuple):
        raise UsageError(f"{what}: {field} is {values!r}; expected {count} numbers")
    if len(values) != count:
        raise UsageError(f"{what}: {field} has {len(values)} values; expected {count}")
    for value in values:
        if type(value) not in (int, float) or not isfinite(value):
            shown = value if count == 1 else values
            raise UsageError(f"{what}: {field} is {shown!r}; expected finite numbers")


def _check_choice(what: str, field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{what}: {field} is {value!r}; known: {', '.join(known)}")


def _from_fields(cls: type[T], what: str, fields: dict[str, Any]) -> T:
    try:
        return cls(**fields)
    except (TypeError, ValueError, UsageError) as error:
        raise WeightsError(f"{what}: {error}") from error


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("timm", "symmetric", 1e-5),
        Dialect("timm-tf", "same", 1e-3),
        Dialect("tensorflow", "same", 1e-3),
        Dialect("mindcv", "symmetric", 1e-5, se_activation="relu"),
        Dialect("omz", "same", None),
    )
}
"""The dialects of the released systems, by origin."""

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_IMAGENET_MEAN_255, _IMAGENET_STD_255 = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

PIPELINES: dict[str, Pipeline] = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline("timm", 224, "short-side", 0.875, "pillow-bicubic", "RGB", 1.0,
                 _IMAGENET_MEAN, _IMAGENET_STD),
        Pipeline("tensorflow", 224, "center-square", 0.875, "tensorflow-bilinear", "RGB", 255.0,
                 _IMAGENET_MEAN_255, _IMAGENET_STD_255),
        Pipeline("mindcv", 224, "short-side-floor", 0.875, "opencv-cubic", "RGB", 255.0,
                 _IMAGENET_MEAN_255, _IMAGENET_STD_255),
        Pipeline("omz", 224, "center-fraction", 0.875, "pillow-bicubic", "BGR", 255.0,
                 (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )
}  # fmt: skip
"""The pipelines of the released systems, by origin.  timm's own serves both timm families."""
