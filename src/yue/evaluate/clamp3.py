"""CLaMP 3: sound and text of any language in one space (Wu et al., 2025), on native modules.

Sound: 24 kHz mono, the whole song brought to zero mean and unit variance; 5-s windows through MERT
(a HuBERT), mean over time and over all hidden states, one row per window; a row of zeros before and
after; a BERT over chunks of 128 rows. Text: lines, each once and in order, through XLM-RoBERTa in
chunks of 128 tokens. Either way a chunk is its masked mean and a linear layer, the whole the mean
of its chunks by weight: one vector `(1, D)`.

The published code puts lines through a set, so its text scores change with the hash seed; here they
keep their order. MERT's weights may not be used commercially. Symbolic music is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from yue.audio import Audio
from yue.codec.convert import tensors_of
from yue.codec.xcodec import spell_hubert
from yue.errors import ModelError, OptionError
from yue.evaluate.embed import (
    SHORTEST,
    about,
    batches,
    load_part,
    local_folder,
    one_file,
    read_weights,
    wave_of,
    windows,
)
from yue.evaluate.options import EmbedOptions
from yue.files import read_json
from yue.weights import fill

VERSION = 1
RATE = 24_000
WINDOW = 5.0
"""Seconds that MERT hears at once."""
CHUNK = 128
"""Rows or tokens that a transformer of CLaMP 3 reads at once."""
HEAD = 64
"""Channels per attention head of the audio transformer."""
CLAMP3 = "sander-wood/clamp3"
CLAMP3_FILES = ("weights_clamp3_saas*.pth", "*.safetensors", "*.pth")
MERT = "m-a-p/MERT-v1-95M"
MERT_FILES = ("*.safetensors", "pytorch_model.bin")
TEXT = "FacebookAI/xlm-roberta-base"
"""Sizes and tokenizer of the text model; its weights come with CLaMP 3."""
UNUSED = ("symbolic_", *(
    f"{part}.{name}" for part in ("audio_model", "text_model")
    for name in ("pooler.", "embeddings.position_ids", "embeddings.token_type_ids")
))
"""Tensors of the checkpoint that are not read."""


class Mert:
    """MERT as an embedder of its own: `(windows, D)`, the mean over time and hidden states."""

    def __init__(self, model: Any, source: str, options: EmbedOptions) -> None:
        self.model, self.source, self.options = model, source, options

    @classmethod
    def load(cls, source: str = MERT, options: EmbedOptions | None = None) -> Self:
        """From a hub id or a folder with `config.json` and weights, safetensors or a pickle.

        Raises `ModelError` if they are not there, or are no plain HuBERT (the 330M model is none).
        """
        from transformers import HubertConfig, HubertModel

        options = options or EmbedOptions()
        folder = local_folder(source, ["config.json", *MERT_FILES])
        config = read_json(folder / "config.json")
        odd = ("deepnorm", "feature_extractor_cqt", "do_stable_layer_norm")
        relaxed = ["attention_relax"] if config.get("attention_relax", -1) > 0 else []
        if found := [name for name in odd if config.get(name)] + relaxed:
            raise ModelError(f"{source}: {', '.join(found)} makes it no plain HuBERT; try {MERT}.")
        with torch.device("meta"):
            model = HubertModel(HubertConfig.from_dict({**config, "model_type": "hubert"}))
        tensors = tensors_of(read_weights(one_file(folder, *MERT_FILES)))
        _fill(model, spell_hubert(tensors), source, options.device)
        return cls(model, source, options)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows `(windows, D)` float32, one per 5 s; a tail under 1 s is dropped."""
        wave = wave_of(audio, RATE).astype(np.float64)
        wave = ((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)).astype(np.float32)
        pieces = windows(wave, round(WINDOW * RATE), round(SHORTEST * RATE))
        full = [piece for piece in pieces if len(piece) == len(pieces[0])]
        found = [self._rows(some) for some in batches(full, self.options.batch)]
        # A shorter tail goes by itself: padding would be heard.
        found += [self._rows([piece]) for piece in pieces[len(full):]]
        return torch.cat(found).cpu().numpy()

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "mert", "version": VERSION, **about(self.source),
            "windowing": f"{WINDOW:g} s side by side, tail under {SHORTEST:g} s dropped",
            "seed": None,
        }

    def _rows(self, pieces: Sequence[np.ndarray]) -> Tensor:
        """Pieces `(n,)` of equal length to rows `(pieces, D)`."""
        wave = torch.from_numpy(np.stack(pieces)).to(self.options.device)
        states = self.model(wave, output_hidden_states=True).hidden_states
        return torch.stack([state.mean(dim=1) for state in states]).mean(dim=0)


class Clamp3Model(nn.Module):
    """The two transformers of CLaMP 3 with their projections, under the checkpoint's names."""

    def __init__(self, audio: Any, text: Any, size: int) -> None:
        from transformers import BertModel, XLMRobertaModel

        super().__init__()
        self.audio_model = BertModel(audio, add_pooling_layer=False)
        self.audio_proj = nn.Linear(audio.hidden_size, size)
        self.text_model = XLMRobertaModel(text, add_pooling_layer=False)
        self.text_proj = nn.Linear(text.hidden_size, size)

    def audio(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Rows `(B, CHUNK, D)` and their mask `(B, CHUNK)` -> `(B, size)`."""
        states = self.audio_model(inputs_embeds=rows, attention_mask=mask).last_hidden_state
        return self.audio_proj(masked_mean(states, mask))

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and their mask `(B, CHUNK)` -> `(B, size)`."""
        states = self.text_model(ids, attention_mask=mask).last_hidden_state
        return self.text_proj(masked_mean(states, mask))


@dataclass
class Clamp3:
    """CLaMP 3 with its MERT and its tokenizer."""

    model: Clamp3Model
    mert: Mert
    tokenizer: Any
    source: str
    options: EmbedOptions

    @classmethod
    def load(
        cls, source: str = CLAMP3, mert: str = MERT, text: str = TEXT,
        options: EmbedOptions | None = None,
    ) -> Self:
        """From hub ids, folders, or for `source` a weights file. Raises `ModelError`."""
        from transformers import AutoTokenizer, XLMRobertaConfig

        options = options or EmbedOptions()
        file = one_file(local_folder(source, CLAMP3_FILES[:1]), *CLAMP3_FILES)
        tensors = tensors_of(read_weights(file))
        config = load_part(XLMRobertaConfig.from_pretrained, text)
        with torch.device("meta"):
            model = Clamp3Model(*_sizes(tensors, config, str(file)))
        _fill(model, tensors, str(file), options.device)
        tokenizer = load_part(AutoTokenizer.from_pretrained, text)
        return cls(model, Mert.load(mert, options), tokenizer, source, options)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """The song's vector `(1, D)` float32."""
        rows = np.pad(self.mert.embed(audio), ((1, 1), (0, 0)))
        return self._whole(self.model.audio, torch.from_numpy(rows), 0.0)[None]

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors `(n, D)` float32, one of each text; its empty and repeated lines do not count."""
        return np.stack([self._whole(self.model.text, *self._tokens(text)) for text in texts])

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "clamp3", "version": VERSION, **about(self.source),
            "windowing": f"{self.mert.describe()['windowing']}; chunks of {CHUNK}", "seed": None,
            "mert": about(self.mert.source),
        }

    def _tokens(self, text: str) -> tuple[Tensor, int]:
        """Ids `(n,)` of a text and the id that fills a chunk."""
        lines = distinct_lines(text)
        if not lines:
            raise OptionError(f"text {text!r} has no words: give each song a description.")
        ids = self.tokenizer(self.tokenizer.sep_token.join(lines), verbose=False)["input_ids"]
        return torch.tensor(ids), int(self.tokenizer.pad_token_id)

    def _whole(self, model: Any, items: Tensor, filler: float) -> np.ndarray:
        """Rows or ids `(n, ...)` -> the weighted mean of their chunks' vectors `(D,)`."""
        chunks, weights = chunk(items)
        device = self.options.device
        found = [
            model(*(part.to(device) for part in fill_up(some, filler)))
            for some in batches(chunks, self.options.batch)
        ]
        scale = torch.tensor(weights, device=device, dtype=torch.float32) / sum(weights)
        return (scale @ torch.cat(found)).cpu().numpy()


def distinct_lines(text: str) -> list[str]:
    """Lines of a text that are not empty, each once, in order."""
    return [line for line in dict.fromkeys(text.split("\n")) if line]


def chunk(items: Tensor, size: int = CHUNK) -> tuple[list[Tensor], list[int]]:
    """Pieces of `size` of items `(n, ...)`, and their weights, which add up to n.

    The last piece is the *last* `size` items, so it overlaps; its weight is what it adds.
    """
    starts = range(0, len(items), size)
    pieces = [items[first : first + size] for first in starts]
    pieces[-1] = items[-size:]
    return pieces, [min(size, len(items) - first) for first in starts]


def fill_up(pieces: Sequence[Tensor], filler: float, size: int = CHUNK) -> tuple[Tensor, Tensor]:
    """Pieces `(<= size, ...)` -> `(B, size, ...)` and the mask `(B, size)` of what is real."""
    whole = pieces[0].new_full((len(pieces), size, *pieces[0].shape[1:]), filler)
    mask = torch.zeros(len(pieces), size)
    for row, piece in enumerate(pieces):
        whole[row, : len(piece)] = piece
        mask[row, : len(piece)] = 1
    return whole, mask


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over time of states `(B, T, D)` where mask `(B, T)` is 1: `(B, D)`."""
    return torch.einsum("btd,bt->bd", states, mask) / mask.sum(dim=1, keepdim=True)


def _sizes(tensors: Mapping[str, Tensor], text: Any, source: str) -> tuple[Any, Any, int]:
    """Configs of both transformers and the size of the space, from a checkpoint's own shapes."""
    from transformers import BertConfig

    try:
        positions = tensors["audio_model.embeddings.position_embeddings.weight"].shape
        size, width = tensors["audio_proj.weight"].shape
    except KeyError as error:
        raise ModelError(f"{source} lacks {error.args[0]}: it is no CLaMP 3 for audio.") from error
    layers = {name.split(".")[3] for name in tensors if name.startswith("audio_model.encoder.")}
    audio = BertConfig(
        vocab_size=1, hidden_size=width, num_hidden_layers=len(layers),
        num_attention_heads=width // HEAD, intermediate_size=4 * width,
        max_position_embeddings=positions[0],
    )
    return audio, text, size


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], source: str, device: str) -> None:
    """Weights into a model on the meta device, whose buffers are made anew, then in its place."""
    extra = (*UNUSED, "final_proj.", "label_embs_concat", "encoder_mask", "masked_spec_embed")
    fill(model, {name: t.float() for name, t in tensors.items()}, source, extra=extra)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module.register_buffer(name, _buffer(name, buffer), persistent=False)
    model.to(device).eval().requires_grad_(False)


def _buffer(name: str, like: Tensor) -> Tensor:
    """The only buffers of these models: positions counted from 0, and token types, all 0."""
    if name == "position_ids":
        return torch.arange(like.shape[-1]).expand(like.shape)
    assert name == "token_type_ids", name
    return torch.zeros(like.shape, dtype=torch.long)
