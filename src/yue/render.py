"""Codes -> sound: codec and upsampler piece by piece, bands joined, stems added up.

Memory beyond the returned arrays does not grow with the song, but for one 16 kHz copy of the
track at hand (the upstream mode, there for comparison, filters whole songs at once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yue.audio import Audio
from yue.codec.layers import full_precision
from yue.codec.upsamplers import Upsampler, UpsamplerConfig
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.draft import Codes
from yue.errors import OptionError
from yue.mix import UPSTREAM_CLAMP, Crossover, add_up, upstream_join
from yue.options import RenderOptions
from yue.vocab import TRACKS

PIECE_FRAMES = 250
"""Frames decoded at once: 5 s, some 30 MB of activations in the published decoder."""

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all), both tracks counted."""


def codebooks_heard(codec: XCodecConfig, upsamplers: Iterable[UpsamplerConfig]) -> int:
    """How many codebooks a song's sound depends on; what Stage 2 adds beyond is not heard."""
    if codec.decoder_channels:
        return codec.codebooks
    return max(sizes.codebooks or codec.codebooks for sizes in upsamplers)


def render(
    codes: Codes,
    codec: XCodec,
    upsamplers: Mapping[str, Upsampler],
    options: RenderOptions,
    *,
    progress: Progress | None = None,
) -> tuple[dict[str, Audio], dict[str, Any]]:
    """Audio by name (mix, vocals, accompaniment), and a report of gains and scaling.

    The lengths are frames * hop of the codec or of the upsampler, the same time span.
    """
    options = _possible(options, codec)
    total = len(TRACKS) * codes.frames
    stems, lows, report = [], [], {}
    high_rate = _output_rate(codec, upsamplers, options)
    for index, track in enumerate(TRACKS):
        tell = None if progress is None else _offset(progress, index * codes.frames, total)
        low, high = _decode_track(codes.codes[index], codec, upsamplers[track], options, tell)
        if options.mode == "clean" and codes.frames:
            crossover = Crossover.clean(codec.config.sample_rate, high_rate, options.crossover)
            report[f"{track}_low_band_gain"] = crossover.join(low, high)
        if options.mode == "upstream":
            lows.append(np.clip(low, -UPSTREAM_CLAMP, UPSTREAM_CLAMP))
        stems.append(low if options.mode == "codec" else high)
        del low, high
    if options.mode == "upstream" and codes.frames:
        mix = _upstream_mix(lows, stems, (codec.config.sample_rate, high_rate), options.crossover)
    else:
        mix, report["scaled_by"] = add_up(stems, options.peak)
    named = zip(("mix", *TRACKS), (mix, *stems), strict=True)
    return {name: Audio(samples[None], high_rate) for name, samples in named}, report


def _possible(options: RenderOptions, codec: XCodec) -> RenderOptions:
    """The options as a codec without a decoder can follow them.

    Raises `OptionError` for a mode that is about that decoder.
    """
    if codec.config.decoder_channels:
        return options
    if options.mode in ("codec", "upstream"):
        raise OptionError(
            f"mode = {options.mode!r}: this model's codec has no decoder of its own; use clean."
        )
    return options.replace(mode="upsampled")


def _output_rate(codec: XCodec, upsamplers: Mapping[str, Upsampler], options: RenderOptions) -> int:
    if options.mode == "codec":
        return codec.config.sample_rate
    return upsamplers[TRACKS[0]].config.sample_rate


def _offset(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


@torch.inference_mode()
@full_precision()
def _decode_track(
    codes: np.ndarray,
    codec: XCodec,
    upsampler: Upsampler,
    options: RenderOptions,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (K, T) -> the codec's wave (T * hop,) and the upsampler's (T * hop,), float32.

    A mode that does not need one of them gets an empty array for it.
    """
    frames = codes.shape[-1]
    wanted_low, wanted_high = options.mode != "upsampled", options.mode != "codec"
    low = np.empty(frames * codec.config.hop if wanted_low else 0, dtype=np.float32)
    high = np.empty(frames * upsampler.config.hop if wanted_high else 0, dtype=np.float32)
    context = max(codec.context, upsampler.context)
    plain, stream, listened = codec.decode_features, upsampler.stream(), upsampler.config.codebooks
    for first, last, part in pieces(codes, context):
        left, count = min(first, context), last - first
        part = part.to(codec.device)
        if wanted_low:
            hop = codec.config.hop
            sound = plain(codec.embed(part))[0, left * hop : (left + count) * hop]
            low[first * hop : last * hop] = sound.cpu().numpy()
        if wanted_high:
            hop = upsampler.config.hop
            sound = stream(codec.embed(part[:, :listened]), left, count)[0]
            high[first * hop : last * hop] = sound.cpu().numpy()
        if progress is not None:
            progress(last, frames)
    return low, high


def pieces(codes: np.ndarray, context: int) -> Iterator[tuple[int, int, Tensor]]:
    """Cut codes (K, T): `(first, last, codes (1, K, n))` with `context` frames around."""
    frames = codes.shape[-1]
    for first in range(0, frames, PIECE_FRAMES):
        last = min(first + PIECE_FRAMES, frames)
        part = codes[:, max(0, first - context) : last + context].astype(np.int64)
        yield first, last, torch.from_numpy(part)[None]


def _upstream_mix(
    lows: list[np.ndarray], stems: list[np.ndarray], rates: tuple[int, int], cutoff: float
) -> np.ndarray:
    """The published way to a mix: clamp, add, clamp, then replace the low band."""
    for stem in stems:
        np.clip(stem, -UPSTREAM_CLAMP, UPSTREAM_CLAMP, out=stem)
    high = np.clip(stems[0] + stems[1], -UPSTREAM_CLAMP, UPSTREAM_CLAMP)
    return upstream_join(lows[0] + lows[1], high, rates, cutoff)
