"""Records -> documents of token ids as upstream's training code reads them.

One document per song, in it one sequence per head and per section (formats section 12.1); the last
ends with EOD. What cannot be written is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from yue.data.records import Record, RecordError
from yue.data.tasks import Forms, song
from yue.files import read_json
from yue.tokenizer import load_tokenizer
from yue.vocab import YUE_V1, Vocabulary


def forms_of(model: Path) -> Forms:
    """Tokenizer and token numbers of a model directory or of a published tokenizer file.

    Raises `ModelError` if there is no tokenizer.
    """
    places = [model / "stage1", model] if model.is_dir() else []
    config = next((place / "config.json" for place in places
                   if (place / "config.json").is_file()), None)
    vocabulary = Vocabulary.from_config(read_json(config)) if config else YUE_V1
    return Forms(tokenizer=load_tokenizer(model), vocabulary=vocabulary)


def documents(
    songs: Iterable[Record], forms: Forms, seed: int
) -> tuple[list[list[np.ndarray]], Counter[str]]:
    """Lyrics-to-song documents, and what was left out: reason -> count."""
    made, dropped = [], Counter[str]()
    for number, record in enumerate(songs):
        try:
            made.append(document(record, forms, np.random.default_rng([seed, number])))
        except RecordError as error:
            dropped[str(error).split(": ", 1)[-1].rstrip(".")] += 1
    return made, dropped


def document(record: Record, forms: Forms, rng: np.random.Generator) -> list[np.ndarray]:
    """Head, then each section with both tracks: sequences of ids (n,). Raises `RecordError`."""
    made = song(record, forms, rng)
    return [made.head.ids, *(block.ids for block in made.blocks)]
