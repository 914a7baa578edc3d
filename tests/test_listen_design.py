"""The design of listening tests: balanced for every number of systems, prompts and raters."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import OptionError
from yue.evaluate.listen.design import Comparison, blocks


@st.composite
def sizes(draw: Any) -> tuple[int, int, int, int]:
    """Systems, prompts, raters, comparisons per rater."""
    systems, prompts = draw(st.integers(2, 6)), draw(st.integers(1, 14))
    most = systems * (systems - 1) // 2 * prompts
    return systems, prompts, draw(st.integers(1, 25)), draw(st.integers(1, min(most, 25)))


def spread(counts: Counter[Any], keys: Iterable[Any]) -> int:
    """How far the counts of these keys lie apart."""
    values = [counts[key] for key in keys]
    return max(values) - min(values)


def sides(comparisons: Iterable[Comparison]) -> tuple[Counter[Any], Counter[Any]]:
    """How much oftener the lower system is on the left, per pair, and per pair and prompt."""
    by_pair: Counter[Any] = Counter()
    by_cell: Counter[Any] = Counter()
    for one in comparisons:
        lean = 1 if one.left < one.right else -1
        by_pair[one.pair] += lean
        by_cell[one.pair, one.prompt] += lean
    return by_pair, by_cell


@settings(deadline=None, max_examples=150)
@given(sizes(), st.integers(0, 1000))
def test_balance(size: tuple[int, int, int, int], seed: int) -> None:
    systems, prompts, raters, count = size
    made = blocks(systems, prompts, raters, count, seed=seed)
    assert [len(block) for block in made] == [count] * raters
    everything = [one for block in made for one in block]
    pairs = list(itertools.combinations(range(systems), 2))
    cells = list(itertools.product(pairs, range(prompts)))
    assert spread(Counter(one.pair for one in everything), pairs) <= 1
    assert spread(Counter((one.pair, one.prompt) for one in everything), cells) <= 1
    by_pair, by_cell = sides(everything)
    assert max(map(abs, by_pair.values())) <= 1
    assert max(map(abs, by_cell.values())) <= 1
    for block in made:
        assert spread(Counter(one.pair for one in block), pairs) <= 1
        assert len({(one.pair, one.prompt) for one in block}) == count
        if count <= prompts:
            assert len({one.prompt for one in block}) == count


def test_a_rater_who_votes_left_favours_no_system() -> None:
    """Within a block each system is on the left about as often as on the right.

    A block holds 4.8 songs of a system; sides by the toss of a coin would differ by 1.8 on average.
    """
    leans = []
    for seed in range(5):
        for block in blocks(5, 42, 40, 12, seed=seed):
            lean: Counter[int] = Counter()
            for one in block:
                lean[one.left] += 1
                lean[one.right] -= 1
            leans += [abs(lean[system]) for system in range(5)]
    assert max(leans) <= 4 and sum(leans) / len(leans) < 1


def test_the_seed_decides() -> None:
    first = blocks(4, 9, 5, 7, seed=3)
    assert first == blocks(4, 9, 5, 7, seed=3)
    assert first != blocks(4, 9, 5, 7, seed=4)
    assert len({tuple(one.pair for one in block) for block in first}) > 1


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1, 3, 2, 1), "1 systems"),
        ((3, 0, 2, 1), "0 prompts"),
        ((3, 3, 0, 1), "0 raters"),
        ((3, 3, 2, 10), "allowed are 1 to 9"),
        ((3, 3, 2, 0), "allowed are 1 to 9"),
    ],
)
def test_impossible_sizes(size: tuple[int, int, int, int], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        blocks(*size)
