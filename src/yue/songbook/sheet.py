"""A score as text that people read: tags, tempo, and the words under their chords."""

from __future__ import annotations

from yue.data.records import ROOTS
from yue.songbook.score import Bar, Score


def text_of(score: Score) -> str:
    """A lead sheet: one line of chords per section, then its words."""
    head = (
        f"{score.id}: {' '.join(score.tags)}\n{ROOTS[score.key]} {score.mode}, "
        f"{score.tempo:g} bpm, {score.seconds:.1f} s, voice {score.voice}, "
        f"{', '.join(score.instruments)}\n"
    )
    blocks = []
    for section in score.sections:
        chords = " | ".join(chord_name(bar) for bar in score.bars[section.first : section.last])
        blocks.append(f"[{section.label}]  {chords}\n{section.text}".rstrip())
    return head + "\n" + "\n\n".join(blocks) + "\n"


def chord_name(bar: Bar) -> str:
    """The chord of a bar: C, Dm, Bdim, G7."""
    root = ROOTS[bar.chord[0] % 12]
    third, fifth = (pitch - bar.chord[0] for pitch in bar.chord[1:3])
    kind = {(4, 7): "", (3, 7): "m", (3, 6): "dim"}[third, fifth]
    sevenths = {10: "7", 11: "maj7"}
    return root + kind + (sevenths[bar.chord[3] - bar.chord[0]] if len(bar.chord) > 3 else "")
