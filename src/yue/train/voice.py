"""Training the source-filter voice on songs whose envelopes are known: the songbook's.

    scripts/train-voice CODEC UPSAMPLER OUT

The songbook sings by WORLD, so for every 5 ms pitch, envelope and share of noise are known exactly.
The upsampler learns to tell them from the first codebook's codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yue.codec.parametric import knots_of
from yue.codec.source_filter import SourceFilter, SourceFilterConfig, Voice
from yue.codec.upsamplers import load_upsamplers, save_upsamplers
from yue.codec.xcodec import XCodec
from yue.songbook.compose import compose
from yue.songbook.perform import VOCAL_LEVEL, active_rms, rumble_gain, without_rumble
from yue.songbook.profile import SIMPLE
from yue.songbook.sing import Parameters, between, parameters
from yue.songbook.timing import STEP_SECONDS
from yue.songbook.words import load_vocabulary
from yue.songbook.world import RATE, Speakers, frequencies
from yue.train.parametric import SEED, Tell, asked, fit, told

FLOOR = -18.0
"""Log power below which nothing is learned: silence."""
LEAST_PERIODIC = 1e-3
"""Power share of the periodic part that is taken for none."""
LEAST_LEFT = 1e-2
"""Amplitude share that a filter of the songbook is taken to leave at least."""
CONTRAST = 1.3
"""Of the finished voice: .598 to .584 phone error of ten sung sections (LOG.md)."""
HARMONIC, NOISE, PITCH, VOICING = 1.0, 0.5, 4.0, 1.0
"""Weights of the losses: nepers of power, nepers of power, octaves, nats."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A song: codes (1, T) int64 and the voice of 3 T subframes: (3 T, K), (3 T, K), (3 T,) x 2."""

    codes: np.ndarray
    harmonic: np.ndarray
    noise: np.ndarray
    octaves: np.ndarray
    voiced: np.ndarray

    @property
    def wanted(self) -> tuple[np.ndarray, ...]:
        """As `losses` takes them."""
        return self.harmonic, self.noise, self.octaves, self.voiced


def lessons(codec: XCodec, config: SourceFilterConfig, songs: Sequence[int]) -> list[Lesson]:
    """Songs of the songbook by their numbers. Needs flite and pyworld."""
    vocabulary, speakers = load_vocabulary(), Speakers()
    return [
        lesson(codec, config, parameters(
            compose(SEED, number, SIMPLE, vocabulary=vocabulary), speakers
        ))
        for number in songs
    ]


def lesson(codec: XCodec, config: SourceFilterConfig, sung: Parameters) -> Lesson:
    """What is known of one song's voice, at the level at which it is heard in the song."""
    wave = without_rumble(sung.wave, RATE)
    gain = VOCAL_LEVEL / active_rms(wave, RATE)
    with torch.inference_mode():
        heard = torch.from_numpy((gain * wave).astype(np.float32))[None]
        codes = codec.encode(heard, 1)[0].cpu().numpy()
    count = codes.shape[1] * config.subframes
    left = gain * np.maximum(rumble_gain(frequencies()), LEAST_LEFT)
    power = sung.envelope + 2 * np.log(left)
    noise = 2 * np.log(sung.aperiodicity)
    periodic = np.log(np.maximum(1 - np.exp(noise), LEAST_PERIODIC))
    steps = round(1 / STEP_SECONDS) / (config.sample_rate / config.step)

    def placed(values: np.ndarray) -> np.ndarray:
        return _resampled(values, steps, count)

    harmonic, noise = (
        np.maximum(placed(_at_knots(power + part, config)), FLOOR).astype(np.float16)
        for part in (periodic, noise)
    )
    return Lesson(
        codes, harmonic, noise, placed(np.log2(_filled(sung.melody))),
        placed((sung.pitch > 0).astype(np.float32)) > 0.5,
    )


def _at_knots(values: np.ndarray, config: SourceFilterConfig) -> np.ndarray:
    """(T, bins up to 8 kHz) -> (T, K), straight lines between bins."""
    places = knots_of(config).numpy() / frequencies()[1]
    return between(values.T, np.minimum(places, values.shape[1] - 1)).T


def _resampled(values: np.ndarray, ratio: float, count: int) -> np.ndarray:
    """(T, ...) at the middles of `count` steps of `ratio` old ones each; the end holds."""
    places = (np.arange(count) + 0.5) * ratio - 0.5
    return between(values, np.clip(places, 0, len(values) - 1)).astype(np.float32)


def _filled(pitch: np.ndarray) -> np.ndarray:
    """Pitch in Hz everywhere: where there is none, in a line from one note to the next."""
    known = np.flatnonzero(pitch > 0)
    return np.interp(np.arange(len(pitch)), known, pitch[known])


def losses(voice: Voice, wanted: Sequence[Tensor]) -> dict[str, Tensor]:
    """How far a voice is off: nepers of both envelopes, octaves, and nats of voicing."""
    harmonic, noise, octaves, voiced = wanted
    sung = voiced.float()
    total = sung.sum().clamp_min(1)
    off = (voice.harmonic - harmonic).abs().mean(-1)
    return {
        "harmonic": HARMONIC * (off * sung).sum() / total,
        "noise": NOISE * (voice.noise - noise).abs().mean(),
        "pitch": PITCH * ((voice.pitch.log2() - octaves).abs() * sung).sum() / total,
        "voicing": VOICING * F.binary_cross_entropy_with_logits(voice.voicing, sung),
    }


def train(
    codec: XCodec, songs: Sequence[Lesson], config: SourceFilterConfig, *, steps: int,
    seed: int = 1, bf16: bool = False, tell: Tell = lambda step, found: None,
) -> SourceFilter:
    """An upsampler that learned for so many steps."""
    return fit(
        lambda: SourceFilter(config), codec, songs,
        lambda model, features, wanted: losses(model.voice(features), wanted),
        steps=steps, seed=seed, bf16=bf16, tell=tell,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a voice and write an upsampler directory with it in the place of the vocals'."""
    given = asked("voice", "vocals", arguments)
    codec, both = XCodec.load(given.codec, decode_only=False), load_upsamplers(given.upsampler)
    config = SourceFilterConfig(
        knots=80, contrast=CONTRAST, input_channels=codec.config.width, codebooks=1
    )
    known = lessons(codec, config, range(given.songs))
    voice = train(codec, known, config, steps=given.steps, bf16=given.bf16, tell=told)
    print(save_upsamplers(given.out, {**both, "vocals": voice}))


if __name__ == "__main__":
    main()
