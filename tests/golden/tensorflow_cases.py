"""What TensorFlow is asked: shared by the script that records it and the test that compares."""

from __future__ import annotations

from dataclasses import dataclass

KERNEL_SIZES = (3, 5, 7, 9, 11)
PICTURE_SIZES = ((8, 11), (7, 6), (2, 5))
"""Height and width: odd and even ones, and one that every larger kernel overhangs."""
CHANNELS = 4
BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True)
class Convolution:
    """One convolution with SAME padding; ``kind`` is ``depthwise`` or ``conv``."""

    kind: str
    kernel_size: int
    stride: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """The recording's key."""
        return f"{self.kind}_k{self.kernel_size}_s{self.stride}_{self.height}x{self.width}"

    @property
    def out_channels(self) -> int:
        """A depthwise convolution keeps its channels."""
        return CHANNELS if self.kind == "depthwise" else 5


CONVOLUTIONS = {
    case.name: case
    for case in (
        Convolution(kind, kernel_size, stride, height, width)
        for kind, kernel_sizes in (("depthwise", KERNEL_SIZES), ("conv", (3,)))
        for kernel_size in kernel_sizes
        for stride in (1, 2)
        for height, width in PICTURE_SIZES
    )
}

RESIZES = {
    f"resize_{height}x{width}_to_{size}": (height, width, size)
    for height, width, size in ((37, 37, 32), (83, 83, 33), (19, 19, 45), (29, 50, 32), (1, 1, 32))
}
"""Key -> height and width of the picture and the side of the result, in pixels."""
