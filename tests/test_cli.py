"""The command line as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import LYRICS

YUE = [sys.executable, "-m", "yue"]
FAST = ["--min-new-tokens", "20", "--max-new-tokens", "100", "--seed", "5"]


def run(*arguments: str, cwd: Path, code: int = 0, text: str | None = None):
    done = subprocess.run(
        [*YUE, *arguments], cwd=cwd, capture_output=True, text=True, input=text, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def lyrics(tmp_path: Path) -> Path:
    path = tmp_path / "lyrics.txt"
    path.write_text(LYRICS)
    return path


def test_help_is_quick_and_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, yue.cli\n"
        "heavy = [m for m in ('torch', 'numpy', 'transformers') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    start = time.perf_counter()
    shown = run("sing", "--help", cwd=tmp_path).stdout
    assert time.perf_counter() - start < 2
    for flag in ("--genres", "--top-p", "--takes", "--like", "--json", "--mode", "--no-graphs"):
        assert flag in shown


def test_sing_prints_the_path_alone(lyrics: Path, tmp_path: Path) -> None:
    done = run("sing", "lyrics.txt", "-g", "folk", "-o", "out.wav", *FAST, cwd=tmp_path)
    assert done.stdout == "out.wav\n" and (tmp_path / "out.wav").stat().st_size > 10_000
    assert "sings noise" not in done.stderr
    noise = run("sing", "lyrics.txt", "--model", "random", "-o", "out.wav", *FAST, cwd=tmp_path)
    assert "sings noise" in noise.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lyrics.txt", "out.json", "out.wav"]


def test_sing_json_is_the_documented_object(lyrics: Path, tmp_path: Path) -> None:
    done = run("sing", "-", "-g", "folk", "--json", "--lrc", *FAST, cwd=tmp_path, text=LYRICS)
    result = json.loads(done.stdout)
    assert {"mix", "vocals", "accompaniment"} <= result["paths"].keys()
    assert all((tmp_path / path).is_file() for path in result["paths"].values())
    assert result["seed"] == 5 and result["findings"] == []
    assert [s["label"] for s in result["sections"]] == ["verse", "chorus"]
    assert result["sections"][0].keys() == {
        "label", "start", "end", "truncated", "follows", "consonance",
    }
    assert result["sections"][-1]["end"] == pytest.approx(result["seconds"])
    assert "compose_seconds" in result["timings"]


def test_the_stages_one_by_one_equal_sing(lyrics: Path, tmp_path: Path) -> None:
    run("compose", "lyrics.txt", "-g", "folk", "-o", "draft.npz", *FAST, cwd=tmp_path)
    assert run("refine", "draft.npz", cwd=tmp_path).stdout == "codes.npz\n"
    run("render", "codes.npz", "-o", "a.wav", cwd=tmp_path)
    run("render", "draft.npz", "-o", "b.wav", cwd=tmp_path)
    run("sing", "lyrics.txt", "-g", "folk", "-o", "c.wav", *FAST, cwd=tmp_path)
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.wav", "b.wav", "c.wav"))
    assert a == b == c


@pytest.mark.parametrize("model", ["tiny", "random"])
def test_a_preview_lacks_what_stage_2_adds(lyrics: Path, tmp_path: Path, model: str) -> None:
    """Which is nothing where the upsamplers listen to the first codebook alone."""
    chosen = ["--model", model]
    run("compose", "lyrics.txt", "-g", "folk", "-o", "draft.npz", *chosen, *FAST, cwd=tmp_path)
    run("render", "draft.npz", "-o", "whole.wav", *chosen, cwd=tmp_path)
    run("render", "draft.npz", "-o", "preview.wav", "--preview", *chosen, cwd=tmp_path)
    whole, preview = ((tmp_path / f"{name}.wav").read_bytes() for name in ("whole", "preview"))
    assert len(whole) == len(preview) and (whole == preview) == (model == "tiny")


def test_a_flag_counts_even_if_it_says_the_usual(lyrics: Path, tmp_path: Path) -> None:
    """The bundled model has options of its own; what is not given stays theirs."""
    from yue.draft import Draft
    from yue.pipeline import load

    own = load(device="cpu").spec.compose
    assert own["tries"] > 1 and own["top_k"] != 50 and own["temperature"] != 1
    run("compose", "lyrics.txt", "-g", "folk", "--tries", "1", "--top-k", "50", *FAST, cwd=tmp_path)
    options = Draft.load(tmp_path / "draft.npz").made_by["options"]
    assert (options["tries"], options["top_k"]) == (1, 50)
    assert (options["temperature"], options["enough"]) == (own["temperature"], own["enough"])


def test_compose_goes_on_after_a_draft(lyrics: Path, tmp_path: Path) -> None:
    run("compose", "lyrics.txt", "-g", "folk", *FAST, cwd=tmp_path)
    whole = (tmp_path / "draft.npz").read_bytes()
    done = run(
        "compose", "--after", "draft.npz", "--keep", "1", "-o", "again.npz", "--json", *FAST,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["complete"] is True
    from yue.draft import Draft

    first, again = Draft.load(tmp_path / "draft.npz"), Draft.load(tmp_path / "again.npz")
    assert (first.codes == again.codes).all() and whole


def test_takes_are_numbered(lyrics: Path, tmp_path: Path) -> None:
    done = run("sing", "lyrics.txt", "--takes", "2", "-o", "x.wav", *FAST, cwd=tmp_path)
    assert done.stdout == "x.1.wav\nx.2.wav\n"


def test_ctrl_c_keeps_the_finished_sections(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("[verse]\nla\n\n" * 40)
    process = subprocess.Popen(
        [*YUE, "sing", "long.txt", "-o", "x.wav", "--min-new-tokens", "300",
         "--max-new-tokens", "300", "--seed", "1"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ.copy(),
    )
    draft = tmp_path / "x.draft.npz"
    for _ in range(600):
        if draft.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "of 40 sections are kept" in told
    assert "yue sing --after x.draft.npz -o x.wav" in told
    from yue.draft import Draft

    kept = Draft.load(draft)
    assert 1 <= len(kept) < 40 and not kept.complete


def test_batch_skips_what_is_done_and_reports_what_fails(lyrics: Path, tmp_path: Path) -> None:
    items = [
        {"id": "one", "lyrics": LYRICS, "genres": "folk"},
        {"id": "two", "lyrics": "", "genres": "folk"},
        {"id": "three", "lyrics_file": "lyrics.txt", "options": {"seed": 9}},
    ]
    (tmp_path / "songs.jsonl").write_text("\n".join(map(json.dumps, items)))
    command = ["sing", "--batch", "songs.jsonl", "-o", "out", "--json", *FAST]
    done = run(*command, cwd=tmp_path, code=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == ["one", "two", "three"]
    assert "empty" in lines[1]["error"] and lines[2]["seed"] == 9
    assert "1 of 3 songs failed" in done.stderr
    before = (tmp_path / "out" / "one.flac").stat().st_mtime_ns
    again = run(*command, cwd=tmp_path, code=1)
    assert [json.loads(line)["id"] for line in again.stdout.splitlines()] == ["two"]
    assert (tmp_path / "out" / "one.flac").stat().st_mtime_ns == before
    items[0]["lyrics"] = "[verse]\nother words\n"
    (tmp_path / "songs.jsonl").write_text("\n".join(map(json.dumps, items)))
    third = run(*command, cwd=tmp_path, code=1)
    assert [json.loads(line)["id"] for line in third.stdout.splitlines()] == ["one", "two"]
    assert "have changed" in third.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ('{"id": "../x", "lyrics": "a"}', "id '../x'"),
        ('{"id": "a"}', "lyrics or lyrics_file"),
        ('{"id": "a", "lyrics": "b", "genre": "c"}', "unknown genre"),
    ],
)
def test_a_bad_batch_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "songs.jsonl").write_text(line + "\n")
    done = run("sing", "--batch", "songs.jsonl", "-o", "out", cwd=tmp_path, code=1)
    assert message in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing", "none.txt"], "none.txt could not be read"),
        (["sing", "lyrics.txt", "-o", "x.xyz"], "suffix must be one of"),
        (["sing", "lyrics.txt", "-o", "no/x.wav"], "no folder"),
        (["sing", "lyrics.txt", "--top-k", "0"], "top_k = 0: allowed"),
        (["sing", "lyrics.txt", "-m", "enn"], "neither a preset"),
        (["sing", "lyrics.txt", "-m", "en"], "HF_HUB_OFFLINE"),
        (["sing"], "one file of lyrics"),
        (["sing", "binary"], "not text"),
        (["compose", "lyrics.txt", "--after", "lyrics.txt"], "not a draft file"),
        (["render", "lyrics.txt"], "codes from `yue refine`"),
        (["sing", "lyrics.txt", "-g", "pop", "rock"], "put tags into quotes"),
        (["sing", "lyrics.txt", "--start", "3"], "give --like"),
        (["sing", "lyrics.txt", "--like", "x.wav", "-o", "x.wav"], "the reference itself"),
        (["sing", "lyrics.txt", "--like", "lyrics.txt"], "could not be read as audio"),
        (["sing", "pdf"], "a PDF"),
        (["sing", "lyrics.txt", "--vocals", "v.wav"], "--vocals needs --accompaniment"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_1(
    lyrics: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "pdf").write_bytes(b"%PDF-1.4 all ASCII")
    done = run(*arguments, cwd=tmp_path, code=1)
    assert message in done.stderr and not done.stdout and "Traceback" not in done.stderr


def test_findings_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("[Verse 1]\nhello\n[Guitar Solo]\n")
    done = run("sing", "x.txt", "--json", *FAST, cwd=tmp_path)
    assert "line 1" in done.stderr and "line 3" in done.stderr
    assert [f["line"] for f in json.loads(done.stdout)["findings"]] == [1, 3]


def test_doctor_and_models(tmp_path: Path) -> None:
    report = json.loads(run("doctor", "--json", cwd=tmp_path).stdout)
    assert {"yue", "device", "free memory", "cache"} <= report.keys()
    assert "en-icl" in run("models", cwd=tmp_path).stdout
    assert "free on cpu" in run("models", "plan", "random", cwd=tmp_path).stdout
    assert "stage1" in run("models", "fetch", "random", cwd=tmp_path).stdout
    assert run("--version", cwd=tmp_path).stdout.startswith("0.")
