"""MARBLE: what a frozen model knows of genre, key, tags and emotion (Yuan et al., 2023).

A runner: tracks of a local folder -> features of every layer -> probes of all layers and learning
rates -> the best on the validation tracks -> its score on the test tracks, once. The layer is
chosen and reported, since for YuE the published one is unclear. Scores are shares (the paper prints
100 times them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from yue.errors import AudioError, FileError, OptionError
from yue.evaluate.embed import batches
from yue.evaluate.hidden import Layered
from yue.evaluate.keep import kept
from yue.evaluate.marble_tasks import SPLITS, Splits, Task, Track, find_task, read_splits
from yue.evaluate.options import ProbeOptions
from yue.evaluate.probe import RATES, Split, Trained, train
from yue.files import PathLike

VERSION = 1
LAYERS_AT_ONCE = 8
"""Layers that are held and probed together; more is quicker and takes more memory."""

MIXTURE = "mixture"
"""What a learned mixture of layers is called where a layer's number stands."""

Progress = Callable[[str, float, float], None]
"""What is done, how much of it, of how much."""


def run_marble(
    task: str, folder: PathLike, encoder: Layered, *, options: ProbeOptions | None = None,
    layers: Sequence[int] | None = None, rates: Sequence[float] = RATES,
    cache: PathLike | None = None, strict: bool = True, mixture: bool = False,
    at_once: int = LAYERS_AT_ONCE, progress: Progress | None = None,
) -> dict[str, Any]:
    """The task's scores of a frozen encoder: `chosen` (layer, rate, `valid`, `test`), `layers`.

    `layers`: all by default; with `mixture` also a learned mixture of them. Features are kept in
    `cache`, a folder, one file per sound: then a run that was stopped goes on, and no more than
    `at_once` layers are in memory (all for the mixture). Files that cannot be read are left out and
    named in `skipped`; a split that is not the official one is refused unless `strict` is off.
    """
    kind, o = find_task(task), options or ProbeOptions()
    tell: Progress = progress or (lambda verb, done, total: None)
    # 1. The official splits.
    tracks, classes = read_splits(kind, folder, strict=strict)
    # 2. Which layers, and how many of them to hold.
    names = list(range(_depth(tracks, encoder, cache))) if layers is None else list(layers)
    held = len(names) if cache is None else at_once
    skipped: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    splits: dict[str, Split] = {}
    for group in batches(names, max(1, held)):
        # 3. Features of every sound. 4. One probe per layer and rate: the best, and its test.
        splits = _splits(kind, tracks, encoder, cache, group, skipped, tell)
        rows += _probe(kind, classes, splits, group, rates, o, at_once, tell)
    if mixture:
        if len(names) > held:
            splits = _splits(kind, tracks, encoder, cache, names, skipped, tell)
        rows += _probe(kind, classes, splits, [MIXTURE], rates, o, at_once, tell)
    if not rows:
        raise OptionError("no layers were asked for: give at least one.")
    return {
        "metric": "marble", "version": VERSION, "task": task, **encoder.describe(),
        "official": strict and kind.counts is not None,
        "tracks": {name: len(splits[name].targets) for name in SPLITS},
        "chunks": {name: len(splits[name].track) for name in SPLITS},
        "skipped": skipped, "probe": {**o.as_dict(), "rates": list(rates)},
        "chosen": max(rows, key=lambda row: row["valid"]), "layers": rows,
        "paper": dict(kind.paper),
    }


def _probe(
    task: Task, classes: Sequence[str], splits: Mapping[str, Split], names: Sequence[int | str],
    rates: Sequence[float], o: ProbeOptions, at_once: int, tell: Progress,
) -> list[dict[str, Any]]:
    """Probes of the layers of these `names`, some at once; of all of them if it is the mixture."""
    rows: list[dict[str, Any]] = []
    mixed = list(names) == [MIXTURE]
    for group in batches(range(len(names)), at_once):
        parts = splits if mixed else {name: splits[name].layers(group) for name in SPLITS}

        def finished(epoch: int, group: Sequence[int] = group) -> None:
            tell("probe", group[0] + len(group) * min(1.0, epoch / o.epochs), len(names))

        trained = train(
            parts["train"], parts["valid"], task.kind, next(iter(task.scores.values())),
            outputs=len(classes), rates=rates, options=o, mixed=mixed, progress=finished,
        )
        rows += _rows(task, classes, trained, parts["test"], rates, [names[i] for i in group])
    tell("probe", len(names), len(names))
    return rows


def _rows(
    task: Task, classes: Sequence[str], trained: Trained, test: Split, rates: Sequence[float],
    layers: Sequence[int | str],
) -> list[dict[str, Any]]:
    """Per layer its best rate by validation, and what that probe scores in the test."""
    out = trained.probes.predict(test).cpu()
    wanted, shares = torch.from_numpy(test.targets), trained.probes.mixture()
    rows = []
    for place, layer in enumerate(layers):
        best = int(trained.score[place].argmax())
        rows.append({
            "layer": layer, "rate": rates[best], "epoch": int(trained.epoch[place, best]),
            "valid": float(trained.score[place, best]),
            "test": _scores(task, classes, out[place, best], wanted),
            **({} if shares is None else {"shares": shares[best].tolist()}),
        })
    return rows


def _scores(
    task: Task, classes: Sequence[str], out: torch.Tensor, wanted: torch.Tensor
) -> dict[str, float]:
    """All scores of predictions `(tracks, O)`; those of each number by its name."""
    found: dict[str, float] = {}
    for name, score in task.scores.items():
        value = score(out, wanted)
        if value.dim():
            found |= {f"{name}_{each}": float(v) for each, v in zip(classes, value, strict=True)}
        else:
            found[name] = float(value)
    return found


def _depth(tracks: Splits, encoder: Layered, cache: PathLike | None) -> int:
    """How many layers the encoder has, by the first sound that can be read."""
    reason = ""
    for track in tracks[SPLITS[0]]:
        try:
            return len(_states(track, encoder, cache))
        except AudioError as error:
            reason = reason or str(error)
    raise FileError(f"no track of {SPLITS[0]} could be read: {reason}")


def _splits(
    task: Task, tracks: Splits, encoder: Layered, cache: PathLike | None, layers: Sequence[int],
    skipped: dict[str, str], tell: Progress,
) -> dict[str, Split]:
    """Features of some layers with their targets, per split."""
    data = _features(tracks, encoder, cache, layers, skipped, tell)
    targets = _targets(task, tracks, data)
    return {name: Split(*data[name][:2], targets[name]) for name in SPLITS}


def _features(
    tracks: Splits, encoder: Layered, cache: PathLike | None, layers: Sequence[int],
    skipped: dict[str, str], tell: Progress,
) -> dict[str, tuple[np.ndarray, np.ndarray, list[int]]]:
    """Per split features `(chunks, L, D)` float16, the track of each, which tracks are left."""
    total, done = sum(len(tracks[name]) for name in SPLITS), 0
    found = {}
    for name in SPLITS:
        rows: list[np.ndarray] = []
        owners: list[int] = []
        left: list[int] = []
        for place, track in enumerate(tracks[name]):
            done += 1
            tell("listen", done, total)
            try:
                states = _states(track, encoder, cache)
            except AudioError as error:
                skipped[track.name] = str(error)
                continue
            rows.append(_chosen(states, layers).transpose(1, 0, 2))
            owners += [len(left)] * states.shape[1]
            left.append(place)
        if not left:
            raise FileError(f"no track of {name} could be read: {next(iter(skipped.values()))}")
        found[name] = np.concatenate(rows), np.array(owners), left
    return found


def _chosen(states: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    """The layers asked for of features `(L, windows, D)`."""
    if not all(0 <= layer < len(states) for layer in layers):
        raise OptionError(f"layers {list(layers)}: the encoder has 0 to {len(states) - 1}.")
    return states[list(layers)]


def _states(track: Track, encoder: Layered, cache: PathLike | None) -> np.ndarray:
    """Features `(L, windows, D)` float16 of all files of a track."""
    made_by = encoder.describe()
    parts = [kept(file, made_by, lambda audio: _half(encoder.states(audio)), cache)
             for file in track.files]
    return np.concatenate(parts, axis=1)


def _half(states: np.ndarray) -> np.ndarray:
    """Features in 16 bits: 270 KB per window of 33 x 4,096."""
    limit = np.finfo(np.float16).max
    return np.clip(states, -limit, limit).astype(np.float16)


def _targets(
    task: Task, tracks: Splits, data: dict[str, tuple[np.ndarray, np.ndarray, list[int]]]
) -> dict[str, np.ndarray]:
    """Targets of the tracks that are left; numbers brought to those of training."""
    kind = np.int64 if task.kind == "classes" else np.float32
    found = {
        name: np.array([tracks[name][place].target for place in data[name][2]], dtype=kind)
        for name in SPLITS
    }
    if task.kind != "numbers":
        return found
    mean, sd = found["train"].mean(axis=0), found["train"].std(axis=0)
    return {name: (values - mean) / np.maximum(sd, 1e-6) for name, values in found.items()}
