"""Which of TensorFlow's variables are the weights: their moving averages, where training kept them.

Training keeps more beside each variable: its ``ExponentialMovingAverage``, which evaluation uses,
and the optimizer's slots.  All carry the variable's name and one more part.
Source: ``tf.train.ExponentialMovingAverage``, and ``models/official/mnasnet`` of Google's tpu
repository, which restores averages for evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minimix.errors import WeightsError

AVERAGE = "/ExponentialMovingAverage"
"""What follows a variable's name in that of its moving average."""

_SLOT = re.compile(
    r"(.+)/(?:RMSProp|Momentum|Adam|AdamWeightDecay|Adagrad|Adadelta|Ftrl|LARSOptimizer)(?:_\d+)?"
)
_COUNTER = re.compile(r"(?:.+/)?(?:global_step|beta[12]_power)")


@dataclass(frozen=True)
class Chosen:
    """The variables that are the weights.

    Attributes:
        names: variable -> the source's name of the tensor to take for it.
        ignored: source names that are left out -> why.
    """

    names: Mapping[str, str]
    ignored: dict[str, str]


def choose(tensors: Iterable[str], *, raw: bool = False) -> Chosen:
    """Names of a checkpoint -> its variables, by their moving averages if it has any.

    >>> choose(["w", "w/ExponentialMovingAverage", "global_step"]).names
    {'w': 'w/ExponentialMovingAverage'}

    Args:
        raw: take the variables themselves, as the last step of training left them.

    Raises:
        WeightsError: only some variables have what is to be taken; the first without is named.
    """
    names = list(tensors)
    ignored = _training_state(names)
    kept = [name for name in names if name not in ignored]
    averages = {name.removesuffix(AVERAGE): name for name in kept if name.endswith(AVERAGE)}
    plain = {name: name for name in kept if not name.endswith(AVERAGE)}
    if raw or not averages:
        for name in averages:
            if name not in plain:
                raise WeightsError(
                    f"{name}: missing, only its moving average is there: leave out --raw"
                )
        reason = "a moving average; the weights as training left them were asked for"
        return Chosen(plain, ignored | dict.fromkeys(averages.values(), reason))
    for name in plain:
        if name not in averages:
            raise WeightsError(
                f"{name}{AVERAGE}: missing, though {len(averages)} other variables have one; "
                "--raw takes all weights as training left them"
            )
    reason = "as training left it; its moving average is taken"
    return Chosen(averages, ignored | dict.fromkeys(plain, reason))


def _training_state(names: list[str]) -> dict[str, str]:
    """What training keeps beside the weights and their averages -> why it is left out."""
    known, state = set(names), {}
    for name in names:
        slot = _SLOT.fullmatch(name)
        if slot and not known.isdisjoint((slot[1], slot[1] + AVERAGE)):
            state[name] = "optimizer state"
        elif _COUNTER.fullmatch(name.removesuffix(AVERAGE)):
            state[name] = "counter of training"
    return state
