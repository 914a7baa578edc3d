"""Pictures of songs and of many values: violins, spectrograms, errors over time. As PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.evaluate.needs import need
from yue.evaluate.spectrum import decibels, stft

INK, PALE, MARK = "#1f4e79", "#9db8d2", "#b03a2e"
DPI = 90
SPECTRUM_RATE, SPECTRUM_SIZE = 22_050, 1_024
ROWS, COLUMNS = 96, 600
"""Cells of a spectrogram: bands spaced evenly in log frequency, and times."""
LOWEST = 50.0
DEPTH_DB = 80.0


def violins(groups: Mapping[str, Sequence[float]], label: str) -> bytes:
    """One violin per group with its points and median, such as the vocal ranges of systems.

    Groups without values are left out; one with too few for a violin has only its points.
    """
    there = {name: np.asarray(values, float) for name, values in groups.items() if len(values)}
    figure = _figure(1.6 + 1.3 * max(1, len(there)), 2.8)
    axes = figure.subplots()
    for place, values in enumerate(there.values()):
        if len(values) > 2 and np.ptp(values) > 0:
            body = axes.violinplot(values, [place], widths=0.8, showextrema=False)["bodies"][0]
            body.set(facecolor=PALE, edgecolor=INK, alpha=0.7)
        spread = np.random.default_rng(0).uniform(-0.08, 0.08, len(values))
        axes.plot(place + spread, values, ".", color=INK, markersize=3, alpha=0.6)
        axes.plot(place, np.median(values), "_", color=MARK, markersize=22, markeredgewidth=2)
        axes.annotate(f"n={len(values)}", (place, axes.get_ylim()[0]), fontsize=6, ha="center")
    axes.set_xticks(range(len(there)), list(map(_plain, there)), fontsize=7)
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=7)
    return png(figure)


def spectrogram(audio: Audio) -> bytes:
    """Levels over time and frequency (log), 80 dB deep below the song's loudest cell."""
    samples = audio.mono().resample(SPECTRUM_RATE).samples[0]
    hop = max(SPECTRUM_SIZE // 4, len(samples) // COLUMNS)
    power = np.abs(stft(samples, SPECTRUM_SIZE, hop)) ** 2
    hertz = np.geomspace(LOWEST, SPECTRUM_RATE / 2, ROWS + 1)
    bins = np.unique((hertz / SPECTRUM_RATE * SPECTRUM_SIZE).round().astype(int))
    banded = np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1) / np.diff(bins)
    levels = decibels(banded / max(float(banded.max()), 1e-12), 10 ** (-DEPTH_DB / 10))
    figure = _figure(7.0, 1.7)
    axes = figure.subplots()
    edges = bins * SPECTRUM_RATE / SPECTRUM_SIZE
    times = np.linspace(0, audio.seconds, len(levels) + 1)
    axes.pcolormesh(times, edges, levels.T, vmin=-DEPTH_DB, vmax=0, cmap="magma", rasterized=True)
    axes.set_yscale("log")
    axes.set_yticks([100, 1_000, 10_000], ["100 Hz", "1 kHz", "10 kHz"], fontsize=6)
    axes.set_yticks([], minor=True)
    axes.tick_params(labelsize=6)
    axes.set_xlabel("s", fontsize=6)
    return png(figure)


def over_time(bins: Sequence[Mapping[str, Any]], label: str) -> bytes:
    """Error rates per bin (`completeness.over_time`) as bars; bins without words are empty."""
    figure = _figure(7.0, 1.3)
    axes = figure.subplots()
    starts = [each["start"] for each in bins]
    width = starts[1] - starts[0] if len(starts) > 1 else 30.0
    rates = [each["rate"] or 0.0 for each in bins]
    axes.bar(starts, rates, width=0.94 * width, align="edge", color=INK)
    axes.set_ylim(0, max(1.0, *rates) if rates else 1.0)
    axes.set_ylabel(label, fontsize=7)
    axes.set_xlabel("s", fontsize=6)
    axes.tick_params(labelsize=6)
    return png(figure)


def png(figure: Any) -> bytes:
    """A figure's bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float) -> Any:
    """An empty figure, without any window or global state."""
    figure = need("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    need("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _plain(name: str) -> str:
    """A name as it is, not as a formula, and not too long."""
    return name[-24:].replace("$", r"\$")
