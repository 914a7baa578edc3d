"""Songs for the tests of training: random codes, real words, exact alignments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from yue.data.records import CODED, Chord, Part, Phone, Record
from yue.data.records import write as write_records
from yue.phonemes import words

LINES = (
    "the river keeps on running down", "all the stars are asleep", "come home to me",
    "sing until the morning light",
)
CODES = 32
CHORDS = ("C:maj", "A:min", "F:maj", "B:dim")


def sung(line: str) -> list[str]:
    return [phone for word in words(line) for phone in word.phones]


def song(
    number: int, *, parts: int = 2, frames: int = 60, books: int = 2, **changes: Any
) -> Record:
    """`parts` sections of two lines; phones spread evenly, with a rest and a tail in each; two
    chords in each, then a rest of the band."""
    rng = np.random.default_rng(number)
    sections, phones = [], []
    for k in range(parts):
        start, end = k * frames, (k + 1) * frames
        text = "\n".join(LINES[(number + k + line) % len(LINES)] for line in range(2))
        sections.append(Part(("verse", "chorus")[k % 2], text, start, end))
        symbols = [symbol for line in text.splitlines() for symbol in sung(line)]
        borders = np.linspace(start + 2, end - 4, len(symbols) + 1).astype(int)
        phones += [
            Phone(symbol, int(borders[n]), int(borders[n + 1]), k)
            for n, symbol in enumerate(symbols)
        ]
    half = frames // 2 - 2
    chords = tuple(
        Chord(CHORDS[n % 4], (n // 2) * frames + (n % 2) * half,
              (n // 2) * frames + (n % 2 + 1) * half)
        for n in range(2 * parts)
    )
    codes = {
        name: rng.integers(0, CODES, (books, parts * frames), dtype=np.int16)
        for name in CODED
    }
    return Record(**{
        "id": f"song-{number}", "codes": codes, "parts": tuple(sections), "tags": ("pop", "slow"),
        "phones": tuple(phones), "chords": chords, "transcript": "hello there", **changes,
    })


def write(folder: Path, songs: list[Record]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "songs.parquet", songs)
    return folder


def run_values(folder: Path, records: Path, **changes: Any) -> dict[str, Any]:
    """The values of a small run, as a TOML file would hold them."""
    values: dict[str, Any] = {
        "run": str(folder), "seed": 3,
        "data": {"train": [str(records)], "split": False},
        "model": {
            "tokenizer": "phonemes", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
            "codebook_size": CODES, "codebooks": 2, "init_std": 0.1,
        },
        "loop": {"dtype": "fp32", "log_every": 1, "validate_every": 0, "threads": 1},
        "phases": [{
            "name": "only", "tokens": 6 * 800, "context": 400, "batch": 800, "rate": 1e-2,
            "tasks": {"lyrics_to_song": 1, "short": {"task": "lyrics_to_song", "parts": 1}},
        }],
    }
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **value} if both else value
    return values
