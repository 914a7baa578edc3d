"""The paper's table from a CSV to a folder of results, and the same with votes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from test_preference import simulated
from yue.cli import main
from yue.errors import FileError, OptionError
from yue.evaluate import agreement_plots, agreement_report, preference

HUMAN = {"YuE": 47, "Udio": 49, "SunoV4": 76, "Hailuo": 29, "Tiangong": 49}


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def paper(shared: Path, tmp_path: Path) -> Path:
    """Table 3 and the mean vocal ranges as a tidy CSV, the overall preferences as scores."""
    held = json.loads((shared / "evaluation.json").read_text())
    systems = held["table3"].pop("systems")
    rows = [
        f"{system},all,{name},{value}"
        for name, column in held["table3"].items()
        for system, value in zip(systems, column, strict=True)
    ]
    names = {"Hailuo Music": "Hailuo", "Suno V4": "SunoV4"}
    rows += [
        f"{names.get(name, name)},all,VocalRange,{row['mean']}"
        for name, row in held["vocal_range"].items()
    ]
    (tmp_path / "metrics.csv").write_text("\n".join(["system,song,metric,value", *rows]))
    scores = [f"{system},{value}" for system, value in HUMAN.items()]
    (tmp_path / "scores.csv").write_text("\n".join(["system,score", *scores]))
    return tmp_path


def test_table_4_from_files(
    paper: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = paper / "out"
    monkeypatch.setattr(sys, "argv", [
        "yue", "agree", str(paper / "metrics.csv"), "--scores", str(paper / "scores.csv"),
        "-o", str(out),
    ])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    line = next(line for line in told.err.splitlines() if line.startswith("VocalRange"))
    assert line.split() == ["VocalRange", "5", "0.858", "0.083", "0.750", "0.65", "to", "0.95"]
    rows = {(row["metric"], row["coefficient"]): row for row in read(out / "systems.csv")}
    assert len(rows) == 27
    found = [round(float(rows[name, "pearson"]["value"]), 3)
             for name in ("KL", "FAD", "CE", "CU", "PC", "PQ", "CLAP", "CLaMP3", "VocalRange")]
    assert found == [-0.199, -0.351, 0.357, 0.303, -0.128, 0.054, 0.086, 0.264, 0.858]
    assert float(rows["VocalRange", "pearson"]["fisher_low"]) < 0
    assert rows["VocalRange", "kendall"]["fisher_low"] == ""
    held = json.loads((out / "agreement.json").read_text())
    assert held["songs"] is None and held["scored_by"] == "scores given"
    assert not (out / "songs.csv").exists()
    for name in ("scatter", "coefficients"):
        picture = (out / f"{name}.svg").read_text()
        assert "VocalRange" in picture and picture.startswith("<?xml")
    assert "r = 0.858, p = 0.083, n = 5" in (out / "scatter.svg").read_text()
    assert "Tiangong" in (out / "scatter.svg").read_text()


def test_votes_give_song_level_and_scores(tmp_path: Path) -> None:
    metric, cast = simulated(2, songs=1, systems=1)
    noise = {key: float(i * 7919 % 101) for i, key in enumerate(metric)}
    found = agreement_report.compare({"knows": metric, "noise": noise}, votes=cast)
    assert found["scores"] == preference.win_rates(cast)
    assert found["scored_by"] == "win rates of the votes"
    paths = agreement_report.write(found, tmp_path / "out")
    rows = {row["metric"]: row for row in read(paths["songs"])}
    assert float(rows["knows"]["accuracy"]) > 0.75 > 0.6 > float(rows["noise"]["accuracy"])
    assert float(rows["knows"]["p_within"]) < 0.01 < float(rows["noise"]["p_holm"])
    assert int(rows["knows"]["votes"]) == 600
    assert "knows" in paths["accuracy"].read_text()
    text = agreement_report.table(found)
    assert "600" in text.splitlines()[1] and text.splitlines()[1].endswith("%")
    again = agreement_report.write(found, tmp_path / "again")
    assert {name: path.read_bytes() for name, path in paths.items()} == {
        name: path.read_bytes() for name, path in again.items()
    }


def test_a_control_is_taken_off(paper: Path) -> None:
    metrics = preference.read_metrics(paper / "metrics.csv")
    scores = agreement_report.read_scores(paper / "scores.csv")
    found = agreement_report.compare(metrics, scores=scores, control="CLAP")
    row = found["systems"]["metrics"]["VocalRange"]
    systems = row["systems"]
    expected = preference.partial(
        "pearson", *([each[s] for s in systems]
                     for each in (found["means"]["VocalRange"], scores, found["means"]["CLAP"]))
    )
    assert row["pearson"]["partial"] == expected != row["pearson"]["value"]
    assert "partial" not in found["systems"]["metrics"]["CLAP"]["pearson"]
    with pytest.raises(OptionError, match="control 'loudness': the metrics are KL"):
        agreement_report.compare(metrics, scores=scores, control="loudness")


def test_a_metric_of_which_nothing_can_be_said_is_named(paper: Path) -> None:
    scores = {"a": 1.0, "b": 2.0, "c": 4.0}
    metrics = {"good": {(s, "1"): v for s, v in scores.items()},
               "flat": {(s, "1"): 0.0 for s in scores}}
    found = agreement_report.compare(metrics, scores=scores)
    assert set(found["systems"]["metrics"]) == {"good"}
    told = agreement_report.table(found)
    assert "left out: flat" in told and "0.0 everywhere" in told
    agreement_report.write(found, paper.parent / "flat")
    with pytest.raises(OptionError, match="flat, systems with a score"):
        agreement_report.compare({"flat": metrics["flat"]}, scores=scores)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="neither scores nor votes"):
        agreement_report.compare({})
    (tmp_path / "scores.csv").write_text("system,score\nx,nan\n")
    with pytest.raises(FileError, match="line 2: 'nan' is no number"):
        agreement_report.read_scores(tmp_path / "scores.csv")
    figure: Any = agreement_plots.forest({"metrics": {}})
    with pytest.raises(OptionError, match=r"must be one of \.svg"):
        agreement_plots.save(figure, tmp_path / "a.gif")
    assert agreement_plots.save(figure, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
