"""A folder of songs against a reference, in the space of any embedder: files in, a result out.

Which embedders there are by name, and the three things asked of them: how far the songs lie from
the reference (FAD, KAD, and KL for a classifier), how well they fit their texts, and, of Audiobox
Aesthetics, four scores. Files that cannot be read are left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import OptionError, YueError
from yue.evaluate import distances
from yue.evaluate.embed import Embedder, TextEmbedder, similarity
from yue.evaluate.keep import kept
from yue.evaluate.options import ClapOptions, EmbedOptions
from yue.files import PathLike

EMBEDDERS = ("clap", "mert", "clamp3", "ast")
TEXT_EMBEDDERS = ("clap", "clamp3")

Progress = Callable[[str, float, float], None]
Files = Mapping[str, Path]
"""Sound files by name."""


def load_embedder(name: str, weights: str | None = None, *, device: str = "cpu") -> Embedder:
    """An embedder by name, with the published weights or those of a hub id or folder.

    Raises `OptionError` for another name, `ModelError` if its weights are not to be had.
    """
    given = {} if weights is None else {"source": weights}
    options = EmbedOptions(device=device)
    if name == "clap":
        from yue.evaluate.clap import Clap

        return Clap.load(**given, options=ClapOptions(device=device))
    if name in ("mert", "clamp3"):
        from yue.evaluate.clamp3 import Clamp3, Mert

        return (Mert if name == "mert" else Clamp3).load(**given, options=options)
    if name == "ast":
        from yue.evaluate.classify import Classifier

        return Classifier.load(**given, options=options)
    raise OptionError(f"embedder {name!r}: allowed are {', '.join(EMBEDDERS)}.")


def compare(
    songs: Files, reference: Files, embedder: Embedder, *, cache: PathLike | None = None,
    seed: int = 0, progress: Progress | None = None,
) -> dict[str, Any]:
    """`distances.evaluate` of songs against a reference, `kl_ast` if classes are heard, `skipped`.

    Raises `OptionError` if nothing is left on either side.
    """
    from yue.evaluate.classify import Classifier, kl_ast

    skipped: dict[str, str] = {}
    rows = embed_files(songs, embedder, skipped, cache=cache, progress=progress)
    others = embed_files(reference, embedder, skipped, cache=cache, progress=progress)
    classes = isinstance(embedder, Classifier)
    return {
        **distances.evaluate(rows, others, seed=seed), "embedder": embedder.describe(),
        "kl_ast": kl_ast(rows, others) if classes else None, "skipped": skipped,
    }


def score_texts(
    songs: Files, texts: Mapping[str, str], embedder: TextEmbedder, *,
    cache: PathLike | None = None, progress: Progress | None = None,
) -> dict[str, Any]:
    """How well each song fits its text: cosine of each of `songs`, their `mean`, and how.

    Songs without a text are left out and named in `left_out`, unreadable ones in `skipped`.
    """
    skipped: dict[str, str] = {}
    both = {name: file for name, file in songs.items() if name in texts}
    rows = embed_files(both, embedder, skipped, cache=cache, progress=progress)
    words = embedder.embed_text([texts[name] for name in rows]) if rows else np.empty((0, 1))
    scores = {
        name: similarity(rows[name], text) for name, text in zip(rows, words, strict=True)
    }
    return {
        "metric": "text similarity", "embedder": embedder.describe(), "songs": scores,
        "mean": float(np.mean(list(scores.values()))) if scores else None,
        "left_out": sorted(set(songs) - set(both)), "skipped": skipped,
    }


def embed_files(
    files: Files, embedder: Embedder, skipped: dict[str, str], *, cache: PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Embeddings `(windows, D)` of files by name; why one is left out goes to `skipped`."""
    return _each(
        files, lambda file: kept(file, embedder.describe(), embedder.embed, cache), skipped,
        progress,
    )


def aesthetics(
    files: Files, weights: str | None = None, *, device: str = "cpu",
    cache: PathLike | None = None, progress: Progress | None = None,
) -> dict[str, Any]:
    """Audiobox Aesthetics of sound files: per song and axis, the `mean` per axis, and how."""
    from yue.evaluate.aesthetics import AUDIOBOX, AXES, Aesthetics

    model = Aesthetics.load(weights or AUDIOBOX, EmbedOptions(device=device))
    def scored(audio: Audio) -> np.ndarray:
        found = model.score(audio)
        return np.array([found[axis] for axis in AXES])

    skipped: dict[str, str] = {}
    rows = _each(
        files, lambda file: kept(file, model.describe(), scored, cache), skipped, progress
    )
    scores = {name: dict(zip(AXES, row.tolist(), strict=True)) for name, row in rows.items()}
    return {
        "metric": "aesthetics", "embedder": model.describe(), "songs": scores,
        "mean": {
            axis: float(np.mean([each[axis] for each in scores.values()])) if scores else None
            for axis in AXES
        },
        "skipped": skipped,
    }


def _each(
    files: Files, make: Callable[[Path], Any], skipped: dict[str, str], progress: Progress | None
) -> dict[str, Any]:
    """What is made of each file; files at fault are named in `skipped` with the reason."""
    found = {}
    for number, (name, file) in enumerate(files.items(), 1):
        try:
            found[name] = make(file)
        except YueError as error:
            skipped[name] = str(error)
        if progress is not None:
            progress("listen", number, len(files))
    return found
