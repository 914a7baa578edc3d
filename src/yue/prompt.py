"""Sections, tags and a reference -> token segments. The only place that knows sequence formats.

    head  [reference]  S_1  E  S_2  E ...        one song, as trained and as sung
    S_i = T("[start_of_segment]")  T(section i)  SOA <xcodec>  v1 a1 v2 a2 ...  EOA
    E   = T("[end_of_segment]")

`T` is one call of the tokenizer; the borders between calls are part of the format. Singing and
training both build their sequences here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from yue.errors import AudioError, LyricsError
from yue.instructions import INSTRUCTION
from yue.lyrics import Lyrics, Section, clean, parse
from yue.tokenizer import Tokenizer
from yue.vocab import TRACKS, YUE_V1, Vocabulary


@dataclass(frozen=True)
class Prompt:
    """The ids around a song's codes."""

    head: tuple[int, ...]
    """Instruction, tags, all lyrics."""
    reference: tuple[int, ...]
    """The whole reference block, or nothing."""
    openings: tuple[tuple[int, ...], ...]
    """Per section: start mark, its text, SOA, `<xcodec>`."""
    closing: tuple[int, ...]
    """The end mark E, which follows each section's EOA."""

    @property
    def preamble(self) -> tuple[int, ...]:
        """What always stays in the context: head and reference."""
        return self.head + self.reference

    @property
    def segments(self) -> list[list[int]]:
        """The ids fed before section i is generated: preamble first, later ones begin with E."""
        first, *later = self.openings
        return [[*self.preamble, *first]] + [[*self.closing, *opening] for opening in later]


def section_text(section: Section) -> str:
    """A section as the model reads it: `[label]`, a newline, the words, two newlines."""
    return f"[{section.label}]\n{section.text.strip()}\n\n"


def head_text(
    sections: Sequence[Section], genres: str, instruction: str = INSTRUCTION
) -> str:
    """The head as one text: instruction, tags, all sections."""
    return f"{instruction}\n[Genre] {genres}\n" + "\n".join(map(section_text, sections))


def delimited(
    what: str, ids: Iterable[int], tokenizer: Tokenizer, vocabulary: Vocabulary
) -> tuple[int, ...]:
    """Audio between plain-text marks: `[start_of_<what>]` SOA `<xcodec>` ids EOA `[end_of_<what>]`.

    `what` is `reference`, or `source` for this project's own tasks.
    """
    return (
        *tokenizer.encode(f"[start_of_{what}]"), vocabulary.soa, vocabulary.xcodec,
        *(int(token) for token in ids), vocabulary.eoa, *tokenizer.encode(f"[end_of_{what}]"),
    )


def clean_genres(genres: str) -> str:
    """Tags on one line, without marks of the token format."""
    return " ".join(clean(genres)[0].splitlines()).strip()


def dual_reference(
    tracks: np.ndarray, start: float, end: float, vocabulary: Vocabulary = YUE_V1
) -> np.ndarray:
    """Codes (2, T) of two stems -> ids of seconds `start` to `end`, vocal first.

    The cut is the published one over interleaved ids, `[int(100 start) : int(100 end)]`, moved
    down to whole pairs so that it always begins with a vocal id.
    """
    ids = vocabulary.interleave(tracks)
    rate = vocabulary.tokens_per_second
    first, last = (int(second * rate) // len(TRACKS) * len(TRACKS) for second in (start, end))
    return _not_empty(ids[first:last], start, end)


def single_reference(
    codes: np.ndarray, start: float, end: float, vocabulary: Vocabulary = YUE_V1
) -> np.ndarray:
    """Codes (T,) of a mixture or one stem -> ids of seconds `start` to `end`, one per frame."""
    rate = vocabulary.frame_rate
    return _not_empty(vocabulary.ids(codes)[int(start * rate) : int(end * rate)], start, end)


def _not_empty(ids: np.ndarray, start: float, end: float) -> np.ndarray:
    if not len(ids):
        raise AudioError(
            f"the reference from {start} s to {end} s holds no frame: choose a start before its "
            "end and an end after start; about 30 s of a chorus works best."
        )
    return ids


def build_prompt(
    lyrics: str | Lyrics | Sequence[Section],
    genres: str,
    tokenizer: Tokenizer,
    reference: Sequence[int] | np.ndarray | None = None,
    *,
    vocabulary: Vocabulary = YUE_V1,
    instruction: str = INSTRUCTION,
) -> Prompt:
    """The prompt of a song, id for id as the published models were trained.

    `reference` are the ids between `<xcodec>` and EOA of the reference block, from
    `dual_reference` or `single_reference`. Raises `LyricsError` for lyrics that cannot be sung.
    """
    if isinstance(lyrics, str):
        lyrics = parse(lyrics)
    sections = lyrics.sections if isinstance(lyrics, Lyrics) else tuple(lyrics)
    if not sections:
        raise LyricsError("no section to sing: give at least one, such as [verse].")
    sections = tuple(Section(s.label, clean(s.text)[0], s.line) for s in sections)
    encode = tokenizer.encode
    opening, closing = encode("[start_of_segment]"), encode("[end_of_segment]")
    audio = (vocabulary.soa, vocabulary.xcodec)
    block: tuple[int, ...] = ()
    if reference is not None and len(reference):
        block = delimited("reference", reference, tokenizer, vocabulary)
    return Prompt(
        head=tuple(encode(head_text(sections, clean_genres(genres), instruction))),
        reference=block,
        openings=tuple((*opening, *encode(section_text(s)), *audio) for s in sections),
        closing=tuple(closing),
    )
