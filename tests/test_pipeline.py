"""The verbs, end to end, on the tiny random model."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import yue
from conftest import LYRICS, SHORT
from test_audio import tone
from yue.errors import AudioError, LyricsError, ModelError, OptionError


@pytest.fixture(scope="module")
def song(model: yue.Yue) -> yue.Song:
    return model.sing(LYRICS, genres="folk", seed=7, **SHORT)


def test_a_song_has_aligned_stems_that_add_up(song: yue.Song) -> None:
    parts = (song.mix, song.vocals, song.accompaniment)
    assert {p.samples.shape for p in parts} == {(1, round(song.seconds * 44_100))}
    assert {p.rate for p in parts} == {44_100}
    total = song.vocals.samples + song.accompaniment.samples
    np.testing.assert_allclose(song.mix.samples, total, atol=1e-6)
    assert 0 < song.mix.peak <= 0.99 + 1e-6


def test_sections_cover_the_song(song: yue.Song) -> None:
    assert [s.label for s in song.sections] == ["verse", "chorus"]
    assert song.sections[0].start == 0 and song.sections[-1].end == pytest.approx(song.seconds)
    assert song.sections[0].end == song.sections[1].start
    assert song.manifest["seed"] == 7 and song.manifest["genres"] == "folk"
    assert set(song.manifest["timings"]) == {"compose_seconds", "refine_seconds", "render_seconds"}
    assert all(section.follows is not None for section in song.sections)


def test_consonance_needs_upsamplers_that_tell_notes(model: yue.Yue) -> None:
    with pytest.raises(OptionError, match="random do not tell which notes"):
        model.compose(LYRICS, "folk", consonance=0.5, **SHORT)


def test_the_same_seed_gives_the_same_song(model: yue.Yue, song: yue.Song) -> None:
    again = yue.load("random", device="cpu").sing(LYRICS, genres="folk", seed=7, **SHORT)
    np.testing.assert_array_equal(again.mix.samples, song.mix.samples)
    other = model.sing(LYRICS, genres="folk", seed=8, **SHORT)
    assert other.mix.samples.shape != song.mix.samples.shape or (
        np.abs(other.mix.samples - song.mix.samples).max() > 1e-3
    )


def test_the_seed_is_reported_when_none_was_given(model: yue.Yue) -> None:
    draft = model.compose(LYRICS, "folk", **SHORT)
    again = model.compose(LYRICS, "folk", seed=draft.seed, **SHORT)
    np.testing.assert_array_equal(draft.codes, again.codes)


def test_takes_are_a_list_of_different_drafts(model: yue.Yue) -> None:
    drafts = model.compose(LYRICS, "folk", takes=2, seed=1, **SHORT)
    assert [draft.take for draft in drafts] == [0, 1]
    assert drafts[0].codes.tobytes() != drafts[1].codes.tobytes()
    songs = model.sing(LYRICS, "folk", takes=2, seed=1, **SHORT)
    assert [s.manifest["take"] for s in songs] == [0, 1]


def test_singing_on_from_a_section(model: yue.Yue) -> None:
    whole = model.compose(LYRICS, "folk", seed=3, **SHORT)
    on = model.compose(LYRICS, "folk", seed=4, after=whole[:1], **SHORT)
    np.testing.assert_array_equal(on[:1].codes, whole[:1].codes)
    assert on.complete and len(on) == 2
    assert any("kept" in f["message"] for f in on.made_by["findings"])
    takes = model.compose(LYRICS, "folk", seed=4, takes=2, after=whole[:1], **SHORT)
    assert takes[0][1:].codes.tobytes() != takes[1][1:].codes.tobytes()


def test_a_saved_draft_goes_on_without_lyrics(model: yue.Yue, tmp_path: Path) -> None:
    whole = model.compose(LYRICS, "folk", seed=3, **SHORT)
    half = yue.Draft.load(whole[:1].save(tmp_path / "half.npz"))
    resumed = model.compose(after=half, seed=half.seed, **SHORT)
    np.testing.assert_array_equal(resumed.codes, whole.codes)
    assert resumed.genres == "folk"
    finished = model.compose(after=whole)
    np.testing.assert_array_equal(finished.codes, whole.codes)


def test_a_section_in_the_middle_is_no_beginning(model: yue.Yue) -> None:
    whole = model.compose(LYRICS, "folk", seed=3, **SHORT)
    with pytest.raises(OptionError, match="first section"):
        model.compose(LYRICS, "folk", after=whole[1:])
    with pytest.raises(LyricsError, match="keep fewer"):
        model.compose("[verse]\nonly one", "folk", after=whole)


def test_interruption_keeps_the_finished_sections(model: yue.Yue) -> None:
    """A real Ctrl-C, sent while the second section is composed."""
    import signal

    seen = threading.Event()

    def progress(verb: str, done: float, total: float) -> None:
        if done > 1.1 and not seen.is_set():
            seen.set()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(yue.Interrupted) as caught:
        model.compose(LYRICS, "folk", seed=3, progress=progress, **SHORT)
    (draft,) = caught.value.drafts
    assert len(draft) == 1 and not draft.complete
    whole = model.compose(LYRICS, "folk", seed=3, **SHORT)
    resumed = model.compose(after=draft, seed=3, **SHORT)
    np.testing.assert_array_equal(resumed.codes, whole.codes)


def test_progress_reaches_the_end_of_every_verb(model: yue.Yue) -> None:
    last: dict[str, float] = {}
    model.sing(
        LYRICS, "folk", seed=1, **SHORT,
        progress=lambda verb, done, total: last.__setitem__(verb, done / total),
    )
    assert last.keys() == {"compose", "refine", "render"}
    assert last["refine"] == last["render"] == 1 and last["compose"] > 0.5


@pytest.mark.parametrize("mode", ["clean", "upstream", "upsampled", "codec"])
def test_every_way_to_render(model: yue.Yue, mode: str) -> None:
    codes = model.refine(model.compose(LYRICS, "folk", seed=3, **SHORT))
    song = model.render(codes, mode=mode)
    rate = 16_000 if mode == "codec" else 44_100
    assert song.mix.rate == rate and song.mix.samples.shape[1] == round(song.seconds * rate)
    assert song.mix.peak > 0


def test_rendering_in_pieces_is_seamless(
    model: yue.Yue, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = model.refine(model.compose(LYRICS, "folk", seed=3, **SHORT))
    whole = model.render(codes)
    monkeypatch.setattr("yue.render.PIECE_FRAMES", 17)
    pieces = model.render(codes)
    np.testing.assert_allclose(pieces.mix.samples, whole.mix.samples, atol=1e-5)


def test_a_draft_can_be_previewed_and_cut(model: yue.Yue) -> None:
    draft = model.compose(LYRICS, "folk", seed=3, **SHORT)
    assert model.render(draft).seconds == draft.seconds
    assert model.render(draft[1:]).seconds == draft[1:].seconds
    assert model.render(draft[:0]).seconds == 0
    codes = model.refine(draft)
    assert model.render(codes[:1]).sections[0].label == "verse"


def test_bad_lyrics(model: yue.Yue) -> None:
    for text in ("", " \n\t "):
        with pytest.raises(LyricsError, match="empty"):
            model.compose(text, "folk")
    with pytest.raises(LyricsError, match="binary"):
        model.compose("\0\1\2", "folk")
    with pytest.raises(LyricsError, match="no lyrics"):
        model.compose()
    with pytest.raises(yue.CapacityError, match="Shorten the lyrics"):
        model.compose("[verse]\n" + "words and words " * 12_500, "folk")


def test_labels_alone_are_an_instrumental(model: yue.Yue) -> None:
    draft = model.compose("[intro]\n\n[outro]\n", "folk", seed=1, **SHORT)
    assert [s.text for s in draft.sections] == ["", ""] and draft.complete


def test_knobs_are_checked(model: yue.Yue) -> None:
    with pytest.raises(OptionError, match="did you mean 'top_p'"):
        model.compose(LYRICS, "folk", topp=0.5)
    with pytest.raises(OptionError, match="device"):
        yue.load("random", device="cuda:99")


# References -----------------------------------------------------------------------------------

def test_references_change_the_song_and_are_remembered(model: yue.Yue) -> None:
    plain = model.compose(LYRICS, "folk", seed=3, **SHORT)
    like = yue.Reference(tone(440, 44_100, 2.0), start=0.5, end=1.5)
    single = model.compose(LYRICS, "folk", seed=3, like=like, **SHORT)
    assert len(single.reference) == 50 and single.codes.tobytes() != plain.codes.tobytes()
    resumed = model.compose(after=single[:1], seed=3, **SHORT)
    np.testing.assert_array_equal(resumed.codes, single.codes)


def test_stems_of_unequal_length_and_eight_channels(model: yue.Yue, tmp_path: Path) -> None:
    vocals = tone(440, 44_100, 2.0, channels=8).save(tmp_path / "v.wav")
    like = yue.Reference(vocals=vocals, accompaniment=tone(220, 48_000, 1.0), end=30)
    draft = model.compose(LYRICS, "folk", seed=3, like=like, **SHORT)
    assert len(draft.reference) == 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"audio": tone(1, 8000), "start": 2, "end": 1}, "start"),
        ({"audio": tone(1, 8000), "start": -1}, "start"),
        ({"vocals": tone(1, 8000)}, "both"),
        ({}, "either"),
    ],
)
def test_impossible_references_are_refused_at_once(given: dict, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        yue.Reference(**given)


@pytest.mark.parametrize(
    ("audio", "start", "message"),
    [
        (tone(1, 8000, 1.0), 5.0, "1.00 s long"),
        (yue.Audio(np.zeros((1, 0)), 8000), 0.0, "at least"),
        ("missing.mp3", 0.0, "no such file"),
    ],
)
def test_references_with_nothing_in_them(
    model: yue.Yue, audio: object, start: float, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        model.compose(LYRICS, "folk", like=yue.Reference(audio, start=start))


def test_a_checkpoint_without_references_refuses_one(tmp_path: Path) -> None:
    from dataclasses import replace

    from yue.hub import PRESETS

    spec = replace(PRESETS["random"], references=False, name="cot")
    like = yue.Reference(tone(440, 16_000))
    with pytest.raises(ModelError, match="cot-icl"):
        yue.load(spec, device="cpu").compose(LYRICS, "folk", like=like)
    forced = yue.load(spec, device="cpu", force=True)
    assert forced.compose(LYRICS, "folk", like=like, **SHORT).reference


def test_a_real_recording_as_reference(model: yue.Yue, shared: Path) -> None:
    audio = shared / "audio"
    like = yue.Reference(
        vocals=audio / "pop.00001.Vocals.mp3",
        accompaniment=audio / "pop.00001.Instrumental.mp3", start=2, end=5,
    )
    draft = model.compose(LYRICS, "pop", seed=1, like=like, **SHORT)
    assert len(draft.reference) == 300


# Models -------------------------------------------------------------------------------------------

def test_memory_is_planned_before_anything_is_loaded(
    model: yue.Yue, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = model.plan()
    assert plan.at_once and plan.rows(10) == 10 and "free on cpu" in str(plan)
    monkeypatch.setattr("yue.pipeline.available", lambda device: 2**20)
    with pytest.raises(yue.CapacityError, match=r"this needs .* MiB(.|\n)*What helps"):
        yue.load("random", device="cpu")
    assert yue.load("random", device="cpu", force=True).plan().rows(10) == 1


def test_stages_are_loaded_one_at_a_time_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, song: yue.Song
) -> None:
    plan = yue.load("random", device="cpu").plan()
    tight = int((plan.peak + 2**10) / 0.9)
    monkeypatch.setattr("yue.pipeline.available", lambda device: tight)
    model = yue.load("random", device="cpu")
    assert not model.plan().at_once
    again = model.sing(LYRICS, genres="folk", seed=7, **SHORT)
    np.testing.assert_allclose(again.mix.samples, song.mix.samples, atol=1e-6)
    assert model._stages.composer is None


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_number_formats(dtype: str) -> None:
    model = yue.load("random", device="cpu", dtype=dtype)
    assert model.sing(LYRICS, "folk", seed=1, **SHORT).mix.peak > 0


def test_stages_of_different_families_are_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    from yue.rehearsal import VOCABULARY, random_llama

    random_llama(replace(VOCABULARY, silence=5), seed=0).save(tmp_path)
    spec = yue.ModelSpec(
        stage1="random", stage2=str(tmp_path), codec="random", upsampler="random",
    )
    with pytest.raises(ModelError, match="do not belong together"):
        yue.load(spec, device="cpu")


def test_drafts_of_another_frame_rate_are_refused(model: yue.Yue) -> None:
    from dataclasses import replace

    draft = model.compose(LYRICS, "folk", seed=3, **SHORT)
    with pytest.raises(ModelError, match="25 frames/s"):
        model.refine(replace(draft, frame_rate=25))
