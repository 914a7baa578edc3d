"""Where in a section's text the phone stands that is being sung: what attention should learn.

In goes a record with an exact alignment and the ids of one section's opening; out comes, per frame
of the section, a position in that opening. Only for tokenizers that spell phones.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from yue.data.records import Phone, Record, RecordError
from yue.tokenizer import Tokenizer


@runtime_checkable
class PhoneticTokenizer(Tokenizer, Protocol):
    """A tokenizer some of whose ids are phones."""

    phones: range
    """The ids that are phones."""

    def symbol(self, token: int) -> str:
        """The phone that an id stands for."""
        ...


def phone_positions(
    record: Record, index: int, opening: np.ndarray, tokenizer: Tokenizer
) -> np.ndarray | None:
    """Per frame of part `index` the position in `opening` of what is sung (frames,), or None.

    A rest belongs to the phone that comes next, the tail to the last id of the text. None where
    the record has no phones of this part or the tokenizer spells none. Raises `RecordError` if
    the phones sung are not those of the text, in its order.
    """
    if not record.phones or not isinstance(tokenizer, PhoneticTokenizer):
        return None
    sung = [phone for phone in record.phones if phone.part == index]
    if not sung:
        return None
    written = spelled_at(opening, tokenizer)
    spelled = [tokenizer.symbol(int(token)) for token in opening[written]]
    _check(record, index, sung, spelled)
    places = np.append(written, len(opening) - 1)
    return places[_sung_at(record, index, sung)]


def phone_positions_in_all(
    record: Record, head: np.ndarray, tokenizer: Tokenizer
) -> np.ndarray | None:
    """Per frame of all parts the position in a head that ends in all their texts, or None.

    As `phone_positions`; the tail of a part belongs to the first phone of the next. None where
    phones of some part are not known.
    """
    if not record.phones or not isinstance(tokenizer, PhoneticTokenizer):
        return None
    written = spelled_at(head, tokenizer)[-len(record.phones) :]
    spelled = [tokenizer.symbol(int(token)) for token in head[written]]
    places = np.append(written, len(head) - 1)
    found, first = [], 0
    for index in range(len(record.parts)):
        sung = [phone for phone in record.phones if phone.part == index]
        _check(record, index, sung, spelled[first : first + len(sung)])
        found.append(places[first + _sung_at(record, index, sung)])
        first += len(sung)
    return np.concatenate(found)


def _sung_at(record: Record, index: int, sung: list[Phone]) -> np.ndarray:
    """Per frame of a part, which of its phones is sung or comes next: 0 to len(sung)."""
    part = record.parts[index]
    ends = np.array([phone.end for phone in sung], int)
    return np.searchsorted(ends, np.arange(part.start, part.end), side="right")


def spelled_at(ids: np.ndarray, tokenizer: PhoneticTokenizer) -> np.ndarray:
    """Positions of the phones among ids (n,)."""
    return np.flatnonzero((ids >= tokenizer.phones.start) & (ids < tokenizer.phones.stop))


def _check(record: Record, index: int, sung: list[Phone], spelled: list[str]) -> None:
    where = f"record {record.id}: phones of parts[{index}]"
    for place, (phone, symbol) in enumerate(zip(sung, spelled, strict=False)):
        if phone.symbol != symbol:
            raise RecordError(
                f"{where}: number {place} is {phone.symbol!r}, its text spells {symbol!r}."
            )
    if len(sung) != len(spelled):
        raise RecordError(f"{where}: {len(sung)} are sung, its text spells {len(spelled)}.")
    if any(first.end > second.end for first, second in pairwise(sung)):
        raise RecordError(f"{where}: not in the order of time.")
