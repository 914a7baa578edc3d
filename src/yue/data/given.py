"""What people wrote about a song: lyrics (.txt), timed lyrics (.lrc), facts (.json).

Text goes in, a `Given` comes out: sections to sing, times where they are written down, tags. Pure
text; no audio, no codes. What could not be used is a finding, never silently lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from yue.data.records import RecordError
from yue.errors import LyricsError
from yue.evaluate.words import tokens
from yue.lyrics import LABELS, Section, clean, parse

LONGEST_LINE = 10.0
"""Seconds after which a line counts as over, whenever the next one begins."""

SLOW_WORD = 0.8
"""Seconds that a word of such a line lasts at most, on average: a line may end before the next."""

_SPELLINGS = {"start": "intro", "end": "outro", "inst": "bridge", "instrumental": "bridge"}
"""Labels of structure models that mean something else in lyrics."""

_STAMP = re.compile(r"\[(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_WORD_STAMP = re.compile(r"<(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)>")
_HEAD = re.compile(r"\[(ar|ti|al|au|by|la|re|ve|tool|length|offset)\s*:([^\]]*)\]", re.IGNORECASE)
_LABEL_LINE = re.compile(r"\s*\[[^\[\]]+\]\s*")


class Timed(NamedTuple):
    """A word or a line, and the seconds between which it is sung."""

    text: str
    start: float
    end: float


class Span(NamedTuple):
    """A section by its label alone, and the seconds between which it sounds."""

    label: str
    start: float
    end: float


class Sung(NamedTuple):
    """A phone and the seconds between which it is sung."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Given:
    """All that is known about a song besides its sound; times in seconds."""

    sections: tuple[Section, ...] = ()
    """In the order sung; empty if no lyrics are known, or only timed ones without labels."""
    spans: tuple[Span, ...] = ()
    lines: tuple[Timed, ...] = ()
    words: tuple[Timed, ...] = ()
    phones: tuple[Sung, ...] = ()
    tags: tuple[str, ...] = ()
    language: str = ""
    licence: str = ""
    artist: str = ""
    transcript: str = ""
    findings: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and texts, ready for JSON."""
        return {**vars(self), "sections": [[s.label, s.text] for s in self.sections]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Given:
        """The reverse of `as_dict`."""
        kinds: dict[str, Any] = {
            "spans": Span, "lines": Timed, "words": Timed, "phones": Sung, "sections": Section
        }
        made: dict[str, Any] = {}
        for name, value in values.items():
            rows = (kinds[name](*row) for row in value) if name in kinds else value
            made[name] = value if isinstance(value, str) else tuple(rows)
        return cls(**made)


def as_lines(words: Iterable[Timed], pause: float = 0.8) -> list[Timed]:
    """Words with times as lines: a new one after a pause (seconds) or `LONGEST_LINE`."""
    lines: list[Timed] = []
    for word in words:
        last = lines[-1] if lines else None
        if last and word.start - last.end < pause and word.end - last.start <= LONGEST_LINE:
            lines[-1] = Timed(f"{last.text} {word.text}", last.start, max(last.end, word.end))
        else:
            lines.append(word)
    return lines


def gather(text: str | None, lrc: str | None, facts: str | None) -> Given:
    """One `Given` from the texts of up to three files. Raises `RecordError` or `LyricsError`.

    Lyrics are taken from the .txt file, else the .json file, else the .lrc file; times from the
    .json file, else the .lrc file.
    """
    given = Given() if facts is None else from_json(facts)
    if lrc is not None:
        timed = from_lrc(lrc)
        given = replace(
            given, lines=given.lines or timed.lines, words=given.words or timed.words,
            sections=given.sections or timed.sections, artist=given.artist or timed.artist,
            language=given.language or timed.language,
        )
    return given if text is None else replace(given, sections=_sections(text))


def _sections(text: str) -> tuple[Section, ...]:
    return tuple(Section(s.label, s.text) for s in parse(text).sections)


def label_of(name: str) -> str | None:
    """The trained label that a structure label means; None for silence and the unknown."""
    plain = name.strip().casefold()
    if plain in LABELS or plain in _SPELLINGS:
        return _SPELLINGS.get(plain, plain)
    try:
        sections = parse(f"[{plain}]").sections
    except LyricsError:
        return None
    return sections[0].label if len(sections) == 1 and not sections[0].text else None


# Timed lyrics -----------------------------------------------------------------------------------

def from_lrc(text: str) -> Given:
    """Lyrics as karaoke players read them: `[mm:ss.xx]line`, `<mm:ss.xx>` before words if known.

    Several stamps before a line repeat it, a stamp without words ends the line before, `[offset:]`
    (milliseconds, positive is earlier) shifts all. Labels between the lines make sections.
    """
    text, _ = clean(text)
    heads = {m[1].lower(): m[2].strip() for m in _HEAD.finditer(text)}
    shift = -_number(heads.get("offset", "")) / 1000
    stamped = sorted(_stamped(text, shift), key=lambda pair: pair[0])
    ends = [start for start, _ in stamped[1:]] + [float("inf")]
    lines: list[Timed] = []
    words: list[Timed] = []
    for (start, raw), end in zip(stamped, ends, strict=False):
        plain = _WORD_STAMP.sub("", raw).strip()
        end = min(end, start + LONGEST_LINE, start + 1 + SLOW_WORD * len(tokens(plain)))
        if plain and not _LABEL_LINE.fullmatch(plain):
            lines.append(Timed(" ".join(plain.split()), start, end))
            words += _stamped_words(raw, start, end, shift)
    return Given(
        lines=tuple(lines), words=tuple(words), sections=_lrc_sections(text),
        artist=heads.get("ar", ""), language=heads.get("la", ""),
    )


def _stamped(text: str, shift: float) -> Iterable[tuple[float, str]]:
    for line in text.split("\n"):
        stamps = list(_STAMP.finditer(line))
        words = line[stamps[-1].end() :] if stamps else ""
        yield from ((max(0.0, _seconds(stamp) + shift), words) for stamp in stamps)


def _stamped_words(raw: str, start: float, end: float, shift: float) -> Iterable[Timed]:
    """Words of a line with `<...>` stamps; none if it has no such stamps."""
    stamps = list(_WORD_STAMP.finditer(raw))
    times = [max(0.0, _seconds(stamp) + shift) for stamp in stamps] + [end]
    borders = [stamp.start() for stamp in stamps[1:]] + [len(raw)]
    before = raw[: stamps[0].start()].strip() if stamps else ""
    if before:
        yield Timed(before, start, max(start, times[0]))
    for stamp, border, first, last in zip(stamps, borders, times, times[1:], strict=False):
        if word := raw[stamp.end() : border].strip():
            yield Timed(word, first, max(first, last))


def _lrc_sections(text: str) -> tuple[Section, ...]:
    """Sections, if the file has labels between its lines."""
    bare = _WORD_STAMP.sub("", _STAMP.sub("", _HEAD.sub("", text)))
    labelled = any(
        _LABEL_LINE.fullmatch(line) and label_of(line.strip()[1:-1]) for line in bare.split("\n")
    )
    return _sections(bare) if labelled else ()


def _seconds(stamp: re.Match[str]) -> float:
    return int(stamp[1]) * 60 + float(stamp[2].replace(":", "."))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


# Facts --------------------------------------------------------------------------------------------

_TEXTS = {
    "language": "language", "licence": "licence", "license": "licence", "artist": "artist",
    "transcript": "transcript",
}
_KNOWN = {*_TEXTS, *"tags genres lyrics sections parts lines words phones id".split()}


def from_json(text: str) -> Given:
    """Facts about a song, an object with any of

        tags         a list, or one text with commas or spaces between (also: genres)
        language, licence (also: license), artist, transcript (of speech)
        lyrics       text with section labels
        sections     [{"label", "start", "end", "text"?}]    seconds; with text in all, the lyrics
                     (also: parts)
        lines, words [{"text", "start", "end"}]               phones: the same with "symbol"

    Raises `RecordError` that names the field. Other fields are a finding: `yue sing` writes some.
    """
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise RecordError(f"the .json file is not JSON ({error}).") from error
    if not isinstance(facts, dict):
        raise RecordError("the .json file holds no object with fields.")
    texts = {ours: _text(facts, theirs) for theirs, ours in _TEXTS.items() if facts.get(theirs)}
    rows = facts.get("sections") or facts.get("parts") or []
    findings: list[str] = []
    unknown = sorted(set(facts) - _KNOWN)
    if unknown:
        findings.append(f"fields of the .json file that mean nothing here: {', '.join(unknown)}")
    spans, sung = _labelled(rows, findings)
    sections = _sections(_text(facts, "lyrics")) if facts.get("lyrics") else sung
    return Given(
        **texts, tags=_tags(facts.get("tags") or facts.get("genres") or ()), sections=sections,
        spans=spans, lines=_timed(facts, "lines"), words=_timed(facts, "words"),
        phones=tuple(Sung(*row) for row in _rows(facts, "phones", "symbol")),
        findings=tuple(findings),
    )


def _labelled(
    rows: Any, findings: list[str]
) -> tuple[tuple[Span, ...], tuple[Section, ...]]:
    """Sections by their times; and what is sung in them, if that stands in every one."""
    _rows({"sections": rows}, "sections", "label")
    spans, sections = [], []
    for row in sorted(rows, key=lambda row: float(row["start"])):
        text = _text(row, "text").strip() if "text" in row else ""
        label = label_of(str(row["label"]))
        if label is None:
            what = "taken as a verse" if text else "left out"
            findings.append(f"label {row['label']!r} is none of {', '.join(LABELS)}: {what}")
            if not text:
                continue
        spans.append(Span(label or "verse", float(row["start"]), float(row["end"])))
        sections.append(Section(label or "verse", text))
    complete = all("text" in row for row in rows)
    return tuple(spans), tuple(sections) if complete else ()


def _timed(facts: Mapping[str, Any], name: str) -> tuple[Timed, ...]:
    return tuple(Timed(*row) for row in _rows(facts, name, "text"))


def _rows(facts: Mapping[str, Any], name: str, key: str) -> list[tuple[str, float, float]]:
    """`[{key, start, end}]` as tuples in order of time."""
    found = facts.get(name) or []
    if not isinstance(found, list):
        raise RecordError(f"{name}: a list is expected.")
    rows = []
    for index, row in enumerate(found):
        try:
            text, start, end = str(row[key]), float(row["start"]), float(row["end"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"{name}[{index}]: an object with {key}, start and end (seconds) is expected."
            ) from error
        if not 0 <= start <= end < float("inf"):
            raise RecordError(f"{name}[{index}]: {start} s to {end} s is no span of time.")
        rows.append((text, start, end))
    return sorted(rows, key=lambda row: row[1])


def _text(facts: Mapping[str, Any], name: str) -> str:
    if not isinstance(facts[name], str):
        raise RecordError(f"{name}: text is expected, not {facts[name]!r}.")
    return str(facts[name])


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split("," if "," in value else None)
    if not isinstance(value, list | tuple) or not all(isinstance(tag, str) for tag in value):
        raise RecordError(f"tags: a list of texts is expected, not {value!r}.")
    return tuple(dict.fromkeys(tag.strip() for tag in value if tag.strip()))
