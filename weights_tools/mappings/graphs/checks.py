"""What tensors do not show, compared with the architecture that they show: strides, activations,
residual connections, paddings.
"""

from __future__ import annotations

from collections.abc import Iterator

from minimix.dialect import DIALECTS, Dialect, Padding
from minimix.geometry import pad_amounts
from minimix.zoo import Architecture, BlockSpec
from weights_tools.mappings.graphs.network import FoundBlock, FoundNetwork
from weights_tools.mappings.graphs.pictures import omz_makes
from weights_tools.mappings.graphs.values import Affine, Branch, Pads
from weights_tools.recognise import ObservedBlock

_PADDINGS: tuple[Padding, ...] = ("same", "symmetric")
_SAID = {"same": "TensorFlow's SAME", "symmetric": "symmetric"}


def observed(name: str, block: FoundBlock) -> ObservedBlock:
    """What the tensors of a block show.

    Raises:
        ValueError: the expansion is by no whole number.
    """
    middle = block.mixconv.of.out_channels
    expand = block.expand.of.branches if block.expand else ()
    entering = sum(branch.in_channels for branch in expand) if expand else middle
    if middle % entering:
        raise ValueError(f"{name}: {entering} channels are expanded to {middle}, no multiple")
    return ObservedBlock(
        kernel_sizes=tuple(branch.kernel_size for branch in block.mixconv.of.branches),
        expand_groups=max(1, len(expand)),
        project_groups=len(block.project.branches),
        expansion=middle // entering,
        in_channels=entering,
        out_channels=block.project.out_channels,
        se_channels=block.se.reduce.out_channels if block.se else 0,
    )


def stages_of(network: FoundNetwork) -> dict[str, tuple[Affine, ...]]:
    """Our node's name -> the convolutions that it is made of: two of a squeeze-excite, else one."""
    stages: dict[str, tuple[Affine, ...]] = {"stem.conv": (network.stem.of,)}
    for n, block in enumerate(network.blocks):
        if block.expand:
            stages[f"blocks.{n}.expand"] = (block.expand.of,)
        stages[f"blocks.{n}.mixconv"] = (block.mixconv.of,)
        if block.se:
            stages[f"blocks.{n}.se"] = (block.se.reduce, block.se.expand)
        stages[f"blocks.{n}.project"] = (block.project,)
    return stages | {"head.conv": (network.head.of,), "classifier": (network.classifier,)}


def check_architecture(network: FoundNetwork, arch: Architecture) -> None:
    """Compare a network with its architecture in what leaves no tensors behind.

    Raises:
        ValueError: a stride, an activation or a residual connection differs.
    """
    _check("stem", "activation", network.stem.function, "relu")
    _check("stem.conv", "kernel size", network.stem.of.branches[0].kernel_size, 3)
    _check("stem.conv", "stride", network.stem.of.branches[0].stride, 2)
    _check("head", "activation", network.head.function, "relu")
    for name, stage in stages_of(network).items():
        if name.endswith((".expand", ".project")) or name in ("head.conv", "classifier"):
            _check_pointwise(name, stage)
        elif name.endswith(".se"):
            _check_pointwise(name, stage)
            for affine in stage:
                _check(name, "groups", len(affine.branches), 1)
    for name in ("stem.conv", "head.conv", "classifier"):
        _check(name, "groups", len(stages_of(network)[name][0].branches), 1)
    for n, (found, block) in enumerate(zip(network.blocks, arch.blocks, strict=True)):
        _check_block(f"blocks.{n}", found, block)


def _check(name: str, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{name}: {what} {found}, expected {expected}")


def _check_pointwise(name: str, stage: tuple[Affine, ...]) -> None:
    for branch in (branch for affine in stage for branch in affine.branches):
        _check(name, "kernel size", branch.kernel_size, 1)
        _check(name, "stride", branch.stride, 1)
        if any(branch.pads or ()):
            raise ValueError(f"{name}: a 1x1 convolution is padded by {branch.pads}")


def _check_block(name: str, found: FoundBlock, block: BlockSpec) -> None:
    function = "swish" if block.swish else "relu"
    if found.expand:
        _check(f"{name}.expand", "activation", found.expand.function, function)
    _check(f"{name}.mixconv", "activation", found.mixconv.function, function)
    for branch in found.mixconv.of.branches:
        _check(f"{name}.mixconv", "stride", branch.stride, block.stride)
    said = {True: "present", False: "absent"}
    _check(name, "residual connection", said[found.residual], said[block.has_residual])


def dialects_of(network: FoundNetwork, arch: Architecture) -> tuple[Dialect, ...]:
    """The dialects that a network's paddings and the activations in its squeeze-excites fit.

    Raises:
        ValueError: there is none.
    """
    inner = [
        (f"blocks.{n}.se", found.se.function, "swish" if block.swish else "relu")
        for n, (found, block) in enumerate(zip(network.blocks, arch.blocks, strict=True))
        if found.se
    ]
    others = [(name, inside) for name, inside, outside in inner if inside != outside]
    names: dict[Padding, str] = {"symmetric": "timm", "same": "timm-tf"}
    if others:
        for name, inside, _ in inner:
            _check(name, "activation", inside, "relu")
        names = {"symmetric": "mindcv"}
    elif omz_makes(network.picture):
        names["same"] = "omz"
    paddings = _paddings(network)
    chosen = [DIALECTS[name].folded() for padding, name in names.items() if padding in paddings]
    if not chosen:
        raise ValueError(
            f"{others[0][0]}: activation {others[0][1]}, as in MindCV's, but its padding is "
            "TensorFlow's SAME; no known MixNet has both"
        )
    return tuple(chosen)


def _padded(network: FoundNetwork) -> Iterator[tuple[str, Branch]]:
    for name, (affine, *_) in stages_of(network).items():
        if name == "stem.conv" or name.endswith(".mixconv"):
            for n, branch in enumerate(affine.branches):
                yield (f"{name}.{n}" if len(affine.branches) > 1 else name), branch


def _expected(branch: Branch, padding: Padding) -> Pads:
    before, after = pad_amounts(branch.size, branch.kernel_size, branch.stride, padding)
    return before, before, after, after


def _fitting(branch: Branch) -> set[Padding]:
    """The paddings that the pads of one convolution fit, at its input's size."""
    # What the file itself calls SAME is that at every size, even where both are alike at this one.
    if branch.pads is None and branch.stride > 1 and branch.kernel_size > 1:
        return {"same"}
    same = _expected(branch, "same")
    pads = same if branch.pads is None else branch.pads
    return {padding for padding in _PADDINGS if pads == _expected(branch, padding)}


def _paddings(network: FoundNetwork) -> set[Padding]:
    """The paddings that all convolutions fit, at the network's input size.

    Raises:
        ValueError: there is none.
    """
    fitting, decided = set(_PADDINGS), ""
    for name, branch in _padded(network):
        fits = _fitting(branch)
        if not fits:
            wanted = " or ".join(
                f"{_expected(branch, padding)} ({_SAID[padding]})" for padding in _PADDINGS
            )
            K, size = branch.kernel_size, branch.size
            raise ValueError(
                f"{name}: {K}x{K}, stride {branch.stride}, on {size} x {size} pixels is padded by "
                f"{branch.pads}: above, left, below, right; expected {wanted}"
            )
        if not fits & fitting:
            raise ValueError(
                f"{name}: {_SAID[fits.pop()]} padding, but {decided} has {_SAID[fitting.pop()]}"
            )
        if fitting - fits:
            fitting, decided = fitting & fits, name
    return fitting
