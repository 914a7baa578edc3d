"""MARBLE's scores of predictions, for many probes at once.

In go predictions `(..., tracks, O)` and what is right of each track, out come scores `(...)`, 1 at
best. The dimensions in front are layers and learning rates.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from yue.evaluate.needs import need

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
"""The 24 keys, in MARBLE's order and spelling."""


def accuracy(out: Tensor, target: Tensor) -> Tensor:
    """Share of tracks whose largest output is the class `(tracks,)`."""
    return (out.argmax(dim=-1) == target).double().mean(dim=-1)


def key_score(out: Tensor, target: Tensor) -> Tensor:
    """Mean of `mir_eval.key.weighted_score` over tracks, outputs in the order of `KEYS`.

    1 for the key, .5 for the fifth above, .3 for the relative, .2 for the parallel key, else 0.
    """
    table = _key_table().to(out.device)
    return table[target.expand(out.shape[:-1]), out.argmax(dim=-1)].mean(dim=-1)


def r2_mean(out: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination, the mean over the numbers `(tracks, O)`."""
    return r2(out, target).mean(dim=-1)


def r2(out: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination of each number, `(..., O)`."""
    wide = target.double()
    left = (out.double() - wide).square().sum(dim=-2)
    return 1 - left / (wide - wide.mean(dim=0)).square().sum(dim=0)


def roc_auc(out: Tensor, target: Tensor) -> Tensor:
    """Macro area under the ROC curve of labels `(tracks, O)`; equal outputs share their ranks.

    Labels that all or no tracks have are left out.
    """
    scores, wanted, defined = _by_label(out, target)
    ordered = scores.sort(dim=-1).values
    below = torch.searchsorted(ordered, scores, right=False)
    ranks = (below + torch.searchsorted(ordered, scores, right=True) + 1) / 2
    positive = wanted.sum(dim=-1)
    won = (ranks.double() * wanted).sum(dim=-1) - positive * (positive + 1) / 2
    return _macro(won / (positive * (wanted.shape[-1] - positive)), defined)


def average_precision(out: Tensor, target: Tensor) -> Tensor:
    """Macro average precision of labels `(tracks, O)`: precision at each that is right, averaged.

    Equal outputs stand at one threshold. Labels that all or no tracks have are left out.
    """
    scores, wanted, defined = _by_label(out, target)
    ordered, order = scores.sort(dim=-1)
    sorted_wanted = wanted.expand(scores.shape).gather(-1, order)
    right_from = sorted_wanted.flip(-1).cumsum(dim=-1).flip(-1)
    first = torch.searchsorted(ordered, scores, right=False)
    precision = right_from.gather(-1, first) / (scores.shape[-1] - first)
    return _macro((precision * wanted).sum(dim=-1) / wanted.sum(dim=-1), defined)


def _by_label(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs `(..., O, tracks)`, labels `(O, tracks)` as float64, which labels differ `(O,)`."""
    wanted = target.T.double()
    share = wanted.mean(dim=-1)
    return out.transpose(-1, -2).contiguous(), wanted, (share > 0) & (share < 1)


def _macro(values: Tensor, defined: Tensor) -> Tensor:
    """Mean over the labels `(..., O)` that are defined; NaN if none is."""
    return values[..., defined].mean(dim=-1)


@functools.cache
def _key_table() -> Tensor:
    """`weighted_score` of all pairs, `(24, 24)`: what is right, then what was said."""
    score = need("mir_eval.key").weighted_score
    rows = [[score(right, said) for said in KEYS] for right in KEYS]
    return torch.tensor(rows, dtype=torch.float64)
