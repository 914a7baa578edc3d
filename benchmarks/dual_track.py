"""The paper's first claim at small scale: two tracks against their mix (section 3.1, figure 4).

The same songs, the same model, the same number of steps: once as interleaved vocal and
accompaniment codes (dual), once as codes of the mix. Songs are made here, from a seed: a melody
that depends on the words over an accompaniment that does not, with the mix quantised to as many
codes as one track has. So a mix code must stand for a pair, and loses what the pair held: with
more accompaniment in the mix, the words' melody is lost first.

    python benchmarks/dual_track.py --out dual_track.png

Prints JSON: per form the validation loss per frame and track, and the error of the decoded vocal
melody, in semitones, when the model sings songs that it has not seen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yue import stage1
from yue.data import records
from yue.data.records import Part, Record
from yue.lm.llama import Llama
from yue.options import ComposeOptions
from yue.prompt import build_prompt
from yue.tokenizer import ByteTokenizer
from yue.train import report
from yue.train.config import RunOptions
from yue.train.loop import train

CODES = 64
FRAMES_PER_NOTE = 5
NOTES = 24
WORDS = "la do re mi fa sol ti da".split()
FORMS = {"dual": "lyrics_to_song", "mix": "mix_only"}


def pitches(words: list[str]) -> np.ndarray:
    """The melody of words in semitones (notes,): each word has a step, and they add up."""
    steps = np.array([WORDS.index(word) - 3.5 for word in words])
    return np.clip(np.round(32 + np.cumsum(steps) % 24 - 12), 0, CODES - 1)


def make_song(number: int, rng: np.random.Generator, loudness: float) -> Record:
    """Vocals: the words' melody; accompaniment: a walk of chords; mix: their loudness-weighted
    mean, quantised to one codebook."""
    words = [str(word) for word in rng.choice(WORDS, NOTES)]
    melody = np.repeat(pitches(words), FRAMES_PER_NOTE)
    chords = np.repeat(rng.integers(0, CODES, NOTES // 4), 4 * FRAMES_PER_NOTE)
    accompaniment = np.clip(chords + rng.integers(-2, 3, len(chords)), 0, CODES - 1)
    mix = np.round((melody + loudness * accompaniment) / (1 + loudness))
    codes = {"vocals": melody, "accompaniment": accompaniment, "mix": mix}
    lines = [" ".join(words[i : i + 8]) for i in range(0, NOTES, 8)]
    return Record(
        id=f"song-{number}", parts=(Part("verse", "\n".join(lines), 0, len(melody)),),
        codes={name: track[None].astype(np.int16) for name, track in codes.items()},
        tags=("pop",), notes={"loudness": loudness},
    )


def run_form(form: str, folder: Path, data: Path, args: argparse.Namespace) -> Path:
    """Train one form; the budget is in steps of as many songs, whatever a song's tokens."""
    context = 640
    batch = 4 * context
    values: dict[str, Any] = {
        "run": str(folder / form), "seed": args.seed,
        "data": {"train": [str(data / "train")], "valid": [str(data / "valid")], "split": False},
        "model": {
            "tokenizer": "bytes", "hidden_size": 96, "intermediate_size": 256,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
            "codebook_size": CODES, "codebooks": 1,
        },
        "loop": {"validate_every": max(1, args.steps // 20), "valid_rows": 8},
        "phases": [{
            "name": form, "tokens": args.steps * batch, "context": context, "batch": batch,
            "rate": 3e-3, "end": 1e-4, "shape": "cosine", "warmup": 0.05, "mask": "target",
            "tasks": {FORMS[form]: 1},
        }],
    }
    return train(RunOptions.make(values))


def frame_losses(run: Path, form: str) -> dict[str, float]:
    """Last validation loss per frame, by track."""
    last = [line["valid"] for line in report.read(run) if "valid" in line][-1]
    return {k: round(v, 4) for k, v in last[FORMS[form]].items() if k != "text"}


@torch.no_grad()
def melody_error(run: Path, form: str, songs: list[Record], loudness: float) -> float:
    """Mean error in semitones of the vocal melody in what the model sings.

    From the mix it is decoded as well as anyone can who knows how the mix was made: the
    accompaniment, which is not known, is taken at its mean.
    """
    model = Llama.load(run / "model")
    v = model.config.vocabulary
    errors = []
    for song in songs:
        words = song.parts[0].text.split()
        truth = np.repeat(pitches(words), FRAMES_PER_NOTE)
        sections = [part.section for part in song.parts]
        prompt = build_prompt(sections, "pop", ByteTokenizer(), vocabulary=v)
        if form == "dual":
            sure = ComposeOptions(
                seed=0, guidance=1.0, guidance_later=1.0, repetition_penalty=1.0, top_k=1,
                min_new_tokens=2 * len(truth), max_new_tokens=2 * len(truth),
            )
            *_, (draft,) = stage1.compose(stage1.decoder_of(model, sure), prompt, sections, sure)
            sung = draft.codes[0]
        else:
            mix = greedy(model, prompt.segments[0], len(truth))
            sung = mix * (1 + loudness) - loudness * (CODES - 1) / 2
        n = min(len(sung), len(truth))
        errors.append(np.abs(sung[:n] - truth[:n]).mean())
    return float(np.mean(errors))


def greedy(model: Llama, prompt: list[int], count: int) -> np.ndarray:
    """`count` likeliest codes of a single track, one after the other."""
    v, ids = model.config.vocabulary, list(prompt)
    book = v.codebook(0)
    for _ in range(count):
        logits = model(torch.tensor([ids]))[0, -1, book.start : book.stop]
        ids.append(book.start + int(logits.argmax()))
    return v.codes(ids[-count:])


def draw(path: Path, runs: dict[str, Path], told: dict[str, Any]) -> None:
    """Validation losses over the steps, and the melody's error beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for form, run in runs.items():
        lines = [line for line in report.read(run) if "valid" in line]
        for kind in told[form]["loss_per_frame"]:
            points = [(line["step"], line["valid"][FORMS[form]][kind]) for line in lines]
            left.plot(*zip(*points, strict=True), label=f"{form}: {kind}")
    left.set(xlabel="step", ylabel="nats per frame, held-out songs")
    left.legend()
    right.bar(list(runs), [told[form]["melody_error_semitones"] for form in runs])
    right.set(ylabel="error of the sung melody, semitones")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train both forms on the same songs and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--songs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--held-out", type=int, default=8)
    parser.add_argument("--loudness", type=float, default=1.0,
                        help="Accompaniment to vocals in the mix; metal is above 1.")
    parser.add_argument("--out", type=Path, default=Path("dual_track.png"))
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    songs = [make_song(n, rng, args.loudness) for n in range(args.songs + args.held_out)]
    held_out = [replace(song, id=f"held-{song.id}") for song in songs[args.songs :]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, part in (("train", songs[: args.songs]), ("valid", held_out)):
            (folder / name).mkdir()
            records.write(folder / name / "songs.parquet", part)
        runs = {form: run_form(form, folder, folder, args) for form in FORMS}
        told: dict[str, Any] = {
            form: {
                "loss_per_frame": frame_losses(run, form),
                "melody_error_semitones": round(
                    melody_error(run, form, held_out, args.loudness), 3
                ),
            }
            for form, run in runs.items()
        }
        draw(args.out, runs, told)
    print(json.dumps({"seed": args.seed, "loudness": args.loudness, "steps": args.steps, **told}))


if __name__ == "__main__":
    main()
