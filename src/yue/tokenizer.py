"""Text <-> ids. Each call of `encode` stands alone: call boundaries are part of the token format.

A tokenizer never yields a control token or a code, whatever the text spells: those ids lie above
its own and are put in by `prompt.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from yue.errors import ModelError
from yue.files import PathLike, read_json, write_json
from yue.instructions import INSTRUCTIONS
from yue.lyrics import LABELS, MARKERS
from yue.phonemes import SYMBOLS, words
from yue.tags import TAGS, TagList

SENTENCEPIECE_FILE = "tokenizer.model"
BYTES_FILE = "yue_tokenizer.json"

_GENRE = "[Genre]"
_BETWEEN, _END_OF_LINE = "|", "\n"
_EMPTY_LINES = 2
"""Empty lines before a section that is not the first."""


class Tokenizer(Protocol):
    """What the prompt builder needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """The ids of one piece of text."""
        ...

    def unknown_tags(self, tags: str) -> list[str]:
        """Words of a line of tags that it cannot spell; none if it spells any text."""
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

    def unknown_tags(self, tags: str) -> list[str]:
        """None: it spells any text."""
        return []


class ByteTokenizer:
    """UTF-8 bytes as ids 0..255: the tokenizer of models that bring no other."""

    size = 256

    def encode(self, text: str) -> list[int]:
        """One id per byte."""
        return list(text.encode("utf-8"))

    def decode(self, ids: list[int]) -> str:
        """The text of ids; broken sequences become replacement characters."""
        return bytes(ids).decode("utf-8", "replace")

    def unknown_tags(self, tags: str) -> list[str]:
        """None: it spells any text."""
        return []

    def save(self, directory: PathLike) -> Path:
        """Write the file by which `load_tokenizer` knows this kind."""
        return write_json(Path(directory) / BYTES_FILE, {"kind": "bytes"})


class PhonemeTokenizer:
    """What a small English model reads: phones for words, one id for all else that a prompt says.

    The text is a prompt's, as `yue.prompt` and `yue.data.tasks` spell it; its lines become

        [start_of_segment]      one id, if it is the whole text (and the other marks)
        an instruction          one id, as the first line
        [Genre] pop, female     a mark, one id per known tag; first, or below an instruction
        [verse]                 one id, where a section begins: in the first line, below the tags or
                                below two empty lines
        any other line          phones of its words, `|` between words, an id for the line end

    Empty lines, and lines without a word, become nothing. So do unknown tags: `unknown_tags` names
    them. Where a mark, an instruction or a label stands elsewhere its words are sung.
    """

    def __init__(
        self, tags: Sequence[Sequence[str]] = TAGS, instructions: Sequence[str] = INSTRUCTIONS
    ) -> None:
        self.tags, self.instructions = TagList(tags), tuple(instructions)
        names = [entry[0] for entry in self.tags.entries]
        labels = [f"[{label}]" for label in LABELS]
        fixed = (*MARKERS, *self.instructions, _GENRE, *names, *labels, _BETWEEN, _END_OF_LINE)
        self.symbols = (*fixed, *SYMBOLS)
        """What each id stands for; a tag by its first spelling."""
        self.phones = range(len(fixed), len(self.symbols))
        """The ids that are phones, vowels once per stress."""
        self._first_tag = fixed.index(_GENRE) + 1
        self._marks = {mark: number for number, mark in enumerate(MARKERS)}
        self._asked = {line: fixed.index(line) for line in self.instructions}
        first_label = self._first_tag + len(names)
        self._labels = {label: first_label + number for number, label in enumerate(labels)}
        self._between, self._end = len(fixed) - 2, len(fixed) - 1
        self._sounds = {phone: self.phones.start + n for n, phone in enumerate(SYMBOLS)}

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols)

    def symbol(self, token: int) -> str:
        """What an id stands for; of a phone its name, such as `AH0`."""
        return self.symbols[token]

    def encode(self, text: str) -> list[int]:
        """The ids of one piece of a prompt."""
        if text in self._marks:
            return [self._marks[text]]
        head, lines = self._head(text.split("\n"))
        return head + [token for line in self._body(lines) for token in line]

    def unknown_tags(self, tags: str) -> list[str]:
        """Words of a line of tags that become nothing."""
        return self.tags.read(tags)[1]

    def _head(self, lines: list[str]) -> tuple[list[int], list[str]]:
        """The ids of instruction and tags, and the lines below them."""
        ids: list[int] = []
        if lines[0] in self._asked:
            ids, lines = [self._asked[lines[0]]], lines[1:]
        if lines and lines[0].startswith(f"{_GENRE} "):
            numbers = self.tags.read(lines[0].removeprefix(_GENRE))[0]
            ids += [self._first_tag - 1, *(self._first_tag + number for number in numbers)]
            lines = lines[1:]
        return ids, lines

    def _body(self, lines: list[str]) -> Iterator[list[int]]:
        """The ids of each line of the sections."""
        empty = _EMPTY_LINES
        for line in lines:
            if line in self._labels and empty >= _EMPTY_LINES:
                yield [self._labels[line]]
            else:
                yield self._sung(line)
            empty = 0 if line.strip() else empty + 1

    def _sung(self, line: str) -> list[int]:
        """The phones of a line, with what stands between words and at its end."""
        ids: list[int] = []
        for word in words(line):
            ids += [*([self._between] if ids else []), *(self._sounds[p] for p in word.phones)]
        return [*ids, self._end] if ids else []

    def decode(self, ids: Sequence[int]) -> str:
        """A text that a person can read: phones in place of words, commas between tags."""
        text, before = "", -1
        for token in ids:
            text += self._gap(before, token) + self.symbols[token]
            before = token
        return text

    def _gap(self, before: int, token: int) -> str:
        """What is put between two ids: nothing, a blank, a comma or the end of a line."""
        tags = range(self._first_tag, self._first_tag + len(self.tags.entries))
        if token == self._end or before in (-1, self._end):
            return ""
        if token in tags:
            return ", " if before in tags else " "
        inside = (self._between, *self.phones)
        return " " if before in inside and token in inside else "\n"

    def save(self, directory: PathLike) -> Path:
        """Write the file by which `load_tokenizer` makes the same one again."""
        return write_json(Path(directory) / BYTES_FILE, {
            "kind": "phonemes", "phones": list(SYMBOLS), "tags": self.tags.entries,
            "instructions": self.instructions,
        })

    @classmethod
    def saved(cls, values: Mapping[str, Any], file: Path) -> PhonemeTokenizer:
        """The tokenizer of a file's values. Raises `ModelError` if they are not this version's."""
        if values.get("phones") != list(SYMBOLS):
            raise ModelError(
                f"{file}: phones are not the {len(SYMBOLS)} of this version: "
                "take the version of yue that made the model."
            )
        tags, instructions = values.get("tags"), values.get("instructions")
        if not (isinstance(tags, list) and isinstance(instructions, list)):
            raise ModelError(f"{file}: needs lists of tags and instructions. Is it complete?")
        return cls(tags, instructions)


def load_tokenizer(
    path: PathLike,
) -> SentencePieceTokenizer | ByteTokenizer | PhonemeTokenizer:
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
        return _own(directory / BYTES_FILE)
    raise ModelError(
        f"no tokenizer in {path}: expected {SENTENCEPIECE_FILE} or {BYTES_FILE}. The published "
        "checkpoints' tokenizer.model belongs beside the Stage-1 weights."
    )


def _own(file: Path) -> ByteTokenizer | PhonemeTokenizer:
    """The tokenizer that `save` wrote."""
    values = read_json(file)
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "phonemes":
        return PhonemeTokenizer.saved(values, file)
    raise ModelError(f"{file}: kind {kind!r}: allowed are 'bytes' and 'phonemes'.")
