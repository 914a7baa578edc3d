"""Songs on disk: names, times, manifests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from yue.audio import Audio
from yue.song import Song, TimedSection


@pytest.fixture
def song() -> Song:
    audio = Audio(np.linspace(-0.5, 0.5, 441_00 * 4), 44_100)
    return Song(
        audio, audio, audio,
        (
            TimedSection("verse", "short\na longer line", 0.0, 2.0),
            TimedSection("bridge", "", 2.0, 3.0),
            TimedSection("chorus", "end", 3.0, 4.0, truncated=True),
        ),
        {"seed": 7},
    )


def test_everything_is_written_beside_the_mix(song: Song, tmp_path: Path) -> None:
    written = song.save(tmp_path / "a.flac", stems=True, lrc=True, manifest=True)
    names = {name: path.name for name, path in written.items()}
    assert names == {
        "mix": "a.flac", "vocals": "a.vocals.flac", "accompaniment": "a.accompaniment.flac",
        "lrc": "a.lrc", "manifest": "a.json",
    }
    assert all(path.is_file() for path in written.values())
    assert json.loads(written["manifest"].read_text()) == {"seed": 7}
    assert Audio.read(written["vocals"]).seconds == pytest.approx(4)


def test_lrc(song: Song) -> None:
    assert song.lrc().splitlines() == [
        "[length:00:04.00]", "[00:00.00]short", "[00:00.56]a longer line", "[00:02.00]",
        "[00:03.00]end",
    ]


def test_times_do_not_round_to_sixty_seconds() -> None:
    audio = Audio(np.zeros(10), 44_100)
    late = Song(audio, audio, audio, (TimedSection("verse", "x", 59.999, 61.0),))
    assert "[01:00.00]x" in late.lrc()
