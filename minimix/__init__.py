"""minimix: MixNet inference in NumPy, readable first.

    import minimix as mx
    net = mx.load("mixnet-pocket")
    print(net.classify("panda.png"))

Names are resolved when first used, so that ``import minimix`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimix import ops as ops
    from minimix.errors import MinimixError as MinimixError
    from minimix.model import Model as Model
    from minimix.model import Prediction as Prediction
    from minimix.model import Score as Score
    from minimix.model import Step as Step
    from minimix.model import Trace as Trace
    from minimix.model import list_models as list_models
    from minimix.model import load as load

__version__ = "0.1.0"

_HOMES = {
    "MinimixError": "minimix.errors",
    "Model": "minimix.model",
    "Prediction": "minimix.model",
    "Score": "minimix.model",
    "Step": "minimix.model",
    "Trace": "minimix.model",
    "list_models": "minimix.model",
    "load": "minimix.model",
}

__all__ = ["__version__", "ops", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "ops":
        return import_module("minimix.ops")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'minimix' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
