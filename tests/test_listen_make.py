"""Making a listening test: levels, names, anchors, what is left out. Real files throughout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from listening import RATE, folders, song
from yue.audio import Audio
from yue.errors import AudioError, FileError, OptionError
from yue.evaluate.listen import sound
from yue.evaluate.listen.make import make, plan
from yue.evaluate.listen.options import ListenOptions

SMALL = ListenOptions(raters=4, pairs=3, seed=5)
PROMPTS = {f"{n:02d}": {"genres": f"pop {n}", "lyrics": f"la {n}"} for n in range(4)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A test of three systems: its folder, key and public part."""
    root = tmp_path_factory.mktemp("made")
    key = make(folders(root), root / "test", options=SMALL, prompts=PROMPTS)
    return root, key, json.loads((root / "test" / "test.json").read_text())


def test_loudness_of_the_standards_tone() -> None:
    """A full-scale 997-Hz sine in one channel of two: -3.01 LUFS, tolerance 0.1."""
    time = np.arange(5 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * time)
    tone = Audio(np.stack([sine, 0 * sine]), 48_000)
    assert sound.loudness(tone) == pytest.approx(-3.01, abs=0.1)
    both = Audio(np.stack([tone.samples[0]] * 2), 48_000)
    more = sound.loudness(both) - sound.loudness(tone)
    assert more == pytest.approx(10 * math.log10(2), abs=0.01)
    quieter = sound.turned_down(tone, -17.0)
    assert sound.loudness(quieter) == pytest.approx(sound.loudness(tone) - 17, abs=0.01)


def test_what_has_no_loudness() -> None:
    with pytest.raises(AudioError, match="silent"):
        sound.loudness(Audio(np.zeros(RATE), RATE))
    with pytest.raises(AudioError, match=r"at least 0\.4 s"):
        sound.loudness(song(220, 0.1, 0.2))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.02, 4.0), st.floats(0.02, 4.0))
def test_only_ever_turned_down(first: float, second: float) -> None:
    """Any two levels, beyond full scale too: matched, nothing raised, nothing clipped."""
    songs = [song(300, first), song(440, second)]
    target = min(map(sound.loudest, songs))
    for one in songs:
        gain = target - sound.loudness(one)
        assert gain <= 1e-9
        done = sound.turned_down(one, min(0.0, gain))
        assert done.peak <= 1 + 1e-6
        assert sound.loudness(done) == pytest.approx(target, abs=0.02)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_low_pass(rate: int) -> None:
    """The mask of ITU-R BS.1534 (0.1 dB to 3.5 kHz, 25 dB at 4 kHz, 50 dB at 4.5 kHz); no delay."""
    click = np.zeros((2, rate))
    click[:, rate // 2] = 1
    done = sound.low_passed(Audio(click, rate)).samples
    assert done.shape == click.shape
    assert np.abs(done[0]).argmax() == rate // 2
    response = 20 * np.log10(np.abs(np.fft.rfft(done[0])) + 1e-12)
    assert np.abs(response[:3501]).max() < 0.1
    assert response[4000:].max() < -25 and response[4500:].max() < -50
    with pytest.raises(AudioError, match="would change nothing"):
        sound.low_passed(song(220, 0.1).resample(8_000))


def test_songs_of_a_prompt_are_equally_loud(made: Any) -> None:
    root, key, _ = made
    for prompt in key["prompts"]:
        files = [name for name, row in key["files"].items()
                 if row["prompt"] == prompt and row["kind"] == "pair"]
        levels = [sound.loudness(Audio.read(root / "test/audio" / name)) for name in files]
        originals = [
            sound.loudness(Audio.read(root / key["files"][name]["system"] / f"{prompt}.flac"))
            for name in files
        ]
        assert max(levels) - min(levels) < 0.02
        assert min(levels) == pytest.approx(min(originals), abs=0.02)
        assert all(key["files"][name]["gain"] <= 0 for name in files)


def test_a_stimulus_is_its_song_and_nothing_else(made: Any) -> None:
    root, key, _ = made
    for name, row in key["files"].items():
        if row["kind"] != "pair":
            continue
        heard = Audio.read(root / "test/audio" / name)
        original = Audio.read(root / row["system"] / f"{row['prompt']}.flac")
        expected = original.samples * 10 ** (row["gain"] / 20)
        assert heard.rate == original.rate
        assert np.abs(heard.samples - expected).max() < 2**-22


def test_tags_do_not_travel(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        samples = song(220, 0.1).samples.T
        with soundfile.SoundFile(tmp_path / name / "a.flac", "w", RATE, 2) as file:
            file.title, file.artist, file.comment = "Secret song", f"made by {name}", "seed 7"
            file.write(samples)
    assert b"made by ours" in (tmp_path / "ours/a.flac").read_bytes()
    make([tmp_path / "ours", tmp_path / "theirs"], tmp_path / "test",
         options=ListenOptions(raters=1, pairs=1))
    for path in (tmp_path / "test/audio").iterdir():
        data = path.read_bytes()
        for word in (b"Secret", b"made by", b"ours", b"seed 7"):
            assert word not in data
        with soundfile.SoundFile(path) as file:
            assert not any(file.copy_metadata().values())


def test_names_say_nothing(made: Any) -> None:
    root, key, public = made
    text = (root / "test" / "test.json").read_text()
    for word in ("ours", "theirs", "others", "lowpass", "identical", "loudness\"", "gain\""):
        assert word not in text
    names = [path.name for path in (root / "test" / "audio").iterdir()]
    assert sorted(names) == sorted(public["files"]) == sorted(key["files"])
    assert all(len(name) == 29 and int(name.removesuffix(".flac"), 16) >= 0 for name in names)
    assert (root / "test" / "key.json").stat().st_mode & 0o077 == 0
    tokens = [rater["token"] for rater in public["raters"]]
    assert len(set(tokens)) == 4 and all(len(token) >= 20 for token in tokens)


def test_the_seed_decides_who_hears_what_but_no_name(tmp_path: Path) -> None:
    systems = folders(tmp_path)
    keys = [
        make(systems, tmp_path / f"test{n}", options=SMALL.replace(seed=seed))
        for n, seed in enumerate((5, 5, 6))
    ]
    orders = [[tuple(row.values()) for row in key["trials"].values()] for key in keys]
    assert orders[0] == orders[1] != orders[2]
    assert not set(keys[0]["files"]) & set(keys[1]["files"])
    assert not set(keys[0]["trials"]) & set(keys[1]["trials"])


def test_sessions(made: Any) -> None:
    """Each rater: three pairs and one anchor of each kind, never first; files as the key says."""
    _, key, public = made
    assert len(public["raters"]) == 4
    for rater in public["raters"]:
        kinds = [key["trials"][trial["id"]]["kind"] for trial in rater["trials"]]
        assert sorted(kinds) == ["identical", "lowpass", "pair", "pair", "pair"]
        assert kinds[0] == "pair"
        for trial in rater["trials"]:
            truth = key["trials"][trial["id"]]
            for side, system in (("a", truth["left"]), ("b", truth["right"])):
                row = key["files"][trial[side]]
                assert (row["system"], row["prompt"]) == (system, truth["prompt"])
                assert public["prompts"][trial["prompt"]] == PROMPTS[truth["prompt"]]


def test_anchors(made: Any) -> None:
    root, key, public = made
    worse = []
    for rater in public["raters"]:
        for trial in rater["trials"]:
            truth = key["trials"][trial["id"]]
            a, b = (Audio.read(root / "test/audio" / trial[side]) for side in ("a", "b"))
            if truth["kind"] == "identical":
                assert trial["a"] != trial["b"] and (a.samples == b.samples).all()
            if truth["kind"] == "lowpass":
                worse.append(truth["worse"])
                bad, good = (a, b) if truth["worse"] == "A" else (b, a)
                assert sound.loudness(a) == pytest.approx(sound.loudness(b), abs=0.02)
                above = [np.abs(np.fft.rfft(one.samples[0]))[5000:].mean() for one in (bad, good)]
                assert above[0] < 0.01 * above[1]
    assert sorted(worse) == ["A", "A", "B", "B"]


def test_bad_songs_leave_with_their_prompt(tmp_path: Path) -> None:
    systems = folders(tmp_path)
    (systems[0] / "00.flac").write_bytes(b"no audio")
    Audio(np.zeros((2, RATE)), RATE).save(systems[1] / "01.flac")
    (systems[2] / "02.flac").unlink()
    song(100, 0.1).save(systems[0] / "extra.wav")
    key = make(systems, tmp_path / "test", options=SMALL.replace(pairs=3))
    assert key["prompts"] == ["03"]
    reasons = key["left_out"]
    assert set(reasons) == {"00", "01", "02", "extra"}
    assert "could not be read" in reasons["00"] and "silent" in reasons["01"]
    assert reasons["02"] == "missing in others"
    (systems[1] / "03.flac").write_bytes(b"")
    with pytest.raises(FileError, match=r"no prompt has a song of every system.*03"):
        make(systems, tmp_path / "none", options=SMALL)
    assert not (tmp_path / "none").exists()


def test_mono_is_as_loud_as_the_same_in_two_channels(tmp_path: Path) -> None:
    systems = folders(tmp_path, names=("mono", "stereo"), prompts=1)
    heard = song(220, 0.2)
    Audio(heard.samples[0], heard.rate).save(systems[0] / "00.flac")
    heard.save(systems[1] / "00.flac")
    key = make(systems, tmp_path / "test", options=ListenOptions(raters=1, pairs=1, anchors=0))
    gains = {each["system"]: each["gain"] for each in key["files"].values()}
    assert gains["mono"] == pytest.approx(gains["stereo"], abs=1e-3)


def test_songs_too_dull_for_a_low_pass_leave_before_anything_is_written(tmp_path: Path) -> None:
    systems = folders(tmp_path, prompts=2)
    for system in systems:
        Audio.read(system / "01.flac").resample(8000).save(system / "01.flac")
    options = ListenOptions(raters=1, pairs=1)
    key = make(systems, tmp_path / "test", options=options)
    assert "8000 Hz" in key["left_out"]["01"] and key["prompts"] == ["00"]
    plain = make(systems, tmp_path / "plain", options=options.replace(anchors=0))
    assert plain["prompts"] == ["00", "01"]


def test_mixed_files(tmp_path: Path) -> None:
    """Mono and stereo, rates, formats, lengths; stems beside a song are no songs of their own."""
    systems = [tmp_path / "a", tmp_path / "b"]
    for folder in systems:
        folder.mkdir()
    song(220, 0.1, 2.0).mono().resample(22_050).save(systems[0] / "x.wav")
    song(330, 0.1, 3.0).save(systems[1] / "x.mp3")
    song(330, 0.1).save(systems[1] / "x.vocals.flac")
    options = ListenOptions(raters=2, pairs=1, seconds=1.5, anchors=0)
    key = make(systems, tmp_path / "test", options=options)
    assert key["prompts"] == ["x"] and not key["left_out"]
    public = json.loads((tmp_path / "test/test.json").read_text())
    assert list(public["files"].values()) == pytest.approx([1.5, 1.5])
    lefts = {key["trials"][rater["trials"][0]["id"]]["left"] for rater in public["raters"]}
    assert lefts == {"a", "b"}


def test_refusals(tmp_path: Path) -> None:
    systems = folders(tmp_path)
    with pytest.raises(OptionError, match="two or more folders"):
        make(systems[:1], tmp_path / "test")
    with pytest.raises(OptionError, match="different names"):
        make([systems[0], systems[0]], tmp_path / "test")
    with pytest.raises(FileError, match="no such folder"):
        make([systems[0], tmp_path / "nowhere"], tmp_path / "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="holds no songs"):
        make([systems[0], tmp_path / "empty"], tmp_path / "test")
    song(1, 0.1).save(tmp_path / "empty" / "z.wav")
    with pytest.raises(FileError, match="no song has the same name"):
        make([systems[0], tmp_path / "empty"], tmp_path / "test")
    song(1, 0.1).save(tmp_path / "empty" / "z.flac")
    with pytest.raises(OptionError, match="one song per name"):
        make([systems[0], tmp_path / "empty"], tmp_path / "test")
    with pytest.raises(OptionError, match=r"pairs = 13 .* allowed are 1 to 12"):
        make(systems, tmp_path / "test", options=ListenOptions(pairs=13))
    with pytest.raises(OptionError, match="--prompts lacks 03"):
        make(systems, tmp_path / "test", prompts={k: PROMPTS[k] for k in ("00", "01", "02")})
    with pytest.raises(OptionError, match="give --prompts"):
        make(systems, tmp_path / "test", aspects=["musicality", "tempo"])
    with pytest.raises(OptionError, match="did you mean 'melody'"):
        make(systems, tmp_path / "test", aspects=["melodie"])
    with pytest.raises(OptionError, match="names the system ours"):
        make(systems, tmp_path / "test", options=ListenOptions(title="Ours against the rest"))
    assert not (tmp_path / "test").exists()
    make(systems, tmp_path / "test", options=SMALL)
    with pytest.raises(FileError, match="a listening test already"):
        make(systems, tmp_path / "test", options=SMALL)


def test_aspects(tmp_path: Path, made: Any) -> None:
    _, _, public = made
    keys = [aspect["key"] for aspect in public["aspects"]]
    assert len(keys) == 12 and keys[0] == "musicality"
    assert all(len(aspect["definition"]) > 20 for aspect in public["aspects"])
    systems = folders(tmp_path)
    make(systems, tmp_path / "bare", options=SMALL)
    bare = json.loads((tmp_path / "bare/test.json").read_text())
    assert [aspect["key"] for aspect in bare["aspects"]] == keys[:7]
    make(systems, tmp_path / "two", options=SMALL, aspects=["melody", "musicality"])
    two = json.loads((tmp_path / "two/test.json").read_text())
    assert [aspect["key"] for aspect in two["aspects"]] == ["musicality", "melody"]


def test_plan() -> None:
    """The paper's test: 5 systems; 194 votes for each of 10 pairs take 162 raters of 12 pairs."""
    found = plan(5, 42, ListenOptions(raters=40, pairs=12))
    assert found["votes_per_pair"] == 48 and found["raters_per_song_pair"] == 480 / 420
    assert found["votes_needed"] == {"0.6": 194, "0.55": 783}
    assert found["raters_needed"] == {"0.6": 162, "0.55": 653}
    assert 0.2 < found["power"]["0.6"] < 0.4 < 0.8
