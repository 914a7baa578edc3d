"""Lines of lyrics: templates over chosen words, lines of random words, rhymes at the ends.

Templates sound like lyrics; random lines cover the sounds of English. A line's syllables are
counted as the phone front end reads it, so that what is counted is what is sung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.phonemes import is_vowel, words
from yue.songbook.profile import Profile
from yue.songbook.words import Vocabulary

LEXICON = {
    name: tuple(text.split())
    for name, text in {
        "N": "heart night day light road river fire rain sky star dream song moon sun wind sea "
        "ocean mountain city street window door house home train car bridge garden flower "
        "tree leaf shadow mirror story letter word voice name face hand eye tear smile "
        "touch breath hope love life world time year hour minute moment morning evening "
        "summer winter spring autumn storm thunder snow ice flame candle angel king queen "
        "child mother father sister brother friend stranger lover soldier sailor dancer "
        "singer poet gold silver diamond stone sand wave island ship boat harbor village "
        "valley field forest bird wolf horse lion tiger eagle feather wing radio guitar "
        "drum rhythm melody dance party floor corner table bottle coffee paper picture "
        "memory secret promise reason season question answer journey highway station "
        "airplane ticket money honey sugar medicine treasure voyage joy toy boy noise "
        "coin vision pleasure measure point choice oil soil garage mirage",
        "NS": "dreams stars eyes hands tears words songs roads lights shadows memories voices "
        "waves dancers strangers lovers mountains rivers colors wings flowers echoes "
        "secrets promises reasons questions footsteps heartbeats windows letters stories "
        "candles diamonds feathers clouds treasures visions toys boys choices coins",
        "A": "lonely broken golden silver empty quiet wild gentle burning frozen falling "
        "rising shining fading endless timeless simple young old new blue red green dark "
        "bright cold warm sweet bitter heavy hollow holy lucky crazy lazy hungry thirsty "
        "tired happy sad beautiful wonderful dangerous electric mysterious familiar "
        "forgotten hidden crystal velvet midnight faithful careless restless fearless "
        "royal joyful loyal usual casual",
        "V": "hold touch find lose love need want know feel hear see follow break build carry "
        "remember forget believe call chase catch change cross fight forgive give leave "
        "miss paint reach ride save share steal teach trust understand wake watch "
        "discover imagine enjoy join avoid treasure",
        "I": "run fly fall sing cry laugh sleep dream dance shine burn fade rise wait wander "
        "breathe survive stay go return disappear wonder tremble begin scream whisper "
        "smile drift float glow grow rejoice",
        "G": "running flying falling singing crying laughing sleeping dreaming dancing shining "
        "burning fading rising waiting wandering breathing drifting floating glowing "
        "growing staring searching reaching holding chasing calling driving walking "
        "thinking looking enjoying joining",
        "P": "in on under over through behind beyond across beside above below around along "
        "against inside outside toward without",
        "D": "slowly softly always never again forever tonight tomorrow together alone away "
        "somewhere everywhere sometimes maybe finally suddenly quietly gently usually",
        "S": "I you we they",
        "O": "me you us them it him her",
        "M": "my your our their his her",
        "T": "the this that every another",
        "X": "can will could would should must might can't won't don't",
    }.items()
}
"""Word classes of the templates: N noun, NS plural, A adjective, V verb, I intransitive verb,
G -ing form, P preposition, D adverb, S subject, O object, M possessive, T determiner, X auxiliary
verb."""

TEMPLATES = tuple(
    tuple(text.split())
    for text in (
        "S X V the A N", "G P the N", "S V M N P the N", "the N is G D", "S X I P M N",
        "oh, M N is so A", "G like a A N", "I know you X V O", "and S I D", "every N is a N",
        "NS P the A N", "tell O M A N", "S will V O D", "no more NS, no more NS", "T A N and T N",
        "if you V M N, S X V O", "NS and NS G in the N", "we were G P the A N",
        "give me M N, give me M N", "you are the N P M N", "S never V the NS", "let M N I",
        "one N, two NS, three NS", "there's a N in the A N", "take O P the N", "a A N P a A N",
    )
)

TRIES = 60


@dataclass(frozen=True)
class Writer:
    """Writes lines of lyrics for a profile."""

    vocabulary: Vocabulary
    profile: Profile

    def stanza(self, rng: np.random.Generator, count: int) -> list[str]:
        """`count` lines; most rhyme in pairs, neighbours or every other line."""
        low, high = self.profile.syllables
        size = int(rng.integers(low, high + 1))
        gap = 1 if rng.random() < 0.5 else 2
        lines: list[str] = []
        for number in range(count):
            wanted = int(np.clip(size + rng.integers(-1, 2), low, high))
            partner = number - gap
            paired = partner >= 0 and (number // gap) % 2 == 1
            end = _last_word(lines[partner]) if paired else None
            rhymed = rng.random() < self.profile.rhyme
            lines.append(self.line(rng, wanted, end if rhymed else None))
        return lines

    def line(self, rng: np.random.Generator, size: int, rhyme: str | None = None) -> str:
        """A line of about `size` syllables; it rhymes with the word `rhyme` where one is found."""
        fitting = tuple(self.vocabulary.rhyming(rhyme)) if rhyme else ()
        best: tuple[int, bool, str] | None = None
        for _ in range(TRIES):
            text = self._attempt(rng, size, fitting)
            miss = max(1, abs(syllable_count(text) - size))
            tried = (miss, bool(fitting) and _last_word(text) not in fitting, text)
            best = tried if best is None else min(best, tried)
            if best[:2] == (1, False):
                break
        assert best is not None
        return best[2]

    def _attempt(self, rng: np.random.Generator, size: int, rhymes: tuple[str, ...]) -> str:
        if rng.random() < self.profile.coverage:
            return _sentence(self._random_words(rng, size, rhymes))
        return _sentence(_template(rng, rhymes))

    def _random_words(
        self, rng: np.random.Generator, size: int, rhymes: tuple[str, ...]
    ) -> list[str]:
        chosen = [_pick(rng, rhymes)] if rhymes else self.vocabulary.draw(rng, 1)
        while sum(map(syllable_count, chosen)) < size:
            chosen = self.vocabulary.draw(rng, 1) + chosen
        return chosen


def syllable_count(text: str) -> int:
    """Syllables of a text as it is sung."""
    return sum(is_vowel(phone) for word in words(text) for phone in word.phones)


def _template(rng: np.random.Generator, rhymes: tuple[str, ...]) -> list[str]:
    slots = TEMPLATES[rng.integers(len(TEMPLATES))]
    filled = [_fill(rng, slot) for slot in slots]
    fitting = [word for word in LEXICON.get(slots[-1], ()) if word in rhymes]
    if fitting:
        filled[-1] = _pick(rng, fitting)
    return filled


def _fill(rng: np.random.Generator, slot: str) -> str:
    name = slot.rstrip(",")
    return _pick(rng, LEXICON[name]) + slot[len(name) :] if name in LEXICON else slot


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _sentence(parts: list[str]) -> str:
    """Words to a line: a capital first, `an` before a vowel."""
    parts = [
        "an" if word == "a" and following[:1] in "aeio" else word
        for word, following in zip(parts, [*parts[1:], "-"], strict=True)
    ]
    text = " ".join(parts)
    return text[0].upper() + text[1:]


def _last_word(line: str) -> str:
    return line.split()[-1].strip(",").lower()
