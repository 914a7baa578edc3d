"""A few sections or lines of a song, as a song of its own: what is short is learnt first.

Codes, parts and phones are cut alike, so that everything that takes a record takes an excerpt.
Chords stay whole: a bar that is cut still knows how long it is and how far through it the cut lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yue.data.pointers import PhoneticTokenizer, spelled_at
from yue.data.records import Part, Record, RecordError


def parts_of(record: Record, first: int, count: int) -> Record:
    """Sections `first` to `first + count` alone."""
    last = min(first + count, len(record.parts))
    return _cut(record, record.parts[first:last], range(first, last))


def lines_of(
    record: Record, rng: np.random.Generator, count: int, tokenizer: PhoneticTokenizer
) -> Record:
    """`count` lines in a row, drawn from one section, as a song of one section.

    Cut where the first phone of a line begins. Raises `RecordError` if no section has phones.
    """
    sung = sorted({phone.part for phone in record.phones})
    if not sung:
        raise RecordError(f"record {record.id}: phones: none known, so no line can be cut out.")
    index = int(rng.choice(sung))
    part = record.parts[index]
    lines = [line for line in part.text.splitlines() if line.strip()]
    first = int(rng.integers(0, max(1, len(lines) - count + 1)))
    kept = lines[first : first + count]
    before = sum(_phones(line, tokenizer) for line in lines[:first])
    number = sum(_phones(line, tokenizer) for line in kept)
    own = [phone for phone in record.phones if phone.part == index]
    start = own[before].start if first else part.start
    end = own[before + number].start if before + number < len(own) else part.end
    cut = Part(part.label, "\n".join(kept), start, end)
    sung_phones = {id(phone) for phone in own[before : before + number]}
    chosen = tuple(phone for phone in record.phones if id(phone) in sung_phones)
    return _cut(replace(record, phones=chosen), (cut,), range(index, index + 1))


def _phones(line: str, tokenizer: PhoneticTokenizer) -> int:
    return len(spelled_at(np.array(tokenizer.encode(line)), tokenizer))


def _cut(record: Record, parts: Sequence[Part], numbers: range) -> Record:
    """The frames of some parts, everything counted from their beginning."""
    start, end = parts[0].start, parts[-1].end
    return replace(
        record,
        codes={name: array[:, start:end] for name, array in record.codes.items()},
        parts=tuple(replace(p, start=p.start - start, end=p.end - start) for p in parts),
        phones=tuple(
            replace(p, start=p.start - start, end=p.end - start, part=p.part - numbers.start)
            for p in record.phones
            if p.part in numbers
        ),
        chords=tuple(
            replace(chord, start=chord.start - start, end=chord.end - start)
            for chord in record.chords
            if chord.start < end and chord.end > start
        ),
    )
