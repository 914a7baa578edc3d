"""LoRA adapters in peft's layout, merged into a Llama at load.

`W += scale * B @ A`, computed in fp32 and cast once: merging in bf16 moves logits by .7 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yue.errors import ModelError
from yue.files import PathLike, read_json
from yue.lm.llama import Llama
from yue.weights import read_tensors

PREFIX = "base_model.model."
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_A, _B = ".lora_A.weight", ".lora_B.weight"

_EXTRAS = (
    "use_dora", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
    "velora_config", "alora_invocation_tokens", "layer_replication", "trainable_token_indices",
    "target_parameters", "lora_bias", "alpha_pattern", "fan_in_fan_out",
)
"""peft's settings under which an adapter is more than `W += scale * B @ A`."""
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base weights alone; `pissa` and others do not."""


@torch.no_grad()
def merge(model: Llama, directory: PathLike) -> None:
    """Merge the adapter in `directory` into `model`, in place.

    Raises `ModelError`, and changes nothing, if it is no plain LoRA or does not fit this model.
    """
    directory = Path(directory)
    if not (directory / CONFIG).is_file() or not (directory / WEIGHTS).is_file():
        raise ModelError(f"{directory} is no adapter: it needs {CONFIG} and {WEIGHTS}.")
    config = read_json(directory / CONFIG)
    _check_plain(config, directory)
    for weight, a, b in _pairs(model, directory):
        delta = (b.to(weight.device) @ a.to(weight.device)) * _scale(config, rank=len(a))
        weight.copy_((weight.float() + delta).to(weight.dtype))


def _check_plain(config: Mapping[str, Any], directory: Path) -> None:
    odd = [name for name in _EXTRAS if config.get(name)]
    odd += ["init_lora_weights"] if config.get("init_lora_weights") not in _STARTS else []
    odd += ["peft_type"] if config.get("peft_type", "LORA") != "LORA" else []
    if odd:
        told = ", ".join(f"{name} = {config[name]!r}" for name in odd)
        raise ModelError(f"{directory}: {told}: only plain LoRA adapters can be merged.")
    if "lora_alpha" not in config:
        raise ModelError(f"{directory / CONFIG} lacks lora_alpha.")


def _scale(config: Mapping[str, Any], rank: int) -> float:
    return float(config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank))


def _pairs(model: Llama, directory: Path) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(weight, A, B) of every adapted layer, each checked against the model."""
    tensors = read_tensors(directory / WEIGHTS, dtype=torch.float32)
    parameters = dict(model.named_parameters())
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for name in tensors:
        if not name.endswith((_A, _B)):
            raise ModelError(f"{directory}: {name} is no LoRA tensor of a linear layer.")
    for path in sorted({name.removesuffix(_A).removesuffix(_B) for name in tensors}):
        weight = parameters.get(path.removeprefix(PREFIX) + ".weight")
        if weight is None:
            raise ModelError(f"{directory}: {path} does not belong to this model.")
        if path + _A not in tensors or path + _B not in tensors:
            raise ModelError(f"{directory / WEIGHTS} lacks one of {path}{_A} and {_B}.")
        a, b = tensors[path + _A], tensors[path + _B]
        if (b.shape[0], a.shape[1]) != tuple(weight.shape) or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"{directory}: {path} is {tuple(b.shape)} x {tuple(a.shape)}, the model's weight "
                f"{tuple(weight.shape)}. Was it trained on another model?"
            )
        pairs.append((weight, a, b))
    if not pairs:
        raise ModelError(f"{directory / WEIGHTS} holds no LoRA tensors.")
    return pairs
