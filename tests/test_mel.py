"""The mel encoder: frames where they belong, codes of a cut, lengths, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from yue.codec.mel import MelConfig, MelEncoder
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.errors import ModelError

SIZES = {"bands": 20, "n_fft": 1024, "dim": 16, "intermediate": 32, "layers": 2}
CONFIG = XCodecConfig(
    decoder_channels=0, latent=6, semantic_size=10, codebooks=3, codebook_size=32, mel=SIZES
)


def encoder() -> MelEncoder:
    torch.manual_seed(0)
    return MelEncoder(MelConfig.from_dict(SIZES), 16_000, 320, 6).eval()


@pytest.mark.parametrize("samples", [320, 639, 640, 16_000, 16_100])
def test_one_frame_per_hop(samples: int) -> None:
    wave = torch.randn(2, samples)
    assert encoder()(wave).shape == (2, 6, samples // 320)
    assert XCodec(CONFIG).eval().encode(wave).shape == (2, 3, samples // 320)


def test_a_click_is_heard_in_its_frame() -> None:
    wave = torch.zeros(1, 100 * 320)
    wave[0, 40 * 320 + 160] = 1.0
    loudness = encoder().log_mel(wave)[0].mean(0)
    assert loudness.argmax() == 40


def test_twice_as_loud_is_a_shift_of_the_log() -> None:
    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(2))
    shift = encoder().log_mel(2 * wave) - encoder().log_mel(wave)
    torch.testing.assert_close(shift, torch.full_like(shift, torch.tensor(2.0).log().item() / 3))


def test_the_codes_of_a_cut_are_a_cut_of_the_codes() -> None:
    torch.manual_seed(1)
    codec, wave = XCodec(CONFIG).eval(), torch.randn(1, 80 * 320)
    whole, cut = codec.encode(wave), codec.encode(wave[:, 20 * 320 : 60 * 320])
    reach = 3 + 3 * SIZES["layers"] + 2
    assert torch.equal(whole[..., 20 + reach : 60 - reach], cut[..., reach:-reach])


def test_saved_and_loaded_it_encodes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(1)
    codec, wave = XCodec(CONFIG).eval(), torch.randn(1, 50 * 320)
    codec.save(tmp_path)
    again = XCodec.load(tmp_path, decode_only=False)
    assert torch.equal(codec.encode(wave), again.encode(wave))
    assert XCodec.load(tmp_path).embed(codec.encode(wave)).shape == (1, 16, 50)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="mel: "):
        XCodec(XCodecConfig(decoder_channels=0, latent=6, mel={"band": 3}))
    with pytest.raises(ModelError, match="excludes mel"):
        XCodecConfig(semantic={"hidden_size": 8}, semantic_size=8, mel=SIZES)
    with pytest.raises(ModelError, match="without a semantic model"):
        XCodecConfig(semantic_size=8)
