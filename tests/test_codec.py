"""X-Codec and Vocos against transformers and against plain formulas."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DacConfig, HubertConfig, XcodecModel
from transformers import XcodecConfig as TheirConfig

from conftest import GOLDEN
from yue.codec.convert import codec_state, convert_codec
from yue.codec.layers import Snake, fold_weight_norm
from yue.codec.quantize import Codebook, ResidualQuantizer
from yue.codec.vocos import ISTFT, Vocos, VocosConfig
from yue.codec.xcodec import PUBLISHED, XCodec
from yue.errors import ModelError
from yue.rehearsal import CODEC, random_codec


def published_keys() -> dict[str, tuple[int, ...]]:
    """Every key and shape of the published checkpoint."""
    lines = (GOLDEN / "xcodec_state_dict.txt").read_text().splitlines()[:530]
    keys = {}
    for line in lines:
        name, rest = line.split(" ", 1)
        keys[name] = ast.literal_eval(rest[: rest.index(")") + 1])
    return keys


def random_state() -> dict[str, Tensor]:
    """Random weights under the published names, weight norm unfolded."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published_keys().items():
        tensor = torch.randn(shape, generator=generator)
        if name.endswith(("weight_g", "original0", "alpha")):
            tensor = tensor.abs() * 0.3 + 0.3
        elif "norm" in name and name.endswith("weight"):
            tensor = 1 + 0.1 * tensor
        elif not name.endswith(".embed"):
            tensor = tensor * 0.04
        state[name] = tensor
    return state


def their_name(name: str) -> str:
    """The published name in transformers' spelling (formats, section 9.7)."""
    side = re.match(r"(encoder|decoder_2)\.(?:block|model)\.(\d+)(.*)", name)
    if side:
        name = _their_acoustic(side[1] == "encoder", int(side[2]), side[3])
    elif name.startswith(("encoder_semantic", "decoder_semantic")):
        name = name.replace("conv.conv.", "conv.").replace("conv1.conv.", "conv1.")
        name = name.replace("conv2.conv.", "conv2.")
    name = re.sub(
        r"quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.quantizers.\1.codebook.", name
    )
    name = re.sub(r"^fc_prior", "fc", name)
    name = re.sub(r"^fc_post", "fc", name)
    name = name.replace("weight_g", "parametrizations.weight.original0")
    return name.replace("weight_v", "parametrizations.weight.original1")


def _their_acoustic(encoder: bool, block: int, rest: str) -> str:
    side = "acoustic_encoder" if encoder else "acoustic_decoder"
    ends = {0: "conv1", 5: "snake1", 6: "conv2"}
    if block in ends:
        return f"{side}.{ends[block]}{rest}"
    unit, rest = re.match(r"\.block\.(\d+)(.*)", rest).groups()
    single = {3: "snake1", 4: "conv1"} if encoder else {0: "snake1", 1: "conv_t1"}
    if int(unit) in single:
        return f"{side}.block.{block - 1}.{single[int(unit)]}{rest}"
    index, rest = re.match(r"\.block\.(\d)(.*)", rest).groups()
    part = ("snake1", "conv1", "snake2", "conv2")[int(index)]
    first = 0 if encoder else 2
    return f"{side}.block.{block - 1}.res_unit{int(unit) - first + 1}.{part}{rest}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[XCodec, XcodecModel]:
    """The same random weights in our codec, through the converter, and in transformers'."""
    folder = tmp_path_factory.mktemp("codec")
    state = random_state()
    torch.save({"codec_model": state}, folder / "ckpt.pth")
    ours = XCodec.load(convert_codec(folder / "ckpt.pth", folder / "ours"), decode_only=False)
    theirs = XcodecModel(TheirConfig(
        target_bandwidths=[0.5, 1, 1.5, 2, 4, 6], sample_rate=16_000, codebook_size=1024,
        acoustic_model_config=DacConfig(
            encoder_hidden_size=64, decoder_hidden_size=1024, downsampling_ratios=[8, 5, 4, 2],
            upsampling_ratios=[8, 5, 4, 2], sampling_rate=16_000, hidden_size=256,
        ),
        semantic_model_config=HubertConfig(**PUBLISHED.semantic),
    )).eval()
    theirs.apply_weight_norm()
    theirs.load_state_dict({their_name(name): tensor for name, tensor in state.items()})
    return ours, theirs


@pytest.mark.slow
@pytest.mark.parametrize("samples", [16_000, 16_080, 16_319, 20_001])
def test_encode_and_decode_equal_transformers(
    pair: tuple[XCodec, XcodecModel], samples: int
) -> None:
    ours, theirs = pair
    wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) * 0.3
    with torch.inference_mode():
        for bandwidth, books in ((0.5, 1), (4, 8), (6, 12)):
            expected = theirs.encode(wave[:, None], bandwidth=bandwidth).audio_codes
            codes = ours.encode(wave, books)
            assert torch.equal(codes, expected)
            assert codes.shape == (1, books, (samples - 80) // 320 + 1)
            sound, other = ours.decode(codes), theirs.decode(expected).audio_values[:, 0]
            scale = other.abs().max()
            torch.testing.assert_close(sound / scale, other / scale, atol=2e-5, rtol=0)


@pytest.mark.slow
def test_decode_only_loads_a_tenth(
    pair: tuple[XCodec, XcodecModel], tmp_path: Path
) -> None:
    ours, _ = pair
    light = XCodec.load(ours.save(tmp_path))
    count = {m: sum(t.numel() for t in m.state_dict().values()) for m in (light, ours)}
    assert count[light] < 0.3 * count[ours]
    codes = torch.randint(0, 1024, (1, 8, 40))
    with torch.inference_mode():
        torch.testing.assert_close(light.decode(codes), ours.decode(codes))
    with pytest.raises(ModelError, match="decoding only"):
        light.encode(torch.zeros(1, 1000))


@pytest.mark.slow
def test_pieces_with_context_equal_the_whole(pair: tuple[XCodec, XcodecModel]) -> None:
    ours, _ = pair
    assert ours.context == 12
    codes = torch.randint(0, 1024, (1, 8, 60), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = ours.decode(codes)
        part = ours.decode(codes[:, :, 20 - 12 : 40 + 12])[:, 12 * 320 : 32 * 320]
    scale = whole.abs().max()
    expected = whole[:, 20 * 320 : 40 * 320] / scale
    torch.testing.assert_close(part / scale, expected, atol=1e-6, rtol=0)


def test_silence_is_measured_and_pads_short_windows(tmp_path: Path) -> None:
    from yue.draft import Draft, Sung
    from yue.rehearsal import VOCABULARY
    from yue.stage2 import windows

    codec = random_codec(0)
    code = codec.silence_code()
    assert code == codec.encode(torch.zeros(1, 16_000), 1)[0, 0, 25]
    draft = Draft(codes=np.ones((2, 3)), sections=(Sung("verse", "", 3),))
    assert (windows(draft, VOCABULARY, code)[:, 3:] == code).all()


def test_a_codec_without_semantics_round_trips(tmp_path: Path) -> None:
    codec = random_codec(0)
    loaded = XCodec.load(codec.save(tmp_path), decode_only=False)
    wave = torch.randn(1, 3200)
    with torch.inference_mode():
        codes = codec.encode(wave)
        assert codes.shape == (1, CODEC.codebooks, 10)
        assert torch.equal(loaded.encode(wave), codes)
        assert codec.decode(codes).shape == (1, 3200)
    with pytest.raises(ModelError, match="at least 320"):
        codec.encode(torch.zeros(1, 100))


def test_snake() -> None:
    snake, x = Snake(2), torch.randn(1, 2, 5)
    snake.alpha.data = torch.tensor([[[0.5], [2.0]]])
    a = snake.alpha
    torch.testing.assert_close(snake(x), x + torch.sin(a * x) ** 2 / (a + 1e-9))


def test_wrapped_and_surplus_tensors_are_tolerated() -> None:
    state = {"module.a.weight_g": torch.ones(2, 1, 1), "module.a.weight_v": torch.ones(2, 3, 1)}
    folded = codec_state({"codec_model": state, "config": {"x": 1}})
    torch.testing.assert_close(folded["a.weight"], torch.full((2, 3, 1), 3**-0.5))
    assert fold_weight_norm({"b": torch.ones(1)}).keys() == {"b"}


# Quantiser ----------------------------------------------------------------------------------------

def test_nearest_code_and_residuals() -> None:
    quantizer = ResidualQuantizer(3, 16, 4)
    x = torch.randn(2, 4, 7)
    codes = quantizer.encode(x, 3)
    rest = x.transpose(1, 2)
    for k, book in enumerate(quantizer.codebooks):
        nearest = torch.cdist(rest, book.embed[None]).argmin(-1)
        assert torch.equal(codes[:, k], nearest)
        rest = rest - book.embed[nearest]
    torch.testing.assert_close(quantizer.decode(codes), x - rest.transpose(1, 2))


def test_codebooks_learn_clusters_and_revive_dead_codes() -> None:
    torch.manual_seed(0)
    centres = torch.randn(8, 5) * 4
    quantizer = ResidualQuantizer(1, 32, 5).train()  # more codes than clusters: some start dead
    book = quantizer.codebooks[0]
    for _ in range(300):
        x = centres[torch.randint(8, (256,))] + 0.05 * torch.randn(256, 5)
        quantised, codes, loss = quantizer(x.T[None])
    assert loss < 0.01 and len(codes.unique()) >= 8
    assert torch.cdist(centres, book.embed).min(dim=1).values.max() < 0.1
    torch.testing.assert_close(quantised, x.T[None], atol=0.4, rtol=0)
    book.embed[3] = 1e3
    book.cluster_size[3], book.embed_avg[3] = 0, 0
    quantizer(x.T[None])
    assert book.embed[3].abs().max() < 100


def test_gradients_pass_and_evaluation_learns_nothing() -> None:
    quantizer = ResidualQuantizer(2, 8, 4)
    x = torch.randn(1, 4, 6, requires_grad=True)
    quantizer.eval()(x)[0].sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))
    assert not bool(quantizer.codebooks[0].inited)


def test_ties_go_to_the_first_code() -> None:
    book = Codebook(4, 2)
    book.embed = torch.tensor([[9.0, 9], [1, 0], [1, 0], [0, 1]])
    assert book.encode(torch.tensor([[1.0, 0]])).item() == 1


# Vocos --------------------------------------------------------------------------------------------

def test_istft_is_overlap_add() -> None:
    n_fft, hop, frames = 16, 4, 9
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(1, n_fft // 2 + 1, frames, dtype=torch.cfloat, generator=generator)
    window = np.hanning(n_fft + 1)[:-1]
    wave, weight = np.zeros(n_fft + hop * (frames - 1)), np.zeros(n_fft + hop * (frames - 1))
    for t in range(frames):
        part = slice(t * hop, t * hop + n_fft)
        wave[part] += np.fft.irfft(spectrum[0, :, t].numpy(), n_fft) * window
        weight[part] += window**2
    trim = (n_fft - hop) // 2
    expected = (wave[trim:-trim] / weight[trim:-trim])[None]
    ours = ISTFT(n_fft, hop)(spectrum)
    assert ours.shape == (1, hop * frames)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_istft_inverts_the_stft() -> None:
    n_fft, hop = 3528, 882
    wave = torch.randn(1, 20 * hop)
    padded = torch.nn.functional.pad(wave, ((n_fft - hop) // 2,) * 2)
    spectrum = torch.stft(
        padded, n_fft, hop, window=torch.hann_window(n_fft), center=False, return_complex=True
    )
    back = ISTFT(n_fft, hop)(spectrum)
    inner = slice(2 * hop, -2 * hop)
    torch.testing.assert_close(back[:, inner], wave[:, inner], atol=1e-4, rtol=0)


def test_published_vocos_sizes() -> None:
    with torch.device("meta"):
        vocos = Vocos(VocosConfig())
    assert sum(p.numel() for p in vocos.parameters()) == 18_127_818
    assert len(vocos.state_dict()) == 81
    assert vocos.context == 29


def test_vocos_plainly_written_out() -> None:
    """Each step of the published forward pass with numpy's and torch's plainest operations."""
    torch.manual_seed(0)
    config = VocosConfig(input_channels=6, dim=8, intermediate=12, layers=2, n_fft=16, hop=4)
    vocos = Vocos(config).eval()
    for parameter in vocos.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    f = torch.nn.functional
    x = torch.randn(1, 6, 11)

    def norm(y: Tensor, layer: torch.nn.LayerNorm) -> Tensor:
        y = y.transpose(1, 2)
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return (y * layer.weight + layer.bias).transpose(1, 2)

    b = vocos.backbone
    with torch.no_grad():
        y = norm(f.conv1d(x, b.embed.weight, b.embed.bias, padding=3), b.norm)
        for block in b.convnext:
            z = f.conv1d(y, block.dwconv.weight, block.dwconv.bias, padding=3, groups=8)
            z = norm(z, block.norm).transpose(1, 2) @ block.pwconv1.weight.T + block.pwconv1.bias
            z = 0.5 * z * (1 + torch.erf(z / 2**0.5))
            z = (z @ block.pwconv2.weight.T + block.pwconv2.bias) * block.gamma
            y = y + z.transpose(1, 2)
        y = norm(y, b.final_layer_norm).transpose(1, 2)
        y = (y @ vocos.head.out.weight.T + vocos.head.out.bias).transpose(1, 2)
        magnitude, phase = y[:, :9].exp().clamp(max=100), y[:, 9:]
        spectrum = magnitude * (phase.cos() + 1j * phase.sin())
        expected = vocos.head.istft(spectrum)
        torch.testing.assert_close(vocos(x), expected, atol=1e-5, rtol=1e-4)


def test_pieces_of_a_vocos_with_subframes_equal_the_whole() -> None:
    torch.manual_seed(0)
    config = VocosConfig(
        input_channels=8, dim=16, intermediate=32, layers=2, n_fft=1176, subframes=3
    )
    vocos, features = Vocos(config).eval(), torch.randn(1, 8, 60)
    whole, c = vocos(features), vocos.context
    assert whole.shape == (1, 60 * 882) and c == 6
    part = vocos(features[..., 20 - c : 40 + c])[:, c * 882 : -c * 882]
    torch.testing.assert_close(part, whole[:, 20 * 882 : 40 * 882], atol=1e-6, rtol=0)
    with pytest.raises(ModelError, match="must divide hop"):
        VocosConfig(subframes=4)


def test_vocos_pieces_with_context_equal_the_whole() -> None:
    torch.manual_seed(1)
    vocos = Vocos(VocosConfig(input_channels=6, dim=8, intermediate=12, layers=3, n_fft=64, hop=16))
    x = torch.randn(1, 6, 70)
    c = vocos.context
    with torch.no_grad():
        whole = vocos.eval()(x)
        part = vocos(x[:, :, 30 - c : 40 + c])[:, c * 16 : (c + 10) * 16]
    torch.testing.assert_close(part, whole[:, 30 * 16 : 40 * 16], atol=1e-6, rtol=1e-5)
