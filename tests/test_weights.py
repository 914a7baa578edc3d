"""Weight files: good ones round trip, damaged ones and dangerous ones are refused with reasons."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from yue.codec.convert import convert_codec, convert_upsamplers
from yue.codec.layers import fold_weight_norm
from yue.codec.upsamplers import load_upsamplers
from yue.codec.vocos import Vocos, VocosConfig
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.errors import ModelError
from yue.lm.llama import Llama, LlamaConfig
from yue.rehearsal import VOCABULARY, random_llama
from yue.vocab import TRACKS
from yue.weights import (
    INDEX,
    SINGLE,
    fill,
    read_header,
    read_pickle,
    read_tensors,
    weight_files,
    write_tensors,
)

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4665a52d6f1d5c0f9d1ab4a1d1a7b7f3f0a3e9d9d2f7f6c1f0e3c5b8a9d7e6f5\n"
    "size 4920000000\n"
)
NORM = "model.layers.1.input_layernorm.weight"


# One file ---------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A safetensors file of three tensors."""
    tensors = {
        "a.weight": torch.randn(3, 5),
        "a.bias": torch.randn(5, dtype=torch.float64),
        "b.ids": torch.arange(4),
    }
    return write_tensors(tmp_path / "good.safetensors", tensors)


def test_header_and_tensors(good: Path) -> None:
    header, tensors = read_header(good), read_tensors(good)
    assert {name: tensor["shape"] for name, tensor in header.items()} == {
        "a.weight": [3, 5], "a.bias": [5], "b.ids": [4],
    }
    assert header["a.bias"]["dtype"] == "F64"
    expected = load_file(good)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_cast_and_choice(good: Path) -> None:
    cast = read_tensors(good, dtype=torch.bfloat16)
    assert cast["a.weight"].dtype == cast["a.bias"].dtype == torch.bfloat16
    assert cast["b.ids"].dtype == torch.int64, "integers are not cast"
    assert read_tensors(good, keep=("a.b", "b.")).keys() == {"a.bias", "b.ids"}


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / SINGLE, metadata={"format": "pt"})
    assert read_header(tmp_path / SINGLE).keys() == {"a"}


def cut_in_tensors(whole: bytes) -> bytes:
    return whole[:-8]


def cut_in_header(whole: bytes) -> bytes:
    return whole[:40]


def cut_in_length(whole: bytes) -> bytes:
    return whole[:5]


def empty(whole: bytes) -> bytes:
    return b""


def pointer(whole: bytes) -> bytes:
    return POINTER.encode()


def text(whole: bytes) -> bytes:
    return b"<html><body>503 Service Unavailable</body></html>\n" * 40


def header_is_a_list(whole: bytes) -> bytes:
    return struct.pack("<Q", 2) + b"[]"


def header_is_no_json(whole: bytes) -> bytes:
    return struct.pack("<Q", 16) + b"\xff" * 40


def header_without_offsets(whole: bytes) -> bytes:
    header = b'{"a": {"dtype": "F32"}}'
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_in_tensors, r"it holds [\d,]+ of [\d,]+ bytes"),
        (cut_in_header, "it ends within its header, after 40 bytes"),
        (cut_in_length, "does not begin like one"),
        (empty, "does not begin like one"),
        (pointer, "git-lfs pointer: the real file was not fetched"),
        (text, "does not begin like one"),
        (header_is_a_list, "its header cannot be read"),
        (header_is_no_json, "its header cannot be read"),
        (header_without_offsets, "its header cannot be read"),
    ],
)
@pytest.mark.parametrize("read", [read_header, read_tensors])
def test_damaged_file(
    good: Path, damage: Callable[[bytes], bytes], reason: str, read: Callable[[Path], Any]
) -> None:
    good.write_bytes(damage(good.read_bytes()))
    with pytest.raises(ModelError, match=reason) as caught:
        read(good)
    assert str(caught.value).startswith(f"{good} is not a whole safetensors file")
    assert str(caught.value).endswith("Fetch it again.")


def test_only_a_pointer_is_called_one(good: Path) -> None:
    good.write_bytes(text(b""))
    with pytest.raises(ModelError) as caught:
        read_header(good)
    assert "git-lfs" not in str(caught.value)


def test_offsets_that_disagree_with_the_shape(tmp_path: Path) -> None:
    """Only the safetensors library sees this one; its error is ours too."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode()
    file = tmp_path / SINGLE
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        read_tensors(file)


def test_missing_file(tmp_path: Path) -> None:
    for read in (read_header, read_tensors):
        with pytest.raises(ModelError, match="no such file"):
            read(tmp_path / SINGLE)


# A module's tensors -----------------------------------------------------------------------------


def linear() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))


def state() -> dict[str, Tensor]:
    return {
        "0.weight": torch.randn(2, 3), "0.bias": torch.randn(2),
        "1.weight": torch.randn(2, 2), "1.bias": torch.randn(2),
    }


def test_fill() -> None:
    module, tensors = linear(), state()
    fill(module, {**tensors, "teacher.weight": torch.zeros(1)}, "here", extra=("teacher.",))
    x = torch.randn(4, 3)
    hidden = x @ tensors["0.weight"].T + tensors["0.bias"]
    torch.testing.assert_close(module(x), hidden @ tensors["1.weight"].T + tensors["1.bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "here lacks 0.bias."),
        ({"2.bias": torch.zeros(2)}, "here has unknown 2.bias."),
        (
            {"0.weight": torch.zeros(3, 2)},
            "here does not fit its config: 0.weight is (3, 2), expected (2, 3).",
        ),
        (
            {"0.bias": None, "0.weight": None, "1.bias": None, "1.weight": None},
            "here lacks 0.weight, 0.bias, 1.weight and 1 more.",
        ),
    ],
)
def test_fill_with_what_does_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    tensors = {name: t for name, t in {**state(), **change}.items() if t is not None}
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        fill(linear(), tensors, "here")


# A model directory ------------------------------------------------------------------------------


@pytest.fixture
def llama() -> Llama:
    return random_llama(VOCABULARY, seed=1, context=256)


def save_sharded(model: Llama, directory: Path) -> None:
    """Two shards and an index, as transformers writes large models."""
    model.save(directory)
    tensors = load_file(directory / SINGLE)
    (directory / SINGLE).unlink()
    half = len(tensors) // 2
    shards = {
        f"model-0000{1 + part}-of-00002.safetensors": dict(list(tensors.items())[begin:end])
        for part, (begin, end) in enumerate([(0, half), (half, None)])
    }
    for name, held in shards.items():
        save_file(held, directory / name)
    places = {tensor: name for name, held in shards.items() for tensor in held}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (directory / INDEX).write_text(json.dumps(index))


def assert_same(first: Llama, second: Llama) -> None:
    ids = torch.randint(VOCABULARY.size, (2, 12), generator=torch.Generator().manual_seed(0))
    assert first.config == second.config
    with torch.no_grad():
        assert torch.equal(first(ids), second(ids))


def test_llama_round_trip(llama: Llama, tmp_path: Path) -> None:
    loaded = Llama.load(llama.save(tmp_path))
    assert_same(llama, loaded)
    assert not loaded.training
    assert loaded.config.vocabulary == VOCABULARY


def test_llama_keeps_or_casts_dtype(llama: Llama, tmp_path: Path) -> None:
    llama.bfloat16().save(tmp_path)
    assert Llama.load(tmp_path, None).lm_head.weight.dtype == torch.bfloat16
    assert Llama.load(tmp_path).lm_head.weight.dtype == torch.float32


def test_llama_with_tied_embeddings(llama: Llama, tmp_path: Path) -> None:
    tied = Llama(LlamaConfig.from_dict({**llama.config.to_dict(), "tie_word_embeddings": True}))
    tied.save(tmp_path)
    assert "lm_head.weight" not in read_header(tmp_path / SINGLE)
    loaded = Llama.load(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert_same(tied, loaded)


def test_llama_in_shards(llama: Llama, tmp_path: Path) -> None:
    save_sharded(llama, tmp_path)
    assert [file.name[:11] for file in weight_files(tmp_path)] == ["model-00001", "model-00002"]
    assert_same(llama, Llama.load(tmp_path))


def test_missing_shard(llama: Llama, tmp_path: Path) -> None:
    save_sharded(llama, tmp_path)
    weight_files(tmp_path)[1].unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors"):
        Llama.load(tmp_path)


def test_no_weights_at_all(llama: Llama, tmp_path: Path) -> None:
    (llama.save(tmp_path) / SINGLE).unlink()
    with pytest.raises(ModelError, match=r"lacks model\.safetensors"):
        Llama.load(tmp_path)


def test_index_that_is_none(llama: Llama, tmp_path: Path) -> None:
    (llama.save(tmp_path) / INDEX).write_text('{"metadata": {}}')
    with pytest.raises(ModelError, match="has no weight_map"):
        Llama.load(tmp_path)


def without_a_tensor(tensors: dict[str, Tensor]) -> None:
    del tensors[NORM]


def with_another_tensor(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.2.input_layernorm.weight"] = torch.ones(32)


def with_another_shape(tensors: dict[str, Tensor]) -> None:
    tensors[NORM] = torch.ones(48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_a_tensor, rf"lacks {NORM}\."),
        (with_another_tensor, r"has unknown model\.layers\.2\.input_layernorm\.weight\."),
        (with_another_shape, rf"{NORM} is \(48,\), expected \(32,\)"),
    ],
)
def test_llama_that_does_not_fit(
    llama: Llama, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    file = llama.save(tmp_path) / SINGLE
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(ModelError, match=message) as caught:
        Llama.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_llama_cut_off(llama: Llama, tmp_path: Path) -> None:
    file = llama.save(tmp_path) / SINGLE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"it holds [\d,]+ of [\d,]+ bytes"):
        Llama.load(tmp_path)


# Pickles ----------------------------------------------------------------------------------------

both_pickle_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])


def save_pickle(value: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def training_config() -> Any:
    """An omegaconf tree as training programs keep one: nested, with None and interpolation."""
    config = OmegaConf.create({
        "generator": {"config": {"D": 256, "ratios": [8, 5, 4, 2], "nested": [[1, None], ["a"]]}},
        "resume": None, "lr": 1e-4, "amp": True, "name": "codec", "again": "${name}",
    })
    assert config.again == "codec"
    return config


@both_pickle_formats
def test_published_layout_is_read(tmp_path: Path, zipped: bool) -> None:
    weights = {"w": torch.randn(3, 4), "h": torch.randn(2).half(), "n": torch.arange(3)}
    config = training_config()
    checkpoint = {
        "codec_model": weights, "config": config, "ratios": config.generator.config.ratios,
        "p": nn.Parameter(torch.ones(2)), "epoch": 3, "nothing": None, "pair": (1, [2.5]),
    }
    loaded = read_pickle(save_pickle(checkpoint, tmp_path / "c.pth", zipped))
    for name, tensor in weights.items():
        assert torch.equal(loaded["codec_model"][name], tensor)
    assert (loaded["epoch"], loaded["nothing"], loaded["pair"]) == (3, None, (1, [2.5]))
    for stub in (loaded["config"], loaded["ratios"]):
        assert not isinstance(stub, type(config)), "the real class was not made"
        assert vars(stub) == {}, "and nothing of its state was taken"


class Calls:
    """Pickles as a call of `function`: what reading it naively would run."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def calls_the_shell(trace: Path) -> Any:
    return Calls(os.system, f"echo x > {trace}")


def calls_eval(trace: Path) -> Any:
    return Calls(eval, f"__import__('pathlib').Path({str(trace)!r}).write_text('x')")


def writes_a_file(trace: Path) -> Any:
    return Calls(Path.write_text, trace, "x")


def opens_a_file(trace: Path) -> Any:
    return Calls(open, str(trace), "w")


def hides_in_a_list(trace: Path) -> Any:
    return {"codec_model": {"w": torch.ones(1), "x": [calls_the_shell(trace)]}}


@both_pickle_formats
@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (calls_the_shell, r"\w+\.system"),
        (calls_eval, "eval"),
        (writes_a_file, "pathlib|getattr"),
        (opens_a_file, "open"),
        (hides_in_a_list, r"\w+\.system"),
    ],
)
def test_malicious_pickle_is_refused(
    tmp_path: Path, attack: Callable[[Path], Any], named: str, zipped: bool
) -> None:
    trace = tmp_path / "trace"
    path = save_pickle(attack(trace), tmp_path / "evil.pth", zipped)
    with pytest.raises(ModelError, match=rf"refused: it names \S*({named})") as caught:
        read_pickle(path)
    assert not trace.exists()
    assert "weights_only" not in str(caught.value), "torch's advice would switch the guard off"


def test_the_attack_works_where_nothing_guards(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    for number, attack in enumerate((calls_the_shell, calls_eval, writes_a_file, hides_in_a_list)):
        trace = tmp_path / f"trace{number}"
        torch.load(save_pickle(attack(trace), tmp_path / "evil.pth"), weights_only=False)
        assert trace.read_text().strip() == "x"


@both_pickle_formats
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_truncated_pickle(tmp_path: Path, zipped: bool, kept: float) -> None:
    path = save_pickle({"w": torch.randn(100, 100)}, tmp_path / "c.pth", zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ModelError, match="refused: it is cut off or no torch checkpoint"):
        read_pickle(path)


def test_pointer_in_place_of_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_text(POINTER)
    with pytest.raises(ModelError, match="git-lfs pointer"):
        read_pickle(tmp_path / "c.pth")


def test_missing_pickle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_pickle(tmp_path / "c.pth")


# Weight norm and the published codec ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [
        (nn.Conv1d, 6, 4), (nn.Conv1d, 6, 1), (nn.Conv1d, 1, 4),
        (nn.ConvTranspose1d, 6, 3), (nn.ConvTranspose1d, 1, 3),
    ],
)
@pytest.mark.parametrize(
    ("weight_norm", "names"),
    [
        (parametrizations.weight_norm, {"parametrizations.weight.original0", "bias",
                                        "parametrizations.weight.original1"}),
        (nn.utils.weight_norm, {"weight_g", "weight_v", "bias"}),
    ],
    ids=["new", "old"],
)
def test_weight_norm_folds_as_torch_does(
    kind: type[nn.Module], inputs: int, outputs: int, weight_norm: Any, names: set[str]
) -> None:
    torch.manual_seed(2)
    normed, plain = weight_norm(kind(inputs, outputs, 4)), kind(inputs, outputs, 4)
    assert normed.state_dict().keys() == names
    for parameter in normed.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    pair = {f"stage.{name}": tensor for name, tensor in normed.state_dict().items()}
    folded = fold_weight_norm({**pair, "other": torch.ones(1)})
    assert folded.keys() == {"stage.weight", "stage.bias", "other"}
    plain.load_state_dict({name: folded[f"stage.{name}"] for name in ("weight", "bias")})
    x = torch.randn(2, inputs, 20)
    torch.testing.assert_close(plain(x), normed(x))


HUBERT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_bias": False, "feat_extract_norm": "group", "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "do_stable_layer_norm": False,
}
SMALL = XCodecConfig(
    encoder_channels=2, decoder_channels=32, latent=8, codebooks=3, codebook_size=16,
    semantic=HUBERT, semantic_size=16,
)
ACOUSTIC = ("encoder.", "decoder_2.")


def published_spelling(codec: XCodec) -> dict[str, Tensor]:
    """The codec's tensors as the published file has them: every DAC convolution as a pair.

    g is the weight's norm and v the weight times a factor: only folding gives the weight back.
    """
    published = {}
    for name, tensor in codec.state_dict().items():
        if name.startswith(ACOUSTIC) and name.endswith(".weight"):
            stem = name.removesuffix(".weight")
            published[f"{stem}.weight_g"] = tensor.flatten(1).norm(dim=1)[:, None, None]
            published[f"{stem}.weight_v"] = tensor * 1.7
        else:
            old = name.replace("parametrizations.weight.original0", "weight_g")
            published[old.replace("parametrizations.weight.original1", "weight_v")] = tensor
    return published


def with_extras(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the published checkpoint carries besides: training parts, discriminator, config."""
    training = {
        "decoder_semantic.conv.weight": torch.ones(2), "fc_post1.weight": torch.ones(2),
        "never_heard_of.weight": torch.ones(2),
    }
    return {
        "codec_model": {**tensors, **training}, "discriminator": {"d.weight": torch.ones(3)},
        "config": training_config(), "step": 360_000,
    }


@pytest.fixture(scope="module")
def codec() -> XCodec:
    torch.manual_seed(5)
    codec = XCodec(SMALL).eval()
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return codec


def test_small_codec_is_spelled_like_the_published_one(codec: XCodec) -> None:
    """Every name of the synthetic file is one of the published file's, by the golden list."""
    golden = Path(__file__).parent / "golden" / "xcodec_state_dict.txt"
    known = golden.read_text().replace("parametrizations.weight.original0", "weight_g")
    known = known.replace("parametrizations.weight.original1", "weight_v")
    names = {line.split()[0] for line in known.splitlines() if line and not line.startswith("#")}
    assert set(published_spelling(codec)) <= names


@torch.no_grad()
@both_pickle_formats
def test_converted_codec_is_the_codec(codec: XCodec, tmp_path: Path, zipped: bool) -> None:
    checkpoint = with_extras(published_spelling(codec))
    source = save_pickle(checkpoint, tmp_path / "codec.pth", zipped)
    target = convert_codec(source, tmp_path / "codec", SMALL)

    whole = XCodec.load(target, decode_only=False)
    decoder = XCodec.load(target)
    assert whole.config == decoder.config == replace(SMALL, silence=codec.silence_code())
    wave = torch.randn(1, 3200) * 0.1
    features = codec.features(wave)
    assert features.shape == (1, 24, 10)
    torch.testing.assert_close(whole.features(wave), features)
    codes = torch.randint(16, (1, 3, 9))
    expected = codec.decode(codes)
    assert expected.shape == (1, 9 * 320)
    torch.testing.assert_close(whole.decode(codes), expected)
    torch.testing.assert_close(decoder.decode(codes), expected)
    with pytest.raises(ModelError, match="decoding only"):
        decoder.encode(wave)


@pytest.mark.parametrize(
    "name",
    [
        "quantizer.vq.layers.1._codebook.embed",
        "fc_prior.bias",
        "decoder_2.model.0.weight_v",
        "semantic_model.encoder.pos_conv_embed.conv.weight_g",
    ],
)
def test_codec_without_a_tensor_is_refused(codec: XCodec, tmp_path: Path, name: str) -> None:
    checkpoint = with_extras(published_spelling(codec))
    del checkpoint["codec_model"][name]
    source = save_pickle(checkpoint, tmp_path / "codec.pth")
    stem = re.escape(re.sub("weight_[gv]$", "", name))
    with pytest.raises(ModelError, match=f"lacks {stem}"):
        convert_codec(source, tmp_path / "codec", SMALL)
    assert not (tmp_path / "codec").exists(), "nothing half-converted is left"


def test_codec_of_another_shape_is_refused(codec: XCodec, tmp_path: Path) -> None:
    checkpoint = published_spelling(codec) | {"fc_prior.bias": torch.ones(5)}
    source = save_pickle(checkpoint, tmp_path / "codec.pth")
    with pytest.raises(ModelError, match=r"fc_prior\.bias is \(5,\), expected \(24,\)"):
        convert_codec(source, tmp_path / "codec", SMALL)


def test_pickle_that_is_no_checkpoint(tmp_path: Path) -> None:
    source = save_pickle([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="is a list, not a dict of tensors"):
        convert_codec(source, tmp_path / "codec", SMALL)
    with pytest.raises(ModelError, match="is a list, not a dict of tensors"):
        convert_upsamplers(dict.fromkeys(TRACKS, source), tmp_path / "upsampler")


UPSAMPLER = VocosConfig(input_channels=6, dim=8, intermediate=12, layers=2, n_fft=64, hop=16)


@pytest.fixture
def upsamplers(tmp_path: Path) -> tuple[dict[str, Vocos], dict[str, Path]]:
    """Two upsamplers and the pickles of their state dicts."""
    torch.manual_seed(6)
    models = {track: Vocos(UPSAMPLER).eval() for track in TRACKS}
    files = {
        track: save_pickle(model.state_dict(), tmp_path / f"{track}.pth")
        for track, model in models.items()
    }
    return models, files


@torch.no_grad()
def test_converted_upsamplers(
    upsamplers: tuple[dict[str, Vocos], dict[str, Path]], tmp_path: Path
) -> None:
    models, files = upsamplers
    loaded = load_upsamplers(convert_upsamplers(files, tmp_path / "up", UPSAMPLER))
    features = torch.randn(1, 6, 12)
    waves = {track: loaded[track](features) for track in TRACKS}
    for track in TRACKS:
        assert loaded[track].config == UPSAMPLER
        assert torch.equal(waves[track], models[track](features))
    assert not torch.equal(*waves.values()), "each track has its own"


@pytest.mark.parametrize("fault", ["lacks head.out.bias", "has unknown backbone.extra"])
def test_upsampler_that_does_not_fit(
    upsamplers: tuple[dict[str, Vocos], dict[str, Path]], tmp_path: Path, fault: str
) -> None:
    models, files = upsamplers
    state = models["vocals"].state_dict()
    if fault.startswith("lacks"):
        del state["head.out.bias"]
    else:
        state["backbone.extra"] = torch.ones(1)
    save_pickle(state, files["vocals"])
    with pytest.raises(ModelError, match=re.escape(fault)):
        convert_upsamplers(files, tmp_path / "up", UPSAMPLER)
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_upsamplers(tmp_path / "up")
