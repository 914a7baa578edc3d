"""What a song needs in memory, what there is, and what to do: asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from yue.errors import CapacityError
from yue.lm.cache import KVCache
from yue.lm.llama import LlamaConfig
from yue.options import ComposeOptions
from yue.stage2 import context_length
from yue.weights import read_header, weight_files

GIB = 2**30
KEEP_FREE = 0.1
"""Share of the free memory that is left for activations and everything else."""

_BYTES = {"I64": 8, "I32": 4, "I8": 1, "U8": 1}


@dataclass(frozen=True)
class Need:
    """One thing that takes memory."""

    what: str
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """What each stage needs and what is free; stages can be held one at a time."""

    compose: tuple[Need, ...]
    refine: tuple[Need, ...]
    render: tuple[Need, ...]
    available: int
    device: str
    window: int
    """Bytes that each Stage-2 window adds."""

    @property
    def at_once(self) -> bool:
        """Whether all stages can stay loaded."""
        total = _sum(self.compose) + _sum(self.refine) + _sum(self.render)
        return total + self.window <= self.usable

    @property
    def usable(self) -> int:
        """Bytes that may be filled."""
        return int(self.available * (1 - KEEP_FREE))

    @property
    def peak(self) -> int:
        """Bytes of the largest stage by itself."""
        return max(_sum(self.compose), _sum(self.refine) + self.window, _sum(self.render))

    def rows(self, windows: int) -> int:
        """How many of `windows` Stage-2 windows fit at once: at least one."""
        held = _sum(self.refine)
        if self.at_once:
            held += _sum(self.compose) + _sum(self.render)
        return max(1, min(windows, (self.usable - held) // max(1, self.window)))

    def __str__(self) -> str:
        lines = []
        for stage in ("compose", "refine", "render"):
            needs: tuple[Need, ...] = getattr(self, stage)
            parts = ", ".join(f"{need.what} {size(need.bytes)}" for need in needs)
            lines.append(f"{stage}: {size(_sum(needs))} ({parts})")
        lines.append(f"free on {self.device}: {size(self.available)}")
        how = "all stages stay loaded" if self.at_once else "stages are loaded one at a time"
        lines.append(how if self.peak <= self.usable else "this does not fit")
        return "\n".join(lines)

    def check(self, *, force: bool = False) -> None:
        """Raise `CapacityError` with the numbers and the cure if the largest stage does not fit."""
        if force or self.peak <= self.usable:
            return
        cures = "fewer takes, a smaller --max-new-tokens, --dtype bf16, or a machine with more"
        raise CapacityError(
            f"this needs {size(self.peak)} on {self.device}, of which {size(self.usable)} can be "
            f"used.\n{self}\n"
            f"What helps: {cures} memory. --force tries all the same."
        )


def size(count: int) -> str:
    """Bytes in the unit that people read."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 2 else f"{count / 2**20:.1f} MiB"


def _sum(needs: Sequence[Need]) -> int:
    return sum(need.bytes for need in needs)


def plan(
    stage1: Path,
    stage2: Path,
    codec: Path,
    upsampler: Path,
    *,
    configs: tuple[LlamaConfig, LlamaConfig],
    device: torch.device,
    dtype: torch.dtype,
    options: ComposeOptions,
    free: int,
) -> MemoryPlan:
    """Count what the parts need, from their headers; nothing is loaded. `free` is in bytes."""
    first, second = configs
    limit = first.max_position_embeddings
    alone = min(options.max_new_tokens + 1, limit)
    cache = KVCache.nbytes(first, options.takes, limit, dtype)
    cache += KVCache.nbytes(first, options.takes, alone, dtype)
    vocabulary = second.vocabulary
    window = KVCache.nbytes(second, 1, context_length(vocabulary, vocabulary.window_frames), dtype)
    decoders = _weights(weight_files(codec), torch.float32)
    decoders += _weights(sorted(upsampler.glob("*.safetensors")), torch.float32)
    return MemoryPlan(
        compose=(*_language_model(stage1, dtype, device), Need("cache", cache)),
        refine=_language_model(stage2, dtype, device),
        render=(Need("codec and upsampler", decoders),),
        available=free,
        device=str(device),
        window=window,
    )


def _language_model(directory: Path, dtype: torch.dtype, device: torch.device) -> tuple[Need, ...]:
    """A stage's weights, and on a CPU their packed copy while it is made."""
    weights = _weights(weight_files(directory), dtype)
    needs: tuple[Need, ...] = (Need("weights", weights),)
    if device.type == "cpu" and dtype == torch.float32:
        needs += (Need("packing", weights // 2),)
    return needs


def _weights(files: Sequence[Path], dtype: torch.dtype) -> int:
    """Bytes that the tensors of files take once cast to `dtype`."""
    total = 0
    for file in files:
        for tensor in read_header(file).values():
            count = 1
            for size in tensor["shape"]:
                count *= size
            floating = tensor["dtype"] in ("F64", "F32", "F16", "BF16")
            total += count * (dtype.itemsize if floating else _BYTES.get(tensor["dtype"], 8))
    return total


def available(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    import os

    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 * GIB  # Windows without psutil: a cautious guess
