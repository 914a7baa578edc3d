"""Training the band of tones and noise on songs whose notes are known: the songbook's.

    scripts/train-band CODEC UPSAMPLER OUT

The songbook's band plays notes of a bank, so what it sustains and what it strikes is known apart
and at every moment: each note is measured once, by itself, and a song's levels are the sum of what
its notes give. The upsampler learns to tell them from the first codebook's codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from yue.audio import Audio
from yue.codec.parametric import REFERENCE, spread_of
from yue.codec.tones import A4, A4_HZ, FLOOR, Band, Tones, TonesConfig, hertz_of
from yue.codec.upsamplers import load_upsamplers, save_upsamplers
from yue.codec.xcodec import XCodec
from yue.songbook.band import RELEASE_DECAY, RELEASE_SECONDS, accompany, gain_of
from yue.songbook.bank import DRUM_KIT, RATE, Bank
from yue.songbook.compose import compose
from yue.songbook.make import bank_folder
from yue.songbook.perform import BAND_LEVEL, active_rms
from yue.songbook.profile import SIMPLE
from yue.songbook.score import Event, Score
from yue.songbook.words import load_vocabulary
from yue.train.parametric import SEED, Tell, asked, fit, told

PERIODS = 4
"""Of a note, in the windows that tell its partials apart."""
TONES, NOISE = 4.0, 1.0
"""Weights of the losses, nepers of power: a third of the tones sounds at a time."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A song: codes (1, T) int64 and log powers of 3 T subframes: (3 T, M), (3 T, K)."""

    codes: np.ndarray
    tones: np.ndarray
    noise: np.ndarray

    @property
    def wanted(self) -> tuple[np.ndarray, ...]:
        """As `losses` takes them."""
        return self.tones, self.noise


@dataclass(frozen=True, eq=False)
class Measured:
    """Powers of the bank's notes in subframes, each measured when it is first asked for."""

    bank: Bank
    config: TonesConfig
    _known: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def levels(self, program: int, key: int) -> np.ndarray:
        """Of a note's tones (T, M), or of a drum's noise (T, K), struck at full velocity."""
        if (program, key) not in self._known:
            wave = self.bank.note(program, key).astype(np.float32)
            self._known[program, key] = (
                drum_levels(wave, self.config) if program == DRUM_KIT
                else note_levels(wave, key, self.config)
            )
        return self._known[program, key]


def note_levels(wave: np.ndarray, key: int, config: TonesConfig) -> np.ndarray:
    """A note (n,) -> the powers (T, M) of its partials, each on the semitone next to it."""
    pitch = hertz_of(key)
    partials = pitch * np.arange(1, int(RATE / 2 / pitch) + 1)
    places = np.round(A4 + 12 * np.log2(partials / A4_HZ)).astype(int) - config.lowest
    inside = (places >= 0) & (places < config.tones)
    size = max(2 * config.step, round(PERIODS * RATE / pitch))
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    waves = np.exp(-2j * np.pi * partials[inside] / RATE * np.arange(size)[:, None])
    heard = (_frames(wave, size, config.step) * window) @ waves.astype(np.complex64)
    powers = 2 * np.abs(heard / window.sum()) ** 2
    levels = np.zeros((len(powers), config.tones), np.float32)
    np.add.at(levels.T, places[inside], powers.T)
    return levels


def drum_levels(wave: np.ndarray, config: TonesConfig) -> np.ndarray:
    """A drum (n,) -> the powers (T, K) around the knots, as at the rate of reference."""
    window = np.hanning(2 * config.step + 2)[1:-1].astype(np.float32)
    spectra = np.fft.rfft(_frames(wave, len(window), config.step) * window, config.n_fft)
    weights = spread_of(config).numpy()
    density = np.abs(spectra) ** 2 / np.square(window).sum() * (REFERENCE / config.sample_rate)
    return np.asarray(density @ (weights / weights.sum(axis=1, keepdims=True)).T, np.float32)


def _frames(wave: np.ndarray, size: int, step: int) -> np.ndarray:
    """Frames (T, size) of a wave, each around the middle of a step."""
    count = -(-len(wave) // step)
    before = size // 2 - step // 2
    padded = np.pad(wave, (before, count * step + size - len(wave) - before))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: count * step : step]


def levels_of(
    score: Score, notes: Measured, count: int, config: TonesConfig
) -> tuple[np.ndarray, np.ndarray]:
    """What a band plays in `count` subframes: powers of tones (T, M) and noise (T, K)."""
    tones = np.zeros((count, config.tones), np.float32)
    noise = np.zeros((count, config.knots), np.float32)
    for event in score.events:
        levels = _sounded(event, notes, RATE / config.step)
        start = round(event.start * RATE / config.step)
        levels = levels[: max(0, count - start)]
        (noise if event.drum else tones)[start : start + len(levels)] += levels
    return tones, noise


def _sounded(event: Event, notes: Measured, per_second: float) -> np.ndarray:
    """The powers of one event: as measured, scaled, let go at its end; drums ring out."""
    levels = notes.levels(DRUM_KIT if event.drum else event.program, event.key)
    power = gain_of(event) ** 2
    if event.drum:
        return levels * power
    held, after = round(event.seconds * per_second), round(RELEASE_SECONDS * per_second)
    levels = levels[: held + after] * power
    let_go = np.exp(-2 * np.arange(after) / (RELEASE_DECAY * per_second)).astype(np.float32)
    levels[held:] *= let_go[: max(0, len(levels) - held), None]
    return levels


def lesson(codec: XCodec, score: Score, notes: Measured, config: TonesConfig) -> Lesson:
    """What is known of one song's band, at the level at which it is heard in the song."""
    wave = accompany(score, notes.bank)
    gain = BAND_LEVEL / active_rms(wave, RATE)
    heard = Audio(gain * wave, RATE).resample(codec.config.sample_rate).samples
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(heard), 1)[0].cpu().numpy()
    tones, noise = (
        np.log(np.maximum(gain**2 * powers, np.exp(FLOOR))).astype(np.float16)
        for powers in levels_of(score, notes, codes.shape[1] * config.subframes, config)
    )
    return Lesson(codes, tones, noise)


def lessons(codec: XCodec, config: TonesConfig, songs: Sequence[int]) -> list[Lesson]:
    """Songs of the songbook by their numbers. Needs fluidsynth and a sound font."""
    vocabulary, notes = load_vocabulary(), Measured(Bank(bank_folder()), config)
    return [
        lesson(codec, compose(SEED, number, SIMPLE, vocabulary=vocabulary), notes, config)
        for number in songs
    ]


def losses(band: Band, wanted: Sequence[Tensor]) -> dict[str, Tensor]:
    """How far a band is off, in nepers of power; nothing is quieter than the floor."""
    weighted = zip(Band._fields, band, wanted, (TONES, NOISE), strict=True)
    return {name: weight * _off(found, level).mean() for name, found, level, weight in weighted}


def _off(found: Tensor, level: Tensor) -> Tensor:
    """Where silence is wanted, all below the floor is right."""
    return torch.where(level <= FLOOR, (found - FLOOR).clamp_min(0), (found - level).abs())


def train(
    codec: XCodec, songs: Sequence[Lesson], config: TonesConfig, *, steps: int, seed: int = 1,
    bf16: bool = False, tell: Tell = lambda step, found: None,
) -> Tones:
    """An upsampler that learned for so many steps."""
    return fit(
        lambda: Tones(config), codec, songs,
        lambda model, features, wanted: losses(model.band(features), wanted),
        steps=steps, seed=seed, bf16=bf16, tell=tell,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a band and write an upsampler directory with it in the place of the accompaniment's."""
    given = asked("band", "accompaniment", arguments)
    codec, both = XCodec.load(given.codec, decode_only=False), load_upsamplers(given.upsampler)
    config = TonesConfig(
        knots=48, top=16_000.0, n_fft=1024, input_channels=codec.config.width, codebooks=1
    )
    known = lessons(codec, config, range(given.songs))
    band = train(codec, known, config, steps=given.steps, bf16=given.bf16, tell=told)
    print(save_upsamplers(given.out, {**both, "accompaniment": band}))


if __name__ == "__main__":
    main()
