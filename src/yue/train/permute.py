"""Numbers without state: keyed generators, and orders that need no shuffled list.

Everything is a function of its key and its place, so any draw can be made at any time, on any
rank, in any order.
"""

from __future__ import annotations

import numpy as np

_MASK = 2**64 - 1
_ROUNDS = 4


def mix(*values: int) -> int:
    """Some whole numbers hashed to 64 bits (splitmix64, chained)."""
    state = 0
    for value in values:
        state = (state ^ (value & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator of its own for every key."""
    return np.random.Generator(np.random.Philox(key=[mix(*key), mix(*key, 1)]))


def permuted(index: int, size: int, key: int) -> int:
    """Where `index` of 0..size-1 goes in the keyed permutation: a Feistel network, walked until
    it lands inside."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    while True:
        left, right = index >> half, index & low
        for turn in range(_ROUNDS):
            left, right = right, left ^ (mix(key, turn, right) & low)
        index = left << half | right
        if index < size:
            return index
