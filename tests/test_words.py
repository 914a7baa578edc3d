"""Phones that are heard, and edits counted by hand."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import GOLDEN
from yue.audio import Audio
from yue.evaluate import recognise, words

SPOKEN = "The river keeps on running down to the sea."
PHONES = "DH AH R IH V ER K IY P S AA N R AH N IH NG D AW N T AH DH AH S IY".split()
OTHERS = [
    "AY W AA K AH L OW N IH N DH AH R EY N".split(),
    "K AH M HH OW M T UW M IY T AH N AY T B EY B IY".split(),
    "W IY HH AE V AO L DH AH T AY M IH N DH AH W ER L D".split(),
]


@pytest.fixture(scope="module")
def spoken() -> Audio:
    """The sentence of `SPOKEN`, said by flite's voice rms (16 kHz)."""
    return Audio.read(GOLDEN / "spoken.ogg")


def slow_distance(one: str, two: str) -> int:
    if not one or not two:
        return len(one) + len(two)
    return min(
        slow_distance(one[1:], two) + 1,
        slow_distance(one, two[1:]) + 1,
        slow_distance(one[1:], two[1:]) + (one[0] != two[0]),
    )


@pytest.mark.parametrize(
    ("asked", "heard", "counted"),
    [
        ("kitten", "sitting", (2, 0, 1)),
        ("abc", "abc", (0, 0, 0)),
        ("abc", "", (0, 3, 0)),
        ("", "ab", (0, 0, 2)),
        ("abcd", "acd", (0, 1, 0)),
        ("abcd", "xbcdd", (1, 0, 1)),
    ],
)
def test_edits_counted_by_hand(asked: str, heard: str, counted: tuple[int, int, int]) -> None:
    found = words.edits(asked, heard)
    assert (found.substitutions, found.deletions, found.insertions) == counted
    assert found.asked == len(asked) and found.errors == words.distance(asked, heard)
    assert found.rate == (sum(counted) / len(asked) if asked else None)


@settings(deadline=None, max_examples=60)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_slow_twin_agrees(one: str, two: str) -> None:
    assert words.distance(one, two) == slow_distance(one, two) == words.edits(one, two).errors
    left = [i for i, _ in words.align(one, two) if i is not None]
    right = [j for _, j in words.align(one, two) if j is not None]
    assert left == list(range(len(one))) and right == list(range(len(two)))


def test_tokens_by_the_mixed_rule() -> None:
    assert words.tokens("Don’t  STOP, me-now! 42") == ["don't", "stop", "me", "now", "42"]
    assert words.tokens("我爱rock你") == ["我", "爱", "rock", "你"]
    assert words.tokens("ｈｅｌｌｏ カラオケ") == ["hello", "カ", "ラ", "オ", "ケ"]
    assert words.tokens("naïve Straße") == ["naïve", "strasse"]
    assert words.characters("ab c,") == ["a", "b", "c"]
    assert words.tokens(" ...") == []
    assert words.is_latin("Ça va, 我") and words.is_latin("na na 42")
    assert not any(map(words.is_latin, ("我爱你 oh", "42", "")))


def test_labels_and_punctuation_are_not_sung() -> None:
    asked = "[verse]\nThe river, runs\n\n[chorus]\nCome home!\n"
    assert words.section_tokens(asked) == [["the", "river", "runs"], ["come", "home"]]
    assert words.text_errors(asked, "the river runs come home").rate == 0
    assert words.text_errors(asked, "the rivers run home").as_dict() == {
        "rate": 0.6, "substitutions": 2, "deletions": 1, "insertions": 0, "asked": 5,
    }
    assert words.text_errors("[verse]\n我爱你", "我爱").rate == pytest.approx(1 / 3)


def test_a_line_is_picked_out_and_ties_share() -> None:
    assert words.picked("abc", ["xyz", "abd"], 1) == 1
    assert words.picked("abc", ["xyz", "abd"], 0) == 0
    assert words.picked("abc", ["abd", "abe", "xyz"], 0) == 0.5
    draw = random.Random(3)
    lines = ["".join(draw.choices("abcdef", k=12)) for _ in range(20)]
    noise = ["".join(draw.choices("abcdef", k=12)) for _ in range(100)]
    chance = np.mean([words.picked(heard, lines, 7) for heard in noise])
    assert chance == pytest.approx(1 / 20, abs=0.05)


def test_phones_of_speech(spoken: Audio) -> None:
    heard = recognise.phones_of(spoken)
    symbols = [phone.symbol for phone in heard]
    found = words.edits(PHONES, symbols)
    assert found.rate is not None and 0 < found.rate < 0.4
    assert words.picked(symbols, [PHONES, *OTHERS], 0) == 1
    assert words.edits(symbols, recognise.symbols_of(spoken)).rate == 0
    assert all(map(str.isalpha, symbols)) and "SIL" not in symbols
    for one, two in pairwise(heard):
        assert 0 <= one.start < one.end <= two.start + 1e-9
    assert heard[-1].end <= spoken.seconds


def test_times_follow_the_sound(spoken: Audio) -> None:
    silence = np.zeros((1, 2 * spoken.rate), np.float32)
    later = Audio(np.hstack([silence, spoken.samples]), spoken.rate)
    first = recognise.phones_of(later)[0]
    assert first.start == pytest.approx(2 + recognise.phones_of(spoken)[0].start, abs=0.15)


def test_level_rate_and_channels_hardly_matter(spoken: Audio) -> None:
    symbols = recognise.symbols_of(spoken)
    quiet = Audio(spoken.samples * 0.1, spoken.rate)
    assert words.edits(symbols, recognise.symbols_of(quiet)).errors <= 1
    stereo = Audio(np.vstack([spoken.samples] * 2), spoken.rate).resample(44_100)
    assert words.edits(symbols, recognise.symbols_of(stereo)).errors <= 4


def test_silence_has_no_phones() -> None:
    assert recognise.phones_of(Audio(np.zeros((2, 44_100)), 44_100)) == []
    assert recognise.phones_of(Audio(np.zeros((1, 0)), 16_000)) == []


def test_long_tracks_are_cut_where_they_are_quiet(spoken: Audio) -> None:
    gap = np.zeros((1, round(0.6 * spoken.rate)), np.float32)
    song = Audio(np.hstack([spoken.samples, gap] * 6), spoken.rate)
    cuts = recognise.pieces(song.samples[0])
    assert cuts[0][0] == 0 and cuts[-1][1] == song.samples.shape[1] and len(cuts) >= 2
    assert all(one[1] == two[0] for one, two in pairwise(cuts))
    for _, last in cuts[:-1]:
        assert not song.samples[0, last - 200 : last + 200].any()
    alone = recognise.symbols_of(spoken)
    assert words.edits(alone * 6, recognise.symbols_of(song)).rate == pytest.approx(0, abs=0.15)


def test_what_decided_is_told() -> None:
    told = recognise.describe()
    assert told["extractor_version"] and told["beam"] == 1e-20 and told["padding"] == 0.2
