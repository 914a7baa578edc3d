"""The upsamplers of a model as a directory: one per track, each of its own kind.

`config.json` holds the sizes of both, or `{track: sizes}` where they differ; sizes with `tones` are
those of a band of tones and noise, with `knots` alone a source-filter voice's, all others a Vocos'.
Weights lie in `vocals.safetensors` and `accompaniment.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from yue.codec.source_filter import SourceFilter, SourceFilterConfig
from yue.codec.tones import Tones, TonesConfig
from yue.codec.vocos import Vocos, VocosConfig
from yue.errors import ModelError
from yue.files import PathLike, read_json, write_json
from yue.vocab import TRACKS
from yue.weights import fill, read_tensors, write_tensors

Upsampler = Vocos | SourceFilter | Tones
UpsamplerConfig = VocosConfig | SourceFilterConfig | TonesConfig


def upsampler_of(config: UpsamplerConfig) -> Upsampler:
    """An upsampler of given sizes."""
    if isinstance(config, TonesConfig):
        return Tones(config)
    if isinstance(config, SourceFilterConfig):
        return SourceFilter(config)
    return Vocos(config)


def read_sizes(directory: PathLike) -> dict[str, UpsamplerConfig]:
    """The sizes per track. Raises `ModelError` on an unknown field or where there are none."""
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        raise ModelError(f"{directory} holds no config.json: is it an upsampler directory?")
    config = read_json(directory / "config.json")
    return {track: _sizes_of(config.get(track, config)) for track in TRACKS}


def _sizes_of(config: Mapping[str, Any]) -> UpsamplerConfig:
    if "tones" in config:
        return TonesConfig.from_dict(config)
    if "knots" in config:
        return SourceFilterConfig.from_dict(config)
    return VocosConfig.from_dict(config)


def load_upsamplers(
    directory: PathLike, *, device: str | torch.device = "cpu"
) -> dict[str, Upsampler]:
    """One upsampler per track. Raises `ModelError` if a file is missing or does not fit."""
    directory = Path(directory)
    upsamplers = {}
    for track, config in read_sizes(directory).items():
        file = directory / f"{track}.safetensors"
        if not file.is_file():
            raise ModelError(f"{directory} lacks {file.name}: is the download complete?")
        with torch.device("meta"):
            upsampler = upsampler_of(config)
        fill(upsampler, read_tensors(file, device=device, dtype=torch.float32), str(file))
        upsamplers[track] = upsampler.eval()
    return upsamplers


def save_upsamplers(directory: PathLike, upsamplers: Mapping[str, Upsampler]) -> Path:
    """Write what `load_upsamplers` reads."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for track, upsampler in upsamplers.items():
        write_tensors(directory / f"{track}.safetensors", upsampler.state_dict())
    configs = {track: asdict(upsampler.config) for track, upsampler in upsamplers.items()}
    first = next(iter(configs.values()))
    same = all(config == first for config in configs.values())
    write_json(directory / "config.json", first if same else configs)
    return directory
