"""Forced alignment against truth, a brute-force twin, and tiny random models of transformers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.data import align as aligning
from yue.data import transcribe
from yue.data.align import CTC, align, spell, viterbi
from yue.errors import ModelError

LETTERS = {c: i for i, c in enumerate("|abcdefghijklmnopqrstuvwxyz'", 1)}
BLANK, BAR = 0, LETTERS["|"]


def random_log_probs(rng: np.random.Generator, T: int, V: int) -> np.ndarray:
    logits = rng.normal(size=(T, V)) * 2
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def collapse(path: tuple[int, ...]) -> list[int]:
    """What a CTC path says: repeats once, blanks away."""
    return [token for token, _ in itertools.groupby(path) if token != BLANK]


@given(st.integers(1, 6), st.integers(0, 3), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_the_path_is_the_best_of_all_paths(T: int, L: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    V = 3
    log_probs = random_log_probs(rng, T, V)
    targets = rng.integers(1, V, L).tolist()
    paths = [p for p in itertools.product(range(V), repeat=T) if collapse(p) == targets]
    if not paths or not L:
        if not paths:
            with pytest.raises(ValueError, match="too few"):
                viterbi(log_probs, targets)
        return
    best = max(paths, key=lambda path: sum(log_probs[range(T), path]))
    runs, at = [], 0
    for token, group in itertools.groupby(best):
        length = len(list(group))
        if token != BLANK:
            runs.append((at, at + length))
        at += length
    assert viterbi(log_probs, targets).tolist() == [list(run) for run in runs]


def written(rng: np.random.Generator, text: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Log-probabilities in which a text is sung, with noise, and the frames of its words."""
    frames, words = [], []
    for word in text.split():
        frames += [BLANK] * int(rng.integers(3, 40))
        frames += [BAR] * int(rng.integers(1, 3)) if words else []
        start = len(frames)
        for letter in word:
            if frames[-1] == LETTERS[letter]:
                frames.append(BLANK)
            frames += [LETTERS[letter]] * int(rng.integers(1, 4))
            frames += [BLANK] * int(rng.integers(0, 4))
        while frames[-1] == BLANK:
            frames.pop()
        words.append((start, len(frames)))
    frames += [BLANK] * 20
    logits = rng.normal(size=(len(frames), len(LETTERS) + 1))
    logits[np.arange(len(frames)), frames] += 7
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), words


@pytest.mark.parametrize("seed", range(8))
def test_a_known_alignment_is_found_within_a_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "the river keeps on running down to the sea come home come home come home to me"
    log_probs, truth = written(rng, text)
    seconds = len(log_probs) / 50
    heard = align(
        log_probs, text.split(), LETTERS, blank=BLANK, delimiter=BAR, seconds=seconds
    )
    assert [h.text for h in heard] == text.split()
    found = np.array([(h.start, h.end) for h in heard]) * 50
    errors = np.abs(found - np.array(truth))
    assert errors.max() <= 1 + 1e-9
    assert errors.mean() < 0.1
    assert min(h.score for h in heard) > 0.8


def test_words_that_are_not_there_score_low() -> None:
    log_probs, _ = written(np.random.default_rng(0), "come home to me")
    right = align(log_probs, ["come", "home"], LETTERS, blank=BLANK, delimiter=BAR, seconds=1)
    wrong = align(log_probs, ["quiz", "jazz"], LETTERS, blank=BLANK, delimiter=BAR, seconds=1)
    assert max(h.score for h in wrong) < 0.1 < 0.8 < min(h.score for h in right)


def test_too_many_words_or_none() -> None:
    log_probs = random_log_probs(np.random.default_rng(0), 5, 29)
    options = {"blank": BLANK, "delimiter": BAR, "seconds": 1.0}
    assert align(log_probs, ["running", "down"], LETTERS, **options) == []
    assert align(log_probs, [], LETTERS, **options) == []
    assert align(log_probs, ["你"], LETTERS, **options) == []


def test_spelling_takes_the_models_case_and_drops_what_it_does_not_know() -> None:
    assert spell(["it's", "é", "你", "B2"], LETTERS) == [
        [LETTERS[c] for c in "it's"], [LETTERS["e"]], [], [LETTERS["b"]]
    ]
    upper = {c.upper(): i for c, i in LETTERS.items()}
    assert spell(["ab"], upper) == [[LETTERS["a"], LETTERS["b"]]]


def test_no_delimiter_between_wide_characters() -> None:
    letters = {"|": 1, "你": 2, "好": 3, "a": 4}
    frames = [2, 3, 1, 4]
    log_probs = np.log(np.full((4, 5), 0.01))
    log_probs[range(4), frames] = np.log(0.96)
    heard = align(log_probs, ["你", "好", "a"], letters, blank=0, delimiter=1, seconds=4)
    assert [(h.text, h.start, h.end) for h in heard] == [
        ("你", 0, 1), ("好", 1, 2), ("a", 3, 4)
    ]


# Models ---------------------------------------------------------------------------------------

def save_ctc(directory: Path, seed: int = 0) -> Path:
    """A tiny random wav2vec 2.0 with a tokenizer of capital letters."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    directory.mkdir(parents=True, exist_ok=True)
    pieces = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (directory / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    Wav2Vec2CTCTokenizer(str(directory / "vocab.json")).save_pretrained(directory)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(directory)
    torch.manual_seed(seed)
    Wav2Vec2ForCTC(Wav2Vec2Config(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, conv_dim=(8,) * 7, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, pad_token_id=0, ctc_loss_reduction="mean",
    )).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> CTC:
    return CTC.load(save_ctc(tmp_path_factory.mktemp("ctc")))


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(16_000 * seconds)).astype(np.float32)


def test_a_ctc_model_aligns_from_a_local_directory(ctc: CTC) -> None:
    assert (ctc.rate, ctc.blank, ctc.delimiter, len(ctc.letters)) == (16_000, 0, 4, 27)
    heard = ctc.align(noise(5), "come home 你".split())
    assert [h.text for h in heard] == ["come", "home"]
    assert 0 <= heard[0].start < heard[0].end <= heard[1].start < heard[1].end <= 5


def test_windows_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from a window's edge, what only knows its surroundings tells the same letters.

    So all that looks at a whole window is taken out: attention, and the norms over time.
    """
    import torch

    blind = CTC.load(save_ctc(tmp_path / "ctc"))
    object.__setattr__(blind, "normalise", False)
    torch.nn.init.zeros_(blind.model.wav2vec2.encoder.layers[0].attention.out_proj.weight)
    blind.model.wav2vec2.feature_extractor.conv_layers[0].layer_norm = torch.nn.Identity()
    wave = noise(12)
    whole = blind.log_probs(wave)
    monkeypatch.setattr(aligning, "WINDOW_SECONDS", 3.0)
    monkeypatch.setattr(aligning, "MARGIN_SECONDS", 1.0)
    np.testing.assert_allclose(blind.log_probs(wave), whole, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 500, 16_000])
def test_the_shortest_sounds(ctc: CTC, samples: int) -> None:
    assert len(ctc.log_probs(np.zeros(samples, np.float32))) >= 1


def test_a_ctc_model_transcribes(tmp_path: Path) -> None:
    model = transcribe.load(save_ctc(tmp_path / "ctc"))
    said = model.transcribe(noise(3))
    assert said and all(0 <= a <= b <= 3 and text for text, a, b in said)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no CTC model"):
        CTC.load(tmp_path)
    with pytest.raises(ModelError, match="no model that transcribes"):
        transcribe.load(tmp_path)
