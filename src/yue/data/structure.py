"""Sections of a song from its sound alone: a plain self-similarity baseline. Numpy only.

In goes a mono wave `(n,)`; out come spans that cover it, each with one of the five trained labels.
Borders are peaks of novelty on the self-similarity of timbre and harmony (Foote, ICME 2000); spans
that sound alike are one kind; the loudest kind that returns is the chorus. It knows no words: where
labels or lyrics are given, they count more than this (`join.py`).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from yue.data import quality
from yue.data.given import Span

VERSION = 1
FRAME, HOP = 4096, 2048
BLOCK = 4
"""Frames that are averaged to one row of features: half a second at 16 kHz."""
BANDS = 40
CEPSTRA = 14
CHROMA_RANGE = (55.0, 2000.0)
KERNEL_SECONDS = 10.0
"""Each way from a border; what is compared for novelty."""
MIN_SECONDS = 6.0
"""Borders lie at least this far apart."""
MIN_VOICELESS = 2.0
"""Seconds without singing at either end that are an intro or an outro."""
PROMINENCE = 0.5
"""A border's novelty, in standard deviations above the mean."""
ALIKE = 0.55
"""Similarity from which two spans are of one kind."""
UNSUNG = 0.2
"""A span that is sung for a smaller share is instrumental."""


def segment(wave: np.ndarray, rate: int, vocals: np.ndarray | None = None) -> list[Span]:
    """Labelled spans in seconds, in order and without gaps, from 0 to the end of the wave.

    With the vocal stem `(n,)`, spans without singing become intro, outro or bridge.
    """
    seconds = len(wave) / rate
    rows = features(wave, rate)
    step = BLOCK * HOP / rate
    cuts = borders(novelty(similarity(rows), round(KERNEL_SECONDS / step)), MIN_SECONDS / step)
    active = None if vocals is None else quality.sung(vocals, rate)
    times = [0.0, *_with_voice([cut * step for cut in cuts], active, seconds), seconds]
    edges = [min(round(time / step), len(rows) - 1) for time in times[:-1]] + [len(rows)]
    pairs = [(a, max(b, a + 1)) for a, b in itertools.pairwise(edges)]
    level = [_level(wave, rate, a, b) for a, b in itertools.pairwise(times)]
    singing = [_share(active, a, b) for a, b in itertools.pairwise(times)]
    names = labels(kinds(rows, pairs), level, singing)
    return [
        Span(name, start, end)
        for name, start, end in zip(names, times, times[1:], strict=False)
    ]


def _with_voice(cuts: list[float], active: np.ndarray | None, seconds: float) -> list[float]:
    """Borders where the first word begins and the last one ends, in place of others close by."""
    places = np.flatnonzero(active) * quality.BLOCK if active is not None else np.zeros(0)
    if not places.size:
        return cuts
    ends = [float(places[0]), float(places[-1]) + quality.BLOCK]
    ends = [end for end in ends if MIN_VOICELESS <= end <= seconds - MIN_VOICELESS]
    return sorted([*ends, *(c for c in cuts if all(abs(c - e) >= MIN_SECONDS for e in ends))])


# Features -----------------------------------------------------------------------------------------

def features(wave: np.ndarray, rate: int) -> np.ndarray:
    """Timbre (cepstra of mel bands) and harmony (chroma), per block: `(T, D)`, D = 25.

    Each dimension has mean 0 over the song; timbre and harmony weigh the same.
    """
    wave = np.pad(wave.astype(np.float32), (0, max(0, BLOCK * HOP + FRAME - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    blocks = [
        np.square(np.abs(np.fft.rfft(part * np.hanning(FRAME).astype(np.float32)))).mean(axis=0)
        for part in np.split(frames, range(BLOCK, len(frames), BLOCK))
    ]
    power = np.stack(blocks)
    bands = np.log(power @ _mel(rate).T + 1e-8)
    harmony = power @ _chroma(rate).T
    harmony = harmony / (harmony.sum(axis=1, keepdims=True) + 1e-8)
    return np.concatenate([_even(bands @ _cosines().T), _even(harmony)], axis=1)


def _even(rows: np.ndarray) -> np.ndarray:
    """Mean 0 and, over all dimensions together, an average squared length of 1."""
    centred = rows - rows.mean(axis=0)
    spread = centred.std(axis=0) + 1e-6 * np.abs(rows).max(initial=1e-9)
    return np.asarray(centred / spread / math.sqrt(rows.shape[1]))


def _mel(rate: int) -> np.ndarray:
    """Triangular bands, even on the mel scale, of a power spectrum: `(BANDS, FRAME / 2 + 1)`."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(FRAME // 2 + 1) * rate / FRAME
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling))


def _chroma(rate: int) -> np.ndarray:
    """Which bins of a power spectrum belong to each of the twelve notes: `(12, bins)`."""
    bins = np.arange(FRAME // 2 + 1) * rate / FRAME
    low, high = CHROMA_RANGE
    inside = (bins >= low) & (bins <= high)
    notes = np.round(12 * np.log2(np.maximum(bins, low) / 440)).astype(int) % 12
    return (notes == np.arange(12)[:, None]) & inside


def _cosines() -> np.ndarray:
    """Cosine transform of log bands without its mean: `(CEPSTRA - 1, BANDS)`."""
    order, band = np.arange(1, CEPSTRA)[:, None], np.arange(BANDS)[None]
    return np.cos(math.pi * order * (band + 0.5) / BANDS)


# Borders --------------------------------------------------------------------------------------

def similarity(rows: np.ndarray) -> np.ndarray:
    """Cosine of every block with every other: `(T, T)`, -1 to 1."""
    unit = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)
    return np.asarray(unit @ unit.T)


def novelty(alike: np.ndarray, radius: int) -> np.ndarray:
    """How much what follows a block differs from what precedes it `(T,)`; never below 0.

    The self-similarity `(T, T)` under a checkerboard of `radius` blocks each way, tapered.
    """
    radius = max(1, min(radius, len(alike) // 2))
    place = np.arange(-radius, radius) + 0.5
    taper = np.exp(-0.5 * np.square(2 * place / radius))
    signs = np.sign(place)
    board = np.outer(signs * taper, signs * taper)
    padded = np.pad(alike, radius, mode="reflect" if len(alike) > radius else "edge")
    corners = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius, 2 * radius))
    diagonal = np.einsum("iikl->ikl", corners)[: len(alike)]
    return np.maximum(0, np.einsum("ikl,kl->i", diagonal, board) / np.abs(board).sum())


def borders(curve: np.ndarray, least: float) -> list[int]:
    """Peaks of a curve `(T,)` that stand out, at least `least` apart and from both ends."""
    if not len(curve):
        return []
    floor = curve.mean() + PROMINENCE * curve.std()
    chosen: list[int] = []
    for place in np.argsort(-curve, kind="stable").tolist():
        if curve[place] <= floor:
            break
        if all(abs(place - other) >= least for other in [0, len(curve), *chosen]):
            chosen.append(place)
    return sorted(chosen)


# Kinds and labels -----------------------------------------------------------------------------

def kinds(rows: np.ndarray, pairs: list[tuple[int, int]]) -> list[int]:
    """A number per span `(first, last)` of rows; spans that sound alike have the same.

    Clusters by average linkage of how alike the spans' mean features are.
    """
    means = np.stack([rows[first:last].mean(axis=0) for first, last in pairs])
    alike = similarity(means)
    groups = [[index] for index in range(len(pairs))]
    while len(groups) > 1:
        linked = {
            (a, b): alike[np.ix_(groups[a], groups[b])].mean()
            for a in range(len(groups)) for b in range(a + 1, len(groups))
        }
        (a, b), best = max(linked.items(), key=lambda item: item[1])
        if best < ALIKE:
            break
        groups[a] += groups.pop(b)
    number = {index: kind for kind, group in enumerate(groups) for index in group}
    return [number[index] for index in range(len(pairs))]


def labels(kind: list[int], level: list[float], singing: list[float]) -> list[str]:
    """A trained label per span, from its kind, level (dB) and share of singing.

    Without singing: intro, outro, or bridge. Sung: the loudest kind that returns is the chorus, a
    kind that comes once behind it a bridge, all others are verses.
    """
    is_sung = [share >= UNSUNG for share in singing]
    count = {k: sum(o == k and s for o, s in zip(kind, is_sung, strict=True)) for k in set(kind)}
    last = len(kind) - 1
    returning = [i for i, k in enumerate(kind) if is_sung[i] and count[k] > 1]
    several = {kind[i] for i in returning}
    loudness = {k: np.mean([level[i] for i in returning if kind[i] == k]) for k in several}
    chorus = max(several, key=lambda k: (loudness[k], k)) if several else None
    first_chorus = kind.index(chorus) if chorus is not None else last

    def name(i: int) -> str:
        if not is_sung[i]:
            return "intro" if i == 0 else "outro" if i == last else "bridge"
        if kind[i] == chorus:
            return "chorus"
        return "bridge" if count[kind[i]] == 1 and first_chorus < i < last else "verse"

    return [name(i) for i in range(len(kind))]


def _level(wave: np.ndarray, rate: int, start: float, end: float) -> float:
    part = wave[round(start * rate) : round(end * rate)].astype(np.float64)
    return 10 * math.log10(float(np.square(part).mean()) + 1e-12) if len(part) else -120.0


def _share(active: np.ndarray | None, start: float, end: float) -> float:
    """Share of sung blocks between two times; 1 if nothing is known of the vocals."""
    if active is None:
        return 1.0
    part = active[int(start / quality.BLOCK) : int(end / quality.BLOCK)]
    return float(part.mean()) if len(part) else 0.0
