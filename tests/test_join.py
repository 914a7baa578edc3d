"""The join of lyrics, times and structure, on songs whose times are known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.data.given import Span, Timed, as_lines
from yue.data.join import GAP, LEAD, join, match_times
from yue.evaluate.words import tokens
from yue.lyrics import Section

VERSE = Section("verse", "The river keeps on running\nDown to the sea")
CHORUS = Section("chorus", "Come home come home\nCome home to me")
SECOND = Section("verse", "The moon is on the water\nAnd so are we")


def sung(section: Section, start: float, end: float) -> list[Timed]:
    """The words of a section, evenly between two times."""
    words = tokens(section.text)
    step = (end - start) / len(words)
    return [Timed(w, start + i * step, start + (i + 1) * step) for i, w in enumerate(words)]


def spans(*edges: float) -> list[Span]:
    return [Span("verse", a, b) for a, b in itertools.pairwise(edges)]


def test_borders_fall_on_the_structure_between_the_words() -> None:
    heard = sung(VERSE, 2, 14) + sung(CHORUS, 17, 28) + sung(SECOND, 30, 44)
    places, match = join([VERSE, CHORUS, SECOND], heard, spans(0, 16.5, 29.2, 45), 45)
    assert [(p.label, p.text, p.start, p.end) for p in places] == [
        ("verse", VERSE.text, 0, 16.5), ("chorus", CHORUS.text, 16.5, 29.2),
        ("verse", SECOND.text, 29.2, 45),
    ]
    words = sum(len(tokens(s.text)) for s in (VERSE, CHORUS, SECOND))
    assert (match.words, match.timed, match.rate) == (words, words, 1)
    assert (match.lines, match.sections, match.placed) == (6, 3, 3)
    assert match.agreement == pytest.approx((16.5 + 15.8) / 45)


def test_without_structure_a_section_begins_a_little_before_its_words() -> None:
    heard = sung(VERSE, 2, 14) + sung(CHORUS, 17, 28)
    places, _ = join([VERSE, CHORUS], heard, [], 30)
    assert places[1].start == pytest.approx(17 - LEAD)
    tight, _ = join([VERSE, CHORUS], sung(VERSE, 2, 14) + sung(CHORUS, 14.1, 28), [], 30)
    assert tight[1].start == pytest.approx(14)  # never inside the words before


def test_long_gaps_become_sections_of_their_own() -> None:
    heard = sung(VERSE, 12, 24) + sung(CHORUS, 40, 52)
    places, match = join([VERSE, CHORUS], heard, spans(0, 11.5, 25, 39.5, 53, 70), 70)
    assert [(p.label, p.start, p.end) for p in places] == [
        ("intro", 0, 11.5), ("verse", 11.5, 25), ("bridge", 25, 39.5), ("chorus", 39.5, 53),
        ("outro", 53, 70),
    ]
    assert match.placed == match.sections == 2  # what was added does not count


def test_empty_sections_of_the_lyrics_name_the_gaps() -> None:
    lyrics = [Section("intro", ""), VERSE, Section("bridge", ""), Section("chorus", ""), CHORUS]
    heard = sung(VERSE, 12, 24) + sung(CHORUS, 44, 56)
    places, match = join(lyrics, heard, [], 58)
    assert [(p.label, p.text != "") for p in places] == [
        ("intro", False), ("verse", True), ("bridge", False), ("chorus", False), ("chorus", True)
    ]
    assert places[2].end - places[2].start == pytest.approx(places[3].end - places[3].start)
    assert match.placed == 5


def test_an_empty_section_without_room_is_not_placed() -> None:
    heard = sung(VERSE, 1, 12) + sung(CHORUS, 12.5, 24)
    places, match = join([VERSE, Section("bridge", ""), CHORUS], heard, [], 25)
    assert [p.label for p in places] == ["verse", "chorus"]
    assert (match.sections, match.placed) == (3, 2)


def test_what_was_not_found_leaves_a_hole() -> None:
    heard = sung(VERSE, 1, 12) + sung(CHORUS, 40, 52)
    places, match = join([VERSE, SECOND, CHORUS], heard, [], 54)
    assert [p.label for p in places] == ["verse", "chorus"]
    assert places[0].end == pytest.approx(12 + LEAD)
    assert places[1].start == pytest.approx(40 - LEAD)
    assert match.placed == 2 and match.timed < match.words


def test_a_section_of_which_half_the_words_are_missing_is_not_placed() -> None:
    few = sung(SECOND, 20, 30)[:4]
    assert len(few) < len(tokens(SECOND.text)) / 2
    places, _ = join([VERSE, SECOND], sung(VERSE, 1, 12) + few, [], 32)
    assert [p.label for p in places] == ["verse"]


def test_repeated_words_keep_their_order() -> None:
    heard = sung(CHORUS, 3, 15) + sung(VERSE, 20, 30) + sung(CHORUS, 35, 45)
    places, match = join([CHORUS, VERSE, CHORUS], heard, [], 50)
    starts = [0, pytest.approx(20 - LEAD), pytest.approx(35 - LEAD)]
    assert [p.start for p in places if p.text] == starts
    assert match.rate == 1


def test_wrong_words_get_no_time() -> None:
    heard = [Timed("one", 0, 1), Timed("too", 1, 2), Timed("three", 2, 3)]
    assert match_times(["one", "two", "three"], heard) == [(0, 1), None, (2, 3)]
    assert match_times([], heard) == [] and match_times(["one"], []) == [None]


def test_phrases_share_their_time_by_length() -> None:
    assert match_times(["a", "bbb"], [Timed("A, bbb!", 10, 14)]) == [(10, 11), (11, 14)]


def test_lyrics_without_any_time_have_no_place() -> None:
    places, match = join([VERSE, CHORUS], [], spans(0, 10, 20), 20)
    assert places == [] and (match.rate, match.placed) == (0, 0)


def test_lines_without_labels_take_the_structure() -> None:
    lines = [Timed("one two", 1, 4), Timed("three", 9, 12), Timed("four", 14, 16)]
    structure = [Span("verse", 0, 10), Span("chorus", 10, 20), Span("outro", 20, 30)]
    places, match = join([], lines, structure, 30)
    assert [(p.label, p.text, p.start, p.end) for p in places] == [
        ("verse", "one two", 0, 9), ("chorus", "three\nfour", 9, 20), ("outro", "", 20, 30)
    ]
    assert (match.words, match.timed, match.lines, match.placed) == (4, 4, 3, 3)


def test_words_become_lines_at_pauses() -> None:
    words = [Timed("one", 0, 1), Timed("two", 1.2, 2), Timed("three", 4, 5)]
    assert as_lines(words) == [Timed("one two", 0, 2), Timed("three", 4, 5)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_places_never_overlap_and_lose_no_found_section(data: st.DataObject) -> None:
    lyrics, heard, at = [], [], 0.0
    for index in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            words = " ".join(f"w{index}x{k}" for k in range(data.draw(st.integers(1, 9))))
            lyrics.append(Section("verse", words))
            start = at + data.draw(st.floats(0, 2 * GAP))
            at = start + data.draw(st.floats(1, 20))
            heard += sung(lyrics[-1], start, at)
        else:
            lyrics.append(Section("bridge", ""))
    seconds = at + data.draw(st.floats(0.5, 20))
    edges = sorted(data.draw(st.lists(st.floats(0.1, seconds), max_size=5)))
    places, match = join(lyrics, heard, spans(0, *edges, seconds), seconds)
    assert [p.text for p in places if p.text] == [s.text for s in lyrics if s.text]
    assert all(a.end == b.start for a, b in itertools.pairwise(places))
    assert not places or (places[0].start, places[-1].end) == (0, seconds)
    assert all(p.start < p.end for p in places)
    for section, place in zip([s for s in lyrics if s.text], [p for p in places if p.text],
                              strict=True):
        words = set(tokens(section.text))
        assert all(place.start <= t.start and t.end <= place.end + 1e-6
                   for t in heard if t.text in words)
    assert match.rate == 1 and 0 <= match.placed <= match.sections
