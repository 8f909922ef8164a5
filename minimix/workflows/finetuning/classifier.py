"""Features and their classes -> a matrix and biases that give every class a score.

scikit-learn learns them, and only here.  Features are standardised before it sees them; what it
learned is then rewritten for features as they are, so that the network needs no further step:

    scores = ((x - centre) / scale) @ A + a = x @ (A / scale) + (a - (centre / scale) @ A)

The penalty on large weights is stated per row, so that it means the same for any number of them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minimix.errors import UsageError

Kind = Literal["logistic", "ridge"]
Real = NDArray[np.float64]
Classes = NDArray[np.intp]

PENALTIES: dict[Kind, tuple[float, ...]] = {
    "logistic": (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003),
    "ridge": (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
}
"""What is tried, the strongest first."""

MOST_STEPS = 2000
"""Of the optimiser; it stops long before, unless two features are all but the same."""

_DEAD = 1e-3
"""Deviations below this share of the typical one are noise of a dead channel: not magnified."""


@dataclass(frozen=True)
class Classifier:
    """The last step of a network.

    Attributes:
        weight: (features, classes).
        bias: (classes,).
        has_converged: whether the optimiser came to its end.
    """

    weight: Real
    bias: Real
    has_converged: bool = True

    def __call__(self, features: NDArray[Any]) -> Real:
        """(N, features) -> (N, classes).  Scores; the largest is the answer."""
        scores: Real = features.astype(np.float64) @ self.weight + self.bias
        return scores


@dataclass(frozen=True)
class Learner:
    """How a classifier is learned.

    Attributes:
        kind: ``logistic`` gives scores whose softmax are probabilities; ``ridge`` is faster, and
            its scores only say which class is nearest.
        is_balanced: whether every class counts the same, however many pictures it has.
    """

    kind: Kind = "logistic"
    is_balanced: bool = False

    def fit(self, features: NDArray[Any], classes: Classes, penalty: float) -> Classifier:
        """(N, features), (N,) and a penalty per row -> a classifier of classes 0, 1, ...

        Of two classes, one has the other's scores with the opposite sign: for ``logistic`` they
        differ by scikit-learn's ``decision_function``, for ``ridge`` the second is it.

        Raises:
            UsageError: scikit-learn is not installed.
        """
        check_installed()
        # On small matrices, threads of linear algebra wait for each other, the more the busier the
        # machine is: twenty times slower than one.  And one gives the same numbers everywhere.
        with import_module("threadpoolctl").threadpool_limits(1):
            return self._fit(features, classes, penalty)

    def _fit(self, features: NDArray[Any], classes: Classes, penalty: float) -> Classifier:
        linear = import_module("sklearn.linear_model")
        centre, scale = standard(features)
        rows, directions = _fewer((features.astype(np.float64) - centre) / scale)
        weights = "balanced" if self.is_balanced else None
        strength = penalty * len(rows)
        if self.kind == "ridge":
            model = linear.RidgeClassifier(alpha=strength, class_weight=weights)
        else:
            model = linear.LogisticRegression(
                C=1 / strength, class_weight=weights, max_iter=MOST_STEPS, tol=1e-5
            )
        with warnings.catch_warnings():
            # What it warns of is kept as ``has_converged``.
            warnings.simplefilter("ignore", import_module("sklearn.exceptions").ConvergenceWarning)
            model.fit(rows, classes)
        A = np.atleast_2d(model.coef_).T.astype(np.float64)
        A = A if directions is None else directions.T @ A
        a = np.atleast_1d(model.intercept_).astype(np.float64)
        if A.shape[1] == 1:
            share = 0.5 if self.kind == "logistic" else 1.0
            A, a = np.hstack([-A, A]) * share, np.concatenate([-a, a]) * share
        steps = np.max(model.n_iter_) if self.kind == "logistic" else 0
        weight = A / scale[:, None]
        return Classifier(weight, a - centre @ weight, bool(steps < MOST_STEPS))

    def losses(self, scores: Real, classes: Classes) -> Real:
        """(N, classes), (N,) -> (N,).  What ``fit`` makes small, for pictures that it has not seen.

        >>> Learner().losses(np.zeros((1, 2)), np.array([0])).round(3).tolist()
        [0.693]
        """
        true = np.arange(scores.shape[1]) == classes[:, None]
        if self.kind == "ridge":
            losses: Real = ((scores - np.where(true, 1.0, -1.0)) ** 2).mean(axis=1)
            return losses
        highest = scores.max(axis=1)
        total = np.exp(scores - highest[:, None]).sum(axis=1)
        logistic: Real = np.log(total) + highest - scores[true]
        return logistic


def standard(features: NDArray[Any]) -> tuple[Real, Real]:
    """(N, features) -> each one's mean and standard deviation; a typical one for constants.

    >>> [part.tolist() for part in standard(np.array([[0.0, 5.0], [2.0, 5.0]]))]
    [[1.0, 5.0], [1.0, 0.7071067811865476]]
    """
    centre = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    typical = float(np.sqrt((scale**2).mean()))
    return centre, np.where(scale > _DEAD * typical, scale, typical or 1.0)


def _fewer(rows: Real) -> tuple[Real, Real | None]:
    """(N, C) -> (N, N) and the directions, (N, C), that it is measured in; as it was if N >= C.

    Weights with the least squares lie where the rows lie: nothing is lost, and it is much faster.
    """
    if len(rows) >= rows.shape[1]:
        return rows, None
    U, s, directions = np.linalg.svd(rows, full_matrices=False)
    return U * s, directions


def check_installed() -> None:
    """Raise UsageError, with what to do, unless scikit-learn can be imported."""
    try:
        import_module("sklearn")
    except ImportError as error:
        raise UsageError(
            f"finetune needs scikit-learn: pip install 'minimix[finetune]' ({error})"
        ) from error
