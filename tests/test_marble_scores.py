"""MARBLE's scores against mir_eval and scikit-learn."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor

from yue.evaluate import marble_scores as scores


def said(*keys: str) -> Tensor:
    """Outputs whose largest is the key said of each track."""
    return torch.nn.functional.one_hot(
        torch.tensor([scores.KEYS.index(key) for key in keys]), 24
    ).float()


def of(*keys: str) -> Tensor:
    return torch.tensor([scores.KEYS.index(key) for key in keys])


@pytest.mark.parametrize(
    ("key", "score"),
    [("C major", 1), ("G major", 0.5), ("A minor", 0.3), ("C minor", 0.2), ("F major", 0)],
)
def test_key_scores_of_the_docs(key: str, score: float) -> None:
    """C major taken for another key."""
    assert float(scores.key_score(said(key), of("C major"))) == score


def test_all_key_scores_are_mir_evals() -> None:
    for right in scores.KEYS:
        expected = [mir_eval.key.weighted_score(right, key) for key in scores.KEYS]
        found = scores.key_score(said(*scores.KEYS)[:, None], of(right))
        assert found.tolist() == expected
    mean = scores.key_score(said("G major", "C major"), of("C major", "C major"))
    assert float(mean) == 0.75


def test_many_probes_at_once() -> None:
    out, target = torch.randn(3, 2, 40, 24), torch.randint(0, 24, (40,))
    for score in (scores.accuracy, scores.key_score):
        found = score(out, target)
        assert found.shape == (3, 2)
        assert found[1, 1] == score(out[1, 1], target)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([2, 5, 1000]))
def test_auc_and_precision_are_scikit_learns(seed: int, levels: int) -> None:
    """With few levels many outputs are equal."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, levels, (2, 30, 4)).astype(np.float32)
    target = (rng.random((30, 4)) < 0.3).astype(np.float32)
    target[0], target[1] = 1, 0  # every label differs
    for ours, theirs in (
        (scores.roc_auc, metrics.roc_auc_score),
        (scores.average_precision, metrics.average_precision_score),
    ):
        found = ours(torch.from_numpy(out), torch.from_numpy(target))
        expected = [theirs(target, each, average="macro") for each in out]
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_r2_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(size=(50, 2)).astype(np.float32)
    out = target + rng.normal(size=(50, 2)).astype(np.float32)
    expected = metrics.r2_score(target, out, multioutput="raw_values")
    found = scores.r2(torch.from_numpy(out), torch.from_numpy(target))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    mean = scores.r2_mean(torch.from_numpy(out), torch.from_numpy(target))
    assert float(mean) == pytest.approx(expected.mean(), abs=1e-6)


def test_labels_that_tell_nothing_are_left_out() -> None:
    target = torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 1, 0]])
    out = torch.tensor([[3.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert float(scores.roc_auc(out, target)) == 1
    assert float(scores.average_precision(out, target)) == 1
    assert scores.roc_auc(out[:, 1:], target[:, 1:]).isnan()
