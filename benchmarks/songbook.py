"""The songbook by numbers: speed, counts, pitch, levels, and how well its words are understood.

    python benchmarks/songbook.py                      both profiles, 48 lines per voice
    python benchmarks/songbook.py --profile simple --voices m1 f1 --lines 12

Prints Markdown. Words: a phone-loop recogniser hears each line of the vocals; `found` is the share
of lines whose own words are nearest among all measured. Pitch: an independent tracker against the
notes, in their middle. Everything is compared with what the songbook itself decided.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator, Sequence

import numpy as np

from yue.audio import Audio
from yue.evaluate.f0 import track
from yue.evaluate.pitch import STEP
from yue.evaluate.recognise import symbols_of
from yue.evaluate.words import edits
from yue.songbook.make import Order, Studio
from yue.songbook.perform import Performance, active_rms
from yue.songbook.pitch import hertz
from yue.songbook.profile import PROFILES, Profile

SEED = 902
MARGIN = 0.05
"""Seconds kept around a line."""


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", nargs="*", default=list(PROFILES))
    parser.add_argument("--voices", nargs="*")
    parser.add_argument("--lines", type=int, default=48)
    parser.add_argument("--songs", type=int, default=12)
    asked = parser.parse_args()
    studio = Studio.open()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
    for name in asked.profile:
        report_speed(studio, PROFILES[name], asked.songs)
        report_voices(studio, PROFILES[name], asked.voices, asked.lines)


def report_speed(studio: Studio, profile: Profile, songs: int) -> None:
    """Real time per CPU second, and what an hour holds."""
    order = Order(profile=profile, seed=SEED)
    studio.bank.prepare(profile.genres)
    begin = time.process_time()
    made = [studio.song(order, index) for index in range(songs)]
    spent = time.process_time() - begin
    hours = sum(song.score.seconds for song in made) / 3600
    lines = [line for song in made for line in song.score.lines]
    counts = {
        "phones": sum(len(song.phones) for song in made),
        "words": sum(len(line.words) for line in lines),
        "notes": sum(len(line.notes) for line in lines),
    }
    rms = [20 * np.log10(np.mean([active_rms(track, song.rate) for song, track in pairs]))
           for pairs in (_tracks(made, "vocals"), _tracks(made, "accompaniment"))]
    peak = max(np.abs(song.mix).max() for song in made)
    print(f"## {profile.name}: {hours * 3600 / spent:.0f} x real time per CPU second\n")
    print(", ".join(f"{value / hours:,.0f} {name} per hour" for name, value in counts.items()))
    print(f"vocals {rms[0]:.1f} dB, accompaniment {rms[1]:.1f} dB, mix peak {peak:.2f}\n")


def _tracks(songs: Sequence[Performance], name: str) -> list[tuple[Performance, np.ndarray]]:
    return [(song, getattr(song, name)) for song in songs]


def report_voices(
    studio: Studio, profile: Profile, voices: Sequence[str] | None, lines: int
) -> None:
    """Phone errors and pitch, a row per voice."""
    print("| voice | PER | sub | del | ins | found | within 50 cents | median cents |")
    print("|---|---|---|---|---|---|---|---|")
    for voice in voices or profile.voices:
        asked, heard, cents = [], [], []
        for words, wave, pitch in sung_lines(studio, profile.replace(voices=(voice,)), lines):
            asked.append(words)
            heard.append(symbols_of(wave))
            cents += pitch
        total = sum((edits(a, h) for a, h in zip(asked[1:], heard[1:], strict=True)),
                    start=edits(asked[0], heard[0]))
        parts = (total.errors, total.substitutions, total.deletions, total.insertions)
        shares = " | ".join(f"{part / total.asked:.2f}" for part in parts)
        near = np.abs(cents)
        print(f"| {voice} | {shares} | {found(asked, heard):.2f} | {np.mean(near <= 50):.3f} "
              f"| {np.median(near):.1f} |", flush=True)


def sung_lines(
    studio: Studio, profile: Profile, count: int
) -> Iterator[tuple[list[str], Audio, list[float]]]:
    """Different lines: their phones without stress, their vocals, and how far notes are off."""
    order, index, seen = Order(profile=profile, seed=SEED, rate=16_000), 0, set()
    while len(seen) < count:
        song = studio.song(order, index)
        index += 1
        pitch = track(Audio(song.vocals, song.rate))
        for number, line in enumerate(song.score.lines):
            if line.text in seen or len(seen) >= count:
                continue
            seen.add(line.text)
            own = [phone for phone in song.phones if phone.line == number]
            wave = Audio(song.vocals, song.rate).cut(
                max(0.0, own[0].start - MARGIN), own[-1].end + MARGIN
            )
            yield [p.symbol.rstrip("012") for p in own], wave, off_pitch(song, number, pitch)


def off_pitch(song: Performance, line: int, pitch: np.ndarray) -> list[float]:
    """Cents between tracked and written pitch in the middles of a line's notes."""
    cents = []
    for note in song.score.lines[line].notes:
        frames = pitch[round((note.start + 0.08) / STEP) : round((note.end - 0.08) / STEP)]
        cents += (1200 * np.log2(frames[frames > 0] / hertz(note.pitch))).tolist()
    return cents


def found(asked: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]) -> float:
    """Share of lines whose own words are the nearest to what was heard."""
    def nearest(line: Sequence[str]) -> int:
        return int(np.argmin([edits(words, line).errors / len(words) for words in asked]))

    return float(np.mean([nearest(line) == number for number, line in enumerate(heard)]))


if __name__ == "__main__":
    main()
