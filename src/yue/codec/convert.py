"""The published codec's files -> directories that `XCodec.load` and `load_upsamplers` read.

Once per machine: a pickle goes in through the restricted reader, its weight norm is folded, every
name and shape is checked, safetensors come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yue.codec.layers import fold_weight_norm
from yue.codec.vocos import Vocos, VocosConfig
from yue.codec.xcodec import PUBLISHED, TRAINING_ONLY, XCodec, XCodecConfig, spell_hubert
from yue.errors import ModelError
from yue.files import PathLike, write_json
from yue.vocab import TRACKS
from yue.weights import SINGLE, fill, read_pickle, write_tensors

CHECKPOINT = "final_ckpt/ckpt_00360000.pth"
UPSAMPLERS = dict(
    zip(TRACKS, ("decoders/decoder_131000.pth", "decoders/decoder_151000.pth"), strict=True)
)
POSITIONAL = "pos_conv_embed"


def tensors_of(checkpoint: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint, bare or wrapped. Raises `ModelError` if there are none."""
    for key in ("codec_model", "state_dict", "model"):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping):
        raise ModelError(f"the checkpoint is a {type(checkpoint).__name__}, not a dict of tensors.")
    return {
        str(name).removeprefix("module."): value
        for name, value in checkpoint.items()
        if isinstance(value, Tensor)
    }


def codec_state(checkpoint: Any) -> dict[str, Tensor]:
    """The codec's tensors out of a checkpoint, weight norm folded.

    HuBERT's positional convolution keeps its pair, which transformers wants. Raises `ModelError`
    if one half of a pair is missing.
    """
    tensors = tensors_of(checkpoint)
    positional = {name: t for name, t in tensors.items() if POSITIONAL in name}
    rest = {name: t for name, t in tensors.items() if POSITIONAL not in name}
    try:
        return {**fold_weight_norm(rest), **spell_hubert(positional)}
    except KeyError as error:
        raise ModelError(f"the codec checkpoint lacks {error.args[0]}.") from error


def convert_codec(
    source: PathLike, target: PathLike, config: XCodecConfig = PUBLISHED
) -> Path:
    """`final_ckpt/ckpt_*.pth` -> a codec directory. Extra tensors are tolerated, missing are not.

    The code of silence is measured and written down. Raises `ModelError` if the pickle is refused
    or does not fit.
    """
    state = codec_state(read_pickle(source))
    with torch.device("meta"):
        codec = XCodec(config)
    own = codec.state_dict()
    known = {
        name: tensor.float() for name, tensor in state.items()
        if name in own or name.startswith(TRAINING_ONLY)
    }
    fill(codec, known, str(source), extra=TRAINING_ONLY)
    config = replace(config, silence=codec.eval().silence_code())
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    write_tensors(target / SINGLE, known)
    write_json(target / "config.json", asdict(config))
    return target


def convert_upsamplers(
    sources: Mapping[str, PathLike], target: PathLike, config: VocosConfig | None = None
) -> Path:
    """`decoders/*.pth`, one per track -> an upsampler directory.

    Raises `ModelError` if a pickle is refused or does not fit.
    """
    config = config or VocosConfig()
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for track, source in sources.items():
        state = tensors_of(read_pickle(source))
        with torch.device("meta"):
            upsampler = Vocos(config)
        fill(upsampler, state, str(source))
        write_tensors(target / f"{track}.safetensors", upsampler.state_dict())
    write_json(target / "config.json", asdict(config))
    return target
