"""Pictures: spectrograms of songs with their lyrics below, and the plots of other parts."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.lyrics import Lyric
from bundled.singers import Take
from bundled.table import Estimate, Outcome
from yue.audio import Audio
from yue.evaluate.spectrum import stft
from yue.files import write_bytes

SONGS = 3
RATE, SIZE, HOP = 16_000, 1_024, 256
DEPTH = 70.0
"""Decibels between black and white."""
TOP = 5_000.0
"""Hz, the highest frequency shown."""
WIDTH = 12.0
LETTERS_PER_INCH = 11


def run(bench: Bench) -> Outcome:
    """The first, the middle and the last of the lyrics."""
    places = sorted({round(place) for place in np.linspace(0, len(bench.lyrics) - 1, SONGS)})
    written = []
    for place in told(places, "pictures"):
        lyric = bench.lyrics[place]
        take = bench.generated.sing(lyric, seed=bench.seed)
        written.append(str(spectrogram(bench.out / f"song-{lyric.name}.png", lyric, take)))
    return Outcome([], {"pictures": written})


def spectrogram(path: Path, lyric: Lyric, take: Take) -> Path:
    """Vocals and accompaniment over time, and each section's words under it."""
    figure = _figure(WIDTH, 7.0)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    for axis, name in zip(axes, ("vocals", "accompaniment"), strict=False):
        axis.imshow(levels(take.track(name)), origin="lower", aspect="auto", cmap="magma",
                    extent=(0, take.seconds, 0, TOP / 1_000), vmin=-DEPTH, vmax=0)
        axis.set_ylabel(f"{name}, kHz")
    for section in take.sections:
        for axis in axes:
            axis.axvline(section.start, color="gray", linewidth=0.8)
        _write(axes[2], section.label, section.text, section.start, section.end, take.seconds)
    axes[0].set_title(f"{lyric.name}: {lyric.tags}", fontsize=10)
    axes[2].set_xlabel("seconds")
    axes[2].set_yticks([])
    axes[2].set_xlim(0, take.seconds)
    return _save(figure, path)


def levels(audio: Audio) -> np.ndarray:
    """Decibels below the loudest `(bins, frames)`, up to `TOP`."""
    power = np.abs(stft(audio.mono().resample(RATE).samples[0], SIZE, HOP))
    shown = power[:, : round(TOP * SIZE / RATE)].T
    return 20 * np.log10(np.maximum(shown / max(float(shown.max()), 1e-9), 1e-6))


def curve(
    path: Path, lines: Mapping[str, Mapping[float, Estimate]], x: str, y: str
) -> Path:
    """Estimates with their intervals over a number, a line each."""
    figure = _figure(6.0, 4.0)
    axis = figure.subplots()
    for name, found in lines.items():
        places, values = list(found), list(found.values())
        middle = np.array([each.value for each in values])
        spans = np.abs(np.array([[each.low, each.high] for each in values]).T - middle)
        axis.errorbar(places, middle, spans, marker="o", capsize=3, label=name)
    axis.set(xlabel=x, ylabel=y)
    axis.legend()
    return _save(figure, path)


def points(path: Path, groups: Mapping[str, Sequence[float]]) -> Path:
    """One panel per name, a dot per song, the mean as a line."""
    figure = _figure(3.5 * len(groups), 4.0)
    for axis, (name, values) in zip(
        np.atleast_1d(figure.subplots(1, len(groups))), groups.items(), strict=True
    ):
        axis.plot(np.zeros(len(values)), values, "o", alpha=0.6)
        axis.axhline(float(np.mean(values)), linewidth=1)
        axis.axhline(0, color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
    return _save(figure, path)


def _write(
    axis: Any, label: str, text: str, start: float, end: float, seconds: float
) -> None:
    """A section's words, wrapped to the width of its time."""
    room = max(8, int((end - start) / seconds * WIDTH * LETTERS_PER_INCH))
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, room)]
    axis.text(start, 0.97, "\n".join([f" [{label}]", *(f" {line}" for line in lines)]),
              va="top", fontsize=6.5, transform=axis.get_xaxis_transform(), parse_math=False)


def _figure(width: float, height: float) -> Any:
    """A figure of its own, which needs no screen and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return write_bytes(path, buffer.getvalue())
