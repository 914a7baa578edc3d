"""Metrics against votes on pairs of songs: by hand, by full enumeration, planted, at chance."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import FileError, OptionError
from yue.evaluate import agreement, preference
from yue.evaluate.preference import Vote, partial, predict

VALUES = {
    ("x", "1"): 3.0, ("y", "1"): 1.0, ("x", "2"): 2.0, ("y", "2"): 5.0,
    ("x", "3"): 4.0, ("y", "3"): 4.0,
}


def test_by_hand() -> None:
    votes = [
        Vote("a", "1", "x", "y", 1), Vote("b", "1", "y", "x", 1), Vote("a", "2", "x", "y", -1),
        Vote("b", "3", "x", "y", 1), Vote("b", "2", "x", "y", 0), Vote("c", "9", "x", "y", 1),
    ]
    found = predict(VALUES, votes)
    # Margins of the winners: 2, -2, 3, 0.
    assert (found["n"], found["ties"], found["left_out"]) == (4, 1, 1)
    assert (found["prompts"], found["raters"]) == (3, 2)
    assert found["accuracy"] == (1 + 0 + 1 + 0.5) / 4
    sums = np.add.outer([2, -2, 3, 0], [2, -2, 3, 0])
    assert found["auc"] == ((sums > 0).sum() + 0.5 * (sums == 0).sum()) / 16
    # Prompt 1 adds up to 0, prompt 2 and 3 to 1 and 0: |sum| >= 1 under every flip.
    assert found["p"] == 1


def test_auc_is_scikit_learns_of_both_sides() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    songs = {(s, str(p)): float(rng.integers(0, 9)) for s in "xyz" for p in range(30)}
    pairs = list(itertools.permutations("xyz", 2))
    votes = [
        Vote(str(i % 7), str(i % 30), *pairs[i % 6], int(rng.choice([-1, 1]))) for i in range(200)
    ]
    d = np.array([songs[v.first, v.prompt] - songs[v.second, v.prompt] for v in votes])
    won = np.array([v.outcome > 0 for v in votes])
    expected = roc_auc_score(np.r_[won, ~won], np.r_[d, -d])
    assert predict(songs, votes)["auc"] == pytest.approx(expected)
    swapped = [Vote(v.rater, v.prompt, v.second, v.first, -v.outcome) for v in votes]
    assert predict(songs, swapped) == predict(songs, votes)


def simulated(seed: int, *, songs: float, systems: float, votes: int = 600) -> Any:
    """Votes by true qualities, and a metric that knows of songs and of systems so much."""
    rng = np.random.default_rng(seed)
    names, prompts = "vwxyz", 40
    level = dict(zip(names, rng.permutation(5) - 2.0, strict=True))
    own = {(s, str(p)): float(rng.normal()) for s in names for p in range(prompts)}
    metric = {key: songs * q + systems * level[key[0]] + 0.5 * rng.normal()
              for key, q in own.items()}
    cast = []
    for i in range(votes):
        first, second = rng.permutation(list(names))[:2]
        prompt = str(rng.integers(prompts))
        better = (own[first, prompt] + level[first]) - (own[second, prompt] + level[second])
        outcome = 1 if better + rng.normal() > 0 else -1
        cast.append(Vote(str(i % 12), prompt, first, second, outcome))
    return metric, cast


def test_a_metric_that_knows_songs_and_one_that_knows_systems() -> None:
    both, cast = simulated(1, songs=1, systems=1)
    rates = preference.win_rates(cast)
    only = {key: rates[key[0]] for key in both}  # nothing but the system's rank
    found = preference.evaluate({"both": both, "only": only}, cast)["metrics"]
    assert found["both"]["accuracy"] > 0.75 and found["both"]["p_holm"] < 0.001
    assert found["both"]["within"]["auc"] > 0.6 and found["both"]["within"]["p_holm"] < 0.01
    assert found["only"]["accuracy"] > 0.65 and found["only"]["p_holm"] < 0.001
    assert found["only"]["within"]["auc"] == 0.5 and found["only"]["within"]["p"] == 1
    low, high = found["both"]["within"]["auc_interval"]
    assert 0.5 < low < found["both"]["within"]["auc"] < high
    low, high = found["both"]["accuracy_interval"]
    assert 0.5 < low < found["both"]["accuracy"] < high < 1
    low, high = found["both"]["auc_interval"]
    assert low < found["both"]["auc"] < high


def test_within_pairs_by_hand() -> None:
    """x against y won by 5 and 1, lost by 3: one of two is ahead. x against z only ever won."""
    values = {("x", str(n)): d for n, d in enumerate((5.0, 1.0, 3.0, 9.0))}
    values |= {(system, str(n)): 0.0 for n in range(4) for system in "yz"}
    votes = [Vote("a", "0", "x", "y", 1), Vote("a", "1", "y", "x", -1),
             Vote("b", "2", "y", "x", 1), Vote("b", "3", "x", "z", 1)]
    found = predict(values, votes)["within"]
    assert found["auc"] == 0.5 and found["p"] == 1
    assert predict(values, [vote for vote in votes if vote.prompt != "2"])["within"] is None


def test_noise_predicts_nothing() -> None:
    ps, inside = [], 0
    for seed in range(60):
        _, cast = simulated(seed, songs=0, systems=0, votes=120)
        rng = np.random.default_rng(1000 + seed)
        noise = {(s, str(p)): float(rng.normal()) for s in "vwxyz" for p in range(40)}
        found = predict(noise, cast, resamples=200)
        ps += [found["p"], found["within"]["p"]]
        inside += found["accuracy_interval"][0] <= 0.5 <= found["accuracy_interval"][1]
    assert np.mean(np.array(ps) < 0.1) < 0.25
    assert inside > 45


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), min_size=1, max_size=12))
def test_flip_p_is_full_enumeration(rows: list[tuple[int, int]]) -> None:
    margin, prompts = (np.array(column) for column in zip(*rows, strict=True))
    names = sorted(set(prompts.tolist()))
    signs = np.sign(margin)
    sums = [signs[prompts == name].sum() for name in names]
    totals = [
        abs(np.dot(flips, sums)) for flips in itertools.product((-1, 1), repeat=len(names))
    ]
    expected = np.mean([total >= abs(signs.sum()) for total in totals])
    assert preference.flip_p(margin, prompts) == pytest.approx(expected)


def test_drawn_flips_agree_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    margin, prompts = np.array([1, 1, 1, -1, 1, 1, 1, 1.0]), np.arange(8)
    exact = preference.flip_p(margin, prompts)
    assert exact == 2 * (1 + 8) / 2**8  # the sign test: 7 of 8
    monkeypatch.setattr(preference, "EXACT_UP_TO", 0)
    assert preference.flip_p(margin, prompts) == pytest.approx(exact, abs=0.01)


def test_partial_is_the_correlation_of_residuals() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=50)
    x, y = z + rng.normal(size=50), 2 * z + rng.normal(size=50)

    def rest(values: np.ndarray) -> np.ndarray:
        slope, offset = np.polyfit(z, values, 1)
        return values - slope * z - offset

    assert partial("pearson", x, y, z) == pytest.approx(agreement.pearson(rest(x), rest(y)))
    assert agreement.pearson(x, y) > 0.5 > abs(partial("pearson", x, y, z))
    ranked = [agreement.ranks(values) for values in (x, y, z)]
    assert partial("spearman", x, y, z) == pytest.approx(partial("pearson", *ranked))
    with pytest.raises(OptionError, match="explains x or y entirely"):
        partial("pearson", x, y, 3 * x + 1)
    with pytest.raises(OptionError, match="allowed are pearson, spearman"):
        partial("kendall", x, y, z)


def test_system_means_and_rates() -> None:
    assert preference.system_means(VALUES) == {"x": 3.0, "y": pytest.approx(10 / 3)}
    votes = [Vote("a", "1", "x", "y", 1), Vote("a", "1", "y", "x", 0), Vote("a", "2", "x", "z", -1)]
    assert preference.win_rates(votes) == {"x": 0.5, "y": 0.25, "z": 1.0}


def test_files(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("\ufeffsystem,song,metric,value\nx,1,range,12\nx,2,range,\ny,1,kl,0.5\n")
    assert preference.read_metrics(metrics) == {
        "range": {("x", "1"): 12.0}, "kl": {("y", "1"): 0.5},
    }
    votes = tmp_path / "votes.csv"
    votes.write_text(
        "rater,kind,prompt,A,B,aspect,answer,seconds,comment\n"
        "1,pair,p1,x,y,musicality,B,3,\n1,pair,p1,x,y,melody,A,3,\n"
        "2,pair,p2,y,x,musicality,=,3,\"a, b\"\n2,same,p3,x,x,musicality,A,3,\n"
    )
    assert preference.read_votes(votes) == [
        Vote("1", "p1", "x", "y", -1), Vote("2", "p2", "y", "x", 0)
    ]
    assert preference.read_votes(votes, "melody") == [Vote("1", "p1", "x", "y", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system,song,value\n", "has no column metric"),
        ("system,song,metric,value\nx,1,range,high\n", "line 2: 'high' is no number"),
        ("system,song,metric,value\nx,1\n", "line 2 is cut off"),
        ("system,song,metric,value\nx,1,r,1\nx,1,r,2\n", "line 3: r of 1 twice"),
    ],
)
def test_files_with_mistakes(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(text)
    with pytest.raises(FileError, match=message):
        preference.read_metrics(file)


def test_too_little(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="range: 0 votes with a winner"):
        preference.evaluate({"range": VALUES}, [Vote("a", "1", "x", "y", 0)])
    with pytest.raises(FileError, match="could not be read"):
        preference.read_votes(tmp_path / "nothing.csv")
    (tmp_path / "votes.csv").write_text("rater,prompt,A,B,answer\n1,p,x,y,left\n")
    with pytest.raises(FileError, match="answer 'left'"):
        preference.read_votes(tmp_path / "votes.csv")
