"""The steps of preparation, in order. Each is a pure function of what the steps before it found.

    given      texts beside the recording           -> what is known about it
    decode     files                                -> mono tracks at the codec's rate
    separate   the mix, where stems are missing     -> vocals, accompaniment
    perturb    vocals, where voices are asked for   -> the same in another voice
    quality    tracks                               -> figures
    structure  what is known, else the sound        -> labelled spans
    words      what is known, else a model's ear    -> words with times
    join       lyrics, words, spans                 -> sections
    encode     tracks                               -> codes
    record     all of it                            -> the row that is written

Raise a step's version when its result changes: what depends on it is then made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.data import align, quality, structure
from yue.data import join as joining
from yue.data import perturb as perturbing
from yue.data.given import Given, Span, Timed, gather
from yue.data.join import Match, Place
from yue.data.records import (
    CODED,
    MIN_PART_SECONDS,
    MIX,
    PERTURBED,
    RECORDED,
    Part,
    Phone,
    Record,
    check,
)
from yue.data.sources import TEXTS
from yue.data.step import Plan, Row, Step, Tools
from yue.errors import AudioError
from yue.evaluate.words import tokens
from yue.lyrics import clean, decode
from yue.vocab import TRACKS

SILENT = 1e-4
"""Peak below which a recording holds nothing."""
UNSUNG = 0.05
"""Share of singing up to which a song without lyrics counts as instrumental."""
MAX_DIFFERENCE = 1.0
"""Seconds by which the files of a song may differ in length; they are cut to the shortest."""


def keys_of(name: str, digests: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """Step name -> key, for a song whose files have these hashes."""
    keys: dict[str, str] = {}
    for step in STEPS:
        keys[step.name] = step.key(name, digests, keys, plan)
    return keys


# The steps ----------------------------------------------------------------------------------------

def _given(row: Row, tools: Tools) -> dict[str, Any]:
    texts = {
        role: decode(Path(row["files"][role]).read_bytes(), Path(row["files"][role]).name)
        for role in TEXTS.values() if role in row["files"]
    }
    found = gather(texts.get("text"), texts.get("lrc"), texts.get("facts"))
    return found.as_dict()


def _decode(row: Row, tools: Tools) -> dict[str, Any]:
    """Mono tracks (n,) at the codec's rate, of one length, and figures of the file as it came."""
    read = {role: Audio.read(row["files"][role]) for role in RECORDED if role in row["files"]}
    source = read.get(MIX) or read["vocals"]
    _check_length(source.seconds, tools.plan)
    lengths = {role: round(audio.seconds, 2) for role, audio in read.items()}
    if max(lengths.values()) - min(lengths.values()) > MAX_DIFFERENCE:
        raise AudioError(f"its files differ in length: {lengths} s. Do they belong together?")
    tracks = {name: _plain(audio, tools.plan.rate) for name, audio in read.items()}
    if not all(track in tracks for track in TRACKS):
        tracks = {MIX: tracks[MIX]}
    shortest = min(map(len, tracks.values()))
    tracks = {name: wave[:shortest] for name, wave in tracks.items()}
    if MIX not in tracks:
        tracks[MIX] = np.add(*(tracks[track] for track in TRACKS))
    if np.abs(tracks[MIX]).max() < SILENT:
        raise AudioError("the recording is silent.")
    return {"source": quality.of_source(source), **tracks}


def _check_length(seconds: float, plan: Plan) -> None:
    if not plan.min_seconds <= seconds <= plan.max_seconds:
        raise AudioError(
            f"the recording is {seconds:.2f} s long: allowed are {plan.min_seconds:g} s to "
            f"{plan.max_seconds:g} s."
        )


def _plain(audio: Audio, rate: int) -> np.ndarray:
    return np.ascontiguousarray(audio.mono().resample(rate).samples[0])


def _separate(row: Row, tools: Tools) -> dict[str, Any]:
    """Stems (n,) beside the mix: those that came with it, else a model's; without one, none."""
    if "vocals" in row["decode"]:
        return {track: row["decode"][track] for track in TRACKS}
    separator = tools.separator()
    if separator is None:
        return {}
    stems = separator(Audio.read(row["files"][MIX]))
    size = len(row["decode"][MIX])
    waves = {track: _plain(stems[track], tools.plan.rate) for track in TRACKS}
    return {track: np.pad(wave, (0, max(0, size - len(wave))))[:size]
            for track, wave in waves.items()}


def _tracks(row: Row) -> dict[str, np.ndarray]:
    return {MIX: row["decode"][MIX], **row["separate"]}


def _perturb(row: Row, tools: Tools) -> dict[str, Any]:
    """The vocals (n,) in another voice, if the plan wants voices and there are vocals."""
    if not tools.plan.voices or "vocals" not in row["separate"]:
        return {}
    return {PERTURBED: perturbing.perturb(row["separate"]["vocals"], tools.plan.rate)}


def _quality(row: Row, tools: Tools) -> dict[str, Any]:
    tracks = _tracks(row)
    seconds = len(tracks[MIX]) / tools.plan.rate
    return {
        **row["decode"]["source"], **quality.of_tracks(tracks, tools.plan.rate),
        "seconds": seconds, "stems": len(tracks) > 1,
    }


def _structure(row: Row, tools: Tools) -> dict[str, Any]:
    spans: Iterable[Span] = Given.from_dict(row["given"]).spans
    source = "given" if spans else "sound"
    if not spans:
        vocals = row["separate"].get("vocals")
        spans = structure.segment(row["decode"][MIX], tools.plan.rate, vocals)
    return {"source": source, "spans": [list(span) for span in spans]}


def _words(row: Row, tools: Tools) -> dict[str, Any]:
    """Words or lines with times, where they come from, and how sure an aligner was."""
    given = Given.from_dict(row["given"])
    if times := joining.times_of(given):
        return _heard("given", times)
    if _sections_are_timed(given):
        return _heard("sections", [])
    if given.transcript and not given.sections:
        return _heard("none", [])
    asked = [word for s in given.sections for word in tokens(s.text)]
    is_sung = row["quality"].get("sung", 1.0) > UNSUNG
    wave = row["separate"].get("vocals", row["decode"][MIX])
    aligner = tools.aligner()
    if asked and aligner is not None:
        found = aligner.align(_at(wave, tools.plan.rate, aligner.rate), asked)
        sure = [Timed(*h[:3]) for h in found if h.score >= tools.plan.min_score]
        return _heard("aligner", sure, [h.score for h in found])
    transcriber = tools.transcriber()
    if transcriber is None or not is_sung or (given.sections and not asked):
        return _heard("none", [])
    return _heard(
        "transcriber", transcriber.transcribe(_at(wave, tools.plan.rate, transcriber.rate))
    )


def _heard(source: str, times: Iterable[Timed], scores: Iterable[float] = ()) -> dict[str, Any]:
    every = list(scores)
    return {
        "source": source, "heard": [list(t) for t in times],
        "score": float(np.mean(every)) if every else None,
    }


def _at(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return Audio(wave, rate).resample(wanted).samples[0]


def _sections_are_timed(given: Given) -> bool:
    """Whether each section of the lyrics has its own span."""
    return bool(given.sections) and [s.label for s in given.sections] == [
        s.label for s in given.spans
    ]


def _join(row: Row, tools: Tools) -> dict[str, Any]:
    """Sections with seconds, how much matched, and why nothing is there if nothing is."""
    given = Given.from_dict(row["given"])
    seconds = row["quality"]["seconds"]
    spans = [Span(*span) for span in row["structure"]["spans"]]
    heard = [Timed(*time) for time in row["words"]["heard"]]
    if row["words"]["source"] == "sections":
        pairs = zip(given.sections, given.spans, strict=True)
        places = [Place(s.label, s.text, span.start, min(span.end, seconds)) for s, span in pairs]
        words = sum(len(tokens(p.text)) for p in places)
        size = len(places)
        return _joined(places, Match(words=words, timed=words, sections=size, placed=size))
    if not given.sections and not heard and row["quality"].get("sung", 1.0) > UNSUNG:
        return _joined([], Match(), "" if given.transcript else "no lyrics")
    places, match = joining.join(given.sections, heard, spans, seconds)
    if match.words and match.rate < tools.plan.min_match:
        why = "lyrics have no times" if not heard else "lyrics match too little of what is sung"
        return _joined([], match, why)
    if given.sections and not match.words:
        return _instrumental(given, spans, seconds, row["quality"])
    return _joined(places, match)


def _instrumental(
    given: Given, spans: list[Span], seconds: float, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Labels without a word of lyrics: the structure's spans if nothing is sung."""
    size = len(given.sections)
    if figures.get("sung", 0.0) > UNSUNG:
        return _joined([], Match(sections=size), "sung, but the lyrics hold no words")
    places, _ = joining.join([], [], spans, seconds)
    return _joined(places, Match(sections=size, placed=min(size, len(places))))


def _joined(places: list[Place], match: Match, why: str = "") -> dict[str, Any]:
    return {"places": [list(p) for p in places], "match": match.as_dict(), "why": why}


def _encode(row: Row, tools: Tools) -> dict[str, Any]:
    """Codes int16 (K, T) per track; each track is encoded whole."""
    import torch

    from yue.codec.layers import full_precision

    codec = tools.codec()
    kept = min(tools.plan.codebooks, codec.config.codebooks)
    codes = {}
    for name, wave in {**_tracks(row), **row["perturb"]}.items():
        with torch.inference_mode(), full_precision():
            found = codec.encode(torch.from_numpy(wave)[None].to(tools.plan.device), kept)
        codes[name] = found[0].cpu().numpy().astype(np.int16)
    return codes


def _record(row: Row, tools: Tools) -> dict[str, Any]:
    """The record but for its codes, checked with them; and what was left out of it."""
    given, joined = Given.from_dict(row["given"]), row["join"]
    frames = min(array.shape[1] for array in row["encode"].values())
    findings = list(given.findings) + ([joined["why"]] if joined["why"] else [])
    parts = _parts(joined["places"], frames, tools.plan.frame_rate, findings)
    figures = {k: v for k, v in row["quality"].items() if v is not None}
    values = {
        "parts": [vars(part) for part in parts],
        "phones": _phones(given, parts, frames, tools.plan.frame_rate),
        "tags": list(given.tags), "language": given.language, "licence": given.licence,
        "artist": given.artist, "transcript": clean(given.transcript)[0],
        "notes": {
            "quality": figures, "match": joined["match"], "structure": row["structure"]["source"],
            "words": {k: row["words"][k] for k in ("source", "score")}, "findings": findings,
            "versions": {step.name: step.version for step in STEPS},
        },
    }
    check(record_of(row["id"], values, row["encode"]), tools.plan.vocabulary)
    return values


def record_of(name: str, values: Mapping[str, Any], codes: Mapping[str, np.ndarray]) -> Record:
    """The record of a song from the results of the last two steps."""
    made = {
        **values, "parts": tuple(Part(**part) for part in values["parts"]),
        "phones": tuple(Phone(**phone) for phone in values["phones"]),
        "tags": tuple(values["tags"]),
    }
    return Record(id=name, codes={track: codes[track] for track in CODED if track in codes}, **made)


def _parts(
    places: Iterable[list[Any]], frames: int, rate: int, findings: list[str]
) -> list[Part]:
    """Sections in frames; what is shorter than a second is a finding."""
    parts: list[Part] = []
    for label, text, start, end in places:
        first, last = (min(frames, int(s * rate + 1e-6)) for s in (start, end))
        first = max(first, parts[-1].end if parts else 0)
        if last - first < MIN_PART_SECONDS * rate:
            findings.append("section shorter than a second")
        else:
            parts.append(Part(label, clean(text)[0].strip(), first, last))
    return parts


def _phones(
    given: Given, parts: list[Part], frames: int, rate: int
) -> list[dict[str, Any]]:
    """Phones in frames, each with the section that holds its middle; others are left out."""
    phones = []
    for symbol, start, end in given.phones:
        first, last = (min(frames, round(s * rate)) for s in (start, end))
        inside = [i for i, p in enumerate(parts) if p.start <= (first + last) / 2 < p.end]
        if inside:
            phones.append({"symbol": symbol, "start": first, "end": last, "part": inside[0]})
    return phones


STEPS = (
    Step(name="given", version=1, run=_given, files=tuple(TEXTS.values())),
    Step(name="decode", version=quality.VERSION, run=_decode, files=RECORDED, heavy=True,
         settings=("rate", "min_seconds", "max_seconds")),
    Step(name="separate", version=1, run=_separate, needs=("decode",), files=(MIX,), heavy=True,
         settings=("separator",)),
    Step(name="perturb", version=perturbing.VERSION, run=_perturb, needs=("separate",), heavy=True,
         settings=("voices",)),
    Step(name="quality", version=quality.VERSION, run=_quality, needs=("decode", "separate")),
    Step(name="structure", version=structure.VERSION, run=_structure,
         needs=("given", "decode", "separate")),
    Step(name="words", version=align.VERSION, run=_words,
         needs=("given", "decode", "separate", "quality"),
         settings=("aligner", "transcriber", "min_score")),
    Step(name="join", version=joining.VERSION, run=_join, settings=("min_match",),
         needs=("given", "quality", "structure", "words")),
    Step(name="encode", version=1, run=_encode, needs=("decode", "separate", "perturb"),
         settings=("codec", "codebooks")),
    Step(name="record", version=1, run=_record, named=True,
         needs=("given", "quality", "structure", "words", "join", "encode")),
)
BY_NAME = {step.name: step for step in STEPS}
