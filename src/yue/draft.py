"""The saved values between the stages: `Draft` (codebook 0) and `Codes` (all codebooks).

Both are both tracks of a song, cut into sections. They are saved and loaded (`.npz`, no pickle),
sliced by section, and joined; slicing is how one previews, rewinds and sings on. Numpy only.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from yue.errors import FileError, ModelError
from yue.files import PathLike, write_bytes
from yue.lyrics import Section
from yue.vocab import TRACKS, Vocabulary

FILE_VERSION = 1


@dataclass(frozen=True)
class Sung:
    """A section that was sung: its label and words, its length, and whether it hit the cap."""

    label: str
    text: str
    frames: int
    truncated: bool = False
    follows: float | None = None
    """Nats by which the words and the song so far made each of its vocal codes likelier, on
    average; the less, the less it follows them. None where that is not known."""
    consonance: float | None = None
    """Share of it that is sung on what the band plays loudest (`yue.codec.consonance`), 0 to 1.
    None where that was not asked for."""

    @property
    def section(self) -> Section:
        """What was asked for."""
        return Section(self.label, self.text)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Tracks:
    """Codes of both tracks `(2, ..., T)`, T = the sum of the sections' frames."""

    codes: np.ndarray
    sections: tuple[Sung, ...]
    plan: tuple[Section, ...] = ()
    """All sections of the song, sung or not yet."""
    first: int = 0
    """Index in `plan` of the first section held here."""
    genres: str = ""
    reference: tuple[int, ...] = ()
    """Ids of the reference that the song was composed with."""
    seed: int = 0
    take: int = 0
    frame_rate: int = 50
    made_by: dict[str, Any] = field(default_factory=dict)
    """Model, options, versions: what the manifest tells."""

    kind: ClassVar[str]
    ndim: ClassVar[int]

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        total = sum(section.frames for section in self.sections)
        if codes.ndim != self.ndim or codes.shape[0] != len(TRACKS) or codes.shape[-1] != total:
            raise ModelError(
                f"{self.kind} of shape {codes.shape}: expected {self.ndim} axes, "
                f"{len(TRACKS)} tracks and {total} frames."
            )
        object.__setattr__(self, "codes", codes.astype(np.int16))
        if not self.plan:
            object.__setattr__(self, "plan", tuple(sung.section for sung in self.sections))

    def __repr__(self) -> str:
        labels = " ".join(sung.label for sung in self.sections)
        whole = "" if self.complete else f", {len(self)} of {len(self.plan)} sections"
        return f"<{self.kind} {self.codes.shape}, {self.seconds:.1f} s: {labels}{whole}>"

    def __len__(self) -> int:
        """Number of sections held."""
        return len(self.sections)

    def __getitem__(self, which: int | slice) -> Self:
        """Some of the sections, in order: `draft[:2]`, `draft[-1]`."""
        if isinstance(which, int):
            index = range(len(self))[which]
            which = slice(index, index + 1)
        start, stop, step = which.indices(len(self))
        if step != 1:
            raise ValueError(f"step {step}: sections can only be taken in order.")
        stop = max(start, stop)
        borders = self.borders
        return replace(
            self,
            codes=self.codes[..., borders[start] : borders[stop]],
            sections=self.sections[start:stop],
            first=self.first + start,
        )

    def __add__(self, other: Self) -> Self:
        """The sections of both, one after the other.

        If `other` goes on where this ends, the plan stays; else the plan is what is held.
        """
        if type(other) is not type(self):
            return NotImplemented
        if other.frame_rate != self.frame_rate or other.codes.shape[:-1] != self.codes.shape[:-1]:
            raise ModelError(
                f"cannot join {self.codes.shape[:-1]} codes at {self.frame_rate} frames/s with "
                f"{other.codes.shape[:-1]} at {other.frame_rate}."
            )
        sections = self.sections + other.sections
        goes_on = self.plan == other.plan and other.first == self.first + len(self)
        return replace(
            self,
            codes=np.concatenate([self.codes, other.codes], axis=-1),
            sections=sections,
            plan=self.plan if goes_on else tuple(sung.section for sung in sections),
            first=self.first if goes_on else 0,
        )

    @property
    def borders(self) -> list[int]:
        """Frame at which each section starts, and the end."""
        return [0, *np.cumsum([sung.frames for sung in self.sections], dtype=int).tolist()]

    @property
    def frames(self) -> int:
        """Number of frames of each track."""
        return int(self.codes.shape[-1])

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.frame_rate

    @property
    def complete(self) -> bool:
        """Whether every section of the plan is here."""
        return self.first == 0 and len(self) == len(self.plan)

    @property
    def history(self) -> dict[str, Any]:
        """Everything but the codes."""
        names = (entry.name for entry in fields(self))
        return {name: getattr(self, name) for name in names if name != "codes"}

    def save(self, path: PathLike) -> Path:
        """Write an `.npz` file (arrays and JSON; nothing in it can run)."""
        meta = {
            "version": FILE_VERSION,
            "kind": self.kind,
            "sections": [
                [s.label, s.text, s.frames, s.truncated, s.follows, s.consonance]
                for s in self.sections
            ],
            "plan": [[s.label, s.text, s.line] for s in self.plan],
            "first": self.first,
            "genres": self.genres,
            "seed": self.seed,
            "take": self.take,
            "frame_rate": self.frame_rate,
            "made_by": self.made_by,
        }
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            codes=self.codes,
            reference=np.asarray(self.reference, dtype=np.int32),
            meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        )
        return write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read what `save` wrote. Raises `FileError` for anything else."""
        try:
            data = Path(path).read_bytes()
            if not zipfile.is_zipfile(io.BytesIO(data)):
                raise ValueError("no .npz archive")
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("codes", "reference", "meta")}
            meta = json.loads(arrays["meta"].tobytes())
            kind, version = meta.pop("kind"), meta.pop("version")
            if (kind, version) != (cls.kind, FILE_VERSION):
                raise FileError(
                    f"{path} is a {kind} (file version {version}): expected a {cls.kind} "
                    f"(version {FILE_VERSION})."
                )
            meta["sections"] = tuple(Sung(*row) for row in meta["sections"])
            meta["plan"] = tuple(Section(*row) for row in meta["plan"])
            reference = tuple(arrays["reference"].tolist())
            return cls(codes=arrays["codes"], reference=reference, **meta)
        except FileError:
            raise
        except FileNotFoundError as error:
            raise FileError(f"{path}: no such file.") from error
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(
                f"{path} is not a {cls.kind} file, or not a whole one ({error}). "
                "Drafts come from `yue compose`, codes from `yue refine`."
            ) from error


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Draft(_Tracks):
    """A composed song: codebook 0 of both tracks, int16 `(2, T)`, vocal first."""

    kind = "draft"
    ndim = 2

    @classmethod
    def from_tokens(
        cls, tokens: list[int] | np.ndarray, vocabulary: Vocabulary, *, references: int = 0
    ) -> Draft:
        """The draft inside a whole Stage-1 transcript, as upstream writes them.

        Sections are what stands between SOA and EOA; the first `references` such blocks are a
        reference and are left out. Labels and words are not read from the text.
        """
        ids = np.asarray(tokens, dtype=np.int64)
        starts = np.flatnonzero(ids == vocabulary.soa)
        ends = np.flatnonzero(ids == vocabulary.eoa)
        if len(starts) != len(ends) or (starts > ends).any():
            raise ModelError(
                f"{len(starts)} starts and {len(ends)} ends of audio: the transcript is cut off."
            )
        parts = [
            vocabulary.deinterleave(ids[start + 2 : end])
            for start, end in list(zip(starts, ends, strict=True))[references:]
        ]
        sections = tuple(Sung("verse", "", part.shape[1]) for part in parts)
        codes = np.concatenate(parts, axis=1) if parts else np.zeros((len(TRACKS), 0))
        return cls(codes=codes, sections=sections, frame_rate=vocabulary.frame_rate)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Codes(_Tracks):
    """A refined song: all codebooks of both tracks, int16 `(2, K, T)`; row 0 is the draft's."""

    kind = "codes"
    ndim = 3

    @classmethod
    def of(cls, draft: Draft, codes: np.ndarray) -> Codes:
        """Codes `(2, K, T)` with the sections and the history of `draft`."""
        return cls(codes=codes, **draft.history)

    @property
    def draft(self) -> Draft:
        """The draft that these codes were refined from."""
        return Draft(codes=self.codes[:, 0], **self.history)


def kind_of(path: PathLike) -> str | None:
    """What a file says it holds, `draft` or `codes`; None if it cannot be told."""
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            kind = json.loads(file["meta"].tobytes())["kind"]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return str(kind)
