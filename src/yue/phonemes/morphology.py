"""Unknown words from known parts: stretched spellings, clitics, endings.

    sooooo -> so    lovin' -> loving    y'all've -> y'all + 've    spineless -> spine + less
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

Phones = tuple[str, ...]
Lookup = Callable[[str], Phones | None]

_STRETCHED = {"soo": "so", "noo": "no", "goo": "go"}
"""Where the doubled spelling is listed too, but is not what is meant."""
_STRETCHES = 4
"""Runs of a letter in one word for which both readings are tried."""
_CLITICS = {
    "'ll": ("AH0", "L"), "'ve": ("AH0", "V"), "'re": ("ER0",), "'d": ("D",), "'m": ("M",),
    "n't": ("AH0", "N", "T"), "'em": ("AH0", "M"),
}
_SIBILANTS = frozenset("S Z SH ZH CH JH".split())
_VOICELESS = frozenset("P T K F TH".split())
_ENDINGS: dict[str, Phones] = {
    "s": (), "ed": (), "ing": ("IH0", "NG"), "in'": ("IH0", "N"), "ly": ("L", "IY0"),
    "ness": ("N", "AH0", "S"), "less": ("L", "AH0", "S"), "ful": ("F", "AH0", "L"),
}
"""Empty where the sound depends on the word. Other endings and compounds are not taken off: on
held-out words the spelling model alone does better there."""
_OPEN_ENDINGS = ("ed", "ing", "in'")
"""Those before which a final e goes and a final consonant doubles."""
_SHORTEST_BASE = 3


def derived(word: str, lookup: Lookup) -> Phones | None:
    """The phones of an unknown word whose parts `lookup` knows, or nothing."""
    ways = (_unquoted, _stretched, _with_clitic, _with_ending)
    return next(filter(None, (way(word, lookup) for way in ways)), None)


def shortened(word: str) -> str:
    """Three and more equal letters become one."""
    return re.sub(r"(.)\1{2,}", r"\1", word)


def _unquoted(word: str, lookup: Lookup) -> Phones | None:
    """`'hello'` and `lovin'`; a leading apostrophe that belongs to the word stays."""
    forms = (word.rstrip("'"), word.lstrip("'"), word.strip("'"), "'" + word.strip("'"))
    if word.endswith("in'"):
        known = lookup(word.strip("'") + "g")
        if known:
            return (*known[:-1], "N") if known[-1] == "NG" else known
    return next(filter(None, map(lookup, forms)), None) if "'" in word else None


def _stretched(word: str, lookup: Lookup) -> Phones | None:
    """The first known word among those with each run of letters cut to two or one."""
    if not re.search(r"(.)\1\1|(aa|hh|ii|oo|uu|yy)$", word):
        return None
    runs = [match[0] for match in re.finditer(r"(.)\1*", word)]
    doubled = [place for place, run in enumerate(runs) if len(run) > 1]
    if len(doubled) > _STRETCHES:
        return lookup("".join(run[0] for run in runs))
    for lengths in itertools.product((2, 1), repeat=len(doubled)):
        cut = list(runs)
        for place, length in zip(doubled, lengths, strict=True):
            cut[place] = runs[place][0] * length
        candidate = "".join(cut)
        if found := lookup(_STRETCHED.get(candidate, candidate)):
            return found
    return None


def _with_clitic(word: str, lookup: Lookup) -> Phones | None:
    for clitic, phones in _CLITICS.items():
        if word.endswith(clitic) and (base := _known(word.removesuffix(clitic), lookup)):
            return base + phones
    if word.endswith(("'s", "s'")) and (base := _known(word[:-2], lookup)):
        return base + _plural(base)
    return None


def _known(word: str, lookup: Lookup) -> Phones | None:
    return lookup(word) or (_with_clitic(word, lookup) if "'" in word else None)


def _with_ending(word: str, lookup: Lookup) -> Phones | None:
    """A known word and an ending, with the usual changes of spelling between them."""
    for ending in _ENDINGS:
        if not word.endswith(ending):
            continue
        for base in _bases(word.removesuffix(ending), ending):
            if len(base) >= _SHORTEST_BASE and (found := lookup(base)):
                return found + (_ENDINGS[ending] or _SOUNDED[ending](found))
    return None


def _bases(rest: str, ending: str) -> Iterator[str]:
    """What may stand before an ending, likeliest first: taping -> tape, hopping -> hop."""
    if ending == "s":
        yield rest.removesuffix("ie") + "y" if rest.endswith("ie") else rest
        yield rest.removesuffix("e")
        return
    if ending in _OPEN_ENDINGS:
        short = re.search("[^aeiou][aeiouy][^aeiouwxy]$", rest)
        yield from (rest + "e", rest) if short else (rest, rest + "e")
        if rest[-2:-1] == rest[-1:]:
            yield rest[:-1]
    if rest.endswith("i"):
        yield rest[:-1] + "y"
    yield rest


def _plural(base: Phones) -> Phones:
    if base[-1] in _SIBILANTS:
        return ("IH0", "Z")
    return ("S",) if base[-1] in _VOICELESS else ("Z",)


def _past(base: Phones) -> Phones:
    if base[-1] in ("T", "D"):
        return ("IH0", "D")
    return ("T",) if base[-1] in _VOICELESS | _SIBILANTS - {"Z", "ZH", "JH"} else ("D",)


_SOUNDED = {"s": _plural, "ed": _past}
