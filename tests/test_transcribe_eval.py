"""Words from a speech model: a tiny random one, so only that it runs and repeats is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import GOLDEN
from yue.audio import Audio
from yue.errors import ModelError
from yue.evaluate.measure import Work, measure
from yue.evaluate.options import MeasureOptions
from yue.evaluate.transcribe import Transcriber, _spread


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec2 of two layers with random weights that writes letters."""
    import transformers as tf

    folder = tmp_path_factory.mktemp("ctc")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    tokenizer = tf.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    tf.Wav2Vec2Processor(tf.Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = tf.Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, conv_dim=[32] * 7, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, pad_token_id=0,
    )
    tf.Wav2Vec2ForCTC(config).eval().save_pretrained(folder)
    return folder


def test_words_have_times_and_repeat(ctc: Path) -> None:
    spoken = Audio.read(GOLDEN / "spoken.ogg")
    one, two = (Transcriber(str(ctc)).words_of(spoken) for _ in range(2))
    assert one == two and one
    assert all(0 <= word.start <= word.end <= spoken.seconds + 0.1 for word in one)
    assert all("<" not in word.symbol and word.symbol != "unk" for word in one)
    assert Transcriber(str(ctc)).words_of(Audio(np.zeros((1, 16_000)), 16_000)) == []


def test_a_model_stands_in_for_the_phones(ctc: Path) -> None:
    spoken = Audio.read(GOLDEN / "spoken.ogg")
    work = Work(mix=spoken, vocals=spoken, texts=("The river keeps on running",))
    told = measure(work, MeasureOptions(words=str(ctc)))
    assert "phones" not in told and told["words"]["values"]["asked"] == 5
    assert str(ctc) in told["words"]["extractor"]


def test_phrases_are_spread_over_their_time() -> None:
    words = _spread({"text": " Come home, <unk>", "timestamp": (1.0, None)}, 10.0, 4.0)
    assert [tuple(word) for word in words] == [("come", 11.0, 12.5), ("home", 12.5, 14.0)]
    assert _spread({"text": " ", "timestamp": None}, 0.0, 1.0) == []


def test_what_is_no_model(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match="speech recognition"):
            Transcriber(str(name))
