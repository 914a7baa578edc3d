"""Two bands -> one stem, stems -> the mix.

The codec's 16 kHz sound is the better one at low frequencies, the upsampler's 44.1 kHz sound has
the high ones; a crossover joins them. All filters are linear and short, and written as one matrix
that maps blocks of input to blocks of output, so a song of any length is filtered piece by piece
and the pieces equal the whole. Arrays of samples only; no codes, no files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCKS_PER_PIECE = 1000
KAISER_BETA = 8.0
"""Stop band of the clean filters: about -80 dB."""

CLEAN_REACH = 0.005
"""Half length of the clean filters in seconds: a transition band of some 1 kHz."""

MAX_BAND_GAIN = 4.0
SILENT = 1e-4
"""A band below this rms (-80 dB) is silent: nothing is matched to it."""

UPSTREAM_CLAMP = 0.99
UPSTREAM_Q = 0.707
UPSTREAM_EPS = 1e-10
TAIL = 1e-7
"""A recursive filter's answer to an impulse is cut where it has fallen below this."""


@dataclass(frozen=True, eq=False)
class BlockFilter:
    """A linear map from blocks of `n_in` samples, `reach` neighbours each side, to `n_out`."""

    matrix: np.ndarray
    """((2 reach + 1) n_in, n_out) float32."""
    n_in: int
    n_out: int
    reach: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Samples of whole blocks (n * n_in,) -> (n * n_out,); silence is assumed around them."""
        pad = self.reach * self.n_in
        return self.inner(np.pad(x, pad))

    def inner(self, x: np.ndarray) -> np.ndarray:
        """The same, with the neighbours given: ((n + 2 reach) * n_in,) -> (n * n_out,)."""
        window = (2 * self.reach + 1) * self.n_in
        frames = np.lib.stride_tricks.sliding_window_view(x, window)[:: self.n_in]
        return (frames @ self.matrix).reshape(-1)


def sinc_filter(
    n_in: int, n_out: int, *, edge: float, zeros: float, kaiser: float | None
) -> BlockFilter:
    """A windowed-sinc low-pass that also changes the rate from n_in to n_out samples a block.

    `edge` is twice the cut-off in cycles per block; `zeros` the half length in zero crossings. The
    window is Kaiser's, or with `kaiser=None` Hann's. At full band this is the usual resampler.
    """
    reach = math.ceil(zeros / edge + 1 / n_in)
    t_in = np.arange(-reach * n_in, (reach + 1) * n_in) / n_in
    t_out = np.arange(n_out) / n_out
    t = np.clip((t_out[None] - t_in[:, None]) * edge, -zeros, zeros)
    if kaiser is None:
        window = np.cos(t / zeros * np.pi / 2) ** 2
    else:
        window = np.i0(kaiser * np.sqrt(np.clip(1 - (t / zeros) ** 2, 0, 1))) / np.i0(kaiser)
        window = np.where(np.abs(t) < zeros, window, 0)
    matrix = np.sinc(t) * window * (edge / n_in)
    if kaiser is not None:
        matrix /= matrix.sum(0)
    return BlockFilter(matrix.astype(np.float32), n_in, n_out, reach)


def impulse_filter(impulse: np.ndarray, n: int) -> BlockFilter:
    """A causal filter by its impulse response, at one rate of n samples a block."""
    reach = math.ceil(len(impulse) / n)
    lag = np.arange(n)[None] - np.arange(-reach * n, (reach + 1) * n)[:, None]
    inside = (lag >= 0) & (lag < len(impulse))
    matrix = np.where(inside, impulse[np.clip(lag, 0, len(impulse) - 1)], 0)
    return BlockFilter(matrix.astype(np.float32), n, n, reach)


def biquad(
    kind: str, cutoff: float, rate: int, q: float = UPSTREAM_Q
) -> tuple[np.ndarray, np.ndarray]:
    """Second-order low- or high-pass, coefficients (b, a) after R. Bristow-Johnson's cookbook."""
    w = 2 * math.pi * cutoff / rate
    alpha = math.sin(w) / (2 * q)
    sign = {"low": -1.0, "high": 1.0}[kind]
    edge = (1 + sign * math.cos(w)) / 2
    b = np.array([edge, -sign * 2 * edge, edge])
    a = np.array([1 + alpha, -2 * math.cos(w), 1 - alpha])
    return b / a[0], a / a[0]


def impulse_response(b: np.ndarray, a: np.ndarray) -> np.ndarray:
    """A recursive filter's answer to an impulse, until nothing is left of it."""
    radius = float(np.abs(np.roots(a)).max())
    taps = len(b) + math.ceil(math.log(TAIL) / math.log(radius))
    y = np.zeros(taps)
    for n in range(taps):
        y[n] = b[n] if n < len(b) else 0.0
        for k in range(1, min(n, len(a) - 1) + 1):
            y[n] -= a[k] * y[n - k]
    return y


@dataclass(frozen=True, eq=False)
class Crossover:
    """Joins a low-rate signal below the edge with a high-rate signal above it."""

    low: BlockFilter
    """Low band of the low-rate signal, at the high rate."""
    remove: BlockFilter
    """Low band of the high-rate signal."""

    @classmethod
    def clean(cls, low_rate: int, high_rate: int, cutoff: float) -> Crossover:
        """Two equal linear-phase low-passes: what one takes away the other puts back, so equal
        signals on both sides sum flat."""
        per_second = math.gcd(low_rate, high_rate)
        edge = 2 * cutoff / per_second
        zeros = CLEAN_REACH * 2 * cutoff
        n_low, n_high = low_rate // per_second, high_rate // per_second
        def band(n: int) -> BlockFilter:
            return sinc_filter(n, n_high, edge=edge, zeros=zeros, kaiser=KAISER_BETA)

        return cls(band(n_low), band(n_high))

    def join(self, low: np.ndarray, high: np.ndarray) -> float:
        """Replace the low band of `high` by that of `low`, in place; returns the gain applied.

        low (n * n_low,), high (n * n_high,) float32. The low band is first brought to the level
        that it has in `high`, by at most a factor of 4; silent bands are left as they are.
        """
        gain = band_gain(self._power(self.low, low), self._power(self.remove, high))
        blocks = len(high) // self.remove.n_in
        behind = np.zeros(self.remove.reach * self.remove.n_in, dtype=high.dtype)
        for first, last in _pieces(blocks):
            old = _with_neighbours(high, first, last, self.remove, behind)
            wanted = self.low.inner(_with_neighbours(low, first, last, self.low))
            piece = slice(first * self.remove.n_in, last * self.remove.n_in)
            behind = old[: -len(behind)][-len(behind) :].copy()
            high[piece] += gain * wanted - self.remove.inner(old)
        return gain

    def _power(self, band: BlockFilter, x: np.ndarray) -> float:
        """Root mean square of one band of a whole signal."""
        total = 0.0
        blocks = len(x) // band.n_in
        for first, last in _pieces(blocks):
            y = band.inner(_with_neighbours(x, first, last, band))
            total += float(np.square(y, dtype=np.float64).sum())
        return math.sqrt(total / max(1, blocks * band.n_out))


def band_gain(mine: float, wanted: float) -> float:
    """The bounded gain that brings a band of rms `mine` to rms `wanted`."""
    if mine < SILENT or wanted < SILENT:
        return 1.0
    return float(np.clip(wanted / mine, 1 / MAX_BAND_GAIN, MAX_BAND_GAIN))


def _pieces(blocks: int) -> Iterator[tuple[int, int]]:
    for first in range(0, blocks, BLOCKS_PER_PIECE):
        yield first, min(first + BLOCKS_PER_PIECE, blocks)


def _with_neighbours(
    x: np.ndarray, first: int, last: int, band: BlockFilter, behind: np.ndarray | None = None
) -> np.ndarray:
    """Blocks first..last with the filter's neighbours; silence beyond the ends.

    `behind` replaces what lies before, where it has been overwritten already.
    """
    reach, n = band.reach * band.n_in, band.n_in
    start, stop = first * n - reach, last * n + reach
    piece = np.zeros(stop - start, dtype=x.dtype)
    inside = x[max(start, 0) : stop]
    offset = max(start, 0) - start
    piece[offset : offset + len(inside)] = inside
    if behind is not None:
        piece[:reach] = behind
    return piece


def add_up(stems: list[np.ndarray], peak: float) -> tuple[np.ndarray, float]:
    """The mix of stems (n,), and the factor by which mix and stems were scaled down (1: not).

    Works in place on the stems, so that they still add up to the mix.
    """
    # One song more in memory than the stems, and no other: np.add.reduce and np.abs would copy.
    mix = stems[0].copy()
    for stem in stems[1:]:
        mix += stem
    top = max(float(max(x.max(initial=0), -x.min(initial=0))) for x in (mix, *stems))
    factor = min(1.0, peak / top) if top > 0 else 1.0
    if factor < 1:
        for x in (mix, *stems):
            x *= factor
    return mix, factor


def upstream_join(
    low: np.ndarray, high: np.ndarray, rates: tuple[int, int], cutoff: float
) -> np.ndarray:
    """The published post-process of a mix, without its MP3 generations; for comparison.

    Resamples `low` by a Hann-windowed sinc (6 zero crossings, roll-off .99), joins the bands with
    second-order filters that clamp their outputs, and matches the low band by global rms. Equal
    signals on both sides leave a notch at the cut-off.
    """
    low_rate, high_rate = rates
    per_second = math.gcd(low_rate, high_rate)
    n_low, n_high = low_rate // per_second, high_rate // per_second
    edge = 0.99 * min(n_low, n_high)
    raised = sinc_filter(n_low, n_high, edge=edge, zeros=6, kaiser=None)(low)
    bands = {
        kind: impulse_filter(impulse_response(*biquad(kind, cutoff, high_rate)), n_high)
        for kind in ("low", "high")
    }
    a_low = np.clip(bands["low"](raised), -1, 1)
    b_low = np.clip(bands["low"](high), -1, 1)
    b_high = np.clip(bands["high"](high), -1, 1)
    rms_a, rms_b = (math.sqrt(np.square(x, dtype=np.float64).mean()) for x in (a_low, b_low))
    return a_low * np.float32((rms_b + UPSTREAM_EPS) / (rms_a + UPSTREAM_EPS)) + b_high
