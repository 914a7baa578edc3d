"""Who hears what: balanced incomplete blocks of system pairs and prompts. Knows no files.

A block is one rater's session: `size` comparisons, each a pair of systems on a prompt. Pairs and
prompts run round side by side, one step each; where their numbers share a factor, the prompts skip
one at the end of a common round, so that every combination comes up. This is exact, for every
number of systems, prompts and raters:

- over the whole test, each pair of systems comes up equally often (or once more), so does each
  combination of pair and prompt, and each order of the two within both;
- in each block, each pair comes up equally often (or once more), and no prompt twice while there
  are enough prompts.

Within that, the sides are dealt so that a rater hears each system on the left about as often as on
the right: one who always votes left then favours none.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass

from yue.errors import OptionError


@dataclass(frozen=True)
class Comparison:
    """Two systems on one prompt, by their indices, in the order in which they are shown."""

    left: int
    right: int
    prompt: int

    @property
    def pair(self) -> tuple[int, int]:
        """The systems without their order."""
        return min(self.left, self.right), max(self.left, self.right)


def blocks(
    systems: int, prompts: int, raters: int, size: int, *, seed: int = 0
) -> list[list[Comparison]]:
    """`raters` blocks of `size` comparisons, by the same numbers always the same.

    Raises `OptionError` unless there are two systems, a prompt, a rater, and as many different
    comparisons as a block asks for.
    """
    _check(systems, prompts, raters, size)
    generator = random.Random(seed)
    pairs = list(itertools.combinations(range(systems), 2))
    songs = list(range(prompts))
    generator.shuffle(pairs)
    generator.shuffle(songs)
    walk = _walk(len(pairs), prompts, raters * size, spread=size <= prompts)
    cells = [(pairs[pair], songs[prompt]) for pair, prompt in walk]
    dealt = _deal_sides(cells, size, generator)
    made = [dealt[first : first + size] for first in range(0, len(dealt), size)]
    for block in made:
        generator.shuffle(block)
    return made


def _check(systems: int, prompts: int, raters: int, size: int) -> None:
    """Refuse numbers that no design has."""
    if systems < 2:
        raise OptionError(f"{systems} systems: a comparison needs at least 2.")
    if prompts < 1 or raters < 1:
        raise OptionError(f"{prompts} prompts, {raters} raters: at least 1 of each is needed.")
    most = math.comb(systems, 2) * prompts
    if not 1 <= size <= most:
        raise OptionError(
            f"pairs = {size} comparisons per rater: allowed are 1 to {most} ({systems} systems and "
            f"{prompts} prompts have no more)."
        )


def _walk(pairs: int, prompts: int, total: int, *, spread: bool) -> list[tuple[int, int]]:
    """`total` cells (pair, prompt): every run of pairs * prompts that starts at one holds all.

    With `spread`, no prompt repeats in a run of `prompts` cells that starts at a multiple of its
    length or is shorter; without, runs up to the number of all cells hold none of them twice.
    """
    common, whole = math.lcm(pairs, prompts), pairs * prompts
    steps = (step if spread else step % whole for step in range(total))
    return [(step % pairs, (step + step // common) % prompts) for step in steps]


def _deal_sides(
    cells: list[tuple[tuple[int, int], int]], size: int, generator: random.Random
) -> list[Comparison]:
    """Left and right for each cell: turn about in each cell, and as often in each pair.

    A cell that comes up an odd number of times leaves one over. Of those, a pair's first goes where
    it evens out the block's systems, its second the other way, and so on by twos.
    """
    times = Counter(cells)
    owed: dict[tuple[int, int], bool] = {}
    first: dict[tuple[tuple[int, int], int], bool] = {}
    seen: Counter[tuple[tuple[int, int], int]] = Counter()
    lean: Counter[int] = Counter()
    dealt = []
    for place, cell in enumerate(cells):
        if place % size == 0:
            lean.clear()
        (low, high), prompt = cell
        if cell not in first:
            first[cell] = lean[low] + generator.random() < lean[high] + 0.5
            if times[cell] % 2:
                if (low, high) in owed:
                    first[cell] = owed.pop((low, high))
                else:
                    owed[low, high] = not first[cell]
        straight = first[cell] == (seen[cell] % 2 == 0)
        seen[cell] += 1
        left, right = (low, high) if straight else (high, low)
        lean[left] += 1
        lean[right] -= 1
        dealt.append(Comparison(left, right, prompt))
    return dealt
