"""What a run trains: a fresh Llama of given sizes, or one from a directory; and its tokenizer.

A fresh model's vocabulary is laid out here: the tokenizer's ids, six control tokens, the codes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yue.data.tasks import Forms
from yue.errors import ModelError
from yue.files import PathLike
from yue.hub import fetch_part
from yue.lm.llama import Llama, LlamaConfig, read_config
from yue.tokenizer import (
    SENTENCEPIECE_FILE,
    ByteTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    load_tokenizer,
)
from yue.train.adapt import adapt
from yue.train.config import ModelOptions, RunOptions
from yue.vocab import YUE_V1, Vocabulary

CONTROLS = ("eod", "soa", "eoa", "stage1", "xcodec", "stage2")
"""Control tokens of a new vocabulary, in the order of their ids."""

_SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rope_theta", "rms_norm_eps",
    "tie_word_embeddings",
)


@dataclass(frozen=True)
class Start:
    """A model before its first step, and what turns songs into its ids."""

    llama: Llama
    forms: Forms


def tokenizer_of(options: ModelOptions) -> Tokenizer:
    """The tokenizer that the options name, or that lies in the directory to start from."""
    named = options.tokenizer
    if named == "bytes":
        return ByteTokenizer()
    if named == "phonemes":
        from yue.tokenizer import PhonemeTokenizer

        return PhonemeTokenizer()
    if named is None and options.start is None:
        raise ModelError("model.tokenizer is not given: name phonemes, bytes, or a path.")
    return load_tokenizer(named if named is not None else begin(options))


def begin(options: ModelOptions) -> Path:
    """The directory to start from, fetched if it is a hub id. Raises `ModelError`."""
    assert options.start is not None, "a run that starts from a model names it"
    return fetch_part("stage1", options.start).path


def new_vocabulary(options: ModelOptions, text_size: int) -> Vocabulary:
    """Ids of a new model: text, control tokens, codes of all codebooks; or the published ones."""
    if options.vocabulary == "yue-v1":
        return YUE_V1
    controls = {name: text_size + place for place, name in enumerate(CONTROLS)}
    return Vocabulary(
        text_size=text_size, **controls, codec_base=text_size + len(CONTROLS),
        codebook_size=options.codebook_size, codebooks=options.codebooks,
        silence=options.silence, frame_rate=options.frame_rate,
    )


def new_config(options: ModelOptions, vocabulary: Vocabulary, text: int) -> LlamaConfig:
    """The `config.json` of a new model whose tokenizer has `text` ids."""
    sizes: dict[str, Any] = {name: getattr(options, name) for name in _SIZES}
    step = options.pad_vocabulary
    return LlamaConfig.from_dict({
        **{name: value for name, value in sizes.items() if value is not None},
        "vocab_size": -(-max(vocabulary.size, text) // step) * step,
        "bos_token_id": None, "eos_token_id": vocabulary.eod,
        "yue": {"vocabulary": vocabulary.as_dict()},
    })


def new_llama(config: LlamaConfig, *, std: float, seed: int) -> Llama:
    """A Llama with normal weights, the same for the same seed on any machine."""
    llama = Llama(config)
    source = torch.Generator().manual_seed(seed)
    for parameter in llama.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std, generator=source)
    return llama


def config_of(options: ModelOptions, tokenizer: Tokenizer) -> LlamaConfig:
    """The config of the model to start from, or of a new one."""
    if options.start is not None:
        return read_config(begin(options))
    size = text_size(tokenizer)
    return new_config(options, new_vocabulary(options, size), size)


def build(options: RunOptions) -> Start:
    """The model and the forms of a run. Raises `ModelError` where they do not fit together."""
    tokenizer = tokenizer_of(options.model)
    if options.model.start is not None:
        llama = Llama.load(begin(options.model)).train()
    else:
        config = config_of(options.model, tokenizer)
        llama = new_llama(config, std=options.model.init_std, seed=options.seed)
    if options.lora.rank:
        adapt(llama, options.lora, seed=options.seed)
    return Start(llama, Forms(tokenizer=tokenizer, vocabulary=llama.config.vocabulary))


def text_size(tokenizer: Tokenizer) -> int:
    """How many ids a tokenizer may yield."""
    size = getattr(tokenizer, "size", None)
    if not isinstance(size, int):
        raise ModelError(f"{type(tokenizer).__name__} does not say its size: give another one.")
    return size


def save_tokenizer(tokenizer: Tokenizer, directory: PathLike) -> None:
    """Put the tokenizer's file beside the weights, as `load_tokenizer` finds it."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        shutil.copyfile(tokenizer.path, Path(directory) / SENTENCEPIECE_FILE)
    else:
        tokenizer.save(directory)  # type: ignore[attr-defined]
