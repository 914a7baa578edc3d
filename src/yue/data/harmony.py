"""Which chord is played at each frame, and how far through its bar: what a layer should know.

The clock of the accompaniment as one number per frame, for `yue.train.harmony`.
"""

from __future__ import annotations

import numpy as np

from yue.data.records import CHORD_LABELS, Part, Record

STEPS = 16
"""Steps of a chord: sixteenths, where it lasts one bar of four-four time."""

CLASSES = len(CHORD_LABELS) * STEPS
"""Chords times steps."""


def chord_steps(record: Record, part: Part) -> np.ndarray:
    """Per frame of a part 1 + its class (frames,) int16; 0 where no chord is known.

    The class is the chord's number in `CHORD_LABELS` times `STEPS`, plus its step.
    """
    classes = np.zeros(part.end - part.start, np.int16)
    for chord in record.chords:
        first, last = max(chord.start, part.start), min(chord.end, part.end)
        if first < last:
            step = np.arange(first - chord.start, last - chord.start) * STEPS
            classes[first - part.start : last - part.start] = (
                1 + CHORD_LABELS.index(chord.label) * STEPS + step // (chord.end - chord.start)
            )
    return classes
