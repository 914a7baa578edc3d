"""From votes to the report: raters of whom we know what they think, through the real files."""

from __future__ import annotations

import csv
import json
import math
import random
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from listening import folders, vote_all
from yue.errors import FileError, OptionError
from yue.evaluate.listen import report
from yue.evaluate.listen.analysis import analyse
from yue.evaluate.listen.ballots import load
from yue.evaluate.listen.desk import Desk
from yue.evaluate.listen.make import make
from yue.evaluate.listen.options import ListenOptions
from yue.evaluate.listen.words import findings

STRENGTH = {"ours": 1.0, "theirs": 0.0, "others": -1.0}
SIZE = ListenOptions(raters=12, pairs=12, seed=3, title="A <b>test</b>")
LIAR, FAST = 4, 7
FEW = {"resamples": 200}


class Rater:
    """Votes by the model with `STRENGTH`; hears the low-pass, and that two songs are the same.

    The liar votes left whatever it hears; the careless one guesses.
    """

    def __init__(self, key: dict[str, Any], number: int) -> None:
        self.key, self.number, self.random = key, number, random.Random(number)

    def __call__(self, trial: dict[str, Any], aspect: str) -> str:
        truth = self.key["trials"][trial["id"]]
        if self.number == LIAR:
            return "A"
        if self.number == FAST:
            return self.random.choice("AB")
        if truth["kind"] == "identical":
            return "="
        if truth["kind"] == "lowpass":
            return "B" if truth["worse"] == "A" else "A"
        d = STRENGTH[truth["left"]] - STRENGTH[truth["right"]]
        weights = [math.exp(d / 2), 0.3, math.exp(-d / 2)]
        return self.random.choices("A=B", weights)[0]


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of three systems on which twelve raters have voted."""
    root = tmp_path_factory.mktemp("voted")
    key = make(folders(root, prompts=12), root / "test", options=SIZE, aspects=["musicality"])
    desk = Desk(root / "test", heard=0.0)
    for number, token in enumerate(desk.tokens):
        vote_all(desk, token, Rater(key, number))
    return root / "test"


@pytest.fixture(scope="module")
def figures(voted: Path) -> dict[str, Any]:
    return analyse(load(voted), **FEW)


def test_counts_by_hand(voted: Path, figures: dict[str, Any]) -> None:
    """The table again, counted from the files with nothing of the package."""
    key = json.loads((voted / "key.json").read_text())
    counts: dict[tuple[str, str], list[int]] = {}
    for line in (voted / "votes.jsonl").read_text().splitlines():
        record = json.loads(line)
        truth = key["trials"][record["trial"]]
        if record["kind"] != "vote" or truth["kind"] != "pair":
            continue
        names = [truth["left"], truth["right"]]
        won = {"A": 0, "=": None, "B": 1}[record["answers"]["musicality"]]
        for pair, order in ((tuple(names), 0), (tuple(names[::-1]), 1)):
            place = 1 if won is None else 2 * abs(won - order)
            counts.setdefault(pair, [0, 0, 0])[place] += 1
    rows = figures["aspects"]["musicality"]["pairs"]
    assert len(rows) == 3 and sum(row["n"] for row in rows) == figures["votes"] == 144
    for row in rows:
        seen = [row["wins"], row["ties"], row["losses"]]
        assert seen == counts[row["first"], row["second"]]
        assert row["rate"] == pytest.approx((seen[0] + seen[1] / 2) / sum(seen))
        low, high = row["wilson"]
        assert low < row["rate"] < high and row["bootstrap"][0] < row["rate"] < row["bootstrap"][1]


def test_planted_strengths_are_found(voted: Path) -> None:
    """Without the two who did not listen, the truth lies in the intervals."""
    found = analyse(load(voted).without([LIAR, FAST]), **FEW)["aspects"]["musicality"]
    assert not found["note"]
    for row in found["systems"]:
        low, high = row["strength_interval"]
        assert low < STRENGTH[row["system"]] < high
        assert row["strength"] == pytest.approx(
            STRENGTH[row["system"]], abs=2.5 * row["strength_error"]
        )
    assert found["tie"]["value"] == pytest.approx(math.log(0.3), abs=2.5 * found["tie"]["error"])
    assert found["side"]["p"] > 0.01
    by_pair = {(row["first"], row["second"]): row for row in found["pairs"]}
    assert by_pair["ours", "others"]["p_holm"] < 0.01


def test_a_rater_who_always_votes_left_shows(figures: dict[str, Any]) -> None:
    liar = figures["raters"][LIAR]
    assert liar["rater"] == LIAR + 1
    assert (liar["lefts"], liar["rights"], liar["left_rate"]) == (12, 0, 1.0)
    assert (liar["left_answers"], liar["always"]) == (14, "left"), "anchors count too"
    assert liar["favours"] == "left" and liar["side_p_holm"] < 0.01
    assert liar["identical_failed"] == 1
    assert [row["rater"] for row in figures["raters"] if row["favours"]] == [LIAR + 1]
    said = "\n".join(findings(figures))
    assert "Rater 5 favours the left song: 14 answers for the left, 0 for the right" in said


def test_liars_show_in_a_short_test_of_many(tmp_path: Path) -> None:
    """Six answers each of sixty raters prove nothing by themselves; always the same one does."""
    key = make(folders(tmp_path, prompts=4), tmp_path / "test", aspects=["musicality"],
               options=ListenOptions(raters=60, pairs=4))
    desk = Desk(tmp_path / "test", heard=0.0)
    for number, token in enumerate(desk.tokens):
        constant = {3: "A", 5: "="}.get(number)
        rater = Rater(key, 100 + number)
        vote_all(desk, token, lambda *asked, c=constant, r=rater: c or r(*asked))
    held = load(tmp_path / "test")
    figures = analyse(held, **FEW)
    left, equal = figures["raters"][3], figures["raters"][5]
    assert left["side_p_holm"] > 0.05 and left["favours"] == "left"
    assert (equal["always"], equal["favours"], equal["lowpass_failed"]) == ("equal", None, 1)
    said = "\n".join(findings(figures))
    assert "Rater 4 favours the left" in said and "Rater 6 answered every time that both" in said
    strict = analyse(held, most_failures=0, **FEW)
    assert {4, 6} <= {row["rater"] for row in strict["raters"] if row["left_out"]}


def test_anchors_failed(figures: dict[str, Any]) -> None:
    for row in figures["raters"]:
        assert (row["identical"], row["lowpass"]) == (1, 1)
        if row["rater"] - 1 not in (LIAR, FAST):
            assert row["failed"] == 0
    assert figures["raters"][FAST]["identical_failed"] == 1


def test_leaving_out_who_failed(voted: Path) -> None:
    held = load(voted)
    strict = analyse(held, most_failures=0, **FEW)
    assert [row["rater"] for row in strict["raters"] if row["left_out"]] == [LIAR + 1, FAST + 1]
    assert strict["votes"] == 120
    known = analyse(held.without([LIAR, FAST]), **FEW)
    assert strict["aspects"] == known["aspects"]
    assert "and is left out" in "\n".join(findings(strict))


def test_agreement(voted: Path, figures: dict[str, Any], tmp_path: Path) -> None:
    found = figures["aspects"]["musicality"]["agreement"]
    assert found["units"] == 36
    assert all(-0.2 < found[key] < 0.6 for key in ("alpha_nominal", "alpha_interval", "kappa"))
    # Raters of one mind: whichever system comes first in the alphabet.
    key = make(folders(tmp_path, prompts=3), tmp_path / "test", aspects=["melody"],
               options=ListenOptions(raters=3, pairs=9, anchors=0))
    desk = Desk(tmp_path / "test", heard=0.0)
    for token in desk.tokens:
        vote_all(desk, token, lambda trial, _: "A" if (
            key["trials"][trial["id"]]["left"] < key["trials"][trial["id"]]["right"]) else "B")
    alike = analyse(load(tmp_path / "test"), **FEW)["aspects"]["melody"]
    assert alike["agreement"]["alpha_nominal"] == alike["agreement"]["kappa"] == 1
    assert "no limit" in alike["note"]
    values = {row["system"]: row["strength"] for row in alike["systems"]}
    assert values["others"] > values["ours"] > values["theirs"]


def test_files(voted: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    paths = report.write(load(voted), figures, tmp_path / "out")
    assert json.loads(paths["json"].read_text()) == figures
    with paths["pairs"].open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["wins"]) for row in rows] == [
        row["wins"] for row in figures["aspects"]["musicality"]["pairs"]
    ]
    assert float(rows[0]["wilson_low"]) < float(rows[0]["rate"]) < float(rows[0]["wilson_high"])
    with paths["votes"].open() as file:
        votes = list(csv.DictReader(file))
    assert len(votes) == 12 * 14
    assert {row["answer"] for row in votes} == {"A", "=", "B"}
    with paths["raters"].open() as file:
        assert next(csv.DictReader(file))["left_interval_low"]
    with paths["systems"].open() as file:
        assert {row["system"] for row in csv.DictReader(file)} == set(STRENGTH)
    page = paths["html"].read_text()
    assert page.count("<svg") == 2 and "<script" not in page
    assert "A &lt;b&gt;test&lt;/b&gt;" in page and "<b>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "favours left" in page


def test_what_raters_write_is_only_text(tmp_path: Path) -> None:
    make(folders(tmp_path, names=("a", "=1+1&<i>"), prompts=2), tmp_path / "test",
         options=ListenOptions(raters=1, pairs=2, anchors=0), aspects=["musicality"])
    desk = Desk(tmp_path / "test", heard=0.0)
    view = desk.session(desk.tokens[0])
    desk.vote(desk.tokens[0], {
        "trial": view["trial"]["id"], "answers": {"musicality": "A"}, "heard": [1, 1],
        "comment": "<img src=x onerror=alert(1)>",
    })
    held = load(tmp_path / "test")
    figures = analyse(held, **FEW)
    page = report.page(held, figures)
    assert "&lt;img src=x" in page and "<img" not in page and "<i>" not in page
    text = report.to_csv(report.vote_rows(held))
    assert "'=1+1&<i>" in text and ",=1+1" not in text
    assert report.to_csv([]) == ""


def test_a_damaged_journal_is_reported(voted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "test"
    folder.mkdir()
    for name in ("test.json", "key.json", "votes.jsonl"):
        (folder / name).write_bytes((voted / name).read_bytes())
    path = folder / "votes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:30] + b"\n"
    path.write_bytes(b"".join(lines)[:-9])
    strange = {"kind": "vote", "rater": 0, "trial": "nobody", "answers": {"musicality": "A"}}
    odd = {**strange, "trial": next(iter(json.loads((folder / "key.json").read_text())["trials"]))}
    with path.open("ab") as file:
        for record in (strange, {**odd, "answers": {"musicality": "C"}}, {**odd, "answers": {}}):
            file.write(b"\n" + json.dumps(record).encode())
    found = analyse(load(folder), **FEW)
    assert found["damaged_lines"] == [3, len(lines)] and found["strange_votes"] == 3
    said = "\n".join(findings(found))
    assert f"Line 3, {len(lines)} of the votes file is damaged" in said
    assert "3 votes fit no trial" in said


def test_one_vote_and_none(tmp_path: Path) -> None:
    """A report after one vote has all its parts; without a vote it says what to do."""
    make(folders(tmp_path), tmp_path / "test", options=ListenOptions(raters=2, pairs=3),
         aspects=["musicality"])
    with pytest.raises(OptionError, match="yue listen serve"):
        analyse(load(tmp_path / "test"))
    desk = Desk(tmp_path / "test", heard=0.0)
    vote_all(desk, desk.tokens[0], lambda *_: "=", most=1)
    held = load(tmp_path / "test")
    found = analyse(held, **FEW)
    json.dumps(found, allow_nan=False)
    assert "never met" in report.page(held, found)
    assert report.table(found).count("\n") >= 5
    with pytest.raises(FileError, match="yue listen make"):
        load(tmp_path)


def yue(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it."""
    done = subprocess.run(
        [sys.executable, "-m", "yue", *map(str, arguments)], capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_command_line(tmp_path: Path) -> None:
    systems = folders(tmp_path, prompts=3)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(
        json.dumps({"id": f"{n:02d}", "genres": "pop", "lyrics": "la"}) + "\n" for n in range(3)
    ))
    test = tmp_path / "test"
    done = yue(
        "listen", "make", *systems, "-o", test, "--raters", "2", "--pairs", "3",
        "--prompts", prompts, "--aspects", "musicality, tempo",
    )
    assert done.stdout == f"{test}\n"
    assert "194 votes" in done.stderr and "key.json" in done.stderr
    desk = Desk(test, heard=0.0)
    for token in desk.tokens:
        vote_all(desk, token, lambda *_: "B")
    done = yue("listen", "report", test, "--resamples", "100")
    assert "musicality" in done.stdout and "tempo" in done.stdout
    assert (test / "report" / "report.html").is_file()
    done = yue("listen", "report", test, "-o", tmp_path / "out", "--json", "--resamples", "100")
    assert json.loads(done.stdout)["votes"] == 6
    assert "give two or more folders" in yue("listen", "make", systems[0], code=1).stderr
    assert "yue listen make" in yue("listen", "serve", tmp_path, code=1).stderr
    assert "resamples" in yue("listen", "report", test, "--resamples", "1", code=1).stderr


def test_serving_from_the_command_line(voted: Path) -> None:
    """Links on stdout, the page under them, a quiet end by Ctrl-C."""
    command = [sys.executable, "-m", "yue", "listen", "serve", str(voted), "--port", "0", "--links"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    url, token = link.split("#")
    request = urllib.request.Request(f"{url}api/session", headers={"X-Rater": token})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert json.loads(reply.read()) == {"done": 14, "total": 14, "trial": None}
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.strip() == f"listening on {url} (Ctrl-C ends it)"
