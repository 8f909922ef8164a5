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
    from minimix.attribution import ClassActivation as ClassActivation
    from minimix.attribution import Occlusion as Occlusion
    from minimix.attribution import Patched as Patched
    from minimix.embedder import Embedder as Embedder
    from minimix.errors import MinimixError as MinimixError
    from minimix.model import Model as Model
    from minimix.model import list_models as list_models
    from minimix.model import load as load
    from minimix.predictor import BatchPredictor as BatchPredictor
    from minimix.results import Prediction as Prediction
    from minimix.results import Score as Score
    from minimix.results import Step as Step
    from minimix.results import Trace as Trace

__version__ = "0.1.0"

_HOMES = {
    "BatchPredictor": "minimix.predictor",
    "ClassActivation": "minimix.attribution",
    "Embedder": "minimix.embedder",
    "MinimixError": "minimix.errors",
    "Model": "minimix.model",
    "Occlusion": "minimix.attribution",
    "Patched": "minimix.attribution",
    "Prediction": "minimix.results",
    "Score": "minimix.results",
    "Step": "minimix.results",
    "Trace": "minimix.results",
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
