"""LoRA: small trained products beside frozen linear layers, in peft's layout on disk.

`W x + scale * B A x`: A and B stay in fp32, W may be held in 16, 8 or 4 bits. What is saved,
`yue.lm.lora` merges and peft loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.errors import OptionError
from yue.files import PathLike, write_json
from yue.lm.llama import Llama
from yue.lm.lora import CONFIG, PREFIX, WEIGHTS
from yue.train.config import LoraOptions
from yue.weights import write_tensors


class Adapted(nn.Module):
    """A frozen linear layer with an adapter; at first the adapter adds nothing."""

    def __init__(
        self, base: nn.Module, sizes: tuple[int, int], options: LoraOptions,
        source: torch.Generator,
    ) -> None:
        super().__init__()
        inner, outer = sizes
        self.base = base
        self.lora_A = nn.Linear(inner, options.rank, bias=False)
        self.lora_B = nn.Linear(options.rank, outer, bias=False)
        self.scale, self.dropout = options.alpha / options.rank, options.dropout
        bound = inner**-0.5
        nn.init.uniform_(self.lora_A.weight, -bound, bound, generator=source)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        given = F.dropout(x, self.dropout, self.training).to(self.lora_A.weight.dtype)
        out: Tensor = self.base(x)
        return out + self.scale * self.lora_B(self.lora_A(given))


def adapt(llama: Llama, options: LoraOptions, *, seed: int) -> None:
    """Freeze a model and put adapters on its target layers, in place.

    Raises `OptionError` if a target is the name of no linear layer.
    """
    llama.requires_grad_(False)
    if options.base != "fp32":
        llama.to(torch.bfloat16)
    source = torch.Generator().manual_seed(seed)
    found = set()
    for parent in list(llama.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and name in options.targets:
                sizes = layer.in_features, layer.out_features
                setattr(parent, name, Adapted(_held(layer, options.base), sizes, options, source))
                found.add(name)
    if missing := set(options.targets) - found:
        raise OptionError(f"lora.targets: the model has no layer {', '.join(sorted(missing))}.")


def _held(layer: nn.Linear, base: str) -> nn.Module:
    """The frozen layer in the precision that was asked for."""
    if base == "int8":
        return _int8(layer)
    return _nf4(layer) if base == "nf4" else layer


def _int8(layer: nn.Linear) -> nn.Module:
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise OptionError("lora.base = 'int8' needs torchao: pip install torchao.") from error
    holder = nn.Sequential(layer)
    quantize_(holder, Int8WeightOnlyConfig())
    return holder[0].requires_grad_(False)


def _nf4(layer: nn.Linear) -> nn.Module:
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError as error:
        raise OptionError(
            "lora.base = 'nf4' needs bitsandbytes: pip install bitsandbytes."
        ) from error
    small = Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=torch.bfloat16,
        quant_type="nf4",
    )
    small.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    # Moving is what quantises; on a CPU it must be said.
    return small.to(layer.weight.device)


def adapters(llama: nn.Module) -> dict[str, Tensor]:
    """The adapters' tensors by peft's names."""
    return {
        PREFIX + name: tensor.detach().float()
        for name, tensor in llama.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }


def save_adapter(
    llama: nn.Module, options: LoraOptions, directory: PathLike, base: str | None
) -> Path:
    """Write `adapter_config.json` and `adapter_model.safetensors`; `base` names the model."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_tensors(directory / WEIGHTS, adapters(llama))
    write_json(directory / CONFIG, {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base,
        "r": options.rank, "lora_alpha": options.alpha, "lora_dropout": options.dropout,
        "target_modules": sorted(options.targets), "bias": "none", "inference_mode": True,
        "init_lora_weights": True, "fan_in_fan_out": False,
    })
    return directory


def trainable(module: nn.Module) -> Sequence[nn.Parameter]:
    """The parameters that learn."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
