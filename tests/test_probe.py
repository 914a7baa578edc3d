"""Probes: trained alone or together, planted layers, chance, other people's implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from yue.errors import OptionError
from yue.evaluate import marble_scores as scores
from yue.evaluate.options import ProbeOptions
from yue.evaluate.probe import RATES, Probes, Split, train

QUICK = ProbeOptions(hidden=32, epochs=30, patience=10)


def split(
    tracks: int, seed: int, *, layers: int = 4, planted: int | None = None, classes: int = 4,
    size: int = 16, chunks: int = 2, noise: float = 0.3,
) -> Split:
    """Noise in all layers; in the planted one the class stands along a direction of its own."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(classes, size))
    labels = rng.integers(0, classes, tracks)
    track = np.repeat(np.arange(tracks), chunks)
    features = rng.normal(size=(len(track), layers, size))
    if planted is not None:
        features[:, planted] = directions[labels[track]] + noise * features[:, planted]
    return Split(features.astype(np.float16), track, labels)


def fit(data: Split, valid: Split, options: ProbeOptions = QUICK, rates: Any = RATES) -> Any:
    return train(
        data, valid, "classes", scores.accuracy, outputs=4, rates=rates, options=options
    )


def test_a_planted_layer_is_found_and_only_there() -> None:
    data, valid, test = (split(n, s, planted=2) for n, s in ((120, 1), (60, 2), (200, 3)))
    trained = fit(data, valid)
    assert int(trained.score.max(axis=1).argmax()) == 2 and trained.score[2].max() == 1
    found = scores.accuracy(trained.probes.predict(test), torch.from_numpy(test.targets))
    best = trained.score.argmax(axis=1)
    assert found[2, best[2]] == 1
    for layer in (0, 1, 3):  # chance is .25, its error over 200 tracks .031
        assert abs(float(found[layer, best[layer]]) - 0.25) < 0.11


def test_each_probe_is_the_one_trained_alone() -> None:
    data, valid = split(60, 1, planted=1, noise=2.0), split(40, 2, planted=1, noise=2.0)
    both = fit(data, valid)
    assert both.score.shape == both.epoch.shape == (4, 6)
    for layer, rate in ((1, 3), (1, 5), (0, 2)):
        alone = fit(data.layers([layer]), valid.layers([layer]), rates=[RATES[rate]])
        assert alone.score[0, 0] == pytest.approx(both.score[layer, rate], abs=1e-9)
        assert alone.epoch[0, 0] == both.epoch[layer, rate]
        got = alone.probes.predict(valid.layers([layer]))[0, 0]
        assert torch.allclose(got, both.probes.predict(valid)[layer, rate], atol=1e-3)


def test_the_best_epoch_is_kept() -> None:
    data, valid = split(60, 1, planted=1, noise=2.0), split(40, 2, planted=1, noise=2.0)
    trained = fit(data, valid)
    again = scores.accuracy(trained.probes.predict(valid), torch.from_numpy(valid.targets))
    assert np.allclose(again, trained.score)
    assert (trained.epoch >= 1).all() and trained.epoch.max() <= QUICK.epochs


def test_the_slow_twin_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One probe as a Sequential with torch's Adam and scheduler, the same batches and dropout."""
    rate, o = 1e-2, ProbeOptions(hidden=8, epochs=25, patience=6, plateau=1, batch=32)
    data = split(64, 1, layers=1, planted=0, noise=3.0, chunks=1)
    valid = split(40, 2, layers=1, planted=0, noise=3.0, chunks=1)
    ours = fit(data, valid, o, rates=[rate])

    first = Probes(1, 16, 4, 1, o)
    w1, b1, w2, b2 = (part.detach() for part in first.parameters)
    twin = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    with torch.no_grad():
        for own, given in ((twin[0].weight, w1[0, :, 0].T), (twin[0].bias, b1[0, 0]),
                           (twin[2].weight, w2[0, 0].T), (twin[2].bias, b2[0, 0])):
            own.copy_(given)
    adam = torch.optim.Adam(twin.parameters(), lr=rate)
    halving = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam, "max", factor=0.5, patience=1, threshold=0
    )
    generator = torch.Generator().manual_seed(o.seed)
    x, y = torch.from_numpy(data.features[:, 0]).float(), torch.from_numpy(data.targets)
    vx, vy = torch.from_numpy(valid.features[:, 0]).float(), torch.from_numpy(valid.targets)
    best, at, kept = -1.0, 0, torch.zeros(40, 4)
    for epoch in range(1, 26):
        if epoch - 1 - at >= o.patience:
            break
        for some in torch.randperm(64, generator=generator).split(32):
            keep = torch.rand(len(some), 8, generator=generator) >= o.dropout
            hidden = twin[1](twin[0](x[some])) * keep / (1 - o.dropout)
            adam.zero_grad()
            torch.nn.functional.cross_entropy(twin[2](hidden), y[some]).backward()
            adam.step()
        with torch.no_grad():
            out = twin(vx)
        score = float((out.argmax(1) == vy).double().mean())
        halving.step(score)
        if score > best:
            best, at, kept = score, epoch, out
    assert adam.param_groups[0]["lr"] < rate  # it was halved at least once
    assert ours.score[0, 0] == best and ours.epoch[0, 0] == at
    assert torch.allclose(ours.probes.predict(valid)[0, 0], kept, atol=1e-4)


def test_logistic_regression_agrees() -> None:
    """Where classes overlap, neither is much better than the other."""
    from sklearn.linear_model import LogisticRegression

    data, valid, test = (
        split(n, s, layers=1, planted=0, noise=2.5, chunks=1)
        for n, s in ((400, 1), (200, 2), (800, 3))
    )
    flat = [each.features[:, 0].astype(np.float64) for each in (data, test)]
    theirs = LogisticRegression(max_iter=1000).fit(flat[0], data.targets)
    expected = theirs.score(flat[1], test.targets)
    trained = fit(data, valid, ProbeOptions(epochs=40))
    out = trained.probes.predict(test)[0, int(trained.score[0].argmax())]
    found = float(scores.accuracy(out, torch.from_numpy(test.targets)))
    assert 0.6 < expected < 0.95 and abs(found - expected) < 0.05
    agree = out.argmax(1).numpy() == theirs.predict(flat[1])
    assert agree.mean() > 0.85


def test_chunks_of_a_track_are_averaged() -> None:
    data = split(5, 1, chunks=3)
    probes = Probes(4, 16, 4, 2, QUICK)
    each = probes.forward(torch.from_numpy(data.features).float()).detach()
    mean = each.view(4, 2, 5, 3, 4).mean(dim=3)
    assert torch.allclose(probes.predict(data), mean, atol=1e-5)
    assert torch.allclose(probes.predict(data, batch=4), mean, atol=1e-5)
    shuffled = np.random.default_rng(0).permutation(15)
    mixed = Split(data.features[shuffled], data.track[shuffled], data.targets)
    assert torch.allclose(probes.predict(mixed), mean, atol=1e-5)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_labels_and_numbers_are_learned(kind: str) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 3))

    def made(tracks: int) -> Split:
        x = rng.normal(size=(tracks, 1, 16)).astype(np.float32)
        y = x[:, 0] @ weights
        y = (y > 0).astype(np.float32) if kind == "labels" else (y / 4).astype(np.float32)
        return Split(x, np.arange(tracks), y)

    score = scores.roc_auc if kind == "labels" else scores.r2_mean
    trained = train(made(300), made(100), kind, score, outputs=3, options=QUICK)
    assert trained.score.max() > 0.95


def test_a_mixture_finds_the_layer_and_joins_what_two_know() -> None:
    """The class is a pair of bits; one layer holds one of them, another the other."""
    rng = np.random.default_rng(4)

    def made(tracks: int) -> Split:
        bits = rng.integers(0, 2, (tracks, 2))
        features = rng.normal(size=(tracks, 4, 16)) * 0.5
        features[:, 1, 0] += 4 * bits[:, 0]
        features[:, 3, 1] += 4 * bits[:, 1]
        return Split(features.astype(np.float16), np.arange(tracks), bits @ [2, 1])

    data, valid, test = made(200), made(100), made(200)
    options = ProbeOptions(hidden=32, epochs=60, patience=30)
    alone = fit(data, valid, options)
    both = train(
        data, valid, "classes", scores.accuracy, outputs=4, options=options, mixed=True
    )
    assert both.score.shape == (1, 6) and alone.score.max() < 0.75
    best = int(both.score[0].argmax())
    out = both.probes.predict(test)
    assert out.shape == (1, 6, 200, 4)
    assert scores.accuracy(out[0, best], torch.from_numpy(test.targets)) > 0.9
    shares = both.probes.mixture()
    assert shares is not None and shares.sum(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    assert shares[best, [1, 3]].sum() > 0.6
    assert alone.probes.mixture() is None


def test_bad_input() -> None:
    data = split(8, 1)
    with pytest.raises(OptionError, match="kind 'words'"):
        train(data, data, "words", scores.accuracy, outputs=4)
    with pytest.raises(OptionError, match="above 0"):
        train(data, data, "classes", scores.accuracy, outputs=4, rates=[0.0])
    with pytest.raises(OptionError, match="at least one chunk"):
        Split(data.features[:8], data.track[:8], data.targets)
    with pytest.raises(OptionError, match="expected"):
        Split(data.features[:, 0], data.track, data.targets)
    with pytest.raises(OptionError, match="dropout"):
        ProbeOptions(dropout=1.0)
