"""Names -> checked local directories: presets, hub ids, local paths, the cache.

A model is a `ModelSpec`: five parts, each a local path, a hub id (`org/name` or
`org/name@revision`) or `random`. `fetch` turns each into a directory, downloading what is missing
(with progress; whole files are kept when the rest fails) unless `HF_HUB_OFFLINE` says not to, and
converts the published codec once. Knows no network module's insides, only what they read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yue.codec.convert import CHECKPOINT, UPSAMPLERS, convert_codec, convert_upsamplers
from yue.errors import ModelError, OptionError
from yue.files import PathLike, read_json, write_json
from yue.rehearsal import RANDOM, write_random_model
from yue.tokenizer import BYTES_FILE, SENTENCEPIECE_FILE

MANIFEST = "yue.json"
"""File that makes a directory a whole model: part -> path inside it or hub id."""

_HUB = "m-a-p"
_STAGE2 = f"{_HUB}/YuE-s2-1B-general"
_CODEC = f"{_HUB}/xcodec_mini_infer@fe781a67815ab47b4a3a5fce1e8d0a692da7e4e5"
_HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")

_LANGUAGE_MODEL = ["config.json", "*.safetensors", "*.safetensors.index.json"]
_TRANSFORMERS = ["*.json", "*.safetensors", "*.txt", "*.model"]
_PATTERNS = {
    "stage1": [*_LANGUAGE_MODEL, SENTENCEPIECE_FILE, BYTES_FILE],
    "stage2": _LANGUAGE_MODEL,
    "codec": [CHECKPOINT, "config.json", "*.safetensors"],
    "upsampler": [*UPSAMPLERS.values(), "config.json", "*.safetensors"],
    "tokenizer": [SENTENCEPIECE_FILE, BYTES_FILE],
    "adapter": ["adapter_config.json", "adapter_model.safetensors"],
    "separator": ["*.yaml", "*.safetensors"],
    "aligner": _TRANSFORMERS,
    "transcriber": _TRANSFORMERS,
}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The parts of a model: local paths, hub ids with an optional revision, or `random`."""

    stage1: str
    stage2: str = _STAGE2
    codec: str = _CODEC
    upsampler: str = _CODEC
    tokenizer: str | None = None
    """By default what lies beside Stage 1."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters for Stage 1, in peft's layout, merged in this order."""
    references: bool | None = None
    """Whether Stage 1 was trained with reference audio; None: not known, so allowed."""
    compose: Mapping[str, Any] = field(default_factory=dict)
    """The model's own defaults of `ComposeOptions`; what is asked for goes before them."""
    name: str = ""

    @classmethod
    def make(cls, model: str | PathLike | ModelSpec) -> ModelSpec:
        """A spec from a preset's name, a directory, a hub id, or a spec.

        Raises `ModelError` that lists what is known.
        """
        if isinstance(model, ModelSpec):
            return model
        name = str(model)
        if name in PRESETS:
            return PRESETS[name]
        directory = Path(name).expanduser()
        if name and directory.is_dir():
            return cls.of_directory(directory)
        if _HUB_ID.fullmatch(name):
            return cls(stage1=name, name=name)
        raise ModelError(
            f"no model {name!r}: it is neither a preset ({', '.join(PRESETS)}), nor a directory, "
            "nor a hub id such as org/name."
        )

    @classmethod
    def of_directory(cls, directory: Path) -> ModelSpec:
        """The model in a directory: a whole one with `yue.json`, or a Stage-1 checkpoint alone."""
        if not (directory / MANIFEST).is_file():
            if not (directory / "config.json").is_file():
                raise ModelError(
                    f"{directory} is no model: it holds neither {MANIFEST} nor config.json."
                )
            return cls(stage1=str(directory), name=str(directory))
        manifest = directory / MANIFEST
        parts = read_json(manifest)
        if not isinstance(parts, dict) or not parts.get("stage1"):
            raise ModelError(f"{manifest} names no stage1: it describes no model.")
        known = {entry.name for entry in dataclasses.fields(cls)}
        if unknown := set(parts) - known:
            raise ModelError(
                f"{manifest}: unknown {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted(known))}."
            )
        found = {key: _beside(directory, parts[key]) for key in _PLACES if key in parts}
        adapters = tuple(_beside(directory, part) for part in parts.get("adapters") or ())
        return cls(**{"name": str(directory), **parts, **found, "adapters": adapters})


_PLACES = ("stage1", "stage2", "codec", "upsampler", "tokenizer")


def _beside(directory: Path, part: Any) -> Any:
    """A part named in a manifest: relative paths begin where the manifest lies."""
    if part is None:
        return None
    if not isinstance(part, str):
        raise ModelError(
            f"{directory / MANIFEST}: {part!r} is no part: a path or a hub id is expected."
        )
    elsewhere = part == RANDOM or (_HUB_ID.fullmatch(part) and not (directory / part).exists())
    return part if elsewhere else str(directory / Path(part).expanduser())


BUNDLED = Path(__file__).parent / "models"
"""Whole models that ship with the package, a directory each."""


def _bundled() -> dict[str, ModelSpec]:
    directories = sorted(manifest.parent for manifest in BUNDLED.glob(f"*/{MANIFEST}"))
    return {
        each.name: dataclasses.replace(ModelSpec.of_directory(each), name=each.name)
        for each in directories
    }


PRESETS: Mapping[str, ModelSpec] = {
    **_bundled(),
    RANDOM: ModelSpec(
        stage1=RANDOM, stage2=RANDOM, codec=RANDOM, upsampler=RANDOM, references=True, name=RANDOM
    ),
    **{
        f"{language}{suffix}": ModelSpec(
            stage1=f"{_HUB}/YuE-s1-7B-anneal-{language}-{kind}",
            references=kind == "icl",
            name=f"{language}{suffix}",
        )
        for language in ("en", "zh", "jp-kr")
        for suffix, kind in (("", "cot"), ("-icl", "icl"))
    },
}
"""What `yue.load` knows by name."""


@dataclass(frozen=True)
class Part:
    """A fetched part: where it lies, what it was called, and the revision that was found."""

    path: Path
    source: str
    revision: str | None = None


@dataclass(frozen=True)
class Parts:
    """All fetched parts of a model."""

    stage1: Part
    stage2: Part
    codec: Part
    upsampler: Part
    tokenizer: Part
    adapters: tuple[Part, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: source and revision of each part."""
        def tell(part: Part) -> dict[str, str | None]:
            return {"source": part.source, "revision": part.revision}

        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        adapters = [tell(part) for part in named.pop("adapters")]
        return {**{name: tell(part) for name, part in named.items()}, "adapters": adapters}


def cache_dir() -> Path:
    """Where converted and generated files are kept: `YUE_CACHE`, else the user's cache."""
    if chosen := os.environ.get("YUE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "yue"


def fetch(spec: ModelSpec) -> Parts:
    """Bring every part of a model onto this machine.

    Raises `ModelError` that names the part, where it was looked for, and the cure.
    """
    stage1 = _fetch_part("stage1", spec.stage1)
    tokenizer = stage1 if spec.tokenizer is None else _fetch_part("tokenizer", spec.tokenizer)
    return Parts(
        stage1=stage1,
        stage2=_fetch_part("stage2", spec.stage2),
        codec=_converted(_fetch_part("codec", spec.codec), "codec"),
        upsampler=_converted(_fetch_part("upsampler", spec.upsampler), "upsampler"),
        tokenizer=tokenizer,
        adapters=tuple(_fetch_part("adapter", adapter) for adapter in spec.adapters),
    )


def fetch_part(kind: str, source: str) -> Part:
    """One part by itself: of a model, or separator, aligner, transcriber for preparing data.

    Raises `ModelError` as `fetch` does.
    """
    part = _fetch_part(kind, source)
    return _converted(part, kind) if kind in ("codec", "upsampler") else part


def _fetch_part(kind: str, source: str) -> Part:
    if source == RANDOM:
        model = write_random_model(cache_dir() / "random")
        return Part(model if kind == "tokenizer" else model / kind, RANDOM)
    path = Path(source).expanduser()
    if path.exists():
        return Part(path, source)
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise ModelError(f"{kind}: {source} does not exist and is no hub id such as org/name.")
    return _download(kind, match["repo"], match["revision"], source)


def _download(kind: str, repo: str, revision: str | None, source: str) -> Part:
    """Fetch what a part needs of a hub repository and is not here yet, file by file."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        folder = hub.snapshot_download(repo, revision=revision, allow_patterns=_PATTERNS[kind])
    except errors.LocalEntryNotFoundError as error:
        offline = hub.constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        raise ModelError(
            f"{kind}: {source} is not, or not wholly, on this machine and {why}. Fetch it once "
            "with a connection (`yue models fetch NAME`), or give a local directory."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{kind}: the hub has no {repo}, or does not show it to you. Check the spelling; if "
            "it is private or gated, log in with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{kind}: {repo} has no revision {revision!r} on the hub.") from error
    except Exception as error:  # what a broken connection raises depends on the hub's HTTP library
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{kind}: {source} could not be fetched: {first[0].rstrip('.')}. Files that came "
            "whole are kept; run the command again to go on."
        ) from error
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"{kind}: {source} holds none of {', '.join(_PATTERNS[kind])}.")
    return Part(path, source, revision=path.name)


def _converted(part: Part, kind: str) -> Part:
    """The part itself, or, for the published pickles, their converted form in the cache."""
    published = [CHECKPOINT] if kind == "codec" else list(UPSAMPLERS.values())
    files = [part.path / name for name in published]
    if part.path.is_file() or not files[0].is_file():
        return part
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{part.path} lacks {missing[0].name}: is the download complete?")
    target = cache_dir() / f"{kind}-{_fingerprint(files)}"
    if not (target / "config.json").is_file():
        if kind == "codec":
            convert_codec(files[0], target)
        else:
            convert_upsamplers(dict(zip(UPSAMPLERS, files, strict=True)), target)
    return Part(target, part.source, part.revision)


def _fingerprint(files: list[Path]) -> str:
    """A name for these very files, without reading them."""
    states = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def write_manifest(directory: PathLike, **parts: Any) -> Path:
    """Make a directory a whole model: write its `yue.json`."""
    known = {entry.name for entry in dataclasses.fields(ModelSpec)}
    if unknown := set(parts) - known:
        raise OptionError(f"unknown part {', '.join(sorted(unknown))}.")
    return write_json(Path(directory) / MANIFEST, parts)
