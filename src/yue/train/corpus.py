"""Folders of Parquet records -> the songs that a run learns from, each checked.

All songs are held in memory, with as many codebooks as the stage needs: an hour of song takes
about 1 MB for Stage 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from yue.data import records
from yue.data.records import Record
from yue.errors import FileError, OptionError
from yue.train.config import DataOptions
from yue.vocab import Vocabulary


def shards(places: Iterable[str]) -> Iterator[Path]:
    """The Parquet files of folders, and files named as such, in order of their names."""
    for place in map(Path, places):
        if place.is_file():
            yield place
            continue
        found = sorted(place.rglob("*.parquet"))
        if not found:
            raise FileError(f"{place}: no Parquet file of records there: run yue data prepare.")
        yield from found


def load(
    places: Iterable[str], vocabulary: Vocabulary, *, split: str | None, codebooks: int
) -> list[Record]:
    """The records of one split, or of all (None), checked, cut to the codebooks in use.

    Raises `FileError` for a damaged file, `RecordError` that names file, row and field.
    """
    kept = []
    for path in shards(places):
        for row, record in enumerate(records.read(path)):
            if split is not None and record.split != split:
                continue
            try:
                records.check(record, vocabulary)
            except records.RecordError as error:
                raise records.RecordError(f"{path}, row {row}: {error}") from error
            kept.append(_light(record, codebooks))
    return kept


def _light(record: Record, codebooks: int) -> Record:
    codes = {
        name: np.ascontiguousarray(array[:codebooks]) for name, array in record.codes.items()
    }
    return replace(record, codes=codes)


def load_both(
    options: DataOptions, vocabulary: Vocabulary, *, codebooks: int
) -> tuple[list[Record], list[Record]]:
    """Songs to learn from, and songs to validate with (perhaps none)."""
    split = "train" if options.split else None
    train = load(options.train, vocabulary, split=split, codebooks=codebooks)
    if not train:
        raise OptionError(f"data.train = {list(options.train)}: no song of the split is in there.")
    if options.valid:
        return train, load(options.valid, vocabulary, split=None, codebooks=codebooks)
    if not options.split:
        return train, []
    return train, load(options.train, vocabulary, split="valid", codebooks=codebooks)
