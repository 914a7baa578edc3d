"""Audiobox Aesthetics: four scores of a recording (Tjandra et al., 2025), on transformers' WavLM.

16 kHz mono in, out per axis a number of about 1 to 10: content enjoyment (CE), content usefulness
(CU), production complexity (PC), production quality (PQ). Windows of 10 s, the last filled up with
silence that is masked, weighted by the share that is sound. Per axis: a learned mixture of all 13
states of a WavLM base, mean over time, length 1, an MLP, and back to the scale of the ratings.

Arithmetic is fp32; the published command line runs in bf16, so it differs in the second decimal.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from yue.audio import Audio
from yue.codec.convert import tensors_of
from yue.errors import ModelError
from yue.evaluate.embed import (
    about,
    batches,
    local_folder,
    one_file,
    read_weights,
    wave_of,
    windows,
)
from yue.evaluate.options import EmbedOptions
from yue.files import read_json
from yue.weights import fill

VERSION = 1
AUDIOBOX = "facebook/audiobox-aesthetics"
AXES = ("CE", "CU", "PC", "PQ")
RATE = 16_000
WINDOW = 10.0
WAVLM = {"num_buckets": 320, "max_bucket_distance": 800}
"""Arguments of transformers' WavLMConfig, whose defaults are the base model's."""

_SPELLINGS = (
    (r"^(model\.|encoder\.)?wavlm_model\.", "wavlm."),
    (r"^(model\.|encoder\.)?(proj_layer|layer_weights)\.", r"\2."),
    (r"(conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(conv_layers\.\d+)\.2\.", r"\1.layer_norm."),
    (r"^wavlm\.layer_norm\.", "wavlm.feature_projection.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"mask_emb$", "masked_spec_embed"),
    (r"pos_conv\.0\.weight_g$", "pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"pos_conv\.0\.weight_v$", "pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"pos_conv\.0\.", "pos_conv_embed.conv."),
    (r"self_attn\.relative_attention_bias\.", "attention.rel_attn_embed."),
    (r"self_attn\.grep_linear\.", "attention.gru_rel_pos_linear."),
    (r"self_attn\.grep_a$", "attention.gru_rel_pos_const"),
    (r"self_attn_layer_norm\.", "layer_norm."),
    (r"self_attn\.", "attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
"""The checkpoint's names -> this module's and transformers', applied in this order."""


@dataclass(frozen=True, kw_only=True)
class AestheticsConfig:
    """What the checkpoint's own config says; unknown fields are of no use here."""

    target_transform: Mapping[str, Mapping[str, float]]
    proj_num_layer: int = 1
    proj_ln: bool = False
    proj_dropout: float = 0.0
    normalize_embed: bool = True
    wavlm: Mapping[str, Any] | None = None
    """Other sizes than the base model's; not in the published config."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Raises `ModelError` for a config without the ratings' scale, or of another form."""
        scales = config.get("target_transform") or {}
        if set(scales) != set(AXES):
            raise ModelError(f"target_transform of {sorted(scales)}: expected {', '.join(AXES)}.")
        known = {"use_weighted_layer_sum": True, "output_dim": 1, "proj_act_fn": "gelu"}
        if any(config.get(name, value) != value for name, value in known.items()):
            raise ModelError("this config is of another form than the published one.")
        return cls(**{name: config[name] for name in cls.__dataclass_fields__ if name in config})


class AestheticsModel(nn.Module):
    """A WavLM and, per axis, a mixture of its states and an MLP."""

    def __init__(self, config: AestheticsConfig) -> None:
        from transformers import WavLMConfig, WavLMModel

        super().__init__()
        self.normalise = config.normalize_embed
        sizes = WavLMConfig(**(config.wavlm or WAVLM))
        self.wavlm = WavLMModel(sizes)
        self.proj_layer = nn.ModuleDict({axis: _mlp(sizes.hidden_size, config) for axis in AXES})
        states = sizes.num_hidden_layers + 1
        self.layer_weights = nn.ParameterDict(
            {axis: nn.Parameter(torch.ones(states) / states) for axis in AXES}
        )

    def forward(self, wave: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Waves `(B, S)` whose first `valid` `(B,)` samples are sound -> per axis `(B,)`."""
        states, mask = self.states(wave, valid)
        # The mean over time commutes with the mixture of states.
        means = torch.einsum("lbtd,bt->lbd", states, mask.float()) / mask.sum(dim=1)[:, None]
        found = {}
        for axis in AXES:
            mixed = torch.einsum("lbd,l->bd", means, self.layer_weights[axis].softmax(dim=-1))
            mixed = nn.functional.normalize(mixed, dim=-1) if self.normalise else mixed
            found[axis] = self.proj_layer[axis](mixed)[:, 0]
        return found

    def states(self, wave: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """All hidden states `(L + 1, B, T, D)` and which frames hold sound, bool `(B, T)`.

        transformers counts such frames in another way than the published model, so its forward is
        spelt out here.
        """
        model = self.wavlm
        x, _ = model.feature_projection(model.feature_extractor(wave).transpose(1, 2))
        per_frame = wave.shape[1] // x.shape[1]
        frames = torch.arange(x.shape[1], device=x.device)
        mask = frames * per_frame < valid[:, None]
        x = x * mask[:, :, None]
        x = model.encoder.layer_norm(x + model.encoder.pos_conv_embed(x))
        found, bias = [x], None
        with warnings.catch_warnings():
            # transformers hands torch a bool mask beside a float bias, which still works.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            for index, layer in enumerate(model.encoder.layers):
                x, bias = layer(x, attention_mask=mask, position_bias=bias, index=index)
                found.append(x)
        return torch.stack(found), mask


class Aesthetics:
    """The model and the scale of its ratings."""

    def __init__(
        self, model: AestheticsModel, config: AestheticsConfig, source: str, options: EmbedOptions
    ) -> None:
        self.model, self.config = model, config
        self.source, self.options = source, options

    @classmethod
    def load(cls, source: str = AUDIOBOX, options: EmbedOptions | None = None) -> Self:
        """From a hub id, a folder of `config.json` and safetensors, or a `checkpoint.pt`.

        Raises `ModelError` that names what is missing.
        """
        options = options or EmbedOptions()
        folder = local_folder(source, ["config.json", "*.safetensors"])
        file = one_file(folder, "*.safetensors", "*.pt")
        held = read_weights(file)
        if file.suffix == ".safetensors":
            described = read_json(file.with_name("config.json"))
        else:
            described = {**held["model_cfg"], "target_transform": held["target_transform"]}
        config = AestheticsConfig.from_dict(described)
        with torch.device("meta"):
            model = AestheticsModel(config)
        tensors = {respell(name): tensor.float() for name, tensor in tensors_of(held).items()}
        fill(model, tensors, str(file))
        model.to(options.device).eval().requires_grad_(False)
        return cls(model, config, source, options)

    @torch.inference_mode()
    def score(self, audio: Audio) -> dict[str, float]:
        """The song's score per axis. Raises `AudioError` for less than a second."""
        size = round(WINDOW * RATE)
        pieces = windows(wave_of(audio, RATE), size, 1)
        lengths = torch.tensor([len(piece) for piece in pieces])
        waves = torch.from_numpy(np.stack([np.pad(p, (0, size - len(p))) for p in pieces]))
        device = self.options.device
        found = [
            self.model(waves[some].to(device), lengths[some].to(device))
            for some in map(list, batches(range(len(pieces)), self.options.batch))
        ]
        share = lengths.double() / lengths.sum()
        return {
            axis: float(share @ torch.cat([each[axis] for each in found]).double().cpu())
            * self.config.target_transform[axis]["std"]
            + self.config.target_transform[axis]["mean"]
            for axis in AXES
        }

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "audiobox-aesthetics", "version": VERSION, **about(self.source),
            "windowing": f"{WINDOW:g} s side by side, weighted by the share that is sound",
            "seed": None,
        }


def respell(name: str) -> str:
    """A tensor's name in the published checkpoint -> its name here."""
    for old, new in _SPELLINGS:
        name = re.sub(old, new, name)
    return name


def _mlp(width: int, config: AestheticsConfig) -> nn.Sequential:
    """Linear layers of one width with GELU between; numbered as in the checkpoint."""
    layers: list[nn.Module] = []
    for _ in range(config.proj_num_layer - 1):
        layers.append(nn.Linear(width, width))
        layers += [nn.LayerNorm(width)] if config.proj_ln else []
        layers.append(nn.GELU())
        layers += [nn.Dropout(config.proj_dropout)] if config.proj_dropout else []
    return nn.Sequential(*layers, nn.Linear(width, 1))
