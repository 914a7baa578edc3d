"""A mix -> vocals and accompaniment, by a Demucs model. Needs `pip install yue-music[separate]`.

A model is a directory, or a hub repository, of safetensors files with a yaml file that says which
belong together, as Demucs 4.1 publishes them (adefossez/HTDemucs); or one such file. Its older
`.th` pickles are read by torch's restricted unpickler only.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import ModelError, OptionError

VERSION = 1
VOCALS = "vocals"
OVERLAP = 0.25
_CLASSES = {
    "demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs",
}
"""What a file may ask to be built; anything else in it is refused."""


@dataclass(frozen=True, eq=False)
class Separator:
    """A loaded model."""

    model: Any
    device: str

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Separator:
        """From a file or a directory. Raises `ModelError` if there is no Demucs model there."""
        try:
            from demucs.apply import BagOfModels
        except ImportError as error:
            raise OptionError(
                f"separating needs Demucs ({error}): pip install 'yue-music[separate]', or give "
                "stems beside each recording."
            ) from error
        files, weights, segment = _bag(path)
        models = [_load(file) for file in files]
        if any(VOCALS not in model.sources for model in models):
            raise ModelError(f"{path} has no source named {VOCALS}: {models[0].sources}.")
        return cls(BagOfModels(models, weights, segment).eval(), device)

    def __call__(self, mix: Audio) -> dict[str, Audio]:
        """Vocals and accompaniment of a mix of any rate, stereo, at the model's rate.

        The accompaniment is what is left of the mix, so both add up to it. The same mix gives the
        same stems: Demucs' random shifts are off.
        """
        import torch
        from demucs.apply import apply_model

        wave = torch.from_numpy(_stereo(mix.resample(self.model.samplerate).samples))
        mean, spread = wave.mean(), wave.mean(0).std() + 1e-8
        with torch.inference_mode():
            stems = apply_model(
                self.model, ((wave - mean) / spread)[None], shifts=0, overlap=OVERLAP,
                device=self.device,
            )[0]
        vocals = stems[self.model.sources.index(VOCALS)].cpu() * spread
        rate = self.model.samplerate
        return {
            VOCALS: Audio(vocals.numpy(), rate),
            "accompaniment": Audio((wave - vocals).numpy(), rate),
        }


def _stereo(samples: np.ndarray) -> np.ndarray:
    """(channels, n) -> (2, n)."""
    return np.ascontiguousarray(samples[:2] if len(samples) > 1 else np.repeat(samples, 2, axis=0))


def _bag(path: Path) -> tuple[list[Path], list[list[float]] | None, float | None]:
    """The files of a model, their weights per source, and the length of a segment."""
    import yaml

    if path.is_file():
        return [path], None, None
    lists = sorted(path.glob("*.yaml"))
    if not lists:
        files = sorted([*path.glob("*.safetensors"), *path.glob("*.th")])
        if len(files) != 1:
            raise ModelError(
                f"{path} holds {len(files)} models and no yaml file that says which belong "
                "together: give one file, or a directory such as that of adefossez/HTDemucs."
            )
        return files, None, None
    if len(lists) > 1:
        raise ModelError(f"{path} holds {len(lists)} yaml files: keep the one of your model.")
    bag = yaml.safe_load(lists[0].read_text("utf-8"))
    try:
        names = [str(name) for name in bag["models"]]
    except (TypeError, KeyError) as error:
        raise ModelError(f"{lists[0]} names no models: it is no list of a Demucs model.") from error
    return [_file(path, name) for name in names], bag.get("weights"), bag.get("segment")


def _file(folder: Path, name: str) -> Path:
    found = [*folder.glob(f"{name}.safetensors"), *folder.glob(f"{name}*.th")]
    if not found:
        raise ModelError(f"{folder} lacks {name}.safetensors: is the download complete?")
    return found[0]


def _load(file: Path) -> Any:
    """A model from one file: its class, its arguments and its weights stand in it."""
    if file.suffix == ".th":
        return _build(file, **_unpickled(file))
    from safetensors import safe_open

    from yue.weights import read_tensors

    tensors = read_tensors(file)
    with safe_open(str(file), framework="pt") as stream:
        told = stream.metadata() or {}
    if not {"klass", "args", "kwargs"} <= set(told) or "structure" in told:
        raise ModelError(f"{file} is no plain Demucs model: its class and arguments are missing.")
    args, kwargs = (_decoded(json.loads(told[key])) for key in ("args", "kwargs"))
    return _build(file, told["klass"], args, kwargs, tensors)


def _decoded(value: Any) -> Any:
    """JSON arguments with Demucs' spelling of fractions."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decoded(item) for key, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _unpickled(file: Path) -> dict[str, Any]:
    import torch

    safe: list[Any] = [_class(name) for name in sorted(_CLASSES)]
    with torch.serialization.safe_globals([*safe, Fraction]):
        try:
            package = torch.load(file, map_location="cpu", weights_only=True)
            kind = package["klass"]
            name = f"{kind.__module__}.{kind.__qualname__}"
            return {"name": name, **{key: package[key] for key in ("args", "kwargs", "state")}}
        except Exception as error:
            raise ModelError(
                f"{file} was refused: it holds more than a Demucs model, or is cut off. Use the "
                "safetensors file of the same model."
            ) from error


def _class(name: str) -> Any:
    import importlib

    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(module), kind)


def _build(file: Path, name: str, args: Any, kwargs: Any, state: Any) -> Any:
    if name not in _CLASSES:
        raise ModelError(f"{file} asks for {name}: allowed are {', '.join(sorted(_CLASSES))}.")
    kind = _class(name)
    known = inspect.signature(kind).parameters
    try:
        model = kind(*args, **{key: value for key, value in kwargs.items() if key in known})
        model.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{file}: its weights do not fit its arguments ({error}).") from error
    return model.eval()
