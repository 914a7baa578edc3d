"""When each word of known lyrics is sung: forced alignment by a CTC model's letters.

In go vocals `(n,)` and words; out come the words with seconds and a score. The model is any of
transformers' CTC family with its tokenizer, wav2vec 2.0 and the like; the search is ours. Words of
which the model knows no letter get no time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yue.data.given import Timed
from yue.errors import ModelError

VERSION = 1
WINDOW_SECONDS, MARGIN_SECONDS = 30.0, 4.0
"""Long audio is read in windows; of each, the margins only serve as context."""


class Heard(NamedTuple):
    """A word, the seconds between which it is sung, and how sure that is (0 to 1)."""

    text: str
    start: float
    end: float
    score: float


def viterbi(log_probs: np.ndarray, targets: Sequence[int], blank: int = 0) -> np.ndarray:
    """The likeliest path of a CTC model through known targets: first and last frame + 1 of each.

    `log_probs` (T, V), `targets` (L,) without blanks -> (L, 2) int. A target lasts from its first
    frame to its last; blanks may lie between. Raises `ValueError` if T frames are too few.
    """
    T, L = len(log_probs), len(targets)
    ids = np.asarray(targets, dtype=np.int64)
    again = np.concatenate([[False], ids[1:] == ids[:-1]]) if L else np.zeros(0, bool)
    if L + again.sum() > T:
        raise ValueError(f"{T} frames are too few for {L} targets.")
    if not L:
        return np.zeros((0, 2), np.int64)
    states = np.full(2 * L + 1, blank)
    states[1::2] = ids
    # From a target straight to the next, past the blank, unless both are the same.
    may_skip = np.zeros(2 * L + 1, bool)
    may_skip[3::2] = ~again[1:]
    score = np.full(2 * L + 1, -np.inf)
    score[:2] = log_probs[0, states[:2]]
    steps = np.zeros((T, 2 * L + 1), np.int8)
    for t in range(1, T):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(may_skip, np.concatenate([[-np.inf] * 2, score[:-2]]), -np.inf)
        ways = np.stack([score, one, two])
        steps[t] = ways.argmax(axis=0)
        score = ways.max(axis=0) + log_probs[t, states]
    state = 2 * L if score[-1] > score[-2] else 2 * L - 1
    path = np.empty(T, np.int64)
    for t in range(T - 1, -1, -1):
        path[t] = state
        state -= int(steps[t, state])
    first = np.searchsorted(path, 2 * np.arange(L) + 1, side="left")
    last = np.searchsorted(path, 2 * np.arange(L) + 1, side="right")
    return np.stack([first, last], axis=1)


def spell(words: Sequence[str], letters: dict[str, int]) -> list[list[int]]:
    """The ids of each word's letters, in the case and the form that the model knows."""
    return [[letters[c] for c in _known(word, letters) if c in letters] for word in words]


def _known(word: str, letters: dict[str, int]) -> str:
    """The word in the spelling of which the model knows the most letters."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    ways = [form(w) for w in (word, bare) for form in (str, str.lower, str.upper)]
    return max(ways, key=lambda way: sum(c in letters for c in way))


def align(
    log_probs: np.ndarray, words: Sequence[str], letters: dict[str, int], *,
    blank: int, delimiter: int | None, seconds: float,
) -> list[Heard]:
    """Times of the words in a sound of `seconds`, of which `log_probs` (T, V) tell the letters.

    A delimiter stands between words where the model has one, but not between two characters of a
    script without spaces. The score is the geometric mean of the letters' probabilities. Too many
    words for the frames: none.
    """
    spelled = spell(words, letters)
    targets: list[int] = []
    owners: list[int] = []
    for index, ids in enumerate(spelled):
        if ids and targets and delimiter is not None and _spaced(words, index):
            targets.append(delimiter)
            owners.append(-1)
        targets += ids
        owners += [index] * len(ids)
    try:
        spans = viterbi(log_probs, targets, blank)
    except ValueError:
        return []
    step = seconds / len(log_probs)
    owner = np.array(owners, dtype=np.int64)
    heard = []
    for index, word in enumerate(words):
        places = np.flatnonzero(owner == index)
        if len(places):
            frames = [
                log_probs[a:b, targets[p]].mean() for p, (a, b) in zip(places, spans[places],
                                                                       strict=True)
            ]
            start, end = spans[places[0], 0] * step, spans[places[-1], 1] * step
            heard.append(Heard(word, float(start), float(end), float(np.exp(np.mean(frames)))))
    return heard


def _spaced(words: Sequence[str], index: int) -> bool:
    """Whether a space would stand before a word: not between two wide characters."""
    before = words[index - 1][-1:] if index else ""
    pair = before + words[index][:1]
    return not all(unicodedata.east_asian_width(c) == "W" for c in pair)


@dataclass(frozen=True, eq=False)
class CTC:
    """A CTC model of transformers with its tokenizer: sound -> letters per frame."""

    model: Any
    rate: int
    letters: dict[str, int]
    blank: int
    delimiter: int | None
    normalise: bool
    tokenizer: Any

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> CTC:
        """From a directory in transformers' layout. Raises `ModelError` if it is no CTC model."""
        from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

        try:
            model = AutoModelForCTC.from_pretrained(directory, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(directory)
            extractor = AutoFeatureExtractor.from_pretrained(directory)
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ModelError(
                f"{directory} is no CTC model with its tokenizer ({reason}). Give one such as "
                "facebook/wav2vec2-base-960h, or its local copy with safetensors."
            ) from error
        letters = {piece: i for piece, i in tokenizer.get_vocab().items() if len(piece) == 1}
        mark = getattr(tokenizer, "word_delimiter_token", None)
        return cls(
            model.eval().to(device), int(extractor.sampling_rate),
            {piece: i for piece, i in letters.items() if piece != mark},
            int(model.config.pad_token_id or 0), letters.get(mark) if mark else None,
            bool(getattr(extractor, "do_normalize", False)), tokenizer,
        )

    def log_probs(self, wave: np.ndarray) -> np.ndarray:
        """Letters per frame (T, V) of a wave (n,) at `rate`, window by window."""
        import torch

        size, margin = (round(s * self.rate) for s in (WINDOW_SECONDS, MARGIN_SECONDS))
        hop = int(getattr(self.model.config, "inputs_to_logits_ratio", 320))
        size, margin = size // hop * hop, margin // hop * hop
        pieces = []
        for first in range(0, max(1, len(wave)), size):
            low, high = max(0, first - margin), min(len(wave), first + size + margin)
            piece = _prepared(wave[low:high], hop, self.normalise)
            with torch.inference_mode():
                values = torch.from_numpy(piece)[None].to(self.model.device)
                logits = self.model(values).logits[0].float().log_softmax(-1).cpu().numpy()
            skip = (first - low) // hop
            last = high >= len(wave)
            pieces.append(logits[skip:] if last else logits[skip : skip + size // hop])
            if last:
                break
        return np.concatenate(pieces)

    def align(self, wave: np.ndarray, words: Sequence[str]) -> list[Heard]:
        """The words with their times in a wave (n,) at `rate`."""
        return align(
            self.log_probs(wave), words, self.letters, blank=self.blank,
            delimiter=self.delimiter, seconds=len(wave) / self.rate,
        )

    def transcribe(self, wave: np.ndarray) -> list[Timed]:
        """What a wave (n,) at `rate` says, word by word: the likeliest letter of every frame."""
        best = self.log_probs(wave).argmax(axis=1)
        output = self.tokenizer.decode(best, output_word_offsets=True)
        step = len(wave) / self.rate / len(best)
        return [
            Timed(
                word["word"], float(word["start_offset"] * step), float(word["end_offset"] * step)
            )
            for word in output.word_offsets or []
        ]


def _prepared(wave: np.ndarray, hop: int, normalise: bool) -> np.ndarray:
    """A window as the model wants it; padded so that it gives at least one frame."""
    wave = np.pad(wave, (0, max(0, 2 * hop - len(wave)))).astype(np.float32)
    if not normalise:
        return wave
    return np.asarray((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7), dtype=np.float32)
