"""Text <-> ids. Each call of `encode` stands alone: call boundaries are part of the token format.

A tokenizer never yields a control token or a code, whatever the text spells: those ids lie above
its own and are put in by `prompt.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from yue.errors import ModelError
from yue.files import PathLike, read_json, write_json

SENTENCEPIECE_FILE = "tokenizer.model"
BYTES_FILE = "yue_tokenizer.json"


class Tokenizer(Protocol):
    """What the prompt builder needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """The ids of one piece of text."""
        ...


class SentencePieceTokenizer:
    """The published checkpoints' tokenizer: plain SentencePiece, no BOS, no EOS.

    The file also lists control and codec pieces; they are ordinary pieces that the spelling of a
    text never reaches (`<SOA>` becomes four text ids), which equals upstream for every text
    without such strings.
    """

    def __init__(self, path: PathLike) -> None:
        import sentencepiece

        self.path = Path(path)
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"{path} is not a SentencePiece model ({error}). Is the download complete?"
            ) from error

    @property
    def size(self) -> int:
        """Number of pieces, control and codec pieces included."""
        return int(self._pieces.vocab_size())

    def encode(self, text: str) -> list[int]:
        """The ids of one piece of text, with SentencePiece's leading space mark."""
        return list(self._pieces.encode(text))

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return str(self._pieces.decode(ids))


class ByteTokenizer:
    """UTF-8 bytes as ids 0..255: the tokenizer of models that bring no other."""

    size = 256

    def encode(self, text: str) -> list[int]:
        """One id per byte."""
        return list(text.encode("utf-8"))

    def decode(self, ids: list[int]) -> str:
        """The text of ids; broken sequences become replacement characters."""
        return bytes(ids).decode("utf-8", "replace")

    def save(self, directory: PathLike) -> Path:
        """Write the file by which `load_tokenizer` knows this kind."""
        return write_json(Path(directory) / BYTES_FILE, {"kind": "bytes"})


def load_tokenizer(path: PathLike) -> SentencePieceTokenizer | ByteTokenizer:
    """The tokenizer in a SentencePiece file or in a model directory.

    Raises `ModelError` if there is none.
    """
    path = Path(path)
    if path.is_file() and path.name != BYTES_FILE:
        return SentencePieceTokenizer(path)
    directory = path.parent if path.is_file() else path
    if (directory / SENTENCEPIECE_FILE).is_file():
        return SentencePieceTokenizer(directory / SENTENCEPIECE_FILE)
    if (directory / BYTES_FILE).is_file():
        kind = read_json(directory / BYTES_FILE).get("kind")
        if kind != "bytes":
            raise ModelError(f"{directory / BYTES_FILE}: kind {kind!r}: allowed is 'bytes'.")
        return ByteTokenizer()
    raise ModelError(
        f"no tokenizer in {path}: expected {SENTENCEPIECE_FILE} or {BYTES_FILE}. The published "
        "checkpoints' tokenizer.model belongs beside the Stage-1 weights."
    )
