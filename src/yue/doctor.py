"""What this machine can do: versions, device, memory, formats, caches. For `yue doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import torch

from yue.audio import FORMATS
from yue.hub import cache_dir
from yue.lm.pack import can_pack
from yue.memory import GIB, available

_LIBRARIES = ("torch", "numpy", "transformers", "safetensors", "soundfile", "huggingface_hub")


def examine() -> dict[str, str]:
    """One line per thing worth knowing, by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "yue": importlib.metadata.version("yue-music"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": ", ".join(f"{n} {importlib.metadata.version(n)}" for n in _LIBRARIES),
        "device": _device(device),
        "free memory": f"{available(device) / GIB:.1f} GiB on {device}",
        "threads": _threads(),
        "fast decoding": _packing(),
        "audio formats": _formats(),
        "hub": _hub(),
        "cache": _cache(cache_dir()),
    }


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()} (bf16, CUDA graphs)"
    return "cpu; no CUDA device was found, the 7B checkpoints need one to be practical"


def _threads() -> str:
    used = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    return f"{used}; where other programs keep cores busy, --threads 1 is several times faster"


def _packing() -> str:
    if can_pack(torch.zeros(1, 1)):
        return "16-bit packed weights on the CPU"
    return "plain fp32 on the CPU (this build of torch has no fbgemm)"


def _formats() -> str:
    import soundfile

    known = soundfile.available_formats()
    missing = [suffix for suffix, (kind, _) in FORMATS.items() if kind not in known]
    return f"all but {', '.join(missing)}: update soundfile" if missing else "all"


def _hub() -> str:
    from huggingface_hub import constants

    mode = "not used: HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "used when needed"
    return f"{mode}, files in {constants.HF_HUB_CACHE}"


def _cache(folder: Path) -> str:
    place = folder
    while not place.exists():
        place = place.parent
    return f"{folder}, {shutil.disk_usage(place).free / GIB:.0f} GiB free on that disk"
