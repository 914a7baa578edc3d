"""Lyrics, word times and structure -> sections with words and times. Pure; seconds throughout.

Two cases. Lyrics with labels: each section is where its words are sung, borders between sections
fall on a border of the structure if one lies in the gap, long gaps without words become sections of
their own. Timed lyrics without labels: the structure's spans, each with the lines sung in it.
What found no place is counted in the `Match`, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from yue.data.given import Given, Span, Timed, as_lines
from yue.evaluate.words import align, tokens
from yue.lyrics import Section

VERSION = 1
LEAD = 0.3
"""Seconds by which a section begins before its first word, where there is room."""
GAP = 8.0
"""Seconds without words that make a section of their own."""
REACH = 0.5
"""Seconds by which a border of the structure may lie inside the words beside a gap."""
MIN_FOUND = 0.5
"""Share of a section's words that must have a time for it to be placed."""


class Place(NamedTuple):
    """A section of the song: label, words, seconds."""

    label: str
    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Match:
    """How much of the lyrics found its place."""

    words: int = 0
    timed: int = 0
    lines: int = 0
    sections: int = 0
    placed: int = 0
    agreement: float | None = None
    """Share of the time in which the structure's label is the section's; None without labels."""

    @property
    def rate(self) -> float:
        """Share of the words that have a time; 1 if there are none."""
        return self.timed / self.words if self.words else 1.0

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "rate": self.rate}


def join(
    sections: Sequence[Section], heard: Sequence[Timed], spans: Sequence[Span], seconds: float
) -> tuple[list[Place], Match]:
    """Sections with words and times for a song of `seconds`.

    `sections` are labelled lyrics, or none; `heard` words or lines with times, or none; `spans`
    the structure, given or found. Nothing is placed if there are lyrics without any time.
    """
    heard = [h for h in heard if h.start < seconds]
    if not sections:
        return by_structure(heard, spans, seconds)
    places, match = by_words(sections, heard, spans, seconds)
    return places, replace(match, agreement=_agreement(places, spans))


# Lyrics with labels -------------------------------------------------------------------------------

def by_words(
    sections: Sequence[Section], heard: Sequence[Timed], spans: Sequence[Span], seconds: float
) -> tuple[list[Place], Match]:
    """Labelled lyrics where their words are sung.

    What is sung between two sections but found no time leaves a hole: it is in no place.
    """
    asked = [tokens(section.text) for section in sections]
    times = match_times([word for words in asked for word in words], heard)
    ranges = _ranges(asked, times)
    places = _places(sections, ranges, [span.start for span in spans[1:]], seconds)
    return places, Match(
        words=sum(map(len, asked)), timed=sum(time is not None for time in times),
        lines=sum(bool(line.strip()) for s in sections for line in s.text.split("\n")),
        sections=len(sections), placed=_placed(sections, places),
    )


def _placed(sections: Sequence[Section], places: Sequence[Place]) -> int:
    """How many of the sections have a place; those that were added do not count."""
    left = list(places)
    for section in sections:
        same = [p for p in left if (p.label, p.text) == (section.label, section.text)]
        if same:
            left.remove(same[0])
    return len(places) - len(left)


def match_times(
    asked: Sequence[str], heard: Sequence[Timed]
) -> list[tuple[float, float] | None]:
    """The times of asked words (as `words.tokens` makes them) in what was heard, or None.

    Heard phrases count as words that share their time by length.
    """
    spread = list(_spread(heard))
    found: list[tuple[float, float] | None] = [None] * len(asked)
    for left, right in align(asked, [word.text for word in spread]):
        if left is not None and right is not None and asked[left] == spread[right].text:
            found[left] = spread[right][1:]
    return found


def _spread(heard: Iterable[Timed]) -> Iterable[Timed]:
    for phrase in heard:
        words = tokens(phrase.text)
        total = sum(map(len, words))
        at = phrase.start
        for word in words:
            end = at + (phrase.end - phrase.start) * len(word) / total
            yield Timed(word, at, end)
            at = end


def _ranges(
    asked: Sequence[Sequence[str]], times: Sequence[tuple[float, float] | None]
) -> list[tuple[float, float] | None]:
    """First and last time of each section of which enough words were found, never backwards."""
    ranges: list[tuple[float, float] | None] = []
    at, before = 0, 0.0
    for words in asked:
        known = [time for time in times[at : at + len(words)] if time is not None]
        at += len(words)
        start = max(before, min((a for a, _ in known), default=0.0))
        end = max((b for _, b in known), default=0.0)
        enough = bool(words) and len(known) >= MIN_FOUND * len(words) and end > start
        ranges.append((start, end) if enough else None)
        before = end if enough else before
    return ranges


def _places(
    sections: Sequence[Section], ranges: Sequence[tuple[float, float] | None],
    edges: Sequence[float], seconds: float,
) -> list[Place]:
    """Sung sections where they were found, and what lies in the gaps between them."""
    stops = [-1, *(index for index, found in enumerate(ranges) if found), len(sections)]
    places: list[Place] = []
    for before, after in pairwise(stops if len(stops) > 2 else []):
        first, last = before < 0, after == len(sections)
        low, high = _end(ranges, before), seconds if last else _start(ranges, after)
        begin = seconds if last else _border(low, high, edges)
        gap = sections[before + 1 : after]
        hole = any(section.text for section in gap)
        filling = [] if hole else _between(gap, low, begin, edges, first=first, last=last)
        if places:
            end = filling[0].start if filling else min(low + LEAD, begin) if hole else begin
            places[-1] = places[-1]._replace(end=end)
        elif not filling and not hole:
            begin = 0.0
        places += filling
        if not last:
            places.append(Place(sections[after].label, sections[after].text, begin, seconds))
    return places


def _start(ranges: Sequence[tuple[float, float] | None], index: int) -> float:
    found = ranges[index]
    return found[0] if found else 0.0


def _end(ranges: Sequence[tuple[float, float] | None], index: int) -> float:
    found = ranges[index] if index >= 0 else None
    return found[1] if found else 0.0


def _border(low: float, high: float, edges: Sequence[float]) -> float:
    """Where a section begins whose first word is at `high`, the last one's end being `low`.

    On the nearest border of the structure in the gap, else a little before the word.
    """
    inside = [edge for edge in edges if low - REACH <= edge <= high + REACH]
    if inside:
        return max(low, min(high, min(inside, key=lambda edge: abs(edge - high))))
    return max(low, high - LEAD)


def _between(
    empty: Sequence[Section], low: float, high: float, edges: Sequence[float], *,
    first: bool = False, last: bool = False,
) -> list[Place]:
    """Sections without words in a gap: those of the lyrics in equal shares, else by their place."""
    begin = 0.0 if first else _start_of_gap(low, high, edges)
    if high - begin < (GAP / 4 if empty else GAP / 2 if first or last else GAP):
        return []
    labels = [section.label for section in empty]
    labels = labels or ["intro" if first else "outro" if last else "bridge"]
    share = (high - begin) / len(labels)
    return [
        Place(label, "", begin + i * share, begin + (i + 1) * share)
        for i, label in enumerate(labels)
    ]


def _start_of_gap(low: float, high: float, edges: Sequence[float]) -> float:
    """Where what has no words begins: on a border close behind the last word, else right there."""
    close = [edge for edge in edges if low - REACH <= edge <= min(low + GAP / 2, high - LEAD)]
    return max(low, min(close, default=low))


# Timed lyrics without labels ----------------------------------------------------------------------

def by_structure(
    heard: Sequence[Timed], spans: Sequence[Span], seconds: float
) -> tuple[list[Place], Match]:
    """The structure's spans with the lines that are sung in them; no border cuts a line."""
    words = sum(len(tokens(line.text)) for line in heard)
    borders = [0.0]
    for span in spans[1:]:
        borders.append(max(borders[-1], _off_lines(span.start, heard)))
    borders.append(seconds)
    places = []
    for span, start, end in zip(spans, borders, borders[1:], strict=False):
        inside = [line.text for line in heard if start <= (line.start + line.end) / 2 < end]
        if end > start:
            places.append(Place(span.label, "\n".join(inside), start, end))
    lines = len(heard)
    return places, Match(
        words=words, timed=words, lines=lines, sections=len(places), placed=len(places)
    )


def _off_lines(border: float, lines: Sequence[Timed]) -> float:
    """A border, moved to the nearer end of the line that it would cut."""
    for line in lines:
        if line.start < border < line.end:
            return line.start if border - line.start < line.end - border else line.end
    return border


def _agreement(places: Sequence[Place], spans: Sequence[Span]) -> float | None:
    """Share of the time in which both say the same label."""
    total = sum(place.end - place.start for place in places)
    same = sum(
        max(0.0, min(place.end, span.end) - max(place.start, span.start))
        for place in places for span in spans if place.label == span.label
    )
    return same / total if total > 0 and spans else None


def times_of(given: Given) -> list[Timed]:
    """The times that were written down: of words to place labelled lyrics, else of lines."""
    if given.sections:
        return list(given.words or given.lines)
    return list(given.lines or as_lines(given.words))
