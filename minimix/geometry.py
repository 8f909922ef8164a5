"""Integer rules of convolutions: how channels split, how far kernels reach, how sizes follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from minimix.dialect import Padding
from minimix.errors import GraphError


def split_channels(channels: int, groups: int) -> tuple[int, ...]:
    """Sizes of ``groups`` channel groups; the remainder goes to the first.

    Source: ``_split_channels`` of the original MixNet code.

    >>> split_channels(20, 3)
    (8, 6, 6)
    """
    if not 1 <= groups <= channels:
        raise GraphError(f"cannot split {channels} channels into {groups} groups")
    size = channels // groups
    return (channels - size * (groups - 1),) + (size,) * (groups - 1)


def receptive_extent(kernel_size: int, dilation: int) -> int:
    """Input pixels, along one side, that one output pixel of a dilated kernel sees.

    >>> receptive_extent(3, 4)
    9
    """
    return dilation * (kernel_size - 1) + 1


def check_padding(padding: str) -> None:
    """Refuse what is no padding rule.

    Raises:
        GraphError: lists the rules there are.
    """
    if padding not in get_args(Padding):
        raise GraphError(f"padding {padding!r}; known: {', '.join(get_args(Padding))}")


def check_extents(kernel_sizes: Sequence[int], extents: Sequence[int], padding: str) -> None:
    """Refuse kernels that a padding rule cannot centre.

    Raises:
        GraphError: an even extent meets symmetric padding, or the rule is unknown.
    """
    check_padding(padding)
    if padding == "symmetric" and any(extent % 2 == 0 for extent in extents):
        raise GraphError(
            f"kernel sizes {tuple(kernel_sizes)} with symmetric padding: an even extent has no "
            "centre; use odd kernels or padding 'same'"
        )


def pad_amounts(
    size: int, kernel_size: int, stride: int, padding: Padding, dilation: int = 1
) -> tuple[int, int]:
    """Zeros to put before and after one side of ``size`` pixels.

    ``same`` is TensorFlow's rule (the odd zero goes after), ``symmetric`` is
    ``dilation * (kernel_size - 1) // 2`` on both sides.

    >>> pad_amounts(224, 3, 2, "same"), pad_amounts(224, 3, 2, "symmetric")
    ((0, 1), (1, 1))
    """
    check_padding(padding)
    extent = receptive_extent(kernel_size, dilation)
    if padding == "symmetric":
        return (extent - 1) // 2, (extent - 1) // 2
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def output_size(
    size: int, kernel_size: int, stride: int, padding: Padding, dilation: int = 1
) -> int:
    """Pixels along one side after a convolution.

    >>> output_size(7, 3, 2, "same"), output_size(7, 3, 2, "symmetric")
    (4, 4)
    """
    before, after = pad_amounts(size, kernel_size, stride, padding, dilation)
    return (size + before + after - receptive_extent(kernel_size, dilation)) // stride + 1
