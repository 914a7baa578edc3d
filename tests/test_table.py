"""Tables with intervals, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from yue.evaluate import table


def results(values: list[float | None], start: int = 0, **more: object) -> dict:
    return {
        f"s{start + place}": {"m": {"values": {"x": value, "words": ["a"], "on": True, **more}}}
        for place, value in enumerate(values)
    }


def test_only_numbers_have_rows() -> None:
    (row,) = table.table(results([1, 2, None, 6]))
    assert (row.name, row.n, row.mean, row.median) == ("m.x", 3, 3, 2)
    assert row.interval is not None and 1 <= row.interval[0] < 3 < row.interval[1] <= 6
    assert row.reference is None and not row.differs


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = table.interval(values.tolist()) or (0, 0)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.04)
    assert high == pytest.approx(values.mean() + half, abs=0.04)
    assert table.interval([3.0]) is None and table.interval([3.0, 3.0]) == (3, 3)
    assert table.interval([1.0, 2, 9], seed=1) == table.interval([1.0, 2, 9], seed=1)


def test_intervals_cover_as_often_as_they_say() -> None:
    draws = np.random.default_rng(1).normal(0, 1, (200, 30))
    found = [table.interval(draw.tolist(), seed) for seed, draw in enumerate(draws)]
    covered = np.mean([low <= 0 <= high for low, high in filter(None, found)])
    assert 0.88 <= covered <= 0.98


def test_pairs_of_songs_see_what_the_means_hide() -> None:
    base = np.random.default_rng(2).normal(0, 10, 20)
    mine, theirs = results((base + 1).tolist()), results(base.tolist())
    (paired,) = table.table(mine, theirs)
    assert paired.pairs == 20 and paired.differs and paired.difference == pytest.approx(1)
    (most,) = table.table(mine, results([*base.tolist()[1:], 500.0], start=1))
    assert most.pairs == 19 and most.differs and most.difference == pytest.approx(1)
    (loose,) = table.table(mine, results(base.tolist(), start=15))
    assert not loose.pairs and not loose.differs
    (alone,) = table.table(results([1.0]), results([2.0]))
    assert alone.difference == -1 and alone.difference_interval is None and not alone.differs


def test_text_lines_up() -> None:
    text = table.text_of(table.table(results([1, 2, 6]), results([2, 3, 7])))
    head, line = text.splitlines()
    assert head.split()[:3] == ["value", "n", "mean"] and line.split()[:3] == ["m.x", "3", "3"]
    assert head.index(" n ") == line.index(" 3 ")
    assert table.short(None) == "-" and table.short(-25.69588) == "-25.7"
    assert table.span((1, 2.5)) == "[1, 2.5]" and table.span(None) == "-"
    assert table.text_of([]).split() == ["value", "n", "mean", "95", "%", "median"]
