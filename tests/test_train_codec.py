"""Training a codec: clips, phases, resuming, what comes out, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers

from yue.codec.layers import SemanticDecoder
from yue.codec.upsamplers import load_upsamplers
from yue.codec.vocos import VocosConfig
from yue.codec.xcodec import PUBLISHED, XCodec, XCodecConfig
from yue.draft import Codes, Sung
from yue.errors import FileError, ModelError, OptionError
from yue.options import RenderOptions
from yue.phonemes import PHONES
from yue.render import render
from yue.stage2 import decoder_of, refine_track
from yue.train import report
from yue.train.clips import REST, UNKNOWN, UNPITCHED, Clips, labels_of
from yue.train.codec import CodecRun, Trainer, TrainingError
from yue.train.config import ModelOptions
from yue.train.model import new_config, new_llama, new_vocabulary

RATE = 32_000
SEMANTIC = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 7, "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs of four seconds: notes with labels, and chords without."""
    folder = tmp_path_factory.mktemp("songs")
    t = np.arange(4 * RATE) / RATE
    for name, midi in (("a", 57), ("b", 64)):
        hertz = 440 * 2 ** ((midi - 69) / 12)
        voice = 0.3 * np.sin(2 * np.pi * hertz * t) * (t >= 1)
        chord = sum(0.1 * np.sin(2 * np.pi * hertz * k * t) for k in (1, 1.25, 1.5))
        soundfile.write(folder / f"{name}.vocals.flac", voice, RATE)
        soundfile.write(folder / f"{name}.accompaniment.flac", np.asarray(chord), RATE)
        labels = {
            "phones": [
                {"symbol": "S", "start": 1.0, "end": 1.2}, {"symbol": "AA1", "start": 1.2, "end": 4}
            ],
            "songbook": {"notes": [[1.0, 4.0, midi, 0, 0]]},
        }
        (folder / f"{name}.json").write_text(json.dumps(labels))
    return folder


def config(songs: Path, **changes: Any) -> CodecRun:
    values: dict[str, Any] = {
        "data": {
            track: [f"{songs}/*.{track}.flac"] for track in ("vocals", "accompaniment")
        },
        "codec": {
            "encoder_channels": 2, "decoder_channels": 0, "latent": 8, "codebooks": 2,
            "codebook_size": 32, "semantic_size": 16, "semantic": SEMANTIC,
        },
        "upsampler": {
            "sample_rate": RATE, "dim": 16, "intermediate": 32, "layers": 1, "n_fft": 1280,
            "hop": 640,
        },
        "adversary_sizes": [256], "adversary_channels": 4,
        "phases": [
            {"train": "teacher", "steps": 3, "batch": 2, "frames": 40},
            {"train": "codec", "steps": 4, "batch": 2, "frames": 30, "adversary": 0.1},
            {"train": "upsampler", "steps": 3, "batch": 2, "frames": 30, "dropout": 0.5,
             "noise": 0.1},
        ],
    }
    return CodecRun.make(values | changes)


def test_labels_say_what_is_sung_in_each_frame(songs: Path) -> None:
    known = labels_of(songs / "a.vocals.flac", "vocals", 50)
    assert (known.phones[:50] == REST).all() and (known.pitch[:60] == UNPITCHED).all()
    assert (known.phones[50:60] == PHONES.index("S")).all()
    assert (known.phones[60:] == PHONES.index("AA")).all() and (known.pitch[60:] == 57 - 36).all()
    assert (labels_of(songs / "a.accompaniment.flac", "accompaniment", 50).phones == UNKNOWN).all()
    beyond = known.cut(190, 210)
    assert (beyond.phones[10:] == REST).all() and len(beyond.pitch) == 20


def test_a_sheet_that_is_not_the_songbooks_labels_nothing(songs: Path, tmp_path: Path) -> None:
    voice = tmp_path / "mine.vocals.flac"
    voice.write_bytes((songs / "a.vocals.flac").read_bytes())
    (tmp_path / "mine.json").write_text('{"tags": ["pop"]}')
    known = labels_of(voice, "vocals", 50)
    assert (known.phones == UNKNOWN).all() and len(known.phones) == 200


def test_files_of_one_name_in_folders_at_any_depth(songs: Path, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("vocals.flac", "a/vocals.flac", "a/b/vocals.flac")]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((songs / "a.vocals.flac").read_bytes())
    clips = replace(
        Clips.find({"vocals": [f"{tmp_path}/**/*.flac"]}, sample_rate=RATE, coarse_rate=16_000),
        refined=tmp_path,
    )
    assert set(clips.files["vocals"]) == set(places)
    assert len({clips.refined_path("vocals", place) for place in places}) == 3


def test_a_clip_depends_on_its_seed_alone(songs: Path) -> None:
    clips = config(songs).clips()
    one, two = (clips.batch("vocals", 3, 30, [1, 2]) for _ in range(2))
    assert one.wave.shape == (3, 30 * 640) and one.coarse.shape == (3, 30 * 320)
    assert torch.equal(one.wave, two.wave) and torch.equal(one.phones, two.phones)
    assert not torch.equal(one.wave, clips.batch("vocals", 3, 30, [1, 3]).wave)


def test_an_upsampler_learns_from_what_stage_2_makes(songs: Path, tmp_path: Path) -> None:
    sizes = ModelOptions(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, codebook_size=32, codebooks=2, max_position_embeddings=2048,
    )
    stage2 = new_llama(new_config(sizes, new_vocabulary(sizes, 20), 20), std=0.2, seed=0)
    stage2.save(tmp_path / "stage2")
    phases = [{"train": "upsampler", "steps": 2, "batch": 2, "frames": 30}]
    trainer = Trainer(
        config(songs, stage2=str(tmp_path / "stage2"), phases=phases), tmp_path / "run"
    )
    assert trainer.train()
    path = songs / "b.vocals.flac"
    held = np.load(trainer.clips.refined_path("vocals", path))
    wave = torch.from_numpy(trainer.clips.coarse(path))[None]
    first = trainer.shop.codec.encode(wave, 1)[0, 0].numpy()
    assert held.shape == (2, 200) and (held[0] == first).all()
    assert (held == refine_track(decoder_of(stage2), first, rows=1)).all()
    batch = trainer.clips.batch("vocals", 3, 30, [1, 2])
    assert batch.codes is not None and batch.codes.shape == (3, 2, 30)
    places = [
        at for at in range(200 - 29)
        for name in "ab"
        if (np.load(trainer.clips.refined_path("vocals", songs / f"{name}.vocals.flac"))
            [:, at : at + 30] == batch.codes[0].numpy()).all()
    ]
    assert places, "cut from the file that the clip is cut from"


def test_the_waves_and_the_labels_of_a_clip_belong_together(songs: Path) -> None:
    batch = config(songs).clips().batch("vocals", 8, 50, [5])
    sounding = batch.coarse.unflatten(1, (50, 320)).square().mean(-1).sqrt() > 0.05
    inner = slice(1, -1)
    silent = (batch.phones == REST)[:, inner]
    assert not (sounding[:, inner] & silent & silent.roll(1, 1) & silent.roll(-1, 1)).any()


def test_a_run_ends_in_directories_that_sing(songs: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(songs), tmp_path / "run")
    assert trainer.train()
    made = trainer.export(tmp_path / "model")
    codec, upsamplers = XCodec.load(made / "codec", decode_only=False), load_upsamplers(
        made / "upsampler"
    )
    wave = torch.from_numpy(soundfile.read(songs / "a.vocals.flac")[0]).float()[None, : 3 * 16_000]
    codes = codec.encode(wave)[0].numpy()
    assert codes.shape == (2, 150) and codec.config.silence is not None
    song = Codes(codes=np.stack([codes, codes]), sections=(Sung("verse", "", 150),), frame_rate=50)
    sounds, _ = render(song, codec, upsamplers, RenderOptions())
    assert sounds["mix"].rate == RATE and sounds["mix"].samples.shape == (1, 150 * 640)
    with pytest.raises(OptionError, match="no decoder of its own"):
        render(song, codec, upsamplers, RenderOptions(mode="codec"))
    with pytest.raises(ModelError, match="use its upsampler"):
        codec.decode(torch.from_numpy(codes)[None].long())


def test_a_run_that_was_cut_off_ends_as_it_would_have(songs: Path, tmp_path: Path) -> None:
    whole = Trainer(config(songs), tmp_path / "whole")
    whole.train()

    class CutOffError(RuntimeError):
        pass

    for stop in ("codec 2", "upsampler 1"):
        def tell(what: str, figures: Any, stop: str = stop) -> None:
            if what.startswith(stop):
                raise CutOffError

        cut = Trainer(config(songs, save_every=1), tmp_path / "cut", resume=True)
        with pytest.raises(CutOffError):
            cut.train(tell=tell)
    rest = Trainer(config(songs), tmp_path / "cut", resume=True)
    assert rest.train()
    for name, tensor in whole.shop.state_dict().items():
        assert torch.equal(tensor, rest.shop.state_dict()[name]), name


def test_an_interrupted_run_is_saved_and_its_metrics_go_on(songs: Path, tmp_path: Path) -> None:
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 5

    cut = Trainer(config(songs, save_every=100), tmp_path / "run")
    assert not cut.train(stop=stop)
    assert (cut.at.phase, cut.at.step) == (1, 2)
    with (tmp_path / "run" / report.METRICS).open("a") as file:
        file.write('{"phase": 1, "step": 3, "norm": 1.0}\n{"phase": 1, ')
    assert Trainer(config(songs), tmp_path / "run", resume=True).train()
    steps = [(row["phase"], row["step"]) for row in report.read(tmp_path / "run")]
    assert steps == [(phase, step + 1) for phase, n in enumerate((3, 4, 3)) for step in range(n)]


def test_a_run_cannot_become_another_codec(songs: Path, tmp_path: Path) -> None:
    def written(size: int) -> CodecRun:
        text = f"""
            phases = [{{train = "codec", steps = 1, batch = 2, frames = 30}}]
            [data]
            vocals = ["{songs}/*.vocals.flac"]
            [codec]
            encoder_channels = 2
            decoder_channels = 0
            latent = 8
            codebooks = 2
            codebook_size = {size}
            semantic_size = 0
            [upsampler]
            sample_rate = {RATE}
            dim = 16
            intermediate = 32
            layers = 1
            n_fft = 1280
            hop = 640
        """
        (tmp_path / "run.toml").write_text(text)
        return CodecRun.read(tmp_path / "run.toml")

    Trainer(written(32), tmp_path / "run").train()
    with pytest.raises(OptionError, match=r"config\.toml has another codec"):
        Trainer(written(64), tmp_path / "run", resume=True)
    Trainer(written(32), tmp_path / "run", resume=True)


def test_a_codec_with_its_own_decoder_learns_to_give_a_tone_back(
    songs: Path, tmp_path: Path
) -> None:
    codec = {
        "encoder_channels": 2, "decoder_channels": 32, "latent": 8, "codebooks": 2,
        "codebook_size": 16,
    }
    phases = [{
        "train": "codec", "steps": 25, "batch": 2, "frames": 25, "rate": 3e-3, "warmup": 1,
    }]
    trainer = Trainer(config(songs, codec=codec, phases=phases), tmp_path / "run")
    seen: list[Any] = []
    trainer.train(tell=lambda what, figures: seen.append(dict(figures)))
    for name in ("vocals.codec_mel", "vocals.mel", "accompaniment.mel"):
        assert np.mean([row[name] for row in seen[-5:]]) < np.mean([row[name] for row in seen[:5]])


def test_the_teacher_learns_the_pitch_of_a_tone(songs: Path, tmp_path: Path) -> None:
    phases = [{
        "train": "teacher", "track": "vocals", "steps": 120, "batch": 2, "frames": 40,
        "rate": 5e-3, "warmup": 10,
    }]
    trainer = Trainer(config(songs, phases=phases), tmp_path / "run")
    trainer.train()
    batch = trainer.clips.batch("vocals", 8, 40, [99])
    features = trainer.shop.codec.semantic(batch.coarse)
    right = trainer.shop.taught.accuracy(features, batch)
    assert right["phone"] > 0.8 and right["pitch"] > 0.7


@pytest.mark.parametrize("kind", ["HubertModel", "HubertForCTC"])
def test_a_teacher_in_transformers_layout(songs: Path, tmp_path: Path, kind: str) -> None:
    torch.manual_seed(5)
    hubert = getattr(transformers, kind)(transformers.HubertConfig(**SEMANTIC)).eval()
    hubert.save_pretrained(tmp_path / "hubert")
    trainer = Trainer(config(songs, teacher=str(tmp_path / "hubert")), tmp_path / "run")
    bare = hubert if kind == "HubertModel" else hubert.hubert
    batch = trainer.clips.batch("vocals", 1, 40, [0])
    padded = torch.nn.functional.pad(batch.coarse, (160, 160))
    with torch.no_grad():
        states = bare(padded, output_hidden_states=True).hidden_states
        found = trainer.shop.codec.semantic(batch.coarse)
    torch.testing.assert_close(found, torch.stack(states).mean(0).transpose(1, 2))
    with pytest.raises(ModelError, match=r"does not fit|lacks|shape"):
        trainer.shop.codec.take_teacher(_wider(tmp_path / "wide"))
    small = XCodec(XCodecConfig(encoder_channels=2, decoder_channels=0, latent=8))
    with pytest.raises(ModelError, match="no HuBERT"):
        small.take_teacher(tmp_path / "hubert")


def _wider(folder: Path) -> Path:
    sizes = transformers.HubertConfig(**{**SEMANTIC, "intermediate_size": 40})
    transformers.HubertModel(sizes).save_pretrained(folder)
    return folder


def test_the_published_recipe_has_the_published_sizes() -> None:
    run = CodecRun.read(Path(__file__).parent.parent / "recipes" / "xcodec.toml")
    assert run.codec == PUBLISHED and run.upsampler == VocosConfig()


def test_the_semantic_decoder_has_the_published_names() -> None:
    lines = (Path(__file__).parent / "golden" / "xcodec_state_dict.txt").read_text().splitlines()
    published = {
        line.split()[0].removeprefix("decoder_semantic.")
        for line in lines if line.startswith("decoder_semantic.")
    }
    assert set(SemanticDecoder(4).state_dict()) == published


def test_what_is_refused(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'phases'"):
        CodecRun.make({"phase": []})
    with pytest.raises(OptionError, match="did you mean 'frames'"):
        config(songs, phases=[{"frame": 3}])
    with pytest.raises(OptionError, match=r"phases.0.track = 'vocal': data has vocals, acc"):
        config(songs, phases=[{"train": "upsampler", "track": "vocal"}])
    for change, told in (
        ({"data": {"vocals": "a/*.flac"}}, "data.vocals = 'a/.*allowed is a list of file patterns"),
        ({"data": "songs"}, r"data must be written as a table, \[data\]"),
        ({"phases": {"train": "codec"}}, r"written as \[\[phases\]\]"),
        ({"save_every": 0}, "save_every = 0: allowed is a whole number from 1 up"),
        ({"seed": "one"}, "seed = 'one': allowed is a whole number"),
        ({"adversary_sizes": 256}, "adversary_sizes = 256: allowed is a list"),
        ({"stage2": 3}, "stage2 = 3: allowed is a path"),
    ):
        with pytest.raises(OptionError, match=told):
            config(songs, **change)
    with pytest.raises(FileError, match="no file matches"):
        Trainer(config(songs, data={"vocals": [f"{tmp_path}/*.wav"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a start that failed takes no folder"
    with pytest.raises(FileError, match="no file matches"):
        Clips.find({"vocals": [f"{tmp_path}/*.wav"]}, sample_rate=RATE, coarse_rate=16_000)
    Trainer(config(songs), tmp_path / "run")
    with pytest.raises(FileError, match="holds a run already"):
        Trainer(config(songs), tmp_path / "run")
    (tmp_path / "broken.toml").write_text("codec = [")
    with pytest.raises(FileError, match="not valid TOML"):
        CodecRun.read(tmp_path / "broken.toml")


def test_a_loss_that_is_no_number_stops_the_run(songs: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(songs), tmp_path / "run")
    with torch.no_grad():
        trainer.shop.taught.phone.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="phase 0, step 0"):
        trainer.train()


def test_a_gradient_that_is_no_number_changes_no_weight(songs: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(songs), tmp_path / "run")
    weight = trainer.shop.taught.phone.weight
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"phase 0, step 0, .*the gradient's norm is"):
        trainer.train()
    assert torch.equal(weight, before)
