"""Keys and values of past tokens, allocated once and passed in.

A cache holds R rows (takes, windows), each with its own length. While all rows are equally long,
writes and reads are plain slices. Else, and under CUDA graphs (where every shape must stand
still), each row is written at its own length and read through a mask over `bucket` positions.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from yue.errors import CapacityError
from yue.lm.llama import LlamaConfig


class KVCache:
    """Keys and values, one block (layers, 2, R, KV heads, capacity, head_dim)."""

    def __init__(
        self,
        config: LlamaConfig,
        rows: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        layers = config.num_hidden_layers
        shape = (layers, 2, rows, config.num_key_value_heads, capacity, config.head_dim)
        # Zeros, not empty: masked positions are multiplied by 0 and must be finite.
        self.store = torch.zeros(shape, dtype=dtype, device=device)
        self.capacity = capacity
        self.lengths = [0] * rows
        """Tokens held per row, known to the host."""
        self.at = torch.zeros(rows, dtype=torch.long, device=device)
        """The same on the device, where a captured graph reads and advances it."""
        self.bucket: int | None = None
        """Positions read under a graph; None: as many as are held."""

    @staticmethod
    def nbytes(config: LlamaConfig, rows: int, capacity: int, dtype: torch.dtype) -> int:
        """Bytes that a cache of this size takes."""
        per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        return per_token * rows * capacity * dtype.itemsize

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Length of the longest row."""
        return max(self.lengths)

    def set_length(self, row: int, length: int) -> None:
        """Declare that a row holds `length` tokens; what lies behind is forgotten."""
        self.lengths[row] = length
        self.at[row] = length

    def clear(self) -> None:
        """Forget everything."""
        self.lengths = [0] * self.rows
        self.at.zero_()

    def copy_row(self, source: int, target: int) -> None:
        """Make one row equal to another."""
        n = self.lengths[source]
        self.store[:, :, target, :, :n] = self.store[:, :, source, :, :n]
        self.set_length(target, n)

    def row(self, index: int) -> Self:
        """One row as a cache of its own over the same memory; lengths are then its own."""
        view = object.__new__(type(self))
        view.store = self.store[:, :, index : index + 1]
        view.capacity, view.bucket = self.capacity, None
        view.lengths, view.at = [self.lengths[index]], self.at[index : index + 1].clone()
        return view

    def reserve(self, count: int) -> None:
        """Check that `count` more tokens fit. Raises `CapacityError` if not."""
        if self.longest + count > self.capacity:
            raise CapacityError(
                f"{self.longest} + {count} tokens exceed the cache of {self.capacity}."
            )

    def open(self, count: int) -> Span:
        """Make ready to write and read `count` more tokens per row, in every layer."""
        return Span(self, count)

    def advance(self, count: int, *, on_device: bool = True) -> None:
        """Count the tokens just written as held. A replayed graph has done the device's part."""
        self.lengths = [length + count for length in self.lengths]
        if on_device:
            self.at += count


class Span:
    """One step's view of a cache: where S new tokens go, and what they may read.

    Everything that is the same in all layers is worked out once, here.
    """

    def __init__(self, cache: KVCache, count: int) -> None:
        self._store, self._count = cache.store, count
        self.rows = cache.rows
        self.positions = cache.at[:, None] + torch.arange(count, device=cache.at.device)
        """Positions (R, S) of the new tokens."""
        self._aligned = cache.bucket is None and min(cache.lengths) == cache.longest
        self._start = cache.longest
        self.length = cache.longest + count if cache.bucket is None else cache.bucket
        """How many positions are read."""
        self.mask: Tensor | None = None
        """(R or 1, S, length), true where a new token may read; None: everywhere."""
        if not self._aligned or count > 1:
            reads = torch.arange(self.length, device=cache.at.device)
            last = self.positions[:1] if self._aligned else self.positions
            self.mask = reads <= last[..., None]
        if not self._aligned:
            self._row_index = torch.arange(self.rows, device=cache.at.device)[:, None]

    def write(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Put keys and values (R, S, 2, KV heads, head_dim) behind what each row holds.

        Returns all keys and all values to read, (R, KV heads, length, head_dim), as views.
        """
        store = self._store[layer]
        if not self._aligned:
            store.permute(1, 3, 0, 2, 4).index_put_((self._row_index, self.positions), new)
        elif self._count == 1:
            store.select(3, self._start).copy_(new[:, 0].transpose(0, 1))
        else:
            target = store.narrow(3, self._start, self._count)
            target.copy_(new.permute(2, 0, 3, 1, 4))
        keys, values = store.narrow(3, 0, self.length).unbind(0)
        return keys, values
