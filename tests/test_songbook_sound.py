"""Singing and playing: exact times, true pitch, levels; no song depends on another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from yue.data.records import ROOTS, problems, read, write
from yue.errors import ModelError
from yue.lyrics import parse
from yue.songbook import bank as banks
from yue.songbook import flite
from yue.songbook.band import accompany
from yue.songbook.bank import RATE, Bank, keys_of_programs
from yue.songbook.compose import compose
from yue.songbook.flite import Flite, flite_phone
from yue.songbook.make import Studio
from yue.songbook.perform import Performance, active_rms, perform
from yue.songbook.pitch import Manner, hertz, sung_pitch
from yue.songbook.profile import FULL, SIMPLE
from yue.songbook.rows import FRAME_RATE, full_sheet, part_borders, to_record
from yue.songbook.score import Event, Line, Note, Score, Syllable
from yue.songbook.sing import sing, stretched
from yue.songbook.timing import STEP_SECONDS, VOWEL_LEAST, place_phones
from yue.songbook.world import KINDS, kind_of
from yue.tokenizer import PhonemeTokenizer

SHORT = SIMPLE.replace(forms=(("verse", "chorus"),), lines=(1, 2))
LYRICS = parse("[verse]\nThe strange joy of measure\n\n[chorus]\nIt's all we have, hmm")


@pytest.fixture(scope="module")
def studio() -> Studio:
    try:
        studio = Studio.open()
        studio.bank.file(0)
    except ModelError as error:
        pytest.skip(str(error))
    return studio


def song_of(studio: Studio, index: int, **chosen: str) -> Performance:
    score = compose(4, index, SHORT, vocabulary=studio.vocabulary, **chosen)  # type: ignore[arg-type]
    return perform(score, studio.speakers, studio.bank, effects=False)


@pytest.fixture(scope="module")
def song(studio: Studio) -> Performance:
    return song_of(studio, 0, voice="m1", genre="pop")


# Times --------------------------------------------------------------------------------------------


def line_of(*notes: tuple[float, float], phones: str = "S T R AE1 NG K TH S") -> Line:
    symbols = tuple(phones.split())
    syllables = tuple(Syllable(symbols, 3, 0, (Note(a, b, 60.0),)) for a, b in notes)
    return Line("", 0, ("",), syllables)


def test_consonants_come_before_the_beat_and_vowels_on_it() -> None:
    line = line_of((1.0, 2.0), (2.0, 3.0), (4.0, 4.5))
    placed = place_phones(line, [10] * 24)
    assert [item.phone for item in placed] == list(range(24))
    vowels = [item for item in placed if item.phone % 8 == 3]
    assert [item.start for item in vowels] == [200, 400, 800]
    assert placed[0].start == 170 and placed[-1].end == 900
    gaps = [after.start - before.end for before, after in pairwise(placed)]
    assert sum(map(bool, gaps)) == 1 and max(gaps) == 170
    assert placed[15].end == 600


def test_consonants_give_way_where_notes_are_short() -> None:
    line = line_of(*((k * 0.1, k * 0.1 + 0.1) for k in range(5, 10)))
    placed = place_phones(line, [20] * 40, earliest=95)
    assert placed[0].start >= 95
    assert all(before.end == after.start for before, after in pairwise(placed))
    assert all(p.end - p.start >= VOWEL_LEAST for p in placed if p.phone % 8 == 3)
    assert all(p.end >= p.start for p in placed)


def test_stretching_keeps_the_edges() -> None:
    for diphthong in (False, True):
        places = stretched(30, 200, diphthong)
        assert places[0] == 0 and places[-1] == 29 and (np.diff(places) >= 0).all()
        assert np.allclose(np.diff(places)[:8], 1) and np.allclose(np.diff(places)[-8:], 1)
    assert stretched(30, 10, False)[-1] == 29


def test_every_phone_has_a_class() -> None:
    from yue.phonemes import SYMBOLS

    assert {kind_of(symbol) for symbol in SYMBOLS} == set(KINDS)
    assert (flite_phone("AH0"), flite_phone("AH1"), flite_phone("ZH")) == ("ax", "ah", "zh")


def test_phones_tile_their_lines(song: Performance) -> None:
    assert [p.symbol for p in song.phones] == [p for li in song.score.lines for p in li.phones]
    for before, after in pairwise(song.phones):
        assert before.start < before.end <= after.start + 1e-9
        if before.line == after.line:
            assert after.start - before.end < 1e-9
    vowels = [p for p in song.phones if p.symbol[-1].isdigit()]
    begins = [s.notes[0].start for line in song.score.lines for s in line.syllables]
    assert np.abs(np.array([p.start for p in vowels]) - begins).max() <= STEP_SECONDS


# Sound --------------------------------------------------------------------------------------------


def autocorrelation_pitch(wave: np.ndarray, rate: int, near: float) -> float:
    """F0 in Hz within an octave of `near`, from the highest peak of the autocorrelation."""
    wave = (wave - wave.mean()) * np.hanning(len(wave))
    size = 4 * len(wave)
    power = np.fft.irfft(np.abs(np.fft.rfft(wave, size)) ** 2)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(len(wave)), size)) ** 2)
    low, high = int(rate / near / 1.6), int(rate / near * 1.6)
    ratio = power[low - 1 : high + 2] / window[low - 1 : high + 2]
    k = int(ratio[1:-1].argmax()) + 1
    a, b, c = ratio[k - 1 : k + 2]
    return rate / (low - 1 + k + 0.5 * (a - c) / (a - 2 * b + c))


def test_the_notes_are_sung_in_tune(studio: Studio) -> None:
    cents = []
    for index, voice in enumerate(("m1", "m3", "f1", "f5")):
        song = song_of(studio, index, voice=voice)
        for note in (note for line in song.score.lines for note in line.notes):
            middle = int((0.35 * note.start + 0.65 * note.end - 0.08) * RATE)
            near = float(hertz(note.pitch))
            found = autocorrelation_pitch(song.vocals[middle : middle + 3000], RATE, near)
            cents.append(1200 * np.log2(found / near))
    assert len(cents) > 30
    assert np.mean(np.abs(cents) < 50) > 0.85
    assert np.median(np.abs(cents)) < 12


def test_the_written_pitch_is_the_notes(song: Performance) -> None:
    for note in (note for line in song.score.lines for note in line.notes):
        at = song.pitch[round((note.start + 0.03) / STEP_SECONDS)]
        assert at == pytest.approx(hertz(note.pitch)) or at == 0


def test_glide_vibrato_and_scoop() -> None:
    notes, rng = (Note(0.0, 1.0, 60.0), Note(1.0, 2.0, 64.0)), np.random.default_rng(0)
    plain, written = sung_pitch(notes, 0, 400, Manner(), rng)
    assert set(written) == {60.0, 64.0} and np.abs(plain - written)[20:180].max() < 1e-9
    assert plain[193] == pytest.approx(62, abs=1.0)  # the glide ends where the note begins
    assert plain[200] == pytest.approx(64, abs=0.05)
    sung, _ = sung_pitch(notes, 0, 400, Manner(vibrato=0.5, scoop=1.0), rng)
    assert sung[0] == pytest.approx(59.0) and np.ptp(sung[100:180]) == pytest.approx(1.0, abs=0.05)


def test_levels(song: Performance) -> None:
    assert len(song.vocals) == len(song.accompaniment) == round(song.score.seconds * RATE)
    assert np.abs(song.mix).max() <= 0.981
    for track, level in ((song.vocals, 0.11), (song.accompaniment, 0.075)):
        assert active_rms(track, RATE) == pytest.approx(level, rel=0.25)
    assert np.isfinite(song.mix).all()


def test_the_voice_rests_between_lines(song: Performance) -> None:
    first, second = (
        [phone for phone in song.phones if phone.line == line] for line in (0, 1)
    )
    middle = (first[-1].end + second[0].start) / 2
    gap = song.vocals[int((middle - 0.02) * RATE) : int((middle + 0.02) * RATE)]
    assert np.sqrt(np.square(gap).mean()) < 0.01


def test_a_song_alone_equals_the_song_after_others(studio: Studio, song: Performance) -> None:
    for index in range(1, 6):
        song_of(studio, index)
    fresh = replace(studio, bank=Bank(studio.bank.folder))
    for again in (song_of(studio, 0, voice="m1", genre="pop"),
                  song_of(fresh, 0, voice="m1", genre="pop")):
        assert (again.vocals == song.vocals).all()
        assert (again.accompaniment == song.accompaniment).all()
        assert again.phones == song.phones


@pytest.mark.parametrize("voice", ["m2", "m4", "m5", "f2", "f3", "f4", "c1"])
def test_all_voices_sing_with_effects(studio: Studio, voice: str) -> None:
    score = compose(1, 0, FULL, voice=voice, genre="jazz", lyrics=LYRICS)
    singing = sing(score, studio.speakers)
    assert np.isfinite(singing.wave).all() and np.abs(singing.wave).max() > 0.01
    assert [p.symbol for p in singing.phones] == [p for li in score.lines for p in li.phones]


def test_rap(studio: Studio) -> None:
    score = compose(1, 0, FULL, genre="hip-hop", lyrics=LYRICS)
    assert "rapping" in score.tags
    done = perform(score, studio.speakers, studio.bank)
    assert np.abs(done.vocals).max() > 0.05


# Band ---------------------------------------------------------------------------------------------


def one_note(score: Score, *events: Event) -> Score:
    return replace(score, events=events)


def test_the_band_is_the_sum_of_its_notes(studio: Studio, song: Performance) -> None:
    events = (
        Event(0.5, 0.4, 0, 60, 96), Event(0.5, 0.4, 0, 64, 48), Event(1.0, 1, 0, 36, 90, True)
    )
    together = accompany(one_note(song.score, *events), studio.bank)
    alone = [accompany(one_note(song.score, event), studio.bank) for event in events]
    assert np.allclose(together, np.sum(alone, axis=0), atol=1e-6)
    assert not alone[0][: int(0.5 * RATE)].any()
    assert np.abs(alone[0][int(1.0 * RATE) :]).max() < 0.05 * np.abs(alone[0]).max()


@pytest.mark.parametrize("program", [25, 33, 80])
def test_the_notes_of_the_bank_are_in_tune(studio: Studio, program: int) -> None:
    for key in keys_of_programs()[program][::8]:
        near = float(hertz(key))
        wave = studio.bank.note(program, key)[6000:14000] / 32767
        found = autocorrelation_pitch(wave, RATE, near)
        assert 1200 * np.log2(found / near) == pytest.approx(0, abs=12)


def test_the_bank_is_the_same_again(studio: Studio, tmp_path: Path) -> None:
    again = Bank(tmp_path).file(0)
    assert again.read_bytes() == studio.bank.file(0).read_bytes()


# Rows ---------------------------------------------------------------------------------------------


def silent_codes(song: Performance) -> dict[str, np.ndarray]:
    frames = round(song.score.seconds * FRAME_RATE)
    return {track: np.zeros((2, frames), np.int16) for track in ("vocals", "accompaniment")}


def test_the_phones_of_a_part_are_those_the_tokenizer_makes(studio: Studio) -> None:
    tokenizer = PhonemeTokenizer()
    for song in (
        song_of(studio, 0),
        perform(compose(2, 0, FULL, lyrics=LYRICS), studio.speakers, studio.bank),
    ):
        record = to_record(song, silent_codes(song))
        for number, part in enumerate(record.parts):
            ids = tokenizer.encode(f"[{part.label}]\n{part.text}")
            asked = [tokenizer.symbol(token) for token in ids if token in tokenizer.phones]
            assert asked == [p.symbol for p in record.phones if p.part == number]


def test_records_are_whole(song: Performance, tmp_path: Path) -> None:
    record = to_record(song, silent_codes(song))
    assert not list(problems(record))
    assert record.parts[0].start == 0 and record.parts[-1].end == record.frames
    assert all(a.end == b.start for a, b in pairwise(record.parts))
    for phone in record.phones:
        part = record.parts[phone.part]
        assert part.start <= phone.start <= phone.end <= part.end
    bars = song.score.bars
    assert [chord.start for chord in record.chords] == [round(bar.start * 50) for bar in bars]
    assert [(a.end - b.start) for a, b in pairwise(record.chords)] == [0] * (len(bars) - 1)
    for chord, bar in zip(record.chords, bars, strict=True):
        root, third = bar.chord[0] % 12, bar.chord[1] - bar.chord[0]
        assert chord.label.split(":")[0] == ROOTS[root]
        assert ("maj" in chord.label) == (third == 4)
    again = read(write(tmp_path / "a.parquet", [record]))[0]
    assert again.phones == record.phones and again.notes == record.notes
    assert set(PhonemeTokenizer().unknown_tags(", ".join(record.tags))) == set()


def test_sheets_hold_exact_times(song: Performance) -> None:
    sheet = full_sheet(song)
    assert len(sheet["phones"]) == len(song.phones)
    assert [line["text"] for line in sheet["songbook"]["lines"]] == [
        line.text for line in song.score.lines
    ]
    assert part_borders(song)[-1] == song.score.seconds
    for number, line in enumerate(sheet["songbook"]["lines"]):
        own = [phone for phone in sheet["phones"] if phone["line"] == number]
        assert (own[0]["start"], own[-1]["end"]) == (line["start"], line["end"])


# Missing parts ------------------------------------------------------------------------------------


def test_missing_libraries_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flite, "_LIBRARIES", ("libnosuchflite.so.1",))
    with pytest.raises(ModelError, match="apt-get install libflite1"):
        Flite()


def test_a_missing_font_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "FONTS", ("/nowhere/font.sf2",))
    monkeypatch.delenv("YUE_SOUND_FONT", raising=False)
    with pytest.raises(ModelError, match="apt-get install fluid-soundfont-gm"):
        banks.find_font()


def test_a_missing_synthesiser_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "LIBRARIES", ("libnosuchfluid.so.3",))
    with pytest.raises(ModelError, match="apt-get install libfluidsynth3"):
        banks.load_library()
