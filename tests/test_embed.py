"""CLAP, AST and what all embedders share, with tiny random models from a folder, offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yue.audio import Audio
from yue.errors import AudioError, ModelError, OptionError
from yue.evaluate import embed
from yue.evaluate.clap import Clap
from yue.evaluate.classify import Classifier, kl_ast
from yue.evaluate.distances import kl
from yue.evaluate.options import ClapOptions, EmbedOptions

RATE = 48_000


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, (2, round(seconds * rate)))
    return Audio(samples.astype(np.float32), rate)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of single characters, in the files that transformers writes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", *(chr(c) for c in range(32, 127))]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", cls_token="<s>", unk_token="<unk>",
    ).save_pretrained(folder)


def write_clap(folder: Path, *, fused: bool) -> str:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(0)
    config = ClapConfig(
        projection_dim=16,
        text_config={
            "vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 128,
            "projection_dim": 16, "pad_token_id": 1,
        },
        audio_config={
            "hidden_size": 64, "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 1, 2, 2], "num_hidden_layers": 4, "projection_dim": 16,
            "enable_fusion": fused, "window_size": 8,
        },
    )
    ClapModel(config).eval().save_pretrained(folder)
    ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc").save_pretrained(folder)
    write_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="module", params=[True, False], ids=["fused", "unfused"])
def clap(request: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_clap(tmp_path_factory.mktemp("clap"), fused=request.param)


def test_windows_by_hand() -> None:
    wave = np.arange(25)
    assert [len(p) for p in embed.windows(wave, 10, 5)] == [10, 10, 5]
    assert [len(p) for p in embed.windows(wave, 10, 6)] == [10, 10]
    assert [len(p) for p in embed.windows(wave, 30, 5)] == [25]
    assert np.array_equal(np.concatenate(embed.windows(wave, 7, 1)), wave)
    assert embed.wave_of(noise(2, rate=16_000), RATE).shape == (2 * RATE,)
    with pytest.raises(AudioError, match=r"0.50 s long: at least 1 s"):
        embed.wave_of(noise(0.5), RATE)


def test_clap_windows_are_10_seconds(clap: str) -> None:
    model = Clap.load(clap)
    for seconds, count in ((1, 1), (10, 1), (10.9, 1), (11.5, 2), (29, 3)):
        found = model.embed(noise(seconds))
        assert found.shape == (count, 16) and found.dtype == np.float32
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


def test_clap_is_the_same_at_any_batch_size_and_after_anything(clap: str) -> None:
    song, texts = noise(31), ["a calm song", "drum and bass, male vocal", "pop"]
    one, five = (Clap.load(clap, ClapOptions(batch=batch)) for batch in (1, 5))
    np.random.seed(1)
    first = one.embed(song)
    assert np.allclose(first, five.embed(song), atol=1e-5)
    assert np.array_equal(first, one.embed(song))
    assert np.allclose(first[1:2], one.embed(song.cut(10, 20)), atol=1e-4)
    assert np.allclose(one.embed_text(texts), five.embed_text(texts), atol=1e-5)
    assert np.allclose(one.embed_text(texts)[2], one.embed_text(texts[2:])[0], atol=1e-5)
    assert not np.allclose(one.embed_text(texts)[0], one.embed_text(texts)[2], atol=1e-3)


def test_the_whole_song_depends_on_the_seed_alone(clap: str) -> None:
    """Chunks are drawn with numpy's global generator: it is seeded, and put back."""
    song = noise(45)
    model = Clap.load(clap, ClapOptions(whole=True))
    np.random.seed(1)
    first = model.embed(song)
    np.random.seed(2)
    before = np.random.get_state()[1].copy()
    assert np.array_equal(first, model.embed(song)) and first.shape == (1, 16)
    assert np.array_equal(before, np.random.get_state()[1])
    other = Clap.load(clap, ClapOptions(whole=True, seed=3))
    assert not np.array_equal(first, other.embed(song))
    assert other.describe()["seed"] == 3 and other.describe()["windowing"] == "whole song"


def test_clap_is_the_models_own_answer(clap: str) -> None:
    """One window, one text: transformers' forward, with its own similarity."""
    from transformers import AutoFeatureExtractor, AutoTokenizer, ClapModel

    song, text = noise(4), "folk, female vocal"
    ours = Clap.load(clap)
    theirs = ClapModel.from_pretrained(clap).eval().requires_grad_(False)
    seen = AutoFeatureExtractor.from_pretrained(clap)(
        song.mono().samples[0], sampling_rate=RATE, return_tensors="pt"
    )
    words = AutoTokenizer.from_pretrained(clap)([text], return_tensors="pt")
    with torch.inference_mode():
        answer = theirs(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"], **seen
        )
    expected = float(answer.logits_per_audio / theirs.logit_scale_a.exp())
    assert embed.similarity(ours.embed(song), ours.embed_text([text])[0]) == pytest.approx(
        expected, abs=1e-5
    )


def test_silence_and_short_songs_are_scored(clap: str) -> None:
    model = Clap.load(clap)
    assert np.isfinite(model.embed(Audio(np.zeros((1, 5 * RATE)), RATE))).all()


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_length=256, num_mel_bins=64, num_labels=5, initializer_range=0.5,
    )
    ASTForAudioClassification(config).eval().save_pretrained(folder)
    ASTFeatureExtractor(max_length=256, num_mel_bins=64).save_pretrained(folder)
    return str(folder)


def test_classes_of_the_whole_song(ast: str) -> None:
    song = noise(9.2, rate=16_000)
    one, many = (Classifier.load(ast, EmbedOptions(batch=batch)) for batch in (1, 8))
    found = one.embed(song)
    assert one.window == 2.56 and found.shape == (4, 5)  # 3 * 2.56 + 1.52 s
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert np.allclose(found, many.embed(song), atol=1e-6)
    assert not np.allclose(found[0], many.embed(Audio(np.zeros((1, 16_000)), 16_000))[0], atol=1e-3)


def test_kl_ast_by_hand() -> None:
    songs = {"a": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": np.array([[0.25, 0.75]])}
    reference = {"b": np.array([[0.5, 0.5]]), "z": np.array([[0.5, 0.5], [1.0, 0.0]])}
    found = kl_ast(songs, reference)
    assert found["value"] == pytest.approx(kl([0.625, 0.375], [0.375, 0.625]))
    assert found["paired"] == pytest.approx(kl([0.5, 0.5], [0.25, 0.75])) and found["pairs"] == 1
    assert kl_ast({"a": songs["a"]}, {"q": songs["a"]}) == {
        "metric": "kl_ast", "version": 1, "value": 0.0, "paired": None, "pairs": 0,
    }
    with pytest.raises(OptionError, match="nothing to compare"):
        kl_ast({}, reference)


def test_missing_weights_are_an_error_not_random_numbers(clap: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in Path(clap).iterdir():
        os.link(file, tmp_path / file.name)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["text_projection.linear1.weight"]
    weights.unlink()
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks text_projection.linear1.weight \(1 in all\)"):
        Clap.load(str(tmp_path))


def test_weights_that_are_not_here_are_named() -> None:
    with pytest.raises(ModelError, match=r"laion/clap-htsat-fused could not be loaded.*local"):
        Clap.load()
    with pytest.raises(ModelError, match="nobody/nothing could not be loaded"):
        embed.local_folder("nobody/nothing", ["*.pth"])


def test_licences_of_known_weights() -> None:
    assert "non-commercial" in embed.about("m-a-p/MERT-v1-95M")["licence"]
    assert embed.about("facebook/audiobox-aesthetics")["licence"] == "CC BY 4.0"
