"""CLaMP 3, MERT and Audiobox Aesthetics: tiny random checkpoints in the published files' form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from test_embed import noise, write_tokenizer
from yue.audio import Audio
from yue.errors import AudioError, ModelError, OptionError
from yue.evaluate import aesthetics, clamp3
from yue.evaluate.aesthetics import Aesthetics
from yue.evaluate.clamp3 import Clamp3, Clamp3Model, Mert
from yue.evaluate.embed import similarity
from yue.evaluate.options import EmbedOptions

CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}
SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}
SPACE = 12


def bold(model: Any, seed: int) -> Any:
    """The model with weights large enough that inputs matter."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


def write_mert(folder: Path) -> None:
    """A HuBERT in MERT's files: a pickle, the old names of weight norm, a config of its own."""
    from transformers import HubertConfig, HubertModel

    model = bold(HubertModel(HubertConfig(**SIZES, **CONVOLUTIONS)), 1)
    new = "pos_conv_embed.conv.parametrizations.weight.original"
    old = {"0": "pos_conv_embed.conv.weight_g", "1": "pos_conv_embed.conv.weight_v"}
    state = {
        name.replace(new + name[-1], old[name[-1]]) if new in name else name: tensor
        for name, tensor in model.state_dict().items()
    }
    assert "encoder.pos_conv_embed.conv.weight_g" in state
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    config = {**model.config.to_dict(), "model_type": "mert_model", "deepnorm": False}
    (folder / "config.json").write_text(json.dumps(config))


def write_clamp3(folder: Path) -> None:
    """A checkpoint with what the published one holds: symbolic weights, poolers, epoch and loss."""
    from transformers import BertConfig, XLMRobertaConfig

    text = XLMRobertaConfig(
        vocab_size=100, max_position_embeddings=140, type_vocab_size=1, pad_token_id=1,
        **{**SIZES, "hidden_size": 32},
    )
    audio = BertConfig(
        vocab_size=1, hidden_size=64, num_hidden_layers=3, num_attention_heads=1,
        intermediate_size=256, max_position_embeddings=128,
    )
    state = dict(bold(Clamp3Model(audio, text, SPACE), 2).state_dict())
    extra = ("symbolic_model.base.x", "symbolic_proj.weight", "audio_model.pooler.dense.weight",
             "text_model.pooler.dense.bias", "text_model.embeddings.position_ids")
    state |= dict.fromkeys(extra, torch.zeros(2))
    folder.mkdir()
    checkpoint = {"model": state, "epoch": 7, "min_eval_loss": 1.5}
    torch.save(checkpoint, folder / "weights_clamp3_saas_tiny.pth")
    text.save_pretrained(folder / "text")
    write_tokenizer(folder / "text")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("clamp3")
    write_mert(where / "mert")
    write_clamp3(where / "clamp3")
    return where


def load(folder: Path, batch: int = 8) -> Clamp3:
    parts = (str(folder / part) for part in ("clamp3", "mert", "clamp3/text"))
    return Clamp3.load(*parts, EmbedOptions(batch=batch))


def test_chunks_by_hand() -> None:
    """300 rows: 0-127, 128-255, and the last 128 with the weight of the 44 that are new."""
    pieces, weights = clamp3.chunk(torch.arange(300))
    assert [(int(p[0]), int(p[-1])) for p in pieces] == [(0, 127), (128, 255), (172, 299)]
    assert weights == [128, 128, 44]
    for n in (1, 127, 128, 129, 256, 1000):
        pieces, weights = clamp3.chunk(torch.arange(n))
        assert sum(weights) == n and len(pieces) == len(weights) == -(-n // 128)
        assert all(len(piece) == min(n, 128) for piece in pieces)
        assert int(pieces[-1][-1]) == n - 1


def slow_song(model: Clamp3Model, rows: Tensor) -> Tensor:
    """The published arithmetic for rows (windows, D), one chunk after the other."""
    zero = torch.zeros(1, rows.shape[1])
    rows = torch.cat([zero, rows, zero])
    total, weight = torch.zeros(SPACE), 0
    for first in range(0, len(rows), 128):
        part = rows[first : first + 128]
        share = len(part)
        if first + 128 >= len(rows):
            part = rows[-128:]
        mask = torch.zeros(1, 128)
        mask[0, : len(part)] = 1
        full = torch.zeros(1, 128, rows.shape[1])
        full[0, : len(part)] = part
        states = model.audio_model(inputs_embeds=full, attention_mask=mask).last_hidden_state[0]
        mean = states[: len(part)].sum(0) / len(part)
        total += share * model.audio_proj(mean)
        weight += share
    return total / weight


@pytest.mark.parametrize("count", [1, 100, 126, 127, 300])
def test_song_vector_is_the_published_arithmetic(
    folder: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load(folder, batch=2)
    rows = np.random.default_rng(count).normal(size=(count, 64)).astype(np.float32)
    monkeypatch.setattr(made.mert, "embed", lambda audio: rows)
    found = made.embed(noise(1))
    assert found.shape == (1, SPACE)
    assert np.allclose(found[0], slow_song(made.model, torch.from_numpy(rows)), atol=1e-5)


def test_mert_is_hubert_over_five_seconds(folder: Path) -> None:
    """Windows one by one, through a model loaded by transformers itself."""
    from transformers import HubertConfig, HubertModel

    mert = Mert.load(str(folder / "mert"), EmbedOptions(batch=2))
    theirs = HubertModel(HubertConfig(**SIZES, **CONVOLUTIONS))
    theirs = bold(theirs, 1)
    song = noise(17.5, 3, rate=24_000)
    wave = song.mono().samples[0].astype(np.float64)
    wave = torch.from_numpy(((wave - wave.mean()) / wave.std()).astype(np.float32))
    expected = [
        torch.stack(theirs(part[None], output_hidden_states=True).hidden_states).mean((0, 2))[0]
        for part in wave.split(5 * 24_000)
    ]
    assert [len(part) for part in wave.split(5 * 24_000)][-1] == 60_000
    found = mert.embed(song)
    assert found.shape == (4, 64)
    assert np.allclose(found, torch.stack(expected), atol=1e-4)
    assert mert.embed(song.cut(0, 15.9)).shape == (3, 64)  # the tail is under a second
    assert np.allclose(mert.embed(Audio(song.samples * 0.1, 24_000)), found, atol=1e-3)


def test_batch_size_and_silence(folder: Path) -> None:
    song, texts = noise(26, 4, rate=24_000), ["slow piano", "x" * 300, "a\nb"]
    one, many = load(folder, 1), load(folder, 64)
    assert np.allclose(one.embed(song), many.embed(song), atol=1e-5)
    assert np.allclose(one.embed_text(texts), many.embed_text(texts), atol=1e-5)
    assert np.isfinite(one.embed(Audio(np.zeros((1, 48_000)), 24_000))).all()
    assert -1 <= similarity(one.embed(song), one.embed_text(texts)[0]) <= 1
    with pytest.raises(AudioError, match="at least 1 s"):
        one.embed(noise(0.9))


def test_lines_of_a_text_keep_their_order(folder: Path) -> None:
    made = load(folder)
    assert clamp3.distinct_lines("pop\n\nsad\npop\nslow\n") == ["pop", "sad", "slow"]
    text = made.embed_text(["pop\nsad\nslow", "pop\n\nsad\npop\nslow\n", "slow\nsad\npop"])
    assert np.allclose(text[0], text[1], atol=1e-6)
    assert not np.allclose(text[0], text[2], atol=1e-4)
    with pytest.raises(OptionError, match="no words"):
        made.embed_text(["\n\n"])


def test_a_long_text_is_chunked_as_published(folder: Path) -> None:
    made = load(folder)
    text = "".join(chr(97 + i % 26) for i in range(300))
    ids = torch.tensor(made.tokenizer(text)["input_ids"])
    assert len(ids) == 302
    total = torch.zeros(SPACE)
    for part, share in ((ids[:128], 128), (ids[128:256], 128), (ids[-128:], 46)):
        states = made.model.text_model(part[None]).last_hidden_state
        total += share * made.model.text_proj(states.mean(dim=1))[0]
    assert np.allclose(made.embed_text([text])[0], total / 302, atol=1e-5)


@pytest.mark.slow
def test_texts_do_not_depend_on_the_hash_seed(folder: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from test_embed_models import load\n"
        f"print(load(Path({str(folder)!r})).embed_text(['b\\na\\nd\\nc\\nf\\ne'])[0].tolist())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True, cwd=Path(__file__).parents[1],
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and len(runs[0]) > 100


def test_clamp3_tells_its_weights(folder: Path) -> None:
    told = load(folder).describe()
    assert told["weights"].endswith("clamp3") and told["mert"]["weights"].endswith("mert")
    assert "chunks of 128" in told["windowing"]


def test_files_that_are_no_clamp3(folder: Path, tmp_path: Path) -> None:
    parts = (str(folder / "mert"), str(folder / "clamp3/text"))
    with pytest.raises(ModelError, match="holds none of"):
        Clamp3.load(str(tmp_path), *parts)
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="no CLaMP 3"):
        Clamp3.load(str(tmp_path), *parts)
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="give the path of one"):
        Clamp3.load(str(tmp_path), *parts)
    (tmp_path / "config.json").write_text('{"deepnorm": true}')
    with pytest.raises(ModelError, match="deepnorm makes it no plain HuBERT"):
        Mert.load(str(tmp_path))


SCALES = {axis: {"mean": 5.0 + i, "std": 2.0 - i / 4} for i, axis in enumerate(aesthetics.AXES)}


def published_spelling(name: str) -> str:
    """transformers' name of a WavLM tensor -> that of the published checkpoint (fairseq's)."""
    name = name.removeprefix("wavlm.")
    if name.startswith("feature_extractor."):
        return name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.")
    if name.startswith("feature_projection."):
        name = name.removeprefix("feature_projection.")
        return name.replace("projection.", "post_extract_proj.")
    if "pos_conv_embed" in name:
        end = {"original0": "weight_g", "original1": "weight_v", "bias": "bias"}
        return f"encoder.pos_conv.0.{end[name.split('.')[-1]]}"
    if name == "masked_spec_embed":
        return "mask_emb"
    if ".layers." in name and ".layer_norm." in name:
        return name.replace(".layer_norm.", ".self_attn_layer_norm.")
    for ours, theirs in (
        (".attention.", ".self_attn."), (".rel_attn_embed.", ".relative_attention_bias."),
        (".gru_rel_pos_linear.", ".grep_linear."), (".gru_rel_pos_const", ".grep_a"),
        (".feed_forward.intermediate_dense.", ".fc1."), (".feed_forward.output_dense.", ".fc2."),
    ):
        name = name.replace(ours, theirs)
    return name


def tiny_aesthetics() -> tuple[dict[str, Any], aesthetics.AestheticsModel]:
    config = {
        "proj_num_layer": 3, "proj_ln": True, "proj_act_fn": "gelu", "nth_layer": 3,
        "normalize_embed": True, "use_weighted_layer_sum": True, "output_dim": 1,
        "precision": "bf16", "target_transform": SCALES, "sample_rate": 16_000,
        "wavlm": {**SIZES, **CONVOLUTIONS, **aesthetics.WAVLM},
    }
    torch.manual_seed(5)
    model = bold(aesthetics.AestheticsModel(aesthetics.AestheticsConfig.from_dict(config)), 5)
    for i, weights in enumerate(model.layer_weights.values()):
        torch.nn.init.normal_(weights, std=1.0, generator=torch.Generator().manual_seed(i))
    return config, model


@pytest.fixture(scope="module")
def audiobox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audiobox(tmp_path_factory.mktemp("audiobox"))


def write_audiobox(where: Path) -> Path:
    """The hub's files: `encoder.` before every name, fairseq's spelling of WavLM."""
    config, model = tiny_aesthetics()
    state = {
        f"encoder.wavlm_model.{published_spelling(name)}" if name.startswith("wavlm.")
        else f"encoder.{name}": tensor.clone()
        for name, tensor in model.state_dict().items()
    }
    for name in ("encoder.pos_conv.0.weight_g", "layer_norm.weight", "encoder.layers.1.fc1.bias",
                 "encoder.layers.0.self_attn.grep_a", "feature_extractor.conv_layers.0.2.weight",
                 "encoder.layers.0.self_attn.relative_attention_bias.weight", "mask_emb",
                 "post_extract_proj.weight", "encoder.layers.1.self_attn_layer_norm.bias"):
        assert f"encoder.wavlm_model.{name}" in state, name
    save_file(state, where / "model.safetensors")
    (where / "config.json").write_text(json.dumps(config))
    torch.save(
        {"state_dict": {f"model.{name.removeprefix('encoder.')}": t for name, t in state.items()},
         "model_cfg": config, "target_transform": SCALES},
        where / "checkpoint.pt",
    )
    return where


def test_aesthetics_by_hand(audiobox: Path) -> None:
    """A song of 10 + 4 s: each window through transformers' own forward, with 200 frames of 499.

    transformers would count 199 frames of 4 s: the published model counts a frame if any is sound.
    """
    _, model = tiny_aesthetics()
    song = noise(14, 6, rate=16_000)
    found = Aesthetics.load(str(audiobox)).score(song)
    wave = torch.from_numpy(song.mono().samples[0])
    scores: dict[str, list[float]] = {axis: [] for axis in aesthetics.AXES}
    for part in (wave[:160_000], wave[160_000:]):
        full = torch.nn.functional.pad(part, (0, 160_000 - len(part)))[None]
        frames = min(len(part) // 320, 499)
        real = torch.arange(499)[None] < frames
        model.wavlm._get_feature_vector_attention_mask = lambda *_, mask=real, **__: mask
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            output = model.wavlm(full, attention_mask=real, output_hidden_states=True)
        states = output.hidden_states
        for axis in aesthetics.AXES:
            weights = model.layer_weights[axis].softmax(0)
            mixed = sum(w * state for w, state in zip(weights, states, strict=True))
            mean = mixed[:, :frames].mean(dim=1)
            raw = model.proj_layer[axis](mean / mean.norm())
            scores[axis].append(float(raw) * SCALES[axis]["std"] + SCALES[axis]["mean"])
    for axis, (first, second) in scores.items():
        assert found[axis] == pytest.approx((10 * first + 4 * second) / 14, abs=1e-3), axis
    assert len({round(value, 3) for value in found.values()}) == 4


def test_aesthetics_states_are_transformers_states() -> None:
    _, model = tiny_aesthetics()
    wave = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    states, mask = model.states(wave, torch.tensor([16_000, 16_000]))
    theirs = model.wavlm(wave, output_hidden_states=True).hidden_states
    assert mask.all() and len(theirs) == 3
    assert torch.allclose(states, torch.stack(theirs), atol=1e-5)


def test_frames_of_a_partial_window_and_the_mask() -> None:
    """A frame counts if any of its samples is sound; what follows the sound changes nothing."""
    _, model = tiny_aesthetics()
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    for valid, frames in ((1, 1), (326, 1), (327, 2), (8000, 25), (16_000, 49)):
        _, mask = model.states(wave, torch.tensor([valid]))
        assert mask.shape == (1, 49) and int(mask.sum()) == frames  # 16000 // 49 = 326
    valid = torch.tensor([3260])
    first, _ = model.states(wave, valid)
    model.wavlm.feature_extractor = Forgetful(model.wavlm.feature_extractor, 10)
    second, _ = model.states(wave, valid)
    assert torch.allclose(first[:, :, :10], second[:, :, :10], atol=1e-5)


class Forgetful(torch.nn.Module):
    """A feature extractor whose frames from `keep` on are others: they must be masked."""

    def __init__(self, inner: torch.nn.Module, keep: int) -> None:
        super().__init__()
        self.inner, self.keep = inner, keep

    def forward(self, wave: Tensor) -> Tensor:
        features = self.inner(wave).clone()
        features[..., self.keep :] = 7.0
        return features


def test_aesthetics_batches_and_files(audiobox: Path) -> None:
    song = noise(33, 8, rate=16_000)
    hub = Aesthetics.load(str(audiobox / "model.safetensors"), EmbedOptions(batch=1))
    pickle = Aesthetics.load(str(audiobox / "checkpoint.pt"), EmbedOptions(batch=3))
    first, second = hub.score(song), pickle.score(song)
    assert first == pytest.approx(second, abs=1e-4)
    assert hub.score(song) == first
    assert first != pytest.approx(hub.score(noise(33, 9, rate=16_000)), abs=1e-4)
    assert all(np.isfinite(list(hub.score(Audio(np.zeros((1, 32_000)), 16_000)).values())))
    assert "10 s" in hub.describe()["windowing"]


def test_aesthetics_of_another_form(audiobox: Path, tmp_path: Path) -> None:
    config = json.loads((audiobox / "config.json").read_text())
    os.link(audiobox / "model.safetensors", tmp_path / "model.safetensors")
    for change, message in (
        ({"target_transform": {"CE": {}}}, "expected CE, CU, PC, PQ"),
        ({"use_weighted_layer_sum": False}, "another form"),
        ({"proj_num_layer": 2}, r"has unknown|does not fit"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=message):
            Aesthetics.load(str(tmp_path))
