"""A step of preparation and what its result depends on: plan, models, files, other steps.

A row maps the names of finished steps to their results. A step's key is a hash of its name,
version and settings, of the files it reads, and of the keys of the steps it needs: what has the
same key has the same result, so nothing is done twice and nothing stale is used. What the steps
are, `steps.py` says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yue.vocab import YUE_V1, Vocabulary

if TYPE_CHECKING:
    from yue.codec.xcodec import XCodec
    from yue.data.align import CTC
    from yue.data.separate import Separator
    from yue.data.transcribe import Transcriber

Row = dict[str, Any]
"""`id`, `files` (role -> path), and step name -> result: plain values and arrays."""

MODELS = ("codec", "separator", "aligner", "transcriber")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides results, resolved once: model paths, and a fingerprint of each."""

    codec: Path
    separator: Path | None = None
    aligner: Path | None = None
    transcriber: Path | None = None
    prints: tuple[tuple[str, str], ...] = ()
    """Name of a model -> hash of its files."""
    rate: int = 16_000
    codebooks: int = YUE_V1.codebooks
    codebook_size: int = YUE_V1.codebook_size
    frame_rate: int = YUE_V1.frame_rate
    """Of the codec, as are `rate` and `codebook_size`."""
    min_seconds: float = 1.0
    max_seconds: float = 1800.0
    voices: bool = False
    min_score: float = 0.05
    min_match: float = 0.5
    device: str = "cpu"
    threads: int | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """YuE's, with the codec's sizes: what records are checked against."""
        return of_codec(self.codebook_size, self.frame_rate)

    def setting(self, name: str) -> Any:
        """What a step's key says about a setting: for a model, its fingerprint."""
        prints = dict(self.prints)
        return prints.get(name) if name in MODELS else getattr(self, name)


def of_codec(codebook_size: int, frame_rate: int) -> Vocabulary:
    """YuE's vocabulary, with another codec's sizes."""
    return replace(YUE_V1, codebook_size=codebook_size, frame_rate=frame_rate, silence=0)


@dataclass
class Tools:
    """The models of a plan, each loaded when it is first needed."""

    plan: Plan
    _loaded: dict[str, Any] = field(default_factory=dict)

    def codec(self) -> XCodec:
        """The codec with its encoder."""
        from yue.codec.xcodec import XCodec

        plan = self.plan
        return self._once(
            "codec", lambda: XCodec.load(plan.codec, decode_only=False, device=plan.device)
        )

    def separator(self) -> Separator | None:
        """The separator, if the plan has one."""
        from yue.data.separate import Separator

        return self._model("separator", Separator.load)

    def aligner(self) -> CTC | None:
        """The aligner, if the plan has one."""
        from yue.data.align import CTC

        return self._model("aligner", CTC.load)

    def transcriber(self) -> Transcriber | None:
        """The transcriber, if the plan has one."""
        from yue.data.transcribe import load

        return self._model("transcriber", load)

    def _model(self, name: str, load: Callable[[Path, str], Any]) -> Any:
        path = getattr(self.plan, name)
        return path and self._once(name, lambda: load(path, self.plan.device))

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load()
        return self._loaded[name]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what it does, and all that its result depends on."""

    name: str
    version: int
    run: Callable[[Row, Tools], dict[str, Any]]
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    named: bool = False
    """Whether the song's id is part of the result."""
    heavy: bool = False
    """Whether the result is audio, dropped when the song is finished."""

    def __call__(self, row: Row, tools: Tools) -> Row:
        """The row with this step's result; done once, however often it is called."""
        return row if self.name in row else {**row, self.name: self.run(row, tools)}

    def key(
        self, name: str, digests: Mapping[str, str], keys: Mapping[str, str], plan: Plan
    ) -> str:
        """The key of the result for a song of that id with files of these hashes by role."""
        told = [
            self.name, self.version, [plan.setting(s) for s in self.settings],
            [digests.get(role) for role in self.files], [keys[need] for need in self.needs],
            name if self.named else None,
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()
