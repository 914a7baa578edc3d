"""Which sections of the lyrics were sung, when, and how the errors lie in time.

In go the sections' texts in the order asked for, and what was heard with times: phones
(`recognise.phones_of`) or words (`recognise.transcribe`). Out come times for each asked word, error
rates in 30-second bins, and for each section whether it was sung, skipped or moved, and which were
sung more often than asked.

A section counts as sung where it fits what was heard clearly better than its own tokens do in
shuffled order anywhere in the song (four standard deviations of seeded shuffles): so the test holds
for a recogniser that is right half of the time. Sections of fewer than `FEWEST` tokens are too
short to be told apart and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from yue.evaluate.recognise import Heard
from yue.evaluate.record import record
from yue.evaluate.words import BIN, align, edits, free_costs, tokens
from yue.phonemes import words as spoken_words

VERSION = 1
SHUFFLES = 8
DEVIATIONS = 4.0
LEAST_DEVIATION = 0.02
"""Of a section's length: eight shuffles may agree by chance."""
FEWEST = 8
OVERLAP = 0.25
"""Share of an occurrence that may lie inside an earlier accepted one."""


@dataclass(frozen=True)
class AskedWord:
    """A word of the lyrics: its section, counted from 0, and its phones without stress."""

    text: str
    section: int
    phones: tuple[str, ...]


class Occurrence(NamedTuple):
    """Tokens `start` to `end` of what was heard are text `which`, with `rate` errors per token."""

    rate: float
    which: int
    start: int
    end: int


def asked_words(sections: Sequence[str]) -> list[AskedWord]:
    """The words of the sections' texts, read as English."""
    return [
        AskedWord(word.text, number, tuple(phone.rstrip("012") for phone in word.phones))
        for number, text in enumerate(sections)
        for line in text.splitlines()
        for word in spoken_words(line)
    ]


def word_times(
    asked: Sequence[AskedWord], heard: Sequence[Heard]
) -> list[tuple[float, float] | None]:
    """Start and end in seconds of each asked word in a best alignment of all phones.

    `None` for a word none of whose phones has a partner.
    """
    owner = [number for number, word in enumerate(asked) for _ in word.phones]
    times: list[tuple[float, float] | None] = [None] * len(asked)
    phones = [phone for word in asked for phone in word.phones]
    for i, j in align(phones, [token.symbol for token in heard]):
        if i is not None and j is not None:
            known = times[owner[i]]
            times[owner[i]] = (known[0] if known else heard[j].start, heard[j].end)
    return times


def over_time(
    asked: Sequence[str], heard: Sequence[Heard], seconds: float, width: float = BIN
) -> list[dict[str, Any]]:
    """Per bin: `start` in seconds, `errors`, `asked` tokens, and `rate` (`None` if none asked).

    A token that was not heard counts at the time of what was heard before it.
    """
    bins = max(1, int(np.ceil(seconds / width)))
    wrong, wanted = np.zeros(bins, int), np.zeros(bins, int)
    now = 0
    for i, j in align(asked, [token.symbol for token in heard]):
        if j is not None:
            now = min(bins - 1, int(heard[j].start / width))
        wanted[now] += i is not None
        wrong[now] += i is None or j is None or asked[i] != heard[j].symbol
    return [
        {
            "start": number * width, "errors": int(errors), "asked": int(count),
            "rate": float(errors / count) if count else None,
        }
        for number, (errors, count) in enumerate(zip(wrong, wanted, strict=True))
    ]


def completeness(
    sections: Sequence[Sequence[str]], heard: Sequence[Heard], *, seed: int = 0
) -> dict[str, Any]:
    """How the sections (their tokens) were sung.

    `sections`: per section `state` (sung, moved, skipped; `None` if too short), `start`, `end`
    (seconds) and `rate`; `repeated`: the sections sung once more than asked, with times;
    `complete`: the share of the sections long enough that were sung in their place.
    """
    texts = [tuple(section) for section in sections]
    long = [number for number, text in enumerate(texts) if len(text) >= FEWEST]
    distinct = sorted({texts[number] for number in long}, key=texts.index)
    found = occurrences(distinct, [token.symbol for token in heard], seed)
    wanted = [str(distinct.index(texts[number])) for number in long]
    told: list[dict[str, Any]] = [{"state": None} for _ in texts]
    extra: list[Occurrence] = []
    for i, j in _matched(wanted, [str(each.which) for each in found]):
        if i is not None:
            told[long[i]] = {"state": "skipped"} if j is None else _told("sung", found[j], heard)
        elif j is not None:
            extra.append(found[j])
    repeated = []
    for each in extra:
        same = [number for number in long if texts[number] == distinct[each.which]]
        gone = [number for number in same if told[number]["state"] == "skipped"]
        if gone:
            told[gone[0]] = _told("moved", each, heard)
        else:
            repeated.append({"section": same[0], **_told("repeated", each, heard)})
    sung = sum(each["state"] == "sung" for each in told)
    complete = sung / len(long) if long else None
    return {"sections": told, "repeated": repeated, "complete": complete}


def evaluate(
    texts: Sequence[str], heard: Sequence[Heard], seconds: float, *, phones: bool, seed: int = 0,
    extractor: str = "", windowing: str = "",
) -> dict[str, Any]:
    """The words of one song: the sections' `texts` against what was heard, `phones` or words.

    `rate` is PER of phones, else WER or CER by the mixed rule.
    """
    words = asked_words(texts) if phones else []
    sections = [_phones(words, number) if phones else tokens(text)
                for number, text in enumerate(texts)]
    asked = [token for section in sections for token in section]
    found = completeness(sections, heard, seed=seed)
    states = [section["state"] for section in found["sections"]]
    values: dict[str, Any] = {
        **edits(asked, [token.symbol for token in heard]).as_dict(),
        "complete": found["complete"], "skipped": states.count("skipped"),
        "moved": states.count("moved"), "repeated": len(found["repeated"]),
        "sections": found["sections"], "repeats": found["repeated"],
        "over_time": over_time(asked, heard, seconds),
    }
    if phones:
        times = word_times(words, heard)
        values["words"] = [
            {"text": word.text, "section": word.section, "start": time and time[0],
             "end": time and time[1]}
            for word, time in zip(words, times, strict=True)
        ]
    return record(
        "phones" if phones else "words", VERSION, values, extractor=extractor,
        windowing=windowing, seed=seed,
    )


def _phones(words: Sequence[AskedWord], section: int) -> list[str]:
    """The phones of one section."""
    return [phone for word in words if word.section == section for phone in word.phones]


def occurrences(
    texts: Sequence[Sequence[str]], heard: Sequence[str], seed: int = 0
) -> list[Occurrence]:
    """Where the texts are in what was heard, in order of time; none lies inside another."""
    candidates: list[Occurrence] = []
    for which, text in enumerate(texts):
        costs = free_costs(text, heard)
        for end in np.flatnonzero(costs <= _limit(text, heard, seed)).tolist():
            if costs[end] == costs[max(0, end - len(text) // 2) : end + len(text) // 2].min():
                start = _start(text, heard[:end])
                candidates.append(Occurrence(float(costs[end] / len(text)), which, start, end))
    accepted: list[Occurrence] = []
    for one in sorted(candidates):
        if all(_shared(one, other) <= OVERLAP * (one.end - one.start) for other in accepted):
            accepted.append(one)
    return sorted(accepted, key=lambda each: each.start)


def _limit(text: Sequence[str], heard: Sequence[str], seed: int) -> float:
    """The most edits at which a text counts as sung."""
    generator = np.random.default_rng(seed)
    orders = (generator.permutation(len(text)) for _ in range(SHUFFLES))
    null = [free_costs([text[place] for place in order], heard).min() for order in orders]
    return float(np.mean(null) - DEVIATIONS * max(np.std(null), LEAST_DEVIATION * len(text)))


def _start(text: Sequence[str], heard: Sequence[str]) -> int:
    """Where the best occurrence of `text` begins that ends with the last of `heard`."""
    back = heard[::-1][: 2 * len(text)]
    costs = free_costs(text[::-1], back, free_start=False)
    return len(heard) - int(costs.argmin())


def _shared(one: Occurrence, other: Occurrence) -> int:
    """Tokens that lie in both."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _matched(asked: list[str], sung: list[str]) -> list[tuple[int | None, int | None]]:
    """`align`, with every substitution taken apart into a deletion and an insertion."""
    pairs: list[tuple[int | None, int | None]] = []
    for i, j in align(asked, sung):
        same = i is None or j is None or asked[i] == sung[j]
        pairs += [(i, j)] if same else [(i, None), (None, j)]
    return pairs


def _told(state: str, found: Occurrence, heard: Sequence[Heard]) -> dict[str, Any]:
    """An occurrence as plain values."""
    start, end = heard[found.start].start, heard[found.end - 1].end
    return {"state": state, "start": start, "end": end, "rate": found.rate}
