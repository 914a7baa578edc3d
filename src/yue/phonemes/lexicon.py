"""Known words -> phones: CMUdict, the first pronunciation of each word.

The data are `cmudict.txt.xz`, lines of `word PHONES`, made by `scripts/make-lexicon`; their licence
lies beside them. Where CMUdict's first entry is rarely the one that is sung, `_SUNG` overrides it.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from pathlib import Path

LEXICON_FILE = Path(__file__).with_name("cmudict.txt.xz")

_SUNG = dict(
    line.strip().split(" ", 1)
    for line in """
    aah AA1
    aw AO1
    ba B AA1
    brr B ER1
    'cause K AH1 Z
    hmm HH AH1 M
    hm HH AH1 M
    lead L IY1 D
    live L IH1 V
    mm AH1 M
    mhm AH0 M HH AH1 M
    oo UW1
    record R EH1 K ER0 D
    's Z
    shh SH AH1
    sh SH AH1
    tear T IH1 R
    tears T IH1 R Z
    use Y UW1 Z
    whoah W OW1
    woah W OW1
    wound W UW1 N D
    y'all Y AO1 L
    """.strip().splitlines()
)


class Lexicon:
    """Lower-case words (a-z, apostrophe, hyphen) and their phones, as one string per word."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = {**entries, **_SUNG}

    @classmethod
    def shipped(cls) -> Lexicon:
        """All of CMUdict, from the package."""
        text = lzma.decompress(LEXICON_FILE.read_bytes()).decode("ascii")
        return cls(dict(line.split(" ", 1) for line in text.splitlines()))

    def __contains__(self, word: str) -> bool:
        return word in self._entries

    def lookup(self, word: str) -> tuple[str, ...] | None:
        """The phones of a word, or nothing if it is not listed."""
        phones = self._entries.get(word)
        return None if phones is None else tuple(phones.split())
