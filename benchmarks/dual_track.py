"""The paper's first claim at small scale: two tracks against their mix (section 3.1, figures 3-4).

Songs of the songbook, their vocals and accompaniment known apart, mixed at several balances. One
tokeniser (log-mel spectra, residual k-means), learned from as many frames of each kind of track,
serves all of them. Then, on the same songs:

- what tokens keep: the words and the melody heard in the vocals and in the mix, before and after;
- what a language model makes of them: a small Llama, the same number of steps of as many songs,
  once on interleaved tracks (dual), once on the mix at each balance: held-out nats per token of
  each track, and the melody in the codes that it holds for likeliest, the past being the song's.

    python benchmarks/dual_track.py --seeds 1 2 3 --out dual_track

Writes dual_track.json and dual_track.png. Needs the songbook's packages. Nothing tells the models
where a word is sung, and at this size they do not find out: the figures are about codes, not words.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans

from yue.audio import Audio
from yue.codec.mel import MelConfig, MelEncoder, mel_filters
from yue.data import records
from yue.data.mixture import TASKS
from yue.data.records import Record
from yue.data.tasks import KINDS, TARGET, Forms
from yue.evaluate import f0
from yue.evaluate.recognise import symbols_of
from yue.evaluate.words import distance
from yue.files import write_json
from yue.lm.llama import Llama
from yue.songbook.compose import compose
from yue.songbook.make import Studio
from yue.songbook.perform import Performance, perform
from yue.songbook.profile import FRAME_RATE, PROFILES
from yue.songbook.rows import to_record
from yue.tokenizer import ByteTokenizer
from yue.train import report
from yue.train.config import RunOptions
from yue.train.loop import train
from yue.vocab import TRACKS, YUE_V1, Vocabulary

BOOK = 77
RATE = 16_000
HOP = RATE // FRAME_RATE
MEL = MelConfig()
CODES, BOOKS = 512, 4
GRIFFIN_LIM = 60
BALANCES = (-12.0, 0.0, 6.0)
"""Decibels by which the accompaniment is louder than in the songbook's own mix."""
IN_TUNE = 50.0
"""Cents."""
FORMS = {"dual": "lyrics_to_song", "mix": "mix_only"}


@dataclass(frozen=True)
class Tokeniser:
    """Log-mel frames (T, bands) <-> codes (K, T): each codebook quantises what is left."""

    books: tuple[np.ndarray, ...]

    @classmethod
    def learned(cls, frames: np.ndarray, seed: int) -> Tokeniser:
        """From frames (N, bands)."""
        left, books = frames, []
        for _ in range(BOOKS):
            found = MiniBatchKMeans(CODES, random_state=seed, batch_size=8192, n_init=1).fit(left)
            books.append(found.cluster_centers_)
            left = left - books[-1][found.labels_]
        return cls(tuple(books))

    def codes(self, wave: np.ndarray) -> np.ndarray:
        """Samples (S,) -> (K, S // hop) int16."""
        left, found = log_mel(wave), []
        for book in self.books:
            nearest = (np.square(book).sum(1) - 2 * left @ book.T).argmin(1)
            found.append(nearest.astype(np.int16))
            left = left - book[nearest]
        return np.stack(found)

    def sound(self, codes: np.ndarray) -> Audio:
        """(K, T) -> T * hop samples; with fewer codebooks, a coarser sound."""
        frames = sum(book[row] for book, row in zip(self.books, codes, strict=False))
        return sound_of(np.asarray(frames))


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Samples (S,) -> log-mel frames (S // hop, bands), in the small codec's units."""
    ear = MelEncoder(MEL, RATE, HOP, 1)
    return ear.log_mel(torch.from_numpy(wave)[None])[0].T.numpy()


def sound_of(frames: np.ndarray) -> Audio:
    """Log-mel frames (T, bands) -> a sound with such spectra, phases by Griffin and Lim (1984)."""
    inverse = torch.linalg.pinv(mel_filters(RATE, MEL.n_fft, MEL.bands))
    mel = torch.from_numpy(np.exp(3 * frames.T - 3)).float()
    size = (inverse @ mel).clamp_min(0)
    window = torch.hann_window(MEL.n_fft)
    phase = torch.rand(size.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    spectrum = torch.polar(size, phase)
    for _ in range(GRIFFIN_LIM):
        wave = torch.istft(spectrum, MEL.n_fft, HOP, window=window)
        again = torch.stft(wave, MEL.n_fft, HOP, window=window, return_complex=True)
        spectrum = torch.polar(size, again.angle())
    wave = torch.istft(spectrum, MEL.n_fft, HOP, window=window, length=size.shape[1] * HOP)
    return Audio(wave.numpy()[None], RATE)


# Songs --------------------------------------------------------------------------------------------

def make_songs(count: int) -> list[Performance]:
    """The first `count` songs of the book: a verse and a chorus each, at 16 kHz."""
    studio = Studio.open()
    profile = PROFILES["simple"].replace(forms=(("verse", "chorus"),), lines=(2, 2))
    return [
        perform(
            compose(BOOK, number, profile, vocabulary=studio.vocabulary), studio.speakers,
            studio.bank, effects=profile.effects, rate=RATE,
        )
        for number in told(range(count), "songs")
    ]


def tracks_of(song: Performance) -> dict[str, np.ndarray]:
    """Samples of both tracks, and of the mix at each balance."""
    alone = {"vocals": song.vocals, "accompaniment": song.accompaniment}
    mixes = {mix_at(balance): song.vocals + 10 ** (balance / 20) * song.accompaniment
             for balance in BALANCES}
    return {name: np.asarray(wave, np.float32) for name, wave in (alone | mixes).items()}


def mix_at(balance: float) -> str:
    """The name of the mix at a balance in dB."""
    return f"mix {balance:+.0f} dB"


def learn_tokeniser(songs: Sequence[dict[str, np.ndarray]], seed: int) -> Tokeniser:
    """From as many frames of vocals, of accompaniments, and of mixes (all balances together)."""
    rng = np.random.default_rng(seed)
    frames: dict[str, list[np.ndarray]] = {}
    for tracks in songs:
        for name, wave in tracks.items():
            frames.setdefault(name.split()[0], []).append(log_mel(wave))
    kinds = [np.concatenate(kind) for kind in frames.values()]
    least = min(map(len, kinds))
    return Tokeniser.learned(
        np.concatenate([kind[rng.choice(len(kind), least, replace=False)] for kind in kinds]), seed
    )


# What tokens keep ---------------------------------------------------------------------------------

def kept(
    songs: Sequence[Performance], tokeniser: Tokeniser, spoken: Sequence[dict[str, np.ndarray]]
) -> dict[str, Any]:
    """Per track: phone errors and melody in tune, of the sound itself and of the decoded one."""
    found: dict[str, Any] = {}
    for name in ("vocals", *map(mix_at, BALANCES)):
        heard = [(Audio(tracks[name][None], RATE), tokeniser.sound(tokeniser.codes(tracks[name])))
                 for tracks in told(spoken, f"kept: {name}")]
        for at, kind in enumerate(("itself", "decoded")):
            sounds = [pair[at] for pair in heard]
            found.setdefault(name, {})[kind] = {
                "phone_error": phone_error(songs, sounds), "in_tune": in_tune(songs, sounds),
            }
    return found


def phone_error(songs: Sequence[Performance], sounds: Sequence[Audio]) -> float:
    """Of what the phone loop hears, over all songs."""
    asked = [[phone.symbol.rstrip("012") for phone in song.phones] for song in songs]
    wrong = sum(distance(words, symbols_of(sound))
                for words, sound in zip(asked, sounds, strict=True))
    return round(wrong / sum(map(len, asked)), 4)


def in_tune(songs: Sequence[Performance], sounds: Sequence[Audio]) -> float:
    """Share of the voiced frames in which a pitch is found that is the sung one."""
    right = total = 0
    for song, sound in zip(songs, sounds, strict=True):
        found, true = f0.track(sound), song.pitch[::2]
        count = min(len(found), len(true))
        found, true = found[:count], true[:count]
        both = (found > 0) & (true > 0)
        cents = 1200 * np.abs(np.log2(found[both] / true[both]))
        right, total = right + int((cents <= IN_TUNE).sum()), total + int((true > 0).sum())
    return round(right / total, 4)


# What a language model makes of them --------------------------------------------------------------

def learn(
    form: str, rows: Sequence[Record], held: Sequence[Record], steps: int, seed: int, folder: Path
) -> Path:
    """Train on `rows`; a step holds as many songs whatever the form. Returns the run's folder."""
    for name, part in (("train", rows), ("valid", held)):
        (folder / name).mkdir(parents=True)
        records.write(folder / name / "songs.parquet", part)
    longest = max(len(sequence_of(form, row).ids) for row in (*rows, *held))
    run: dict[str, Any] = {
        "run": str(folder / "run"), "seed": seed,
        "data": {"train": [str(folder / "train")], "valid": [str(folder / "valid")],
                 "split": False},
        "model": {
            "tokenizer": "bytes", "hidden_size": 128, "intermediate_size": 352,
            "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
            "head_dim": 64, "codebook_size": CODES, "codebooks": 1,
        },
        "optimiser": {"name": "muon", "muon_ratio": 5},
        "loop": {"validate_every": max(1, steps // 12), "valid_rows": len(held), "scores": "audio"},
        "phases": [{
            "name": form, "tokens": steps * longest, "context": longest, "batch": longest,
            "rate": 3e-3, "end": 1e-4, "shape": "linear", "warmup": 0.05, "mask": "target",
            "tasks": {FORMS[form]: 1},
        }],
    }
    return train(RunOptions.make(run))


def sequence_of(form: str, row: Record, vocabulary: Vocabulary = YUE_V1) -> Any:
    """The whole song as a training sequence."""
    forms = Forms(tokenizer=ByteTokenizer(), vocabulary=vocabulary)
    return TASKS[FORMS[form]].pieces(row, forms, np.random.default_rng(0), 10**6)[0]


def losses(run: Path, form: str) -> dict[str, list[list[float]]]:
    """By track: steps and held-out nats per token."""
    lines = [line for line in report.read(run) if "valid" in line]
    kinds = [kind for kind in lines[-1]["valid"][FORMS[form]] if kind != "text"]
    return {kind: [[line["step"], line["valid"][FORMS[form]][kind]] for line in lines]
            for kind in kinds}


@torch.no_grad()
def likeliest(run: Path, form: str, row: Record) -> np.ndarray:
    """The code (1, T) that the model holds for likeliest at each frame of the vocals or the mix,
    from the words and everything before it."""
    model = Llama.load(run / "model")
    v = model.config.vocabulary
    sequence = sequence_of(form, row, v)
    track = "vocals" if form == "dual" else "mix"
    book = v.codebook(0)
    at = np.flatnonzero((sequence.kinds == KINDS.index(track)) & (sequence.roles == TARGET)
                        & (sequence.ids >= book.start) & (sequence.ids < book.stop))
    logits = model(torch.from_numpy(sequence.ids.astype(np.int64))[None])[0]
    return logits[at - 1, book.start : book.stop].argmax(-1).numpy()[None]


def learned(
    songs: Sequence[Performance], codes: Sequence[dict[str, np.ndarray]],
    asked: argparse.Namespace, tokeniser: Tokeniser, seed: int,
) -> dict[str, Any]:
    """Both forms, the mix at every balance: losses, and the melody in the likeliest codes."""
    found = {}
    for name in ("dual", *map(mix_at, BALANCES)):
        form = name.split()[0]
        rows = [to_record(song, first_codes(name, own))
                for song, own in zip(songs, codes, strict=True)]
        held, rest = rows[: asked.held], rows[asked.held :]
        with tempfile.TemporaryDirectory() as place:
            run = learn(form, rest, held, asked.steps, seed, Path(place))
            sounds = [tokeniser.sound(likeliest(run, form, row)) for row in held]
            found[name] = {
                "nats_per_token": losses(run, form),
                "in_tune": in_tune(songs[: asked.held], sounds),
            }
    return found


def first_codes(name: str, codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A record's codes (1, T) for a form: both tracks, or the mix of that name."""
    names = {track: track for track in TRACKS} if name == "dual" else {"mix": name}
    return {track: codes[key][:1] for track, key in names.items()}


# What is told -------------------------------------------------------------------------------------

def draw(path: Path, found: dict[str, Any]) -> None:
    """Phone errors by track, losses over the steps, melodies."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    words, curves, tune = figure.subplots(1, 3)
    for axis, value in ((words, "phone_error"), (tune, "in_tune")):
        names, places = list(found["kept"]), np.arange(len(found["kept"]))
        for shift, kind in ((-0.2, "itself"), (0.2, "decoded")):
            heights = [found["kept"][name][kind][value] for name in names]
            axis.bar(places + shift, heights, 0.4, label=f"the sound {kind}")
        axis.set_xticks(places, names)
    words.set(ylabel="phones heard wrongly", title="What tokens keep of the words")
    words.legend()
    for number, name in enumerate(("vocals", *map(mix_at, BALANCES))):
        sung = [run["dual" if name == "vocals" else name]["in_tune"] for run in found["learned"]]
        tune.plot([number + 0.2] * len(sung), sung, "k_", markersize=14,
                  label="" if number else "likeliest codes, one mark a seed")
    tune.set(ylabel="voiced frames in tune", title="What is left of the melody")
    tune.legend()
    colours = dict(zip(found["learned"][0], ("C0", "C1", "C2", "C3"), strict=False))
    for number, run in enumerate(found["learned"]):
        for name, of in run.items():
            for kind, points in of["nats_per_token"].items():
                dashed = "--" if kind == "accompaniment" else "-"
                told = f"{name}: {kind}" if name == "dual" else name
                curves.plot(*zip(*points, strict=True), dashed, color=colours[name], alpha=0.8,
                            label="" if number else told)
    curves.set(xlabel="step", ylabel="nats per token, held-out songs",
               title="Next-token prediction")
    curves.legend()
    figure.savefig(path, dpi=110)


def told(items: Any, what: str) -> Any:
    """The items, one after the other, counted on the terminal."""
    for number, item in enumerate(items, start=1):
        print(f"\r{what} {number}/{len(items)} ", end="", flush=True)
        yield item
    print()


def main() -> None:
    """Songs, tokens, models, a plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--songs", type=int, default=260)
    parser.add_argument("--held", type=int, default=20, help="Songs to measure on.")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("dual_track"))
    asked = parser.parse_args()
    songs = make_songs(asked.songs)
    sounds = [tracks_of(song) for song in songs]
    tokeniser = learn_tokeniser(sounds[asked.held :], seed=0)
    codes = [{name: tokeniser.codes(wave) for name, wave in tracks.items()}
             for tracks in told(sounds, "codes")]
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}",
        "songs": asked.songs, "held": asked.held, "steps": asked.steps,
        "kept": kept(songs[: asked.held], tokeniser, sounds[: asked.held]),
        "learned": [learned(songs, codes, asked, tokeniser, seed) for seed in asked.seeds],
    }
    write_json(asked.out.with_suffix(".json"), found)
    draw(asked.out.with_suffix(".png"), found)


if __name__ == "__main__":
    main()
