"""Training the source-filter voice on songs whose envelopes are known: the songbook's.

    python -m yue.train.voice CODEC OUT [STEPS] [SONGS]

The songbook sings by WORLD, so for every 5 ms pitch, envelope and share of noise are known exactly.
The upsampler learns to tell them from the first codebook's codes; no sound is made while it learns,
which is why half an hour on two cores goes through a hundred hours of singing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.source_filter import SourceFilter, SourceFilterConfig, Voice, knots_of
from yue.codec.xcodec import XCodec
from yue.files import PathLike
from yue.songbook.compose import compose
from yue.songbook.perform import VOCAL_LEVEL, active_rms, rumble_gain, without_rumble
from yue.songbook.profile import SIMPLE
from yue.songbook.sing import Parameters, parameters
from yue.songbook.timing import STEP_SECONDS
from yue.songbook.words import load_vocabulary
from yue.songbook.world import RATE, Speakers, frequencies
from yue.weights import write_tensors

FLOOR = -18.0
"""Log power below which nothing is learned: silence."""
LEAST_PERIODIC = 1e-3
"""Power share of the periodic part that is taken for none."""
LEAST_LEFT = 1e-2
"""Amplitude share that a filter of the songbook is taken to leave at least."""
SEED = 5
CLIPS, FRAMES = 16, 150
RATE_ADAM, RATE_MUON, WARMUP, LAST = 1e-3, 2e-2, 50, 0.02
"""Learning rates at their height, steps of warm-up, share of the rate at the end."""
CLIP = 5.0
HARMONIC, NOISE, PITCH, VOICING = 1.0, 0.5, 4.0, 1.0
"""Weights of the losses: nepers of power, nepers of power, octaves, nats."""

Tell = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, eq=False)
class Lesson:
    """A song: codes (1, T) int64 and the voice of 3 T subframes: (3 T, K), (3 T, K), (3 T,) x 2."""

    codes: np.ndarray
    harmonic: np.ndarray
    noise: np.ndarray
    octaves: np.ndarray
    voiced: np.ndarray


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
    low = np.minimum(places.astype(int), values.shape[1] - 2)
    share = np.minimum(places - low, 1.0)
    return np.asarray(values[:, low] * (1 - share) + values[:, low + 1] * share)


def _resampled(values: np.ndarray, ratio: float, count: int) -> np.ndarray:
    """(T, ...) at the middles of `count` steps of `ratio` old ones each; the end holds."""
    last = len(values) - 1
    places = np.clip((np.arange(count) + 0.5) * ratio - 0.5, 0, last)
    low = places.astype(int)
    share = (places - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(
        values[low] * (1 - share) + values[np.minimum(low + 1, last)] * share, np.float32
    )


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


def draw(
    songs: Sequence[Lesson], config: SourceFilterConfig, rng: np.random.Generator
) -> list[Tensor]:
    """Clips as tensors: codes (B, 1, T), then what is wanted in 3 T subframes."""
    long = [song for song in songs if song.codes.shape[1] >= FRAMES]
    weights = np.array([song.codes.shape[1] for song in long], float)
    rows = []
    for place in rng.choice(len(long), CLIPS, p=weights / weights.sum()):
        song = long[place]
        first = int(rng.integers(song.codes.shape[1] - FRAMES + 1))
        span = slice(first * config.subframes, (first + FRAMES) * config.subframes)
        rows.append((
            song.codes[:, first : first + FRAMES], song.harmonic[span].astype(np.float32),
            song.noise[span].astype(np.float32), song.octaves[span], song.voiced[span],
        ))
    return [torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)]


def train(
    codec: XCodec, songs: Sequence[Lesson], config: SourceFilterConfig, *, steps: int,
    seed: int = 1, tell: Tell = lambda step, found: None,
) -> SourceFilter:
    """An upsampler that learned for so many steps, its rate falling over them."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), SourceFilter(config).train()
    inner = [p for n, p in model.named_parameters() if "pwconv" in n and p.dim() > 1]
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.0)
    muon = torch.optim.Muon(inner, weight_decay=0.0)
    for step in range(steps):
        share = min(1, (step + 1) / WARMUP) * (
            LAST + (1 - LAST) * 0.5 * (1 + np.cos(np.pi * step / steps))
        )
        adam.param_groups[0]["lr"], muon.param_groups[0]["lr"] = (
            share * RATE_ADAM, share * RATE_MUON
        )
        codes, *wanted = draw(songs, config, rng)
        found = losses(model.voice(codec.embed(codes)), wanted)
        model.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        muon.step()
        tell(step + 1, {name: float(loss.detach()) for name, loss in found.items()})
    return model.eval()


def main(codec: PathLike, out: PathLike, steps: int, songs: int) -> Path:
    """Train and write `OUT/vocals.safetensors`."""
    config = SourceFilterConfig(knots=80)
    teller = XCodec.load(codec, decode_only=False)
    known = lessons(teller, config, range(songs))

    def tell(step: int, found: dict[str, float]) -> None:
        if step % 100 == 0:
            told = ", ".join(f"{name} {loss:.3f}" for name, loss in found.items())
            print(f"step {step}: {told}", file=sys.stderr)

    model = train(teller, known, config, steps=steps, tell=tell)
    Path(out).mkdir(parents=True, exist_ok=True)
    path = Path(out) / "vocals.safetensors"
    write_tensors(path, model.state_dict())
    return path


if __name__ == "__main__":
    named = dict(zip(("codec", "out", "steps", "songs"), sys.argv[1:], strict=False))
    print(main(
        named["codec"], named["out"], int(named.get("steps", 4400)),
        int(named.get("songs", 700)),
    ))
