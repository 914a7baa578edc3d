"""A tiny random model, made on the spot: the whole system runs, what it sings is noise.

For trying things out, for tests, and for examples: the same architecture, formats and code path
as every other model, small enough for seconds on any CPU.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from yue.codec.upsamplers import save_upsamplers
from yue.codec.vocos import Vocos, VocosConfig
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.files import PathLike, write_json
from yue.lm.llama import Llama, LlamaConfig
from yue.tokenizer import ByteTokenizer
from yue.vocab import TRACKS, Vocabulary

RANDOM = "random"
"""The name under which `yue.load` makes this model."""

LAYOUT = 2
"""Changes whenever a random model must be made anew."""

VOCABULARY = Vocabulary(
    text_size=ByteTokenizer.size,
    eod=256, soa=257, eoa=258, stage1=259, xcodec=260, stage2=261,
    codec_base=262, codebook_size=1024, codebooks=8, silence=0,
)
CODEC = XCodecConfig(
    encoder_channels=2, decoder_channels=64, latent=16, codebooks=8, codebook_size=1024
)
UPSAMPLER = VocosConfig(
    input_channels=CODEC.width, dim=32, intermediate=64, layers=2, n_fft=3528, hop=882
)


def random_llama(vocabulary: Vocabulary, *, seed: int, context: int = 16_384) -> Llama:
    """A two-layer Llama with random weights and a vocabulary of its own."""
    torch.manual_seed(seed)
    config = LlamaConfig.from_dict({
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": vocabulary.size,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5,
        "yue": {"vocabulary": vocabulary.as_dict()},
    })
    model = Llama(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def random_codec(seed: int, config: XCodecConfig = CODEC) -> XCodec:
    """A codec with random weights, quiet enough not to clip."""
    torch.manual_seed(seed)
    codec = XCodec(config)
    with torch.no_grad():
        codec.decoder_2.model[-1].weight.mul_(0.3)  # type: ignore[operator]
    return codec.eval()


def write_random_model(directory: PathLike, *, seed: int = 0, context: int = 16_384) -> Path:
    """Write a random model of all parts, unless this very one is there already."""
    directory = Path(f"{os.fspath(directory)}-{LAYOUT}-{seed}-{context}")
    if (directory / "yue.json").is_file():
        return directory
    state = torch.get_rng_state()
    part = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    part.mkdir(parents=True, exist_ok=True)
    random_llama(VOCABULARY, seed=seed, context=context).save(part / "stage1")
    random_llama(VOCABULARY, seed=seed + 1, context=4096).save(part / "stage2")
    random_codec(seed).save(part / "codec")
    torch.manual_seed(seed)
    save_upsamplers(part / "upsampler", {track: Vocos(UPSAMPLER) for track in TRACKS})
    for place in (part, part / "stage1"):
        ByteTokenizer().save(place)
    write_json(part / "yue.json", {
        "stage1": "stage1", "stage2": "stage2", "codec": "codec", "upsampler": "upsampler",
        "tokenizer": ".", "references": True, "name": RANDOM,
    })
    torch.set_rng_state(state)
    if (directory / "yue.json").is_file():  # another process was quicker
        shutil.rmtree(part)
    else:
        shutil.rmtree(directory, ignore_errors=True)
        part.rename(directory)
    return directory
