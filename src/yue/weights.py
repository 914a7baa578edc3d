"""Weight files -> checked tensors. Safetensors in, one published pickle converted safely.

What a file may hold is decided here: a state dict is compared with the shapes that a model
expects before anything is copied, and a pickle is only ever read by torch's restricted unpickler.
Knows no model; names and hubs are `hub.py`'s business.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from yue.errors import ModelError
from yue.files import PathLike, read_json, write_bytes

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

Sizes = TypeVar("Sizes")

_STUBBED = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.ValueNode",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.base.SCMode",
    "typing.Any",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.long",
    "__builtin__.dict",
    "__builtin__.list",
    "__builtin__.long",
    "collections.defaultdict",
)
"""Names in the codec's published pickle that are neither tensors nor needed."""


def sizes(kind: Callable[..., Sizes], values: Mapping[str, Any], where: str) -> Sizes:
    """The sizes in a `config.json`, as a dataclass. Raises `ModelError` on an unknown field."""
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(f"{where}: {error}.") from error


def weight_files(directory: PathLike) -> list[Path]:
    """The safetensors files of a model directory, by its index if it has one.

    Raises `ModelError` if one is missing. What is in them, `read_header` checks.
    """
    directory = Path(directory)
    names = [SINGLE]
    if (directory / INDEX).is_file():
        index = read_json(directory / INDEX)
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
            raise ModelError(f"{directory / INDEX} has no weight_map: it is no index of shards.")
        names = sorted(set(index["weight_map"].values()))
    for name in names:
        if not (directory / name).is_file():
            raise ModelError(f"{directory} lacks {name}: is the download complete?")
    return [directory / name for name in names]


def read_header(file: PathLike) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of a safetensors file, without reading the tensors.

    Raises `ModelError` if the file is missing, cut off, or no safetensors file.
    """
    file = Path(file)
    if not file.is_file():
        raise ModelError(f"{file}: no such file.")
    held = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= 100_000_000:
            raise ModelError(_broken(file, "it does not begin like one"))
        if held < 8 + length:
            raise ModelError(_broken(file, f"it ends within its header, after {held:,} bytes"))
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            expected = 8 + length + _data_bytes(header)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ModelError(_broken(file, f"its header cannot be read ({error})")) from error
    if held < expected:
        raise ModelError(_broken(file, f"it holds {held:,} of {expected:,} bytes"))
    return header


def _data_bytes(header: Mapping[str, Any]) -> int:
    """Bytes that the tensors after a header take."""
    return max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)


def _broken(file: Path, why: str) -> str:
    return f"{file} is not a whole safetensors file: {why}.{_pointer_hint(file)} Fetch it again."


def _pointer_hint(file: Path) -> str:
    """What to say if git fetched a note in place of a file, else nothing."""
    if file.stat().st_size < 1000 and file.read_bytes().startswith(b"version https://git-lfs"):
        return " It is a git-lfs pointer: the real file was not fetched."
    return ""


def read_tensors(
    file: PathLike,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    keep: tuple[str, ...] = (),
) -> dict[str, torch.Tensor]:
    """The tensors of one safetensors file, or those whose names begin with one of `keep`.

    Floating-point tensors are cast to `dtype` one at a time, so a cast never needs the whole file
    twice.
    """
    read_header(file)
    tensors = {}
    try:
        with safe_open(str(file), framework="pt", device=str(device)) as stream:
            for name in stream.keys():  # noqa: SIM118 - safe_open is no mapping
                if keep and not name.startswith(keep):
                    continue
                tensor = stream.get_tensor(name)
                cast = dtype is not None and tensor.is_floating_point()
                tensors[name] = tensor.to(dtype) if cast else tensor
    except (SafetensorError, OSError) as error:
        raise ModelError(_broken(Path(file), str(error))) from error
    return tensors


def write_tensors(path: PathLike, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write a safetensors file, aside first."""
    return write_bytes(path, to_bytes({name: t.contiguous() for name, t in tensors.items()}))


def read_directory(
    directory: PathLike, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
    keep: tuple[str, ...] = (),
) -> dict[str, torch.Tensor]:
    """The tensors of all of a model directory's files, as `read_tensors` reads each."""
    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(directory):
        tensors |= read_tensors(file, device=device, dtype=dtype, keep=keep)
    return tensors


def fill(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: str,
    *,
    extra: tuple[str, ...] = (),
) -> None:
    """Put `tensors` into a module made on the meta device; every name and shape must fit.

    Names that begin with one of `extra` may be there without being used. Raises `ModelError` that
    names the first tensors that do not fit.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    surplus = [name for name in tensors if name not in own and not name.startswith(extra)]
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    for what, names in (
        ("lacks", missing), ("has unknown", surplus), ("does not fit its config:", wrong)
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(f"{source} {what} {', '.join(names[:3])}{more}.")
    module.load_state_dict({name: tensors[name] for name in own}, assign=True)


def read_pickle(path: PathLike) -> Any:
    """What a torch checkpoint holds, read without running any code that it names.

    Tensors and plain containers come back as they are; the configuration objects that the
    published codec checkpoint carries become empty stubs; anything else is refused with
    `ModelError`.
    """
    stubs: list[Any] = [(_stub(name), name) for name in _STUBBED]
    try:
        with torch.serialization.safe_globals(stubs):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file.") from error
    except Exception as error:
        raise ModelError(f"{path} was refused: {_why_refused(Path(path), error)}") from error


def _why_refused(path: Path, error: Exception) -> str:
    """The reason in own words: torch's message advises to switch the protection off."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"it names {named[1]}, and only tensors and plain containers are read from a pickle. "
            "It is not the published file: fetch that one."
        )
    hint = _pointer_hint(path) if path.is_file() else ""
    return f"it is cut off or no torch checkpoint.{hint} Fetch it again."


def _stub(name: str) -> Any:
    """A stand-in for one global of a pickle: builtins stay, everything else is inert."""
    plain = {"dict": dict, "list": list, "int": int, "long": int}
    module, _, short = name.rpartition(".")
    if module in ("builtins", "__builtin__"):
        return plain[short]
    return type(short, (), {"__module__": module, "__setstate__": _ignore, "__new__": _empty})


def _ignore(self: object, state: object) -> None:
    """Take and forget a pickled state."""


def _empty(cls: type, *args: object, **kwargs: object) -> object:
    return object.__new__(cls)
