"""A finished song: mix, stems, section times, manifest; and how it is written to disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yue.audio import Audio
from yue.files import PathLike, write_bytes, write_json
from yue.vocab import TRACKS


@dataclass(frozen=True)
class TimedSection:
    """A section and when it sounds, in seconds."""

    label: str
    text: str
    start: float
    end: float
    truncated: bool = False
    follows: float | None = None
    """How closely the words were followed; see `draft.Sung`."""
    consonance: float | None = None
    """How well voice and band go together; see `draft.Sung`."""


@dataclass(frozen=True, eq=False, repr=False)
class Song:
    """Mix and stems, sample-aligned; the stems add up to the mix (in clean mode)."""

    mix: Audio
    vocals: Audio
    accompaniment: Audio
    sections: tuple[TimedSection, ...]
    manifest: dict[str, Any] = field(default_factory=dict)
    """Model and revisions, options, seed, versions, timings, findings."""

    def __repr__(self) -> str:
        labels = " ".join(section.label for section in self.sections)
        return f"<song {self.seconds:.1f} s, seed {self.manifest.get('seed')}: {labels}>"

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.mix.seconds

    def save(
        self, path: PathLike, *, stems: bool = False, lrc: bool = False, manifest: bool = False
    ) -> dict[str, Path]:
        """Write the mix, its format chosen by the suffix; returns what was written, by name.

        `stems` adds `NAME.vocals.SUFFIX` and `NAME.accompaniment.SUFFIX`, `lrc` adds `NAME.lrc`,
        `manifest` adds `NAME.json`. Nothing half-written is left behind.
        """
        path = Path(path)
        written = {"mix": self.mix.save(path)}
        if stems:
            for track in TRACKS:
                audio: Audio = getattr(self, track)
                written[track] = audio.save(path.with_suffix(f".{track}{path.suffix}"))
        if lrc:
            written["lrc"] = write_bytes(path.with_suffix(".lrc"), self.lrc().encode())
        if manifest:
            written["manifest"] = write_json(path.with_suffix(".json"), self.manifest)
        return written

    def lrc(self) -> str:
        """The lyrics with times, as karaoke players read them.

        A section's start is exact; the lines inside are spread over it by their length, since
        when each is sung is not known.
        """
        lines = [f"[length:{_minutes(self.seconds)}]"]
        for section in self.sections:
            words = [line for line in section.text.split("\n") if line.strip()]
            total = sum(map(len, words))
            sung = 0
            for line in words:
                time = section.start + (section.end - section.start) * sung / total
                lines.append(f"[{_minutes(time)}]{line}")
                sung += len(line)
            if not words:
                lines.append(f"[{_minutes(section.start)}]")
        return "\n".join(lines) + "\n"


def _minutes(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
