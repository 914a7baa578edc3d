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
    theta = np.zeros(design.shape[1] + ties)
    for _ in range(STEPS):
        gradient, information = _slopes(design, outcome, weight, theta, ties)
        gradient -= prior * theta
        information += prior * np.eye(len(theta))
        step = _solve(information, gradient)
        theta = theta + step / max(1.0, np.abs(step).max())
        if np.abs(theta).max() > INFINITE and prior == 0:
            raise _no_answer()
        if np.abs(step).max() < ENOUGH:
            break
    else:
        raise _no_answer()
    return _strengths(theta, np.linalg.inv(information), systems, side, ties)


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


def _chances(d: np.ndarray, tie: float) -> np.ndarray:
    """Chances of left, equal, right: `(3, n)`."""
    logits = np.stack([d / 2, np.full_like(d, tie), -d / 2])
    parts = np.exp(logits - logits.max(axis=0))
    return parts / parts.sum(axis=0)


def _slopes(
    design: np.ndarray, outcome: np.ndarray, weight: np.ndarray, theta: np.ndarray, ties: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient `(P,)` and information `(P, P)` of the log-likelihood."""
    free = design.shape[1]
    tie = float(theta[free]) if ties else -math.inf
    ahead, equal, behind = _chances(design @ theta[:free], tie)
    lead = ahead - behind
    gradient = design.T @ (weight * (outcome - lead)) / 2
    information = design.T @ (design * (weight * (ahead + behind - lead**2))[:, None]) / 4
    if not ties:
        return gradient, information
    across = design.T @ (weight * -lead * equal) / 2
    corner = float(weight @ (equal * (1 - equal)))
    return (
        np.append(gradient, weight @ ((outcome == 0) - equal)),
        np.block([[information, across[:, None]], [across[None], np.array([[corner]])]]),
    )


def _solve(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """One Newton step."""
    if np.linalg.cond(information) > 1e12:
        raise _no_answer()
    return np.linalg.solve(information, gradient)


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
