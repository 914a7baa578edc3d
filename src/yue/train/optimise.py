"""Optimisers of a run: AdamW for everything, or Muon for the matrices inside the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from yue.errors import OptionError
from yue.train.config import OptimiserOptions

RATIO = "ratio"
"""Key of a parameter group: its rate as a multiple of the run's."""


Inner = Callable[[str, Tensor], bool]
"""Whether Muon may have a parameter, by its name and itself."""


def make(
    module: nn.Module, options: OptimiserOptions, inner: Inner | None = None
) -> list[Optimizer]:
    """The optimisers of all trainable parameters. Norms never decay.

    Muon gets the parameters that are `inner`: by default the matrices of a Llama's layers.
    """
    is_inner = inner or _is_inner
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if options.name == "muon" and is_inner(name, p)]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = options.beta1, options.beta2
    kept = [{**group, RATIO: 1.0} for group in groups if group["params"]]
    made: list[Optimizer] = []
    if kept:
        made.append(torch.optim.AdamW(kept, lr=1.0, betas=betas, eps=options.eps, fused=True))
    if matrices:
        made.append(_muon(matrices, options))
    return made


def _is_inner(name: str, parameter: Tensor) -> bool:
    return ".layers." in name and parameter.dim() == 2


def _muon(parameters: Sequence[nn.Parameter], options: OptimiserOptions) -> Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise OptionError(
            f"optimiser.name = 'muon' needs torch 2.9 or newer, not {torch.__version__}."
        )
    group = {"params": list(parameters), RATIO: options.muon_ratio}
    return torch.optim.Muon([group], lr=1.0, weight_decay=options.weight_decay / options.muon_ratio)


def set_rate(optimisers: Sequence[Optimizer], rate: float) -> None:
    """The rate of the coming step, in every group by its ratio."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group[RATIO]
