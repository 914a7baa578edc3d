"""Strengths of systems from votes: Bradley-Terry with ties (Davidson 1970) and a side term.

With d = strength of the left song - strength of the right one + side, the three outcomes are as
likely as exp(d / 2) for left, exp(-d / 2) for right, and exp(tie) for equal. Without ties that is
Bradley and Terry's model; `side` is Davidson and Beaver's (1977) order effect: above 0, the song
on the left is liked better for being there. Strengths add up to 0; a difference of 1 means odds of
2.7 to 1 among the votes that are not ties. The likelihood is concave: Newton's method, numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from yue.errors import OptionError

STEPS = 60
ENOUGH = 1e-10
"""Newton stops when no parameter moves by more."""
SINGULAR = 1e12
"""Condition of the information beyond which a parameter is not determined."""
INFINITE = 12.0
"""Beyond this a strength runs off to infinity: odds of 160,000 to 1."""


@dataclass(frozen=True, eq=False)
class Strengths:
    """Strengths `(S,)`, the side and tie terms, with standard errors as if votes were independent.

    `side` is 0 and `tie` minus infinity where the model has no such term; their errors are then 0.
    """

    values: np.ndarray
    errors: np.ndarray
    side: float
    side_error: float
    tie: float
    tie_error: float

    def odds(self, left: int, right: int) -> tuple[float, float, float]:
        """Chances of left, equal, right, with the side term left out."""
        chances = _chances(np.array([self.values[left] - self.values[right]]), self.tie)[:, 0]
        return float(chances[0]), float(chances[1]), float(chances[2])


def fit(
    left: ArrayLike,
    right: ArrayLike,
    outcome: ArrayLike,
    systems: int,
    *,
    weights: ArrayLike | None = None,
    side: bool = True,
    prior: float = 0.0,
) -> Strengths:
    """Most likely strengths of votes: `left`, `right` `(n,)` from 0 to systems - 1.

    `outcome` `(n,)` is 1 for left, 0 for equal, -1 for right. `weights` `(n,)` count a vote more
    than once or in part. `prior` is the precision of a normal prior around 0 on all terms.
    Raises `OptionError` if the votes have no finite answer (a system that won every vote, systems
    that never met): a prior above 0 always has one.
    """
    left, right, outcome = np.asarray(left), np.asarray(right), np.asarray(outcome)
    weight = np.ones(len(left)) if weights is None else np.asarray(weights, dtype=float)
    ties = bool(weight[outcome == 0].sum() > 0)
    design = _design(left, right, systems, side)
    theta, information = _newton(design, outcome, weight[None], ties, prior)
    return _strengths(theta[0], np.linalg.inv(information[0]), systems, side, ties)


def fit_many(
    left: np.ndarray,
    right: np.ndarray,
    outcome: np.ndarray,
    systems: int,
    *,
    weights: np.ndarray,
    prior: float,
) -> np.ndarray:
    """The strengths `(R, S)` for each row of `weights` `(R, n)`: `fit`, side by side."""
    design = _design(left, right, systems, side=True)
    theta, _ = _newton(design, outcome, weights, bool((outcome == 0).any()), prior)
    return theta[:, : systems - 1] @ _contrasts(systems).T


def _newton(
    design: np.ndarray, outcome: np.ndarray, weight: np.ndarray, ties: bool, prior: float
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters `(R, P)` and information `(R, P, P)` for each row of `weight` `(R, n)`."""
    theta = np.zeros((len(weight), design.shape[1] + ties))
    for _ in range(STEPS):
        gradient, information = _slopes(design, outcome, weight, theta, ties)
        gradient -= prior * theta
        information += prior * np.eye(theta.shape[1])
        if prior == 0 and np.linalg.cond(information).max() > SINGULAR:
            raise _no_answer()
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        length = np.abs(step).max(axis=1, keepdims=True)
        theta = theta + step / np.maximum(1.0, length)
        if prior == 0 and np.abs(theta).max() > INFINITE:
            raise _no_answer()
        if length.max() < ENOUGH:
            return theta, information
    raise _no_answer()


def _contrasts(systems: int) -> np.ndarray:
    """Free parameters to strengths that add up to 0: `(S, S - 1)`, orthonormal.

    So a prior on the parameters treats all systems alike.
    """
    return np.linalg.qr(np.eye(systems, systems - 1) - 1 / systems)[0]


def _design(left: np.ndarray, right: np.ndarray, systems: int, side: bool) -> np.ndarray:
    """Rows of d's coefficients: `(n, S - 1)`, and a column of ones for the side."""
    contrasts = _contrasts(systems)
    rows = contrasts[left] - contrasts[right]
    return np.hstack([rows, np.ones((len(rows), 1))]) if side else rows


def _chances(d: np.ndarray, tie: np.ndarray | float) -> np.ndarray:
    """Chances of left, equal, right: `(3, ...)`."""
    logits = np.stack([d / 2, np.broadcast_to(tie, d.shape), -d / 2])
    parts = np.exp(logits - logits.max(axis=0))
    return parts / parts.sum(axis=0)


def _slopes(
    design: np.ndarray, outcome: np.ndarray, weight: np.ndarray, theta: np.ndarray, ties: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient `(R, P)` and information `(R, P, P)` of the log-likelihood."""
    free = design.shape[1]
    tie = theta[:, free:] if ties else -math.inf
    ahead, equal, behind = _chances(theta[:, :free] @ design.T, tie)
    lead = ahead - behind
    gradient = (weight * (outcome - lead)) @ design / 2
    squares = (design[:, :, None] * design[:, None, :]).reshape(-1, free * free)
    information = (weight * (ahead + behind - lead**2)) @ squares / 4
    information = information.reshape(-1, free, free)
    if not ties:
        return gradient, information
    across = ((weight * -lead * equal) @ design / 2)[..., None]
    corner = (weight * equal * (1 - equal)).sum(axis=1)[:, None, None]
    more = (weight * ((outcome == 0) - equal)).sum(axis=1, keepdims=True)
    return (
        np.hstack([gradient, more]),
        np.block([[information, across], [across.transpose(0, 2, 1), corner]]),
    )


def _strengths(
    theta: np.ndarray, covariance: np.ndarray, systems: int, side: bool, ties: bool
) -> Strengths:
    """Parameters by their names."""
    contrasts, free = _contrasts(systems), systems - 1
    spread = contrasts @ covariance[:free, :free] @ contrasts.T
    errors = np.sqrt(np.diag(covariance))
    return Strengths(
        values=contrasts @ theta[:free],
        errors=np.sqrt(np.diag(spread)),
        side=float(theta[free]) if side else 0.0,
        side_error=float(errors[free]) if side else 0.0,
        tie=float(theta[-1]) if ties else -math.inf,
        tie_error=float(errors[-1]) if ties else 0.0,
    )


def _no_answer() -> OptionError:
    """The error for votes that the model cannot be fitted to."""
    return OptionError(
        "these votes have no finite strengths: a system won (or lost) every vote, or some systems "
        "never met. Collect more votes, or give a prior above 0."
    )
