"""Token files of the Megatron family, `.bin` and `.idx`: import and export.

The `.bin` file is the tokens of all sequences one after the other, little endian. The `.idx` file
says how long each sequence is, where it begins, and which sequences make up a document. Upstream
writes one document per song, and one sequence per head and per section.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yue.errors import FileError
from yue.files import PathLike, write_bytes

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
DTYPES = {
    1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.float64, 7: np.float32,
    8: np.uint16,
}
SMALL_VOCABULARY = 65_500
"""Below this many ids two bytes per token are enough."""

Document = Sequence[np.ndarray | Sequence[int]]
"""The sequences of one document, each token ids (n,)."""

_HEADER = struct.Struct("<QBQQ")


def paths(prefix: PathLike) -> tuple[Path, Path]:
    """The `.bin` and the `.idx` file of a prefix."""
    return Path(f"{prefix}.bin"), Path(f"{prefix}.idx")


def write(prefix: PathLike, documents: Sequence[Document], vocabulary_size: int) -> Path:
    """Write documents to `prefix.bin` and `prefix.idx`; returns the latter."""
    dtype = np.dtype(np.uint16 if vocabulary_size < SMALL_VOCABULARY else np.int32)
    code = next(code for code, kind in DTYPES.items() if kind == dtype.type)
    sequences = [np.asarray(s, dtype=dtype) for document in documents for s in document]
    lengths = np.array([len(s) for s in sequences], dtype="<i4")
    starts = np.cumsum([0, *lengths[:-1]], dtype="<i8")[: len(sequences)] * dtype.itemsize
    counts = np.cumsum([0, *(len(document) for document in documents)], dtype="<i8")
    tokens = b"".join(s.astype(dtype.newbyteorder("<")).tobytes() for s in sequences)
    bin_path, idx_path = paths(prefix)
    write_bytes(bin_path, tokens)
    header = MAGIC + _HEADER.pack(VERSION, code, len(sequences), len(counts))
    arrays = lengths.tobytes() + starts.astype("<i8").tobytes() + counts.tobytes()
    return write_bytes(idx_path, header + arrays)


def read(prefix: PathLike) -> list[list[np.ndarray]]:
    """The documents of a prefix, each a list of sequences (n,).

    Raises `FileError` that says which of the two files is missing, cut off, or of another kind.
    """
    bin_path, idx_path = paths(prefix)
    for path in (bin_path, idx_path):
        if not path.is_file():
            raise FileError(f"{path}: no such file; both .bin and .idx are needed.")
    index = idx_path.read_bytes()
    begin = len(MAGIC) + _HEADER.size
    if not index.startswith(MAGIC) or len(index) < begin:
        raise FileError(f"{idx_path} is not an index of token files.")
    version, code, count, borders = _HEADER.unpack_from(index, len(MAGIC))
    if version != VERSION or code not in DTYPES:
        raise FileError(f"{idx_path}: version {version}, type {code} is not known.")
    if len(index) < begin + 12 * count + 8 * borders:
        raise FileError(f"{idx_path} is cut off.")
    lengths = np.frombuffer(index, "<i4", count, begin)
    starts = np.frombuffer(index, "<i8", count, begin + 4 * count)
    documents = np.frombuffer(index, "<i8", borders, begin + 12 * count)
    dtype = np.dtype(DTYPES[code]).newbyteorder("<")
    data = bin_path.read_bytes()
    if count and int((starts + lengths * dtype.itemsize).max()) > len(data):
        raise FileError(f"{bin_path} is cut off: {len(data):,} bytes.")
    sequences = [
        np.frombuffer(data, dtype, length, start)
        for length, start in zip(lengths.tolist(), starts.tolist(), strict=True)
    ]
    pairs = zip(documents[:-1].tolist(), documents[1:].tolist(), strict=True)
    return [sequences[first:last] for first, last in pairs]
