"""Known words -> phones: CMUdict, first pronunciation of each word, read once when first asked.

The data are `cmudict.txt.xz`, lines of `word PHONES`, made by `scripts/make-lexicon`; their licence
lies beside them. Where CMUdict's first entry is rarely the one that is sung, `_SUNG` overrides it.
"""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

LEXICON_FILE = Path(__file__).with_name("cmudict.txt.xz")

_SUNG = {
    word: phones.strip()
    for word, _, phones in (
        line.strip().partition(" ")
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
}


@cache
def _entries() -> dict[str, str]:
    text = lzma.decompress(LEXICON_FILE.read_bytes()).decode("ascii")
    entries = dict(line.split(" ", 1) for line in text.splitlines())
    return entries | _SUNG


def lookup(word: str) -> tuple[str, ...] | None:
    """The phones of a lower-case word (a-z, apostrophe, hyphen), or nothing if it is unknown."""
    phones = _entries().get(word)
    return None if phones is None else tuple(phones.split())


def known(word: str) -> bool:
    """Whether the lexicon lists a word."""
    return word in _entries()
