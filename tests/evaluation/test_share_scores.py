"""What labels are worth where the seeds are no fair sample."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.evaluation.metrics import Estimate
from ssl_dask.evaluation.share_scores import (
    KNOWN_WIDTH,
    JudgedRows,
    ScoresAtShares,
    score_at_shares,
)
from ssl_dask.kernels.distributions.class_shares import (
    MAX_CLASSES,
    ClassShares,
    estimate_shares,
    stated_shares,
    unknown_shares,
)

NAMES = ["ok", "fraud"]
NONE = np.empty((0, 2), dtype=np.float32), *2 * (np.empty(0, dtype=np.int32),)


def rows_of(rng: np.random.Generator, codes: np.ndarray, recall: float, wrong: float) -> np.ndarray:
    """Return distributions of rows of which these parts are called fraud."""
    called = rng.random(len(codes)) < np.where(codes == 1, recall, wrong)
    p = np.where(called, rng.uniform(0.5, 1.0, len(codes)), rng.uniform(0.0, 0.5, len(codes)))
    return np.stack([1.0 - p, p], axis=1).astype(np.float32)


def scored(
    seed: int, shares: ClassShares | None, *, share: float = 0.01, wrong: float = 0.03
) -> tuple[ScoresAtShares, float]:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [60, 240])
    truth = (rng.random(40_000) < share).astype(np.int32)
    seed_p, row_p = (rows_of(rng, one, 0.6, wrong) for one in (codes, truth))
    labels = row_p.argmax(axis=1).astype(np.int32)
    known = shares or estimate_shares(seed_p, codes, row_p, 0.9)
    judged = JudgedRows(seed_p, seed_p.argmax(axis=1).astype(np.int32), codes, row_p, labels, *NONE)
    called = np.append(np.bincount(labels, minlength=2), 0)
    found = score_at_shares(judged, called, known, NAMES, 0.9, seeds_differ=True, corrected=False)
    return found, float(truth[labels == 1].mean())


def given(share: float) -> ClassShares:
    values = np.array([1.0 - share, share])
    return stated_shares(values, values)


def test_precision_is_that_among_the_rows_not_among_the_seeds() -> None:
    found = [scored(seed, given(0.01)) for seed in range(30)]
    errors = []
    inside = []
    for scores, truth in found:
        fraud = scores.classes[1]
        inside.append(fraud.precision.low <= truth <= fraud.precision.high)
        errors.append(abs(fraud.precision.value - truth))
        assert fraud.n_hidden == 60
        assert fraud.share.value == pytest.approx(0.01)
    assert np.mean(inside) >= 0.85
    # Among the seeds it is about .83, among the rows .17.
    assert np.median(errors) < 0.03
    assert all(0.1 < truth < 0.25 for _, truth in found)


def test_with_estimated_shares_the_interval_holds() -> None:
    found = [scored(seed, None) for seed in range(30)]
    held = [s.classes[1].precision.low <= t <= s.classes[1].precision.high for s, t in found]
    assert np.mean(held) >= 0.85
    assert {s.origin for s, _ in found} == {"estimated"}


def test_where_no_hidden_seed_is_wrong_all_may_be_right() -> None:
    scores, truth = scored(0, given(0.05), share=0.05, wrong=0.0)
    assert truth == 1.0
    assert scores.classes[1].precision.high == 1.0


def test_wide_intervals_say_how_many_labels_would_settle_them() -> None:
    ends = stated_shares(np.array([0.9, 0.001]), np.array([0.999, 0.1]))
    fraud = scored(0, ends)[0].classes[1]
    assert fraud.precision.high - fraud.precision.low > KNOWN_WIDTH
    # z = 1.645: 0.25 (z / 0.1)^2 labels at most.
    assert fraud.labels_to_settle is not None
    assert 10 <= fraud.labels_to_settle <= 68
    assert scored(0, given(0.01))[0].classes[1].labels_to_settle is None


def test_a_class_that_no_row_got_has_no_precision() -> None:
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [20, 80])
    p = np.tile(np.array([0.8, 0.2], dtype=np.float32), (100, 1))
    none = np.zeros(100, dtype=np.int32)
    judged = JudgedRows(p, none, codes, p, none, *NONE)
    found = score_at_shares(
        judged, np.array([100, 0, 0]), given(0.1), NAMES, 0.9, seeds_differ=True, corrected=True
    )
    fraud = found.classes[1]
    assert fraud.precision.value is None
    assert fraud.recall.low == 0.0
    assert fraud.recall.high < 0.2
    assert found.accuracy.value == pytest.approx(0.9, abs=0.03)


def test_rows_that_abstained_are_right_nowhere() -> None:
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [50, 50])
    p = np.eye(2, dtype=np.float32)[codes]
    labels = np.where(np.arange(100) % 2, codes, -1).astype(np.int32)
    judged = JudgedRows(p, labels, codes, p, labels, *NONE)
    found = score_at_shares(
        judged, np.array([25, 25, 50]), given(0.5), NAMES, 0.9, seeds_differ=False, corrected=False
    )
    assert found.accuracy.value == pytest.approx(1.0, abs=0.02)
    assert found.accuracy_all.value == pytest.approx(0.5, abs=0.06)


def second_night(seed: int, *, known: bool) -> bool:
    """Return whether there is an interval that holds after the 100 likeliest rows were labelled.

    `known`: it is known that they were chosen; else they are taken for a sample of their class.
    """
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [60, 240])
    truth = (rng.random(20_000) < 0.02).astype(np.int32)
    z = [rng.normal(2.0 * one, 1.0) for one in (codes, truth)]
    p = [1.0 / (1.0 + np.exp(-2.0 * (one - 1.6))) for one in z]
    seed_p, row_p = (np.stack([1.0 - one, one], axis=1).astype(np.float32) for one in p)
    chosen = np.argsort(-row_p[:, 1])[:100]
    rest = np.setdiff1d(np.arange(20_000), chosen)
    called = row_p[rest].argmax(axis=1).astype(np.int32)
    population = row_p
    if not known:
        seed_p = np.concatenate([seed_p, row_p[chosen]])
        codes = np.concatenate([codes, truth[chosen]])
        population, chosen = row_p[rest], chosen[:0]
    more = row_p[chosen], row_p[chosen].argmax(axis=1).astype(np.int32), truth[chosen]
    labels = seed_p.argmax(axis=1).astype(np.int32)
    shares = estimate_shares(seed_p, codes, population, 0.9)
    scores = score_at_shares(
        JudgedRows(seed_p, labels, codes, row_p[rest], called, *more),
        np.append(np.bincount(called, minlength=2), 0),
        shares,
        NAMES,
        0.9,
        seeds_differ=True,
        corrected=False,
    )
    fraud = scores.classes[1].precision
    if fraud.low is None:
        return False
    return bool(fraud.low <= truth[rest][called == 1].mean() <= fraud.high)


def test_seeds_that_were_chosen_by_their_score_are_rows_whose_class_is_known() -> None:
    assert np.mean([second_night(seed, known=True) for seed in range(20)]) >= 0.8
    assert np.mean([second_night(seed, known=False) for seed in range(14)]) < 0.6


def test_a_class_without_hidden_seeds_may_be_among_all_labels_and_has_no_ranking() -> None:
    codes = np.zeros(50, dtype=np.int32)
    p = np.tile(np.array([0.8, 0.2], dtype=np.float32), (1000, 1))
    none = np.zeros(1000, dtype=np.int32)
    judged = JudgedRows(p[:50], none[:50], codes, p, none, *NONE)
    called = np.array([1000, 0, 0])
    with np.errstate(divide="raise"):
        found = score_at_shares(
            judged, called, given(0.1), NAMES, 0.9, seeds_differ=True, corrected=True
        )
        other = JudgedRows(p[:50], none[:50], codes + 1, p, none, *NONE)
        alone = score_at_shares(
            other, called, given(0.1), NAMES, 0.9, seeds_differ=True, corrected=True
        )
    assert found.classes[0].precision.value == pytest.approx(0.9, abs=0.01)
    assert (found.classes[1].recall.low, found.classes[1].recall.high) == (0.0, 1.0)
    assert found.rankings == alone.rankings == ()


@pytest.mark.parametrize("known", [True, False])
def test_rows_that_no_evidence_reaches_got_no_label_whatever_their_class(known: bool) -> None:
    rng = np.random.default_rng(1)
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [60, 240])
    truth = (rng.random(40_000) < 0.05).astype(np.int32)
    seed_p, row_p = (rows_of(rng, one, 0.6, 0.03) for one in (codes, truth))
    row_p[:8_000] = 0.0
    labels = np.where(row_p.any(axis=1), row_p.argmax(axis=1), -1).astype(np.int32)
    shares = given(0.05) if known else estimate_shares(seed_p, codes, row_p, 0.9)
    judged = JudgedRows(seed_p, seed_p.argmax(axis=1).astype(np.int32), codes, row_p, labels, *NONE)
    called = np.array([*np.bincount(labels[labels >= 0], minlength=2), 8_000])
    found = score_at_shares(judged, called, shares, NAMES, 0.9, seeds_differ=True, corrected=False)
    fraud = found.classes[1]
    assert found.origin == ("given" if known else "estimated")
    assert fraud.recall.low <= (labels[truth == 1] == 1).mean() <= fraud.recall.high
    assert fraud.recall.value == pytest.approx(0.8 * 0.6, abs=0.08)
    assert found.accuracy_all.value == pytest.approx((labels == truth).mean(), abs=0.02)


def test_where_shares_are_unknown_or_classes_are_many_no_figure_is_made() -> None:
    n = MAX_CLASSES + 1
    codes = np.repeat(np.arange(n, dtype=np.int32), 3)
    F, even = np.eye(n, dtype=np.float32)[codes], np.full(n, 1 / n)
    none = np.empty((0, n), dtype=np.float32), *NONE[1:]
    judged = JudgedRows(F, codes, codes, F, codes, *none)
    called = np.append(np.full(n, 3), 0)
    names = [str(code) for code in range(n)]
    for shares in (unknown_shares(np.full(n, 3), "why"), stated_shares(even, even)):
        found = score_at_shares(
            judged, called, shares, names, 0.9, seeds_differ=False, corrected=False
        )
        assert found.accuracy == found.accuracy_all == Estimate(None, None, None)
        assert {one.recall for one in found.classes} == {found.accuracy}
        assert {(one.called, one.n_hidden) for one in found.classes} == {(3, 3)}
