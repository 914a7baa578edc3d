"""LoRA adapters in peft's layout, merged into a Llama at load.

`W += scale * B @ A`, computed in fp32 and cast once: merging in bf16 moves logits by .7 %.
"""

from __future__ import annotations

from pathlib import Path

import torch

from yue.errors import ModelError
from yue.files import PathLike, read_json
from yue.lm.llama import Llama
from yue.weights import read_tensors

PREFIX = "base_model.model."
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@torch.no_grad()
def merge(model: Llama, directory: PathLike) -> None:
    """Merge the adapter in `directory` into `model`, in place.

    Raises `ModelError` if it is no plain LoRA or does not fit this model.
    """
    directory = Path(directory)
    if not (directory / CONFIG).is_file() or not (directory / WEIGHTS).is_file():
        raise ModelError(f"{directory} is no adapter: it needs {CONFIG} and {WEIGHTS}.")
    config = read_json(directory / CONFIG)
    if config.get("peft_type", "LORA") != "LORA" or config.get("use_dora"):
        raise ModelError(f"{directory}: only plain LoRA adapters can be merged.")
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    tensors = read_tensors(directory / WEIGHTS, dtype=torch.float32)
    parameters = dict(model.named_parameters())
    paths = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    for path in paths:
        name = path.removeprefix(PREFIX) + ".weight"
        a, b = (tensors.get(f"{path}.lora_{side}.weight") for side in "AB")
        if a is None or b is None or name not in parameters:
            raise ModelError(f"{directory}: {path} does not belong to this model.")
        weight = parameters[name]
        if (b.shape[0], a.shape[1]) != tuple(weight.shape) or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"{directory}: {path} is {tuple(b.shape)} x {tuple(a.shape)}, the model's weight "
                f"{tuple(weight.shape)}. Was it trained on another model?"
            )
        delta = (b.to(weight.device) @ a.to(weight.device)) * scale
        weight.copy_((weight.float() + delta).to(weight.dtype))
