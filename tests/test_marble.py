"""MARBLE: splits in the documented files, hidden states, and the whole run on a planted task."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yue.audio import Audio
from yue.cli import main
from yue.errors import AudioError, FileError, ModelError, OptionError
from yue.evaluate import hidden
from yue.evaluate.hidden import OneLayer, Stage1Features, layer_means
from yue.evaluate.marble import run_marble
from yue.evaluate.marble_tasks import GENRES, SPLITS, find_task, read_splits
from yue.evaluate.options import ProbeOptions
from yue.rehearsal import CODEC, VOCABULARY, random_codec, random_llama

RATE = 16_000
QUICK = ProbeOptions(hidden=32, epochs=40, patience=15)


def tone(hertz: float, seconds: float, seed: int) -> Audio:
    """A quiet tone with some noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
    return Audio((0.1 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32), RATE)


def write_gtzan(folder: Path, counts: tuple[int, int, int], genres: int = 4) -> None:
    """Genres that differ in pitch, in GTZAN's files."""
    for place, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        lines = []
        for number in range(count):
            genre = number % genres
            line = f"{GENRES[genre]}/{GENRES[genre]}.{split}{number:05d}.wav"
            file = folder / "genres" / line
            file.parent.mkdir(parents=True, exist_ok=True)
            tone(200.0 * 2**genre, 1.1, 1000 * place + number).save(file)
            lines.append(line)
        (folder / f"{split}_filtered.txt").write_text("\n".join(lines) + "\n")


class Planted:
    """Three layers: noise, the spectrum's loudest octave, noise. Two windows per sound."""

    def states(self, audio: Audio) -> np.ndarray:
        power = np.abs(np.fft.rfft(audio.mono().samples[0]))
        octave = round(np.log2(power.argmax() / audio.seconds / 200))
        rng = np.random.default_rng(zlib.crc32(audio.samples.tobytes()))
        states = rng.normal(size=(3, 2, 8))
        states[1] = np.random.default_rng(octave).normal(size=8) * 3 + 0.1 * states[1]
        return states.astype(np.float32)

    def describe(self) -> dict[str, Any]:
        return {"extractor": "planted", "version": 1}


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gtzan")
    write_gtzan(folder, (80, 40, 80))
    return folder


def test_a_planted_layer_is_found_from_sound_to_report(gtzan: Path) -> None:
    heard: list[tuple[str, float, float]] = []
    found = run_marble(
        "GTZAN", gtzan, Planted(), options=QUICK, strict=False, at_once=2,
        progress=lambda *told: heard.append(told),
    )
    assert found["chosen"]["layer"] == 1
    assert found["chosen"]["valid"] == found["chosen"]["test"]["accuracy"] == 1
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2]
    for row in (found["layers"][0], found["layers"][2]):  # chance is .25, its error .048
        assert abs(row["test"]["accuracy"] - 0.25) < 0.16
    assert found["tracks"] == {"train": 80, "valid": 40, "test": 80}
    assert found["chunks"]["train"] == 160 and found["skipped"] == {}
    assert not found["official"] and found["extractor"] == "planted"
    assert heard[0] == ("listen", 1, 200) and heard[-1] == ("probe", 3, 3)
    json.dumps(found)
    alone = run_marble(
        "GTZAN", gtzan, Planted(), options=QUICK, strict=False, layers=[1], mixture=True,
    )
    assert alone["chosen"] == found["chosen"]
    mixture = alone["layers"][1]
    assert mixture["layer"] == "mixture" and mixture["shares"] == [1]
    assert mixture["test"] == found["chosen"]["test"]


def test_unreadable_sound_is_named_and_left_out(tmp_path: Path) -> None:
    write_gtzan(tmp_path, (16, 8, 8))
    first = (tmp_path / "test_filtered.txt").read_text().split()[0]
    (tmp_path / "genres" / first).write_bytes(b"corrupt")
    found = run_marble("GTZAN", tmp_path, Planted(), options=QUICK, strict=False)
    assert list(found["skipped"]) == [first] and found["tracks"]["test"] == 7
    for line in (tmp_path / "valid_filtered.txt").read_text().split():
        (tmp_path / "genres" / line).unlink()
    with pytest.raises(FileError, match=r"no track of valid could be read.*no such file"):
        run_marble("GTZAN", tmp_path, Planted(), options=QUICK, strict=False)


def test_features_are_kept_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    write_gtzan(tmp_path / "data", (8, 8, 8))
    calls: list[int] = []

    class Counting(Planted):
        version = 1

        def states(self, audio: Audio) -> np.ndarray:
            calls.append(1)
            if len(calls) == 10:
                raise KeyboardInterrupt
            return super().states(audio)

        def describe(self) -> dict[str, Any]:
            return {"extractor": "planted", "version": self.version}

    def run(encoder: Counting) -> dict[str, Any]:
        return run_marble(
            "GTZAN", tmp_path / "data", encoder, options=QUICK, strict=False,
            cache=tmp_path / "cache",
        )

    encoder = Counting()
    with pytest.raises(KeyboardInterrupt):
        run(encoder)
    assert len(calls) == 10
    first = run(encoder)
    assert len(calls) == 10 + 15  # 9 were kept
    assert run(encoder) == first and len(calls) == 25
    encoder.version = 2
    run(encoder)
    assert len(calls) == 49
    for at_once in (1, 2):  # layer by layer, read from the cache
        each = run_marble(
            "GTZAN", tmp_path / "data", encoder, options=QUICK, strict=False,
            cache=tmp_path / "cache", at_once=at_once,
        )
        assert each["layers"] == first["layers"] and len(calls) == 49
    file = next((tmp_path / "cache").iterdir())
    assert np.load(file, allow_pickle=False).dtype == np.float16


def test_a_tiny_stage_1_as_encoder(tmp_path: Path) -> None:
    """The random model hears pitch a little: its codes differ. All its three states are swept."""
    write_gtzan(tmp_path, (24, 12, 12), genres=2)
    encoder = Stage1Features(random_llama(VOCABULARY, seed=0), random_codec(0))
    found = run_marble("GTZAN", tmp_path, encoder, options=QUICK, strict=False)
    assert len(found["layers"]) == 3 and found["extractor"] == "yue stage 1"
    assert found["chosen"]["valid"] > 0.6  # chance is .5; what it cannot hear it cannot learn


def test_any_embedder_is_an_encoder_of_one_layer() -> None:
    class Loudness:
        def embed(self, audio: Audio) -> np.ndarray:
            return np.array([[audio.peak, audio.level]], dtype=np.float32)

        def describe(self) -> dict[str, Any]:
            return {"extractor": "loudness"}

    made = OneLayer(Loudness())
    assert made.states(tone(440, 1, 0)).shape == (1, 1, 2)
    assert made.describe() == {"extractor": "loudness"}


def test_hidden_states_are_transformers(tmp_path: Path) -> None:
    """All of them in their order, the last one after the norm; and no hook is left behind."""
    from transformers import LlamaForCausalLM

    model = random_llama(VOCABULARY, seed=1)
    model.save(tmp_path)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, VOCABULARY.size, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        states = theirs(ids, output_hidden_states=True).hidden_states
        found = layer_means(model, ids)
        assert found.shape == (3, 2, 32)
        for ours, state in zip(found, states, strict=True):
            assert torch.allclose(ours, state.mean(dim=1), atol=1e-5)
        assert torch.equal(layer_means(model, ids), found)
    assert not any(layer._forward_pre_hooks for layer in model.model.layers)


def test_features_of_a_recording_by_hand() -> None:
    """63.5 s: windows of 30, 30 and 3.5 s; codes of codebook 0 alone; peak 1 first."""
    llama, codec = random_llama(VOCABULARY, seed=2), random_codec(1)
    encoder = Stage1Features(llama, codec)
    song = tone(440, 63.5, 7)
    found = encoder.states(song)
    assert found.shape == (3, 3, 32) and found.dtype == np.float32
    wave = torch.from_numpy(song.samples / np.abs(song.samples).max())
    with torch.inference_mode():
        codes = codec.encode(wave[:, 60 * RATE :], 1)[0, 0]
        ids = torch.from_numpy(VOCABULARY.ids(codes.numpy()))
        assert set(ids.tolist()) <= set(VOCABULARY.codebook(0))
        expected = llama.model.embed_tokens(ids).mean(dim=0), llama.hidden(ids[None])[0].mean(dim=0)
    assert np.allclose(found[0, 2], expected[0], atol=1e-5)
    assert np.allclose(found[-1, 2], expected[1], atol=1e-4)
    louder = Audio(song.samples * 5, RATE)
    assert np.allclose(encoder.states(louder), found, atol=1e-3)
    assert encoder.states(song.cut(0, 30.9)).shape == (3, 1, 32)
    with pytest.raises(AudioError, match="at least 1 s"):
        encoder.states(tone(440, 0.5, 0))


def test_a_model_that_is_too_short_is_refused() -> None:
    with pytest.raises(OptionError, match="reads 256 tokens, a window of 30 s has 1500"):
        Stage1Features(random_llama(VOCABULARY, seed=0, context=256), random_codec(0))


def test_the_random_preset_loads() -> None:
    encoder = Stage1Features.load("random")
    assert encoder.states(tone(300, 2, 0)).shape == (3, 1, 32)
    assert encoder.describe()["weights"] == "random"
    assert encoder.codec.config.codebooks == CODEC.codebooks and hidden.WINDOW == 30
    with pytest.raises(ModelError):
        Stage1Features.load("no such model")


def write_keys(folder: Path, counts: dict[str, int], clips: int = 2) -> None:
    meta = {
        f"{split}{n:04d}-{clip}": {
            "split": split, "y": "Eb minor" if n % 2 else "C major",
            "clip": {"audio_uid": f"{split}{n:04d}", "clip_idx": clip},
        }
        for split, count in counts.items() for n in range(count) for clip in range(clips)
    }
    (folder / "giantsteps_clips").mkdir(parents=True)
    (folder / "giantsteps_clips" / "meta.json").write_text(json.dumps(meta))


def write_tags(folder: Path, counts: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    for split, count in counts.items():
        rows = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
        rows += [
            f"track_{n:07d}\ta\tb\t{n % 100:02d}/{n}.mp3\t180.0\tgenre---g{n % 49}"
            + ("\tmood/theme---happy" if n % 3 == 0 else "")
            for n in range(count)
        ]
        name = f"autotagging_top50tags-{split.replace('valid', 'validation')}.tsv"
        (folder / name).write_text("\n".join(rows) + "\n")


def test_official_counts_of_gtzan(tmp_path: Path) -> None:
    task = find_task("GTZAN")
    for split, count in (("train", 443), ("valid", 197), ("test", 290)):
        lines = [f"{GENRES[n % 10]}/{GENRES[n % 10]}.{n:05d}.wav" for n in range(count)]
        (tmp_path / f"{split}_filtered.txt").write_text("\n".join(lines))
    splits, classes = read_splits(task, tmp_path)
    assert classes == GENRES and splits["test"][3].target == 3
    assert splits["test"][3].files == (tmp_path / "genres" / "disco/disco.00003.wav",)
    (tmp_path / "valid_filtered.txt").write_text("blues/blues.00000.wav\n")
    with pytest.raises(FileError, match=r"443/1/290 tracks.*official splits have 443/197/290"):
        read_splits(task, tmp_path)
    assert len(read_splits(task, tmp_path, strict=False)[0]["valid"]) == 1
    (tmp_path / "valid_filtered.txt").write_text("polka/polka.00000.wav\n")
    with pytest.raises(FileError, match=r"polka.*begins with none of blues"):
        read_splits(task, tmp_path)
    (tmp_path / "valid_filtered.txt").write_text("")
    with pytest.raises(FileError, match="no tracks in: valid"):
        read_splits(task, tmp_path, strict=False)
    (tmp_path / "valid_filtered.txt").unlink()
    with pytest.raises(FileError, match=r"valid_filtered\.txt, one of the splits"):
        read_splits(task, tmp_path)


def test_official_counts_of_giantsteps(tmp_path: Path) -> None:
    """Tracks are counted, not their clips."""
    write_keys(tmp_path / "all", {"train": 923, "valid": 236, "test": 604})
    splits, classes = read_splits(find_task("GS"), tmp_path / "all")
    track = splits["train"][1]
    assert classes[track.target] == "Eb minor" and classes[splits["train"][0].target] == "C major"
    wav = tmp_path / "all" / "giantsteps_clips" / "wav"
    assert track.files == (wav / "train0001-0.wav", wav / "train0001-1.wav")
    write_keys(tmp_path / "few", {"train": 922, "valid": 236, "test": 604})
    with pytest.raises(FileError, match="922/236/604"):
        read_splits(find_task("GS"), tmp_path / "few")


def test_official_counts_of_mtg(tmp_path: Path) -> None:
    counts = {"train": 32_136, "valid": 10_888, "test": 11_356}
    write_tags(tmp_path / "data" / "splits" / "split-0", counts)
    splits, tags = read_splits(find_task("MTGTop50"), tmp_path)
    assert len(tags) == 50 and tags[-1] == "mood/theme---happy"
    track = splits["valid"][3]
    assert [tags[i] for i, on in enumerate(track.target) if on] == ["genre---g3", tags[-1]]
    assert track.files == (tmp_path / "audio" / "03/3.mp3",)
    low = tmp_path / "audio" / "03" / "3.low.mp3"
    low.parent.mkdir(parents=True)
    low.touch()
    write_tags(tmp_path / "few", {"train": 2, "valid": 4, "test": 2})
    (tmp_path / "few" / "audio").symlink_to(tmp_path / "audio")
    few, _ = read_splits(find_task("MTGTop50"), tmp_path / "few", strict=False)
    assert few["valid"][3].files == (tmp_path / "few" / "audio" / "03" / "3.low.mp3",)


def test_emotion_is_standardised_and_has_no_official_count(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    meta = {}
    (tmp_path / "emomusic" / "wav").mkdir(parents=True)
    for split, count in (("train", 60), ("valid", 30), ("test", 30)):
        for n in range(count):
            pitch = float(rng.uniform(0, 3))
            tone(200 * 2**pitch, 1.1, n).save(tmp_path / "emomusic" / "wav" / f"{split}{n}.wav")
            meta[f"{split}{n}"] = {"split": split, "y": [5 + pitch, 3 - 2 * pitch]}
    (tmp_path / "emomusic" / "meta.json").write_text(json.dumps(meta))

    class Pitch(Planted):
        def states(self, audio: Audio) -> np.ndarray:
            power = np.abs(np.fft.rfft(audio.mono().samples[0]))
            height = np.log2(power.argmax() / audio.seconds / 200)
            return np.array([[[height - 1.5, 1.0]]], dtype=np.float32)

    found = run_marble("EMO", tmp_path, Pitch(), options=QUICK)
    test = found["chosen"]["test"]
    assert test["r2_of_arousal"] > 0.95 and test["r2_of_valence"] > 0.95
    assert test["r2"] == pytest.approx((test["r2_of_arousal"] + test["r2_of_valence"]) / 2)
    assert not found["official"]


def test_files_in_another_form(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="task 'MTT': allowed are GTZAN, GS, MTGTop50, EMO"):
        find_task("MTT")
    with pytest.raises(FileError, match="no such folder"):
        read_splits(find_task("GS"), tmp_path / "nowhere")
    (tmp_path / "giantsteps_clips").mkdir()
    meta = tmp_path / "giantsteps_clips" / "meta.json"
    good = {"split": "train", "y": "C major", "clip": {"audio_uid": "1"}}
    for held, message in (
        ([], "no object of clips"), ({"a": {"split": "train"}}, "lacks one of"),
        ({"a": {**good, "split": "dev"}}, "in split 'dev'"),
        ({"a": {**good, "y": "H major"}}, "key 'H major'"),
        ({"a": good, "b": {**good, "y": "D major"}}, "differ in key"),
    ):
        meta.write_text(json.dumps(held))
        with pytest.raises(FileError, match=message):
            read_splits(find_task("GS"), tmp_path)
    write_tags(tmp_path / "tags", {"train": 2, "valid": 2, "test": 2})
    file = tmp_path / "tags" / "autotagging_top50tags-test.tsv"
    file.write_text("header\na\tb\n")
    with pytest.raises(FileError, match="is no row of track"):
        read_splits(find_task("MTGTop50"), tmp_path / "tags")


def test_layers_that_are_not_there(gtzan: Path) -> None:
    with pytest.raises(OptionError, match=r"layers \[3\]: the encoder has 0 to 2"):
        run_marble("GTZAN", gtzan, Planted(), layers=[3], strict=False)
    with pytest.raises(OptionError, match="no layers were asked for"):
        run_marble("GTZAN", gtzan, Planted(), layers=[], strict=False)


def run_verb(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["yue", "marble", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gtzan(tmp_path, (8, 4, 4), genres=2)
    out = tmp_path / "out.json"
    code = run_verb(
        monkeypatch, "GTZAN", str(tmp_path), "--model", "random", "--layers", "0,2",
        "--epochs", "2", "--hidden", "8", "--any-split", "-o", str(out), "--cache",
        str(tmp_path / "cache"),
    )
    told = capsys.readouterr()
    assert not code and told.out == f"{out}\n" and "(test)" in told.err
    found = json.loads(out.read_text())
    assert [row["layer"] for row in found["layers"]] == [0, 2]
    assert found["probe"]["hidden"] == 8 and len(list((tmp_path / "cache").iterdir())) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["GTZAN", "nowhere", "--model", "random"], "nowhere: no such folder"),
        (["MTT", ".", "--model", "random"], "allowed are GTZAN"),
        (["GTZAN", "."], "give --model or --embedder"),
        (["GTZAN", ".", "--model", "random", "--layers", "a"], "expected numbers"),
    ],
)
def test_mistakes_at_the_command_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_verb(monkeypatch, *arguments) == 1
    assert message in capsys.readouterr().err
