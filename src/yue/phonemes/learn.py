"""CMUdict -> the shipped data: the lexicon, and the letter-to-sound model learned from it.

    scripts/make-lexicon cmudict.dict            # writes both files into the package
    scripts/make-lexicon cmudict.dict --measure  # holds 5 % of the words back and measures on them

Letters and phones are aligned by expectation maximisation with Viterbi paths (a letter stands for 0
to 2 phones), which turns a word into a row of graphones; n-grams of those are smoothed as Kneser
and Ney do, and pruned where a shorter history says nearly the same. A minute on one core.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from yue.files import PathLike, write_bytes
from yue.phonemes.lexicon import LEXICON_FILE, Lexicon
from yue.phonemes.reading import Reader
from yue.phonemes.spelling import (
    END,
    FIRST_SYMBOL,
    MODEL_FILE,
    ORDER,
    PARTS_PER_NAT,
    START,
    Graphone,
    Speller,
)
from yue.phonemes.symbols import STRESSES

Phones = tuple[str, ...]
Pair = tuple[str, Phones]

_MOST_PHONES = 2
"""Phones per letter."""
_FIRST_GUESS = (0.3, 1.0, 0.1)
"""How likely a letter stands for 0, 1, 2 phones, before anything is known."""
_ROUNDS, _SAMPLE = 5, 20_000
"""Rounds of alignment on that many words before the last one on all."""
_WORST = -3.0
"""Log probability per letter below which a word is no matter of spelling (`lbs`)."""
_RAREST_GRAPHONE = 6
_LEAST_GAIN = 2.0
"""Nats by which an n-gram must change the likelihood of the training words to be kept."""
_LEAST_COUNT, _ALWAYS_COUNTED = 2, 3
"""N-grams longer than the second number are kept only if seen as often as the first says."""
_DISCOUNTS = 3
_TINY = 1e-4
_HELD_OUT, _SEED = 0.05, 1


def read_cmudict(path: PathLike) -> dict[str, str]:
    """The words of `cmudict.dict` with their first pronunciation, without dotted ones (`a.m.`)."""
    entries: dict[str, str] = {}
    for line in Path(path).read_text("utf-8").splitlines():
        word, *phones = line.partition("#")[0].split()
        if re.fullmatch("[a-z'-]+", word):
            entries.setdefault(word, " ".join(phones))
    return entries


def pairs(entries: Mapping[str, str]) -> list[Pair]:
    """Words in a-z with their phones: what spelling is learned from."""
    split = ((word, tuple(phones.split())) for word, phones in sorted(entries.items()))
    return [
        (word, phones) for word, phones in split
        if re.fullmatch("[a-z]+", word) and len(phones) <= _MOST_PHONES * len(word)
    ]


# Alignment --------------------------------------------------------------------------------------

def align(words: Sequence[Pair]) -> list[list[Graphone]]:
    """Words as rows of graphones; words whose spelling has little to do with their sound go."""
    sample = random.Random(_SEED).sample(list(words), min(_SAMPLE, len(words)))
    scores = _first_scores(sample)
    for number in range(_ROUNDS + 1):
        rows = [_path(word, phones, scores)[0] for word, phones in (
            sample if number < _ROUNDS else words
        )]
        scores = _log_shares(Counter(_bare(graphone) for row in rows for graphone in row))
    found = ((*_path(word, phones, scores), word) for word, phones in words)
    return [row for row, score, word in found if row and score / len(word) >= _WORST]


def _first_scores(words: Iterable[Pair]) -> dict[Graphone, float]:
    """From how often a phone stands about where a letter does."""
    counts: dict[Graphone, float] = defaultdict(float)
    for word, phones in words:
        bare = tuple(map(_flat, phones))
        for place, letter in enumerate(word):
            near = place * len(bare) // len(word)
            for start in range(max(0, near - 1), min(len(bare), near + 1) + 1):
                for many, weight in enumerate(_FIRST_GUESS):
                    counts[(letter, *bare[start : start + many])] += weight
    return _log_shares(counts)


def _log_shares(counts: Mapping[Graphone, float]) -> dict[Graphone, float]:
    totals: dict[str, float] = defaultdict(float)
    for (letter, *_), count in counts.items():
        totals[letter] += count
    return {graphone: math.log(count / totals[graphone[0]]) for graphone, count in counts.items()}


def _flat(phone: str) -> str:
    return phone.rstrip(STRESSES)


def _bare(graphone: Graphone) -> Graphone:
    return (graphone[0], *map(_flat, graphone[1:]))


def _path(
    word: str, phones: Phones, scores: Mapping[Graphone, float]
) -> tuple[list[Graphone], float]:
    """The best row of graphones and its log probability; an empty row if there is none."""
    bare = tuple(map(_flat, phones))
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}  # by phones used up
    for place, letter in enumerate(word):
        longer: dict[int, tuple[float, tuple[int, ...]]] = {}
        least = len(bare) - _MOST_PHONES * (len(word) - place - 1)
        for used, (score, ends) in best.items():
            for end in range(max(used, least), min(used + _MOST_PHONES, len(bare)) + 1):
                more = scores.get((letter, *bare[used:end]))
                if more is not None and (end not in longer or score + more > longer[end][0]):
                    longer[end] = (score + more, (*ends, end))
        best = longer
    score, ends = best.get(len(bare), (-math.inf, ()))
    starts = (0, *ends[:-1])
    row = [
        (letter, *phones[start:end])
        for letter, start, end in zip(word, starts, ends, strict=False)
    ]
    return row, score


# N-grams ----------------------------------------------------------------------------------------

def learn(words: Sequence[Pair]) -> Speller:
    """The letter-to-sound model of words."""
    rows = align(words)
    often = Counter(graphone for row in rows for graphone in row)
    graphones = sorted(g for g, count in often.items() if count >= _RAREST_GRAPHONE)
    symbol = {graphone: chr(FIRST_SYMBOL + i) for i, graphone in enumerate(graphones)}
    texts = [
        START + "".join(symbol[g] for g in row) + END
        for row in rows if all(g in symbol for g in row)
    ]
    counts = _counts(texts)
    return _compact(tuple(graphones), *_pruned(counts, _smoothed(counts)))


def _counts(texts: Sequence[str]) -> list[Counter[str]]:
    """By length: how often each n-gram stands in the texts; longer ones only of what repeats."""
    counts: list[Counter[str]] = [Counter()]
    for length in range(1, ORDER + 1):
        shorter, found = counts[-1], Counter[str]()
        for text in texts:
            for start in range(len(text) - length + 1):
                ngram = text[start : start + length]
                if length < _ALWAYS_COUNTED or shorter[ngram[:-1]] >= _LEAST_COUNT:
                    found[ngram] += 1
        counts.append(found)
    return counts


def _smoothed(counts: Sequence[Counter[str]]) -> dict[str, float]:
    """Interpolated Kneser-Ney probabilities of all n-grams."""
    seen = _continuations(counts)
    total = sum(count for symbol, count in seen[1].items() if symbol != START)
    p = {symbol: count / total for symbol, count in seen[1].items() if symbol != START}
    for level in seen[2:]:
        discounts = _discounts(level)
        mass: Counter[str] = Counter()
        spare: dict[str, float] = defaultdict(float)
        for ngram, count in level.items():
            mass[ngram[:-1]] += count
            spare[ngram[:-1]] += discounts[min(count, _DISCOUNTS)]
        for ngram, count in level.items():
            history = ngram[:-1]
            own = count - discounts[min(count, _DISCOUNTS)]
            p[ngram] = (own + spare[history] * p[ngram[1:]]) / mass[history]
    return p


def _continuations(counts: Sequence[Counter[str]]) -> list[Counter[str]]:
    """Below the highest order: after how many different graphones an n-gram was seen."""
    seen = [Counter[str](), *counts[1:]]
    for length in range(1, ORDER):
        different = Counter(ngram[1:] for ngram in counts[length + 1])
        seen[length] = Counter({
            ngram: count if ngram.startswith(START) else max(1, different[ngram])
            for ngram, count in counts[length].items()
        })
    return seen


def _discounts(level: Mapping[str, int]) -> list[float]:
    """What is taken off a count of 0, 1, 2, 3 and more (Chen and Goodman 1998)."""
    n = Counter(min(count, _DISCOUNTS + 1) for count in level.values())
    share = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
    return [0.0] + [
        max(0.1, i - (i + 1) * share * n[i + 1] / n[i]) if n[i] else 0.5
        for i in range(1, _DISCOUNTS + 1)
    ]


def _pruned(
    counts: Sequence[Counter[str]], p: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """The n-grams worth keeping, and the back-off weights that make up for the others."""
    kept, needed = dict(p), set[str]()
    for length in range(ORDER, 1, -1):
        for ngram, count in counts[length].items():
            gain = count * abs(math.log(p[ngram] / p[ngram[1:]]))
            enough = count >= _LEAST_COUNT or length <= _ALWAYS_COUNTED
            if ngram in needed or (enough and gain >= _LEAST_GAIN):
                needed.add(ngram[:-1])
            else:
                del kept[ngram]
    mass: dict[str, float] = defaultdict(float)
    below: dict[str, float] = defaultdict(float)
    for ngram in kept:
        if len(ngram) > 1:
            mass[ngram[:-1]] += kept[ngram]
            below[ngram[:-1]] += p[ngram[1:]]
    left = {h: max(_TINY, 1 - mass[h]) / max(_TINY, 1 - below[h]) for h in mass}
    return kept, left


def _compact(
    graphones: tuple[Graphone, ...], p: Mapping[str, float], left: Mapping[str, float]
) -> Speller:
    costs = {ngram: _cost(probability) for ngram, probability in p.items()}
    # The start has no probability of its own, but a back-off.
    backoffs = {h: cost for h, weight in left.items() if (cost := _cost(weight))}
    return Speller(graphones, {START: 0, **costs}, backoffs)


def _cost(probability: float) -> int:
    return round(-PARTS_PER_NAT * math.log(probability))


# Measuring --------------------------------------------------------------------------------------

def measure(entries: Mapping[str, str]) -> dict[str, float]:
    """Errors on held-out words, in percent: of the model alone, and with known parts first."""
    words = pairs(entries)
    random.Random(_SEED).shuffle(words)
    cut = int(len(words) * _HELD_OUT)
    held, rest = words[:cut], words[cut:]
    speller = learn(rest)
    hidden = {word for word, _ in held}
    lexicon = Lexicon({word: p for word, p in entries.items() if word not in hidden})
    reader = Reader(lexicon, lambda: speller)
    alone = [(phones, speller.spell(word)) for word, phones in held]
    whole = [
        (phones, tuple(p for part in reader.words(word) for p in part.phones))
        for word, phones in held
    ]
    figures = {"words": float(len(held)), "ngrams": float(len(speller.costs))}
    for name, results in (("model", alone), ("reader", whole)):
        bare = [(tuple(map(_flat, a)), tuple(map(_flat, b))) for a, b in results]
        figures |= {
            f"{name}: phone errors": _phone_errors(results),
            f"{name}: words right": _words_right(results),
            f"{name}: phone errors without stress": _phone_errors(bare),
            f"{name}: words right without stress": _words_right(bare),
        }
    return {key: round(value, 2) for key, value in figures.items()}


def _phone_errors(results: Sequence[tuple[Phones, Phones]]) -> float:
    errors = sum(edits(wanted, got) for wanted, got in results)
    return 100 * errors / sum(len(wanted) for wanted, _ in results)


def _words_right(results: Sequence[tuple[Phones, Phones]]) -> float:
    return 100 * sum(wanted == got for wanted, got in results) / len(results)


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return row[-1]


def main() -> None:
    """Write the package's data, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cmudict", type=Path, help="the file cmudict.dict")
    parser.add_argument("--measure", action="store_true", help="measure; write nothing")
    options = parser.parse_args()
    entries = read_cmudict(options.cmudict)
    if options.measure:
        print(json.dumps(measure(entries), indent=2))
        return
    lines = (f"{word} {phones}\n" for word, phones in sorted(entries.items()))
    _write(LEXICON_FILE, "".join(lines))
    _write(MODEL_FILE, learn(pairs(entries)).dumps())


def _write(path: Path, text: str) -> None:
    data = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    print(f"{write_bytes(path, data)}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
