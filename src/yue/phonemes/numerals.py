"""Digits -> English words, as they are read aloud: 1999, 3rd, 2.5, 90s, 3:05. Pure text."""

from __future__ import annotations

import re

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_LONGEST = 3 * len(_GROUPS)
"""Digits; longer numbers are read digit by digit."""
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}
_YEARS = (range(1100, 2000), range(2010, 2100))
_HOURS, _MINUTES = 24, 60

NUMBER = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?!\d)"
    r"|(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(?P<decimals>\d+))?"
    r"(?:(?P<ordinal>st|nd|rd|th)|'?(?P<plural>s))?(?![^\W\d_])"
    r"|(?P<digits>\d+)",
    re.IGNORECASE | re.ASCII,
)
"""A number in lyrics, in ASCII digits, with what is written onto it."""


def read_number(match: re.Match[str]) -> list[str]:
    """The words of a match of `NUMBER`."""
    if match["hour"]:
        return _clock(int(match["hour"]), int(match["minute"]))
    if match["digits"]:
        return cardinal(match["digits"])
    whole = match["whole"].replace(",", "")
    if match["decimals"]:
        return [*cardinal(whole), "point", *spelled(match["decimals"])]
    is_year = len(whole) == 4 and "," not in match["whole"] and any(
        int(whole) in years for years in _YEARS
    )
    words = _year(int(whole)) if is_year and not match["ordinal"] else cardinal(whole)
    if match["ordinal"]:
        words[-1] = _ordinal(words[-1])
    elif match["plural"]:
        words[-1] = _plural(words[-1])
    return words


def cardinal(digits: str) -> list[str]:
    """`42` -> forty two. Leading zeros and very long numbers are read digit by digit."""
    if len(digits) > _LONGEST or (digits[0] == "0" and len(digits) > 1):
        return spelled(digits)
    number, words = int(digits), []
    for power in range(len(_GROUPS) - 1, -1, -1):
        group = number // 1000**power % 1000
        if group:
            words += [*_hundreds(group), *filter(None, [_GROUPS[power]])]
    return words or [_SMALL[0]]


def spelled(digits: str) -> list[str]:
    """Digit by digit."""
    return [_SMALL[int(digit)] for digit in digits]


def _hundreds(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    return words + (_below_hundred(rest) if rest else [])


def _below_hundred(number: int) -> list[str]:
    if number < len(_SMALL):
        return [_SMALL[number]]
    tens, ones = divmod(number, 10)
    return [_TENS[tens - 2], *([_SMALL[ones]] if ones else [])]


def _year(number: int) -> list[str]:
    century, rest = divmod(number, 100)
    if not rest:
        return [*_below_hundred(century), "hundred"]
    return [*_below_hundred(century), *(["oh"] if rest < 10 else []), *_below_hundred(rest)]


def _clock(hour: int, minute: int) -> list[str]:
    if hour > _HOURS or minute >= _MINUTES:
        return [*cardinal(str(hour)), *_below_hundred(minute)]
    if not minute:
        return [*_below_hundred(hour), "o'clock"]
    return [*_below_hundred(hour), *(["oh"] if minute < 10 else []), *_below_hundred(minute)]


def _ordinal(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"


def _plural(word: str) -> str:
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")
