"""Sampling functions against the plainest form of what they say, and against transformers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from yue.lm.sampling import draw, guide, penalise, rank, uniforms


def test_guidance() -> None:
    c, u = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-3.0, -1.5]])
    torch.testing.assert_close(guide(c, u, 1.5), 1.5 * (c - u) + u)
    torch.testing.assert_close(guide(c, u, 1.0), c)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 2.0))
def test_penalty_equals_transformers(seed: int, penalty: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 20, generator=generator) * 3
    context = torch.randint(0, 20, (2, 15), generator=generator)
    seen = torch.zeros(2, 20, dtype=torch.bool).scatter_(1, context, True)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(context, scores.clone())
    torch.testing.assert_close(penalise(scores, seen, penalty), expected)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 40), st.floats(0.05, 1.0), st.floats(0.3, 3.0)
)
def test_ranking_equals_transformers(seed: int, k: int, p: float, temperature: float) -> None:
    scores = torch.randn(2, 30, generator=torch.Generator().manual_seed(seed)) * 3
    ids = torch.zeros(2, 1, dtype=torch.long)
    expected = TopPLogitsWarper(p)(ids, TopKLogitsWarper(k)(ids, scores / temperature))
    expected = expected.softmax(-1)
    probabilities, columns = rank(scores, temperature=temperature, top_k=k, top_p=p)
    back = torch.zeros_like(scores).scatter_(1, columns, probabilities)
    torch.testing.assert_close(back, expected, atol=1e-5, rtol=1e-4)


def test_ties_at_the_kth_place_stay() -> None:
    scores = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0]])
    probabilities, _ = rank(scores, temperature=1.0, top_k=2, top_p=1.0)
    assert int((probabilities > 0).sum()) == 4


def test_the_best_is_always_kept() -> None:
    probabilities, columns = rank(
        torch.tensor([[0.0, 5.0, 1.0]]), temperature=1.0, top_k=50, top_p=0.0
    )
    assert probabilities[0].tolist() == [1.0, 0.0, 0.0] and columns[0, 0] == 1


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).expand(20_000, -1)
    columns = torch.tensor([[7, 3, 9, 1]]).expand(20_000, -1)
    drawn = draw(probabilities, columns, uniforms(20_000, 1))
    shares = [(drawn == c).float().mean().item() for c in (7, 3, 9, 1)]
    assert shares == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=0.015)


@pytest.mark.parametrize("u", [0.0, 0.9999999])
def test_draw_stays_inside_what_is_kept(u: float) -> None:
    probabilities = torch.tensor([[0.6, 0.39999, 0.0]])
    assert draw(probabilities, torch.tensor([[4, 5, 6]]), torch.tensor([u])).item() in (4, 5)


def test_streams_are_reproducible_and_apart() -> None:
    assert torch.equal(uniforms(10, 1, 0, 2), uniforms(10, 1, 0, 2))
    streams = [uniforms(10, *name) for name in ((1, 0, 2), (1, 1, 2), (1, 0, 3), (2, 0, 2))]
    assert len({tuple(stream.tolist()) for stream in streams}) == 4
    assert torch.equal(uniforms(5, 3), uniforms(10, 3)[:5])
