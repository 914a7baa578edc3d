"""X-Codec: 16 kHz waveform <-> codes, 50 frames per second.

Encoding joins an acoustic encoder with a frozen speech model's features; decoding needs only the
codebooks and the acoustic decoder. Names and arithmetic are the published checkpoint's. A small
codec without a semantic branch is the same class with `semantic = None`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.layers import Decoder, Encoder, SemanticEncoder
from yue.codec.mel import MelConfig, MelEncoder
from yue.codec.quantize import ResidualQuantizer
from yue.errors import ModelError
from yue.files import PathLike, read_json, write_json
from yue.weights import SINGLE, fill, read_directory, sizes, write_tensors

DECODE_PARTS = ("quantizer.", "fc_post2.", "decoder_2.")
TRAINING_ONLY = ("decoder_semantic.", "fc_post1.")


@dataclass(frozen=True, kw_only=True)
class XCodecConfig:
    """Sizes of the codec; the defaults are the published one's."""

    sample_rate: int = 16_000
    strides: tuple[int, ...] = (8, 5, 4, 2)
    encoder_channels: int = 64
    decoder_channels: int = 1024
    """0: the codec has no decoder of its own, and the upsampler gives the whole band."""
    latent: int = 256
    codebooks: int = 12
    codebook_size: int = 1024
    semantic: Mapping[str, Any] | None = None
    """Arguments of transformers' HubertConfig; None: no semantic branch."""
    semantic_size: int = 0
    """Channels of the semantic features; 0 without a semantic branch."""
    mel: Mapping[str, Any] | None = None
    """Sizes of encoders on a mel spectrogram (`MelConfig`) instead of the published ones."""
    silence: int | None = None
    """The first codebook's code of silence, measured when the codec was converted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "strides", tuple(self.strides))
        if (self.semantic is None and self.mel is None) and self.semantic_size:
            raise ModelError("codec config: semantic_size without a semantic model or mel.")
        if self.semantic is not None and (self.mel is not None or not self.semantic_size):
            raise ModelError("codec config: semantic needs semantic_size, and excludes mel.")

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)

    @property
    def frame_rate(self) -> int:
        """Frames per second."""
        return self.sample_rate // self.hop

    @property
    def width(self) -> int:
        """Channels of the quantised features."""
        return self.latent + self.semantic_size

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> XCodecConfig:
        """Read a codec's `config.json`. Raises `ModelError` on an unknown field."""
        return sizes(cls, config, "codec config.json")

    @classmethod
    def read(cls, directory: PathLike) -> XCodecConfig:
        """The sizes of the codec in a directory. Raises `ModelError` where there are none."""
        file = Path(directory) / "config.json"
        if not file.is_file():
            raise ModelError(f"{directory} holds no config.json: is it a codec directory?")
        return cls.from_dict(read_json(file))


PUBLISHED = XCodecConfig(
    semantic={
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "conv_bias": False, "feat_extract_norm": "group",
        "conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16, "layer_norm_eps": 1e-5,
        "do_stable_layer_norm": False,
    },
    semantic_size=768,
)
"""The published codec."""


class XCodec(nn.Module):
    """The codec. `decode_only` leaves out what only encoding needs (nine tenths of the weights)."""

    def __init__(self, config: XCodecConfig, *, decode_only: bool = False) -> None:
        super().__init__()
        self.config = config
        c = config
        self.quantizer = ResidualQuantizer(c.codebooks, c.codebook_size, c.width)
        if c.decoder_channels:
            self.fc_post2 = nn.Linear(c.width, c.latent)
            self.decoder_2 = Decoder(c.decoder_channels, c.strides, c.latent)
        self.decode_only = decode_only
        if decode_only:
            return
        self.fc_prior = nn.Linear(c.width, c.width)
        self.encoder: nn.Module
        self.semantic_model: nn.Module
        if c.mel is not None:
            mel = MelConfig.from_dict(c.mel)
            self.encoder = MelEncoder(mel, c.sample_rate, c.hop, c.latent)
            if c.semantic_size:
                self.semantic_model = MelEncoder(mel, c.sample_rate, c.hop, c.semantic_size)
            return
        self.encoder = Encoder(c.encoder_channels, c.strides, c.latent)
        if c.semantic is not None:
            self.encoder_semantic = SemanticEncoder(c.semantic_size)
            self.semantic_model = _hubert(c.semantic)

    @property
    def context(self) -> int:
        """Frames on either side that one decoded frame depends on; 0 without a decoder."""
        return self.decoder_2.context if self.config.decoder_channels else 0

    @property
    def device(self) -> torch.device:
        """Where the codebooks are."""
        return self.quantizer.codebooks[0].embed.device

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, K, T) -> quantised features (B, D, T): also what the upsampler reads."""
        return self.quantizer.decode(codes)

    def decode_features(self, features: Tensor) -> Tensor:
        """Quantised features (B, D, T) -> waveform (B, hop * T), unbounded.

        Raises `ModelError` if the codec has no decoder.
        """
        if not self.config.decoder_channels:
            raise ModelError("this codec has no decoder of its own: use its upsampler.")
        latent = self.fc_post2(features.transpose(1, 2)).transpose(1, 2)
        return self.decoder_2(latent)[:, 0]

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, T), K up to `codebooks` -> waveform (B, hop * T)."""
        return self.decode_features(self.embed(codes))

    def encode(self, wave: Tensor, codebooks: int | None = None) -> Tensor:
        """Waveform (B, S) at `sample_rate` -> codes (B, codebooks, T).

        T is (S - 80) // 320 + 1 with HuBERT's features, (S + 8) // 320 without a semantic branch,
        S // 320 with mel encoders. The whole clip is encoded at once: HuBERT sees all of it, so
        the codes of a cut differ from a cut of the codes.
        """
        if self.decode_only:
            raise ModelError("this codec was loaded for decoding only.")
        if wave.shape[-1] < self.config.hop:
            raise ModelError(f"{wave.shape[-1]} samples: at least {self.config.hop} are needed.")
        return self.quantizer.encode(self.features(wave), codebooks or self.config.codebooks)

    def features(self, wave: Tensor) -> Tensor:
        """Waveform (B, S) -> features before quantisation (B, D, T)."""
        heard = self._heard_as_mel(wave) if self.config.mel is not None else self._heard(wave)
        return self.fc_prior(heard.transpose(1, 2)).transpose(1, 2)

    def _heard(self, wave: Tensor) -> Tensor:
        """Both published encoders (B, D, T); the acoustic one pads where the lengths differ."""
        half = self.config.hop // 2
        acoustic = self.encoder(wave[:, None])
        if self.config.semantic is None:
            return acoustic
        semantic = self.encoder_semantic(self.semantic(wave))
        if acoustic.shape[-1] != semantic.shape[-1]:
            acoustic = self.encoder(F.pad(wave, (half, half))[:, None])
        return torch.cat([acoustic, semantic], dim=1)

    def _heard_as_mel(self, wave: Tensor) -> Tensor:
        """Both mel encoders (B, D, T)."""
        acoustic = self.encoder(wave)
        if not self.config.semantic_size:
            return acoustic
        return torch.cat([acoustic, self.semantic(wave)], dim=1)

    def semantic(self, wave: Tensor) -> Tensor:
        """Waveform (B, S) -> the teacher's features (B, C, T).

        HuBERT's are the mean of all its hidden states.
        """
        if self.config.mel is not None:
            return self.semantic_model(wave)
        half = self.config.hop // 2
        output = self.semantic_model(F.pad(wave, (half, half)), output_hidden_states=True)
        return torch.stack(output.hidden_states).mean(0).transpose(1, 2)

    @torch.inference_mode()
    def silence_code(self, seconds: float = 2.0) -> int:
        """The first codebook's most frequent code in a stretch of zeros."""
        wave = torch.zeros(1, int(seconds * self.config.sample_rate), device=self.device)
        return int(self.encode(wave, 1).flatten().mode().values)

    @classmethod
    def load(
        cls, directory: PathLike, *, decode_only: bool = True, device: str | torch.device = "cpu"
    ) -> XCodec:
        """A codec from `config.json` and safetensors, in fp32."""
        config = XCodecConfig.read(directory)
        with torch.device("meta"):
            codec = cls(config, decode_only=decode_only)
        keep = DECODE_PARTS if decode_only else ()
        tensors = read_directory(directory, device=device, dtype=torch.float32, keep=keep)
        fill(codec, spell_hubert(tensors), str(directory), extra=TRAINING_ONLY)
        return codec.eval()

    def take_teacher(self, directory: PathLike) -> None:
        """Weights of the semantic model from a HuBERT in transformers' layout.

        Raises `ModelError` if this codec has no such model or the weights do not fit it.
        """
        if self.config.semantic is None:
            raise ModelError("this codec has no HuBERT that could take a teacher's weights.")
        tensors = spell_hubert(read_directory(directory, dtype=torch.float32))
        # A model with a head (HubertForCTC) keeps its HuBERT one level down.
        bare = {name.removeprefix("hubert."): tensor for name, tensor in tensors.items()}
        fill(self.semantic_model, bare, str(directory), extra=("lm_head.",))

    def save(self, directory: PathLike) -> Path:
        """Write `config.json` and `model.safetensors`."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_tensors(directory / SINGLE, self.state_dict())
        write_json(directory / "config.json", asdict(self.config))
        return directory


def _hubert(config: Mapping[str, Any]) -> nn.Module:
    """transformers' HuBERT, frozen. Imported here: only encoding needs it, and it is slow to."""
    from transformers import HubertConfig, HubertModel

    model = HubertModel(HubertConfig(**config)).eval().requires_grad_(False)
    assert isinstance(model, nn.Module)
    return model


def spell_hubert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """HuBERT's positional convolution in the spelling of current torch, whatever the file's."""
    new = {
        "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
        "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
    }
    renamed = {}
    for name, tensor in tensors.items():
        end = next((old for old in new if name.endswith(old)), None)
        renamed[name.removesuffix(end) + new[end] if end else name] = tensor
    return renamed
