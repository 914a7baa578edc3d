"""Sections and words found again in noisy hearing."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from conftest import GOLDEN
from yue.audio import Audio
from yue.evaluate import completeness as complete
from yue.evaluate import recognise, words
from yue.evaluate.recognise import Heard
from yue.phonemes import PHONES

SYMBOLS = sorted({phone.rstrip("012") for phone in PHONES})
SECTIONS = [
    "The river keeps on running down to the sea\nAnd nobody asks it the way\nEvery morning a door",
    "Come home, come home tonight\nThe lamp is in the window and the table is laid",
    "Seven winters in a foreign town\nLetters that I never sent\nPaper boats upon the water",
    "Maybe we were only passing through\nMaybe all the clocks were wrong about us",
]


def phones(section: str) -> list[str]:
    return [phone for word in complete.asked_words([section]) for phone in word.phones]


def hear(asked: list[str], noise: float, seed: int = 0) -> list[Heard]:
    """Each phone deleted, replaced, or followed by another with a third of `noise` each."""
    draw = random.Random(seed)
    heard: list[str] = []
    for phone in asked:
        chance = draw.random() * 3
        if chance < noise:
            continue
        heard.append(draw.choice(SYMBOLS) if chance < 2 * noise else phone)
        if 2 * noise < chance < 3 * noise:
            heard.append(draw.choice(SYMBOLS))
    return [Heard(symbol, at * 0.1, at * 0.1 + 0.1) for at, symbol in enumerate(heard)]


def states(order: str, asked: str, noise: float, seed: int = 0) -> tuple[list[str], int]:
    """States of the sections `asked` (digits) when those of `order` are sung; and the repeats."""
    sung = [phone for digit in order for phone in phones(SECTIONS[int(digit)])]
    told = complete.completeness(
        [phones(SECTIONS[int(digit)]) for digit in asked], hear(sung, noise, seed)
    )
    return [each["state"] for each in told["sections"]], len(told["repeated"])


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.5])
@pytest.mark.parametrize(
    ("order", "asked", "expected", "repeats"),
    [
        ("0123", "0123", ["sung"] * 4, 0),
        ("01213", "01213", ["sung"] * 5, 0),
        ("013", "0123", ["sung", "sung", "skipped", "sung"], 0),
        ("01123", "0123", ["sung"] * 4, 1),
        ("3012", "0123", ["sung", "sung", "sung", "moved"], 0),
        ("", "01", ["skipped", "skipped"], 0),
    ],
)
def test_sections_sung_skipped_repeated_moved(
    order: str, asked: str, expected: list[str], repeats: int, noise: float
) -> None:
    assert states(order, asked, noise) == (expected, repeats)


def test_noise_alone_sings_nothing() -> None:
    draw = random.Random(5)
    for seed in range(5):
        heard = [Heard(draw.choice(SYMBOLS), at, at + 1) for at in range(300)]
        told = complete.completeness([phones(text) for text in SECTIONS], heard, seed=seed)
        assert told["complete"] == 0


def test_times_and_rates_of_a_section() -> None:
    told = complete.completeness(
        [phones(text) for text in SECTIONS], hear([p for s in SECTIONS for p in phones(s)], 0)
    )
    ends = np.cumsum([len(phones(text)) for text in SECTIONS]) * 0.1
    for section, end in zip(told["sections"], ends, strict=True):
        assert section["rate"] == 0 and section["end"] == pytest.approx(end)
    assert told["complete"] == 1
    assert complete.completeness([["A"]], []) == {
        "sections": [{"state": None}], "repeated": [], "complete": None,
    }


def test_words_get_the_times_of_their_phones() -> None:
    asked = complete.asked_words(SECTIONS[:2])
    spelled = [phone for word in asked for phone in word.phones]
    times = complete.word_times(asked, hear(spelled, 0))
    place = 0
    for word, time in zip(asked, times, strict=True):
        assert time == pytest.approx((place * 0.1, (place + len(word.phones)) * 0.1))
        place += len(word.phones)
    assert {word.section for word in asked} == {0, 1} and asked[1].text == "river"
    assert complete.word_times(asked, []) == [None] * len(asked)


def test_words_of_real_speech_are_in_order_and_near() -> None:
    spoken = Audio.read(GOLDEN / "spoken.ogg")
    asked = complete.asked_words(["The river keeps on running down to the sea."])
    found = complete.word_times(asked, recognise.phones_of(spoken))
    times = [time for time in found if time]
    assert len(times) >= 8
    assert all(one[0] < two[0] for one, two in pairwise(times))
    # flite's own times: keeps begins at .70 s, sea at 2.22 s.
    by_word = dict(zip([word.text for word in asked], found, strict=True))
    assert by_word["keeps"] is not None and by_word["keeps"][0] == pytest.approx(0.70, abs=0.1)
    assert by_word["sea"] is not None and by_word["sea"][0] == pytest.approx(2.22, abs=0.1)


def test_errors_over_time_add_up_to_all_errors() -> None:
    asked = [phone for section in SECTIONS for phone in phones(section)]
    clean = hear(asked, 0)
    bins = complete.over_time(asked, clean, 30, 10)
    assert [each["errors"] for each in bins] == [0, 0, 0] and bins[0]["asked"] == 100
    broken = clean[:100] + hear(asked[100:200], 0.9)
    shifted = [Heard(token.symbol, at * 0.1, 0) for at, token in enumerate(broken)]
    bins = complete.over_time(asked[:200], shifted, 20, 10)
    total = words.edits(asked[:200], [token.symbol for token in shifted])
    assert sum(each["errors"] for each in bins) == total.errors
    assert sum(each["asked"] for each in bins) == total.asked
    assert bins[0]["rate"] < 0.1 < bins[1]["rate"]
    assert complete.over_time(["A"], [], 5)[0]["rate"] == 1
