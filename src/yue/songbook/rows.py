"""Performance -> what training reads: a `Record` with exact parts and phones, or a JSON sheet.

Parts tile the song: a part begins at its first bar, or at its first consonant if that comes
earlier. Frames are the codec's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from yue.data.records import QUALITIES, ROOTS, Chord, Part, Phone, Record, check
from yue.songbook.perform import Performance
from yue.songbook.profile import FRAME_RATE
from yue.songbook.score import Score

LICENCE = "CC0-1.0"
LANGUAGE = "en"


def to_record(
    performance: Performance, codes: Mapping[str, np.ndarray], *, frame_rate: int = FRAME_RATE
) -> Record:
    """The song as a record. `codes` are int16 (K, T) per track; raises `RecordError`."""
    return record_of(full_sheet(performance), codes, frame_rate)


def record_of(
    sheet: Mapping[str, Any], codes: Mapping[str, np.ndarray], frame_rate: int = FRAME_RATE
) -> Record:
    """The record of a song's full sheet and its codes; raises `RecordError`."""
    frames = min(array.shape[-1] for array in codes.values())

    def at(seconds: float) -> int:
        return min(max(0, round(seconds * frame_rate)), frames)

    sections = [line["section"] for line in sheet["songbook"]["lines"]]
    return check(Record(
        id=sheet["id"], codes={name: array[..., :frames] for name, array in codes.items()},
        parts=tuple(
            Part(part["label"], part["text"], at(part["start"]), at(part["end"]))
            for part in sheet["parts"]
        ),
        tags=tuple(sheet["tags"]), language=LANGUAGE, licence=LICENCE,
        phones=tuple(
            Phone(phone["symbol"], at(phone["start"]), at(phone["end"]), sections[phone["line"]])
            for phone in sheet["phones"]
        ),
        chords=tuple(
            Chord(chord_label(chord), at(start), at(start + sheet["songbook"]["bar"]))
            for start, _, chord in sheet["songbook"]["bars"]
        ),
        notes={"songbook": sheet["songbook"]},
    ))


def chord_label(chord: Sequence[int]) -> str:
    """Pitch classes, root first, in thirds -> a record's label; a seventh is not in it."""
    root, third, fifth = chord[:3]
    steps = (third - root) % 12, (fifth - root) % 12
    return f"{ROOTS[root]}:{QUALITIES[_TRIADS.index(steps)]}"


_TRIADS = ((4, 7), (3, 7), (3, 6))


def part_borders(performance: Performance) -> list[float]:
    """Seconds at which the sections begin, and the end of the song; the first is 0."""
    score = performance.score
    earliest = dict.fromkeys(range(len(score.sections)), np.inf)
    for phone in performance.phones:
        section = score.lines[phone.line].section
        earliest[section] = min(earliest[section], phone.start)
    begins = [
        min(score.bars[section.first].start, earliest[number])
        for number, section in enumerate(score.sections)
    ]
    return [0.0, *(float(begin) for begin in begins[1:]), score.seconds]


def full_sheet(performance: Performance) -> dict[str, Any]:
    """Everything known of a song, ready for JSON: the file beside its audio. Times in seconds.

    `songbook` holds what a record has no field for: lines with text, start and end; notes as
    start, end, MIDI pitch, line and syllable; bars as start, degree and the pitch classes of the
    chord, root first.
    """
    score, borders = performance.score, part_borders(performance)
    return {
        "id": score.id, "tags": list(score.tags), "lyrics": score.lyrics,
        "parts": [
            {"label": section.label, "text": section.text, "start": _short(start),
             "end": _short(end)}
            for section, start, end in zip(score.sections, borders, borders[1:], strict=False)
        ],
        "phones": [
            asdict(phone) | {"start": _short(phone.start), "end": _short(phone.end)}
            for phone in performance.phones
        ],
        "songbook": _music(score) | {"lines": _lines(performance)},
    }


def _music(score: Score) -> dict[str, Any]:
    return {
        "seed": score.seed, "index": score.index, "profile": score.profile,
        "genre": score.genre, "voice": score.voice, "tempo": score.tempo, "key": score.key,
        "mode": score.mode, "instruments": list(score.instruments),
        "bar": _short(score.bar_seconds), "seconds": _short(score.seconds),
        "bars": [
            [_short(bar.start), bar.degree, [pitch % 12 for pitch in bar.chord]]
            for bar in score.bars
        ],
        "notes": [
            [_short(note.start), _short(note.end), note.pitch, number, place]
            for number, line in enumerate(score.lines)
            for place, syllable in enumerate(line.syllables)
            for note in syllable.notes
        ],
    }


def _lines(performance: Performance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, line in enumerate(performance.score.lines):
        own = [phone for phone in performance.phones if phone.line == number]
        found.append({
            "text": line.text, "section": line.section, "start": _short(own[0].start),
            "end": _short(own[-1].end),
        })
    return found


def _short(seconds: float) -> float:
    return round(seconds, 4)
