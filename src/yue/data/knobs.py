"""The knobs of data preparation. No heavy imports: the command line reads this file."""

from __future__ import annotations

from dataclasses import dataclass

from yue.options import Options, knob

CODEC = "m-a-p/xcodec_mini_infer@fe781a67815ab47b4a3a5fce1e8d0a692da7e4e5"
"""The published codec."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(Options):
    """How a folder of songs becomes records."""

    codec: str = knob(
        CODEC, "Codec: a directory, a model directory with yue.json, a hub id, or random."
    )
    separator: str | None = knob(
        None, "Demucs model for songs without stems: a directory, a file, or a hub id such as "
        "adefossez/HTDemucs. Without one they get no stems."
    )
    aligner: str | None = knob(
        None, "CTC model that finds when lyrics without times are sung: a directory or a hub id "
        "such as facebook/wav2vec2-large-960h-lv60-self."
    )
    transcriber: str | None = knob(
        None, "Model that writes down lyrics that nobody gave: CTC or Whisper, a directory or a "
        "hub id such as openai/whisper-large-v3."
    )
    voices: bool = knob(
        False, "Also encode the vocals in another voice, for the task voice_change (needs pyworld)."
    )
    executor: str = knob(
        "serial", "Where the work is done: in this process, in several, or by Ray Data.",
        choices=("serial", "processes", "ray"),
    )
    workers: int | None = knob(
        None, "Processes or Ray actors; by default as many as there are CPUs.", low=1, high=10_000
    )
    device: str = knob("cpu", "cpu, cuda, cuda:1, ...; each worker loads its own models.")
    min_seconds: float = knob(
        1.0, "Shorter recordings become error rows.", low=0.5, high=3600.0
    )
    max_seconds: float = knob(
        1800.0, "Longer recordings become error rows: cut them first.", low=1.0, high=36_000.0
    )
    min_score: float = knob(
        0.05, "Aligned words that the model holds less likely than this get no time.",
        low=0.0, high=1.0,
    )
    min_match: float = knob(
        0.5, "Lyrics of which a smaller share of the words finds a time are left out.",
        low=0.0, high=1.0,
    )
    shard: int = knob(256, "Songs per Parquet file.", low=1, high=100_000)
    keep_audio: bool = knob(
        False, "Keep decoded and separated audio of finished songs, some 40 MB each, so that "
        "later changes need not separate again."
    )
