"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from yue.train.config import PhaseOptions


def rate(phase: PhaseOptions, step: int) -> float:
    """The rate of a step inside its phase: warm-up, hold, then the way to the end."""
    warm = phase.warmup * phase.steps
    if step < warm:
        return phase.start + (phase.rate - phase.start) * (step + 1) / max(1.0, warm)
    end = phase.rate if phase.end is None else phase.end
    held = warm + phase.hold * phase.steps
    if phase.shape == "constant" or step < held:
        return phase.rate
    share = min(1.0, (step - held) / max(1.0, phase.steps - 1 - held))
    if phase.shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return phase.rate + (end - phase.rate) * share


def warmed_cosine(step: int, steps: int, warmup: int, last: float) -> float:
    """The rate of a step as a share of its height: a line up, half a cosine down to `last`."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    return rise * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / steps)))
