"""How well a voice and a band that parametric upsamplers describe go together, without sound.

The share of the singing that is on one of the three pitch classes the band plays loudest around it:
a triad's, where it plays one. By chance a quarter, as on chord tones.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from yue.codec.layers import full_precision
from yue.codec.parametric import running_mean
from yue.codec.source_filter import SourceFilter, Voice
from yue.codec.tones import Band, Tones, TonesConfig, note_of
from yue.codec.xcodec import XCodec

CLASSES = 12
CHORD = 3
"""Pitch classes of a triad."""
HIGHEST = 84
"""MIDI note from which on tones are mostly partials: C6."""
AROUND = 1.0
"""Seconds over which the band is heard at once. Of .25, .5, 1 and 2 the one that agrees best with
the chord tones heard in the sound."""


@torch.inference_mode()
@full_precision()
def consonance_of(codes: np.ndarray, codec: XCodec, voice: SourceFilter, band: Tones) -> float:
    """Of codes (2, T), vocals and accompaniment in codebook 0; NaN if nothing is sung."""
    if not codes.shape[-1]:
        return math.nan
    sung, played = (
        codec.embed(torch.as_tensor(row, dtype=torch.long, device=codec.device)[None, None])
        for row in codes
    )
    return consonance(voice.voice(sung), band.band(played), band.config)


def consonance(voice: Voice, band: Band, config: TonesConfig) -> float:
    """Of a voice and a band, one row each, in the same subframes; NaN if nothing is sung."""
    sung = voice.voicing[0] > 0
    if not sung.any():
        return math.nan
    notes = note_of(voice.pitch[0, sung])
    half = round(AROUND * config.sample_rate / config.step) // 2
    played = running_mean(pitch_classes(band, config).T[None], 2 * half + 1)[0].T[sung]
    level = played.gather(1, notes.round().long()[:, None] % CLASSES)
    return float(((played > level).sum(dim=1) < CHORD).double().mean())


def pitch_classes(band: Band, config: TonesConfig) -> Tensor:
    """Level of each pitch class, C first, below the notes that are mostly partials: (T, 12)."""
    notes = torch.arange(config.lowest, min(config.lowest + config.tones, HIGHEST))
    power = band.tones[0, :, : len(notes)].exp()
    classes = power.new_zeros(len(power), CLASSES)
    return classes.index_add_(1, (notes % CLASSES).to(power.device), power).sqrt()
