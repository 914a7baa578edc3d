"""A run's TOML: what it may say, and what is told of a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from songs import run_values
from yue.errors import FileError, OptionError
from yue.train.codec import CodecRun
from yue.train.config import PhaseOptions, RunOptions
from yue.train.model import new_config
from yue.train.plan import sizes
from yue.train.schedule import rate
from yue.vocab import YUE_V1

ROOT = Path(__file__).parents[1]
TOML = """
run = "r"
[data]
train = ["songs"]
[loop]
dtype = "fp32"
[[phases]]
tokens = 8000
context = 100
batch = 200
[phases.tasks]
lyrics_to_song = 2
short = {task = "lyrics_to_song", parts = 1, dropout = 0.1}
"""


def load(tmp_path: Path, text: str, *changes: str) -> RunOptions:
    (tmp_path / "run.toml").write_text(text)
    return RunOptions.load(tmp_path / "run.toml", changes)


def test_a_file_and_its_changes(tmp_path: Path) -> None:
    made = load(
        tmp_path, TOML, "lora.rank=32", "model.start=base", "phases.0.rate=1e-3",
        "lora.base=fp32", "phases.0.tasks.short.parts=3",
    )
    (phase,) = made.phases
    assert (phase.rows, phase.steps, made.steps) == (2, 40, 40)
    assert (phase.rate, made.lora.rank, made.model.start) == (1e-3, 32, "base")
    assert phase.tasks["lyrics_to_song"].weight == 2
    assert phase.tasks["lyrics_to_song"].task == "lyrics_to_song"
    assert (phase.tasks["short"].parts, phase.tasks["short"].dropout) == (3, 0.1)


def test_the_kept_config_reads_back(tmp_path: Path) -> None:
    made = load(tmp_path, TOML)
    assert RunOptions.make(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[loop]\ndtype", "[loop]\ndtyp", r"\[loop\] unknown option 'dtyp': did you mean 'dtype'"),
        ("[loop]", "[lop]", "unknown option 'lop': did you mean 'loop'"),
        ("dtype = \"fp32\"", "dtype = \"fp8\"", "dtype = 'fp8': allowed is bf16, fp32"),
        ("batch = 200", "batch = 250", "batch = 250 must be a multiple of context = 100"),
        ("parts = 1,", "part = 1,", "unknown option 'part': did you mean 'parts'"),
        ("lyrics_to_song = 2", "lyrics_to_song = -2", "weight = -2"),
        ("[\"songs\"]", "\"songs\"", "allowed is a list of texts"),
        ("[[phases]]", "[phases]", "written as \\[\\[phases\\]\\]"),
        ("run = \"r\"", "run = ", "not valid TOML"),
        ("batch = 200", "batch = 200\nend = 1e-5", "end and hold do nothing while shape"),
        ("batch = 200", "batch = 200\nhold = 0.1", "end and hold do nothing while shape"),
        ("batch = 200", "batch = 200\nstart = 1e-5", "start = 1e-05 without warmup"),
        ("[loop]", "[loop]\npatience = 2\nvalidate_every = 0", "patience = 2 counts validations"),
        ("[loop]", "stage = 2\n[harmony]\nweight = 1\n[loop]", "unknown option|harmony.weight"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TOML
    with pytest.raises((OptionError, FileError), match=told):
        load(tmp_path, TOML.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("lora.rank", "write it as name=value"),
        ("lora.rank=8", "lora.rank without model.start"),
        ("phases.3.rate=1", "there is no '3'"),
        ("lora.base=int8", "lora.base = 'int8' with loop.dtype = 'fp32'"),
    ],
)
def test_mistaken_changes(tmp_path: Path, change: str, told: str) -> None:
    more = ("lora.rank=8", "model.start=b") if "base" in change else ()
    with pytest.raises(OptionError, match=told):
        load(tmp_path, TOML, change, *more)


def test_steps_find_their_phase(tmp_path: Path) -> None:
    values = run_values(tmp_path, tmp_path)
    phase = values["phases"][0]
    values["phases"] = [{**phase, "tokens": 1600}, {**phase, "tokens": 801}]
    made = RunOptions.make(values)
    assert made.steps == 4
    assert [made.phase_at(step) for step in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def phase(**changes: object) -> PhaseOptions:
    return PhaseOptions(**{
        "tokens": 1000, "context": 100, "batch": 100, "tasks": {"lyrics_to_song": 1},
        "rate": 1.0, **changes,
    })


def test_the_rate_by_hand() -> None:
    assert [rate(phase(), step) for step in (0, 9)] == [1, 1]
    warm = phase(warmup=0.4, start=0.2)
    assert [rate(warm, step) for step in range(5)] == pytest.approx([0.4, 0.6, 0.8, 1, 1])
    down = phase(shape="linear", end=0.1, hold=0.5)
    assert [rate(down, s) for s in (4, 5, 7, 9)] == pytest.approx([1, 1, 0.55, 0.1])
    curve = phase(shape="cosine", end=0.0, warmup=0.1)
    assert rate(curve, 0) == rate(curve, 1) == 1
    assert rate(curve, 5) == pytest.approx(0.5)
    assert rate(curve, 9) == pytest.approx(0, abs=1e-12)


RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: "/".join(p.parts[-2:]))
def test_recipes_are_valid(recipe: Path) -> None:
    read = CodecRun.read if "codec" in recipe.name else RunOptions.load
    assert read(recipe).phases


def test_the_paper_s_model_has_the_published_size() -> None:
    """6.2 B parameters: what the published config gives, by arithmetic."""
    options = RunOptions.load(ROOT / "recipes" / "paper-7b.toml")
    config = new_config(options.model, YUE_V1, text=83734)
    assert config.vocab_size == 83968
    trained, frozen = sizes(config, options)
    assert frozen == 0
    attention = 4096 * (4096 + 2 * 4 * 128 + 4096)
    layer = attention + 3 * 4096 * 11008 + 2 * 4096
    assert trained == 32 * layer + 2 * 83968 * 4096 + 4096


def test_the_phases_of_the_paper() -> None:
    made = RunOptions.load(ROOT / "recipes" / "paper-7b.toml")
    assert [p.tokens for p in made.phases] == [280e9, 720e9, 750e9, 40e9]
    assert [p.context for p in made.phases] == [8192, 8192, 16384, 16384]
    assert [p.rows for p in made.phases] == [768] * 4
    first, last = made.phases[0], made.phases[-1]
    assert rate(first, first.steps - 1) == pytest.approx(3e-4)
    assert rate(last, 0) == pytest.approx(3e-4, rel=1e-3)
    assert rate(last, last.steps - 1) == pytest.approx(3e-5)
    songs = [t for t in last.tasks.values() if t.task == "lyrics_to_song"]
    cited = [t for t in last.tasks.values() if t.task.startswith("in_context")]
    assert sum(t.weight for t in songs) == 2 * sum(t.weight for t in cited)
