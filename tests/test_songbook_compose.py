"""Composing: closed forms of words, rhythm, harmony, tags; no native code in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import LyricsError, OptionError
from yue.lyrics import Lyrics, Section, parse
from yue.phonemes import PHONES, words
from yue.songbook.bank import keys_of_programs
from yue.songbook.compose import compose
from yue.songbook.genres import DRUMS, GENRES, hits
from yue.songbook.harmony import SCALES, STRONG, chord, close, strength
from yue.songbook.profile import FRAME_RATE, FULL, SIMPLE, Profile, find_profile
from yue.songbook.rhythm import free_rhythm, grid_rhythm
from yue.songbook.score import SIXTEENTHS, Score
from yue.songbook.sheet import text_of
from yue.songbook.syllabify import syllabify
from yue.songbook.tags import FAST, MOODS
from yue.songbook.verses import LEXICON, TEMPLATES, Writer, syllable_count
from yue.songbook.voices import VOICES
from yue.songbook.words import ABUSE, Vocabulary, load_vocabulary, rhyme_part

SONGS = 12


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary()


@pytest.fixture(scope="module", params=[SIMPLE, FULL], ids=lambda p: p.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    return request.param


@pytest.fixture(scope="module")
def songs(profile: Profile, vocabulary: Vocabulary) -> list[Score]:
    return [compose(5, index, profile, vocabulary=vocabulary) for index in range(SONGS)]


# The whole ----------------------------------------------------------------------------------------


def test_a_song_depends_on_nothing_but_its_arguments(
    songs: list[Score], profile: Profile, vocabulary: Vocabulary
) -> None:
    assert compose(5, SONGS - 1, profile, vocabulary=vocabulary) == songs[-1]
    assert len({song.lyrics for song in songs}) == SONGS
    assert compose(6, 0, profile, vocabulary=vocabulary).lyrics != songs[0].lyrics


def test_composing_needs_no_native_library() -> None:
    code = (
        "import sys; sys.modules['pyworld'] = None\n"
        "from yue.songbook.compose import compose; from yue.songbook.profile import FULL\n"
        "assert compose(1, 1, FULL).lines\n"
        "assert not {'torch', 'yue.songbook.flite', 'yue.songbook.bank'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scores_are_json(songs: list[Score]) -> None:
    song = songs[0]
    held = json.loads(json.dumps(song.as_dict()))
    assert held["id"] == song.id and held["lines"][0]["text"] == song.lines[0].text


def test_another_voice_or_genre_keeps_the_words(vocabulary: Vocabulary) -> None:
    plain, other = (
        compose(3, 4, SIMPLE, voice=voice, genre=genre, vocabulary=vocabulary)
        for voice, genre in (("m1", "pop"), ("f1", "metal"))
    )
    assert plain.lyrics == other.lyrics
    assert (plain.voice, other.genre) == ("m1", "metal")


def test_the_lead_sheet_shows_words_and_chords(songs: list[Score]) -> None:
    for song in songs:
        sheet = text_of(song)
        assert all(line.text in sheet for line in song.lines)
        assert sheet.count(" | ") == len(song.bars) - len(song.sections)


# Words --------------------------------------------------------------------------------------------


def test_the_words_that_are_sung_are_the_words_of_the_text(songs: list[Score]) -> None:
    for song in songs:
        for number, part in enumerate(song.sections):
            asked = [phone for line in part.text.split("\n") for word in words(line)
                     for phone in word.phones]
            lines = [line for line in song.lines if line.section == number]
            assert asked == [phone for line in lines for phone in line.phones]


def test_lyrics_are_sung_as_given(profile: Profile) -> None:
    lyrics = parse("[verse]\nHello, world's 99 o'clock\n\n-- !\nIt's me\n\n[outro]\n")
    song = compose(1, 1, profile, lyrics=lyrics)
    assert [line.text for line in song.lines] == ["Hello, world's 99 o'clock", "It's me"]
    assert song.lines[0].words == ("Hello", "world's", "ninety", "nine", "o'clock")
    assert [part.label for part in song.sections] == ["verse", "outro"]
    assert song.sections[1].last > song.sections[1].first


@settings(deadline=None, max_examples=40)
@given(st.text(alphabet="abcdehilmnorstuvwy' ,.!3", min_size=1, max_size=120))
def test_any_line_can_be_sung(text: str) -> None:
    lyrics = Lyrics((Section("verse", text), Section("chorus", "la la")))
    for kind in (SIMPLE, FULL):
        song = compose(1, 1, kind, lyrics=lyrics)
        for line in song.lines:
            for before, after in pairwise(line.notes):
                assert before.start < before.end <= after.start + 1e-9


def test_lyrics_without_a_sound_are_refused() -> None:
    with pytest.raises(LyricsError, match="no word"):
        compose(1, 1, FULL, lyrics=Lyrics((Section("verse", "?!"),)))


def test_syllables_hold_every_phone_once() -> None:
    for text in ("'s strange rhythms", "hm", "pst 'd", "it's 's extra", "Twelfths of everything"):
        line = syllabify(text)
        assert list(line.phones) == [phone for word in words(text) for phone in word.phones]
        assert all(0 <= s.nucleus < len(s.phones) for s in line.syllables)
    assert [s.stress for s in syllabify("forever young").syllables] == [0, 1, 0, 1]
    assert syllabify("?").syllables == ()


def test_every_sound_of_english_occurs(vocabulary: Vocabulary) -> None:
    """In proportion to how often it is drawn, none of the 39 is rarer than 1 in 500."""
    writer, rng = Writer(vocabulary, FULL), np.random.default_rng(1)
    count: Counter[str] = Counter()
    for _ in range(600):
        text = writer.line(rng, 9)
        count.update(p.rstrip("012") for word in words(text) for p in word.phones)
    assert set(count) == set(PHONES)
    assert min(count.values()) > sum(count.values()) / 500


def test_words_are_known_and_decent(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.words) > 25_000
    chosen = {word for name in LEXICON.values() for word in name}
    assert not [word for word in (*vocabulary.words, *chosen) if ABUSE.search(word)]
    assert all(ABUSE.search(word) for word in ("fucking", "whores", "raped", "asshole"))
    assert not any(ABUSE.search(word) for word in ("grape", "class", "cocktail", "analysis"))
    assert {slot.rstrip(",") for t in TEMPLATES for slot in t if slot.isupper()} >= set("NAVG")


def test_rhymes() -> None:
    assert rhyme_part(("L", "AY1", "T")) == ("AY", "T") == rhyme_part(("D", "IH0", "L", "AY1", "T"))
    assert rhyme_part(("N", "EH1", "V", "ER0")) == ("EH", "V", "ER")


def test_most_pairs_of_lines_rhyme(vocabulary: Vocabulary) -> None:
    writer, rng = Writer(vocabulary, FULL.replace(rhyme=1.0)), np.random.default_rng(2)
    rhymed = 0
    for _ in range(60):
        ends = [rhyme_part(words(line)[-1].phones) for line in writer.stanza(rng, 4)]
        rhymed += (ends[0] == ends[1]) + (ends[0] == ends[2])
    assert rhymed > 40


def test_lines_have_the_syllables_asked_for(vocabulary: Vocabulary) -> None:
    writer, rng = Writer(vocabulary, SIMPLE), np.random.default_rng(3)
    sizes = [syllable_count(writer.line(rng, 7)) for _ in range(100)]
    assert np.mean(np.abs(np.array(sizes) - 7) <= 1) > 0.97


# Time ---------------------------------------------------------------------------------------------


def test_the_simple_grid_is_a_whole_number_of_frames(vocabulary: Vocabulary) -> None:
    for index in range(SONGS):
        song = compose(5, index, SIMPLE, vocabulary=vocabulary)
        times = [bar.start for bar in song.bars] + [song.seconds]
        times += [at for line in song.lines for note in line.notes for at in (note.start, note.end)]
        frames = np.array(times) * FRAME_RATE
        assert np.abs(frames - frames.round()).max() < 1e-6


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40),
       st.sampled_from([0.2, 0.16, 0.12, 0.1]))
def test_the_simple_rhythm_follows_from_the_words(stresses: list[int], sixteenth: float) -> None:
    rhythm = grid_rhythm(stresses, sixteenth)
    steps = set(np.diff(rhythm.starts).tolist())
    step = rhythm.starts[1] - rhythm.starts[0] if len(stresses) > 1 else rhythm.ends[0] // 4
    assert len(steps) <= 1
    assert rhythm.starts[0] > 0 and rhythm.ends[-1] <= rhythm.length
    assert rhythm.length - rhythm.ends[-1] < 4 * max(step, 2)
    assert rhythm == grid_rhythm(stresses, sixteenth)


def test_stress_falls_on_beats() -> None:
    for stresses in ([1, 0, 1, 0, 1], [0, 1, 0, 1, 0]):
        rhythm = grid_rhythm(stresses, 0.16)
        assert all(
            strength(at) >= STRONG for at, s in zip(rhythm.starts, stresses, strict=True) if s
        )


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.55, 1.0]), min_size=1, max_size=40),
       st.floats(1.5, 3.6), st.booleans())
def test_the_free_rhythm_has_room_for_all(weights: list[float], bar: float, dense: bool) -> None:
    rhythm = free_rhythm(weights, bar, np.random.default_rng(0), dense=dense)
    assert len(rhythm.starts) == len(weights)
    assert all(a < b for a, b in zip(rhythm.starts, rhythm.ends, strict=True))
    assert all(a <= b for a, b in zip(rhythm.ends, rhythm.starts[1:], strict=False))
    assert rhythm.ends[-1] <= rhythm.length and rhythm.length % SIXTEENTHS == 0


def test_sections_tile_the_bars_and_hold_their_lines(songs: list[Score]) -> None:
    for song in songs:
        assert [part.first for part in song.sections[1:]] == [p.last for p in song.sections[:-1]]
        assert song.sections[-1].last == len(song.bars)
        assert np.allclose(np.diff([bar.start for bar in song.bars]), song.bar_seconds)
        for line in song.lines:
            part = song.sections[line.section]
            begin = song.bars[part.first].start
            assert begin <= line.notes[0].start
            assert line.notes[-1].end <= begin + (part.last - part.first) * song.bar_seconds + 1e-6


def test_simple_lines_are_sung_at_a_speed_that_can_be_learnt(vocabulary: Vocabulary) -> None:
    for index in range(SONGS):
        for line in compose(5, index, SIMPLE, vocabulary=vocabulary).lines:
            seconds = line.notes[-1].start - line.notes[0].start
            assert 2.4 <= (len(line.syllables) - 1) / seconds <= 4.3


# Pitch --------------------------------------------------------------------------------------------


def test_notes_are_on_the_scale_and_in_the_singers_range(
    songs: list[Score], profile: Profile
) -> None:
    for song in songs:
        if "rapping" in song.tags:
            continue
        for line in (*song.lines, *song.backing):
            pitches = np.array([note.pitch for note in line.notes])
            assert np.isin((pitches - song.key) % 12, SCALES[song.mode]).all()
        sung = np.array([note.pitch for line in song.lines for note in line.notes])
        assert np.abs(sung - VOICES[song.voice].centre).max() <= profile.span


def test_chord_tones_on_strong_beats(songs: list[Score]) -> None:
    on_chord = []
    for song in songs:
        if "rapping" in song.tags:
            continue
        first = song.bars[0].start
        for line in song.lines:
            for syllable in line.syllables:
                note = syllable.notes[0]
                at = round((note.start - first) / song.bar_seconds * SIXTEENTHS)
                if strength(at) >= STRONG:
                    tones = {pitch % 12 for pitch in song.bars[at // SIXTEENTHS].chord}
                    on_chord.append(note.pitch % 12 in tones)
    assert np.mean(on_chord) > 0.85


def test_melisma_only_where_asked_for(songs: list[Score], profile: Profile) -> None:
    counts = [len(s.notes) for song in songs for line in song.lines for s in line.syllables]
    assert set(counts) == ({1, 2} if profile.melisma else {1})


def test_a_backing_voice_sings_a_third_below_in_choruses(vocabulary: Vocabulary) -> None:
    song = compose(1, 0, FULL, genre="pop", vocabulary=vocabulary)
    chorus = [line for line in song.lines if song.sections[line.section].label == "chorus"]
    assert [line.text for line in song.backing] == [line.text for line in chorus]
    for line, second in zip(chorus, song.backing, strict=True):
        gaps = {a.pitch - b.pitch for a, b in zip(line.notes, second.notes, strict=True)}
        assert gaps <= {3, 4}


def test_repeated_choruses(vocabulary: Vocabulary) -> None:
    form = ("chorus", "verse", "chorus")
    for kind in (FULL, SIMPLE):
        song = compose(1, 0, kind.replace(forms=(form,)), vocabulary=vocabulary)
        assert (song.sections[0].text == song.sections[2].text) is kind.repeat_chorus


def test_chords() -> None:
    assert chord(0, 0, "major") == (0, 4, 7)
    assert chord(1, 2, "minor", seventh=True) == (4, 7, 10, 14)
    assert close((0, 4, 7), 55) == [55, 60, 64]


# Band and tags ------------------------------------------------------------------------------------


def test_tags_are_true(songs: list[Score]) -> None:
    for song in songs:
        assert set(song.tags) & set(MOODS[song.mode, song.tempo >= FAST])
        assert VOICES[song.voice].gender in song.tags and song.genre in song.tags
        assert set(VOICES[song.voice].timbres) & set(song.tags)
        named = set(song.tags) & set(song.instruments)
        assert named
        programs = {event.program for event in song.events if not event.drum}
        playing = {la.tag for la in GENRES[song.genre].layers if la.program in programs}
        kit = GENRES[song.genre].kit
        if kit and any(event.drum for event in song.events):
            playing.add(kit.tag)
        assert named <= playing


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_plays_what_the_bank_has(genre: str, vocabulary: Vocabulary) -> None:
    keys = keys_of_programs()
    for kind in (SIMPLE, FULL):
        song = compose(9, 2, kind, genre=genre, vocabulary=vocabulary)
        assert len(song.events) > 10 * len(song.sections)
        for event in song.events:
            assert event.key in (DRUMS if event.drum else keys[event.program])
            assert 0 <= event.start < song.seconds and 20 <= event.velocity <= 120


def test_the_bands_harmony_is_on_the_scale(songs: list[Score]) -> None:
    for song in songs:
        keys = np.array([event.key for event in song.events if not event.drum])
        assert np.isin((keys - song.key) % 12, SCALES[song.mode]).all()


def test_a_simple_band_plays_on_the_grid(vocabulary: Vocabulary) -> None:
    song = compose(1, 0, SIMPLE, genre="rock", vocabulary=vocabulary)
    places = np.array([event.start for event in song.events]) / song.bar_seconds * SIXTEENTHS
    assert np.abs(places - places.round()).max() < 1e-6


def test_the_notation_of_patterns() -> None:
    first, second = hits("0:1.5:c 2:3:r+f:-8")
    assert asdict(first) == {"at": 0.0, "length": 1.5, "tones": "c", "level": 0}
    assert (second.tones, second.level) == ("r+f", -8)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "told"), [
    ({"voices": ("m9",)}, "'m9' is unknown"), ({"genres": ()}, "genres is empty"),
    ({"lines": (3, 2)}, "1 <= fewest <= most"),
])
def test_bad_profiles(changes: dict[str, object], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        SIMPLE.replace(**changes)


def test_unknown_names(vocabulary: Vocabulary) -> None:
    with pytest.raises(OptionError, match="allowed are full, simple"):
        find_profile("plain")
    with pytest.raises(OptionError, match="genre 'polka' is unknown"):
        compose(1, 1, FULL, genre="polka", vocabulary=vocabulary)
