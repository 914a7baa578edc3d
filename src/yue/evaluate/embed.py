"""Audio and text -> embeddings: what every embedder shares. The models are in modules of their own.

An `Embedder` takes `Audio` of any rate and number of channels and gives `(windows, D)` float32, the
same whatever the batch size and whatever ran before. Weights are native modules of transformers,
from a hub id or a local folder; nothing is fetched while `HF_HUB_OFFLINE` is set. Licences of
weights differ from those of code, so each is told with the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from yue.audio import Audio
from yue.errors import AudioError, ModelError
from yue.weights import read_pickle, read_tensors

LICENCES: Mapping[str, str] = {
    "laion/clap-htsat-fused": "Apache-2.0",
    "laion/clap-htsat-unfused": "Apache-2.0",
    "laion/larger_clap_music": "Apache-2.0",
    "sander-wood/clamp3": "MIT",
    "m-a-p/MERT-v1-95M": "CC BY-NC 4.0 (non-commercial)",
    "FacebookAI/xlm-roberta-base": "MIT",
    "facebook/audiobox-aesthetics": "CC BY 4.0",
    "MIT/ast-finetuned-audioset-10-10-0.4593": "BSD-3-Clause",
}
"""Licences of the weights that are known by hub id."""
UNKNOWN_LICENCE = "not known here: see where the weights came from"
SHORTEST = 1.0
"""Seconds: less is no window, and a song of less is refused."""

T = TypeVar("T")


class Embedder(Protocol):
    """What turns sound into vectors."""

    def embed(self, audio: Audio) -> np.ndarray:
        """Embeddings `(windows, D)` float32. Raises `AudioError` for less than a second."""
        ...

    def describe(self) -> dict[str, Any]:
        """Extractor, its weights, their licence, windowing, seed: what the numbers depend on."""
        ...


class TextEmbedder(Embedder, Protocol):
    """An embedder that puts texts into the same space."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings `(n, D)` float32, one of each text."""
        ...


def similarity(sound: np.ndarray, text: np.ndarray) -> float:
    """Mean cosine between windows `(windows, D)` and one text's embedding `(D,)`, -1 to 1."""
    return float((unit(sound) @ unit(text)).mean())


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `(..., D)` of length 1, float64; a zero vector stays what it is."""
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)


def wave_of(audio: Audio, rate: int) -> np.ndarray:
    """Mono samples `(n,)` float32 at `rate`. Raises `AudioError` for less than a second."""
    wave = audio.mono().resample(rate).samples[0]
    if len(wave) < SHORTEST * rate:
        raise AudioError(
            f"the audio is {audio.seconds:.2f} s long: at least {SHORTEST:g} s are needed."
        )
    return wave


def windows(wave: np.ndarray, size: int, least: int) -> list[np.ndarray]:
    """Pieces of `size` samples `(n,)`, side by side; a tail shorter than `least` is dropped."""
    pieces = [wave[first : first + size] for first in range(0, len(wave), size)]
    return [piece for piece in pieces if len(piece) >= least]


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


@contextlib.contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """numpy's global generator as seeded here, and afterwards as it was.

    Some extractors draw from it; nothing of ours does.
    """
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def load_part(loader: Callable[..., T], source: str, **options: Any) -> T:
    """`loader(source)` of transformers. Raises `ModelError` that names the source and the cure."""
    try:
        return loader(source, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(_unreachable(source, error)) from error


def load_model(kind: Any, source: str, device: str) -> Any:
    """A model of a transformers class in fp32, ready to infer.

    Raises `ModelError` if it is not there, or if weights are missing: transformers only warns, and
    goes on with random ones.
    """
    model, info = load_part(
        kind.from_pretrained, source, output_loading_info=True, dtype=torch.float32
    )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{source} lacks {', '.join(missing[:3])} ({len(missing)} in all): not the weights of "
            f"a {kind.__name__}."
        )
    return model.to(device).eval().requires_grad_(False)


def local_folder(source: str, patterns: Sequence[str]) -> Path:
    """The folder of a local path, or of those files of a hub repository.

    Raises `ModelError` if it is neither here nor to be had.
    """
    import huggingface_hub as hub

    path = Path(source).expanduser()
    if path.exists():
        return path
    try:
        return Path(hub.snapshot_download(source, allow_patterns=list(patterns)))
    except Exception as error:  # what a broken connection raises depends on the hub's HTTP library
        raise ModelError(_unreachable(source, error)) from error


def read_weights(file: Path) -> Any:
    """What a weights file holds: tensors, or of a `.pth`, `.pt`, `.bin` the checkpoint with them.

    Pickles are read by torch's restricted reader. Raises `ModelError`.
    """
    return read_tensors(file) if file.suffix == ".safetensors" else read_pickle(file)


def one_file(folder: Path, *patterns: str) -> Path:
    """The one file that fits the first pattern that any fits; or `folder` itself, if a file.

    Raises `ModelError` for none or several.
    """
    if folder.is_file():
        return folder
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise ModelError(f"{folder} holds {names}: give the path of one of them.")
        if found:
            return found[0]
    raise ModelError(f"{folder} holds none of {', '.join(patterns)}.")


def about(source: str, model: Any = None) -> dict[str, Any]:
    """Where weights came from, their revision if the hub told it, and their licence."""
    revision = getattr(getattr(model, "config", None), "_commit_hash", None)
    return {
        "weights": source, "revision": revision,
        "licence": LICENCES.get(source, UNKNOWN_LICENCE),
    }


def _unreachable(source: str, error: Exception) -> str:
    first = str(error).strip().splitlines() or [type(error).__name__]
    return (
        f"{source} could not be loaded: {first[0].rstrip('.')}. Give a local folder, or a hub id "
        "whose files are on this machine or can be fetched (is HF_HUB_OFFLINE set?)."
    )
