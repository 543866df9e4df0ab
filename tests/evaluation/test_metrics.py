"""Metrics against scikit-learn and SciPy, and the coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as peer

from ssl_dask.evaluation.metrics import (
    MAX_CONFUSION_CLASSES,
    clopper_pearson,
    compare_paired,
    confusion_counts,
    score_confusion,
    score_predictions,
)
from ssl_dask.kernels.distributions.label_distributions import predicted_codes


@settings(max_examples=80, deadline=None)
@given(n=st.integers(1, 300), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_equal_scipys_exact_ones(n: int, share: float, confidence: float) -> None:
    right = round(n * share)
    mine = clopper_pearson(right, n, confidence)
    theirs = binomtest(right, n).proportion_ci(confidence, method="exact")
    assert mine.value == right / n
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-10)


def test_no_rows_say_nothing() -> None:
    nothing = clopper_pearson(0, 0)
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)


@pytest.mark.parametrize(("n", "p"), [(20, 0.9), (50, 0.97), (100, 0.5)])
def test_intervals_cover_at_least_as_often_as_they_say(n: int, p: float) -> None:
    counts = np.random.default_rng(0).binomial(n, p, 4000)
    bounds = {int(k): clopper_pearson(int(k), n) for k in np.unique(counts)}
    covered = np.mean([bounds[int(k)].low <= p <= bounds[int(k)].high for k in counts])
    assert covered >= 0.945
    assert covered < 1.0


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 80), n_classes=st.integers(2, 6), seed=st.integers(0, 500))
def test_scores_equal_scikit_learns(n: int, n_classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, n).astype(np.int32)
    label = np.where(random.random(n) < 0.6, truth, random.integers(0, n_classes, n))
    label = label.astype(np.int32)
    names = [str(code) for code in range(n_classes)]
    scores = score_predictions(truth, label, names)
    assert scores.n == n
    assert scores.accuracy.value == pytest.approx(peer.accuracy_score(truth, label))
    assert scores.accuracy == scores.accuracy_all
    assert scores.coverage == 1.0
    present = np.union1d(truth, label)
    wanted = {"labels": present, "average": None, "zero_division": 0.0}
    precision, recall, f1, _ = peer.precision_recall_fscore_support(truth, label, **wanted)
    assert scores.macro_f1 == pytest.approx(f1.mean())
    for at, code in enumerate(present):
        one = scores.classes[code]
        assert (one.recall.value or 0.0) == pytest.approx(recall[at])
        assert (one.precision.value or 0.0) == pytest.approx(precision[at])
        assert one.f1 == pytest.approx(f1[at])
    matrix = peer.confusion_matrix(truth, label, labels=range(n_classes))
    np.testing.assert_array_equal(np.array(scores.confusion)[:, :-1], matrix)


def test_refusals_and_unknown_truth_are_counted_apart() -> None:
    truth = np.array([0, 0, 0, 1, 1, -1, -1], np.int32)
    label = np.array([0, 1, -1, 1, -1, 0, -1], np.int32)
    np.testing.assert_array_equal(confusion_counts(truth, label, 2), [[1, 1, 1], [0, 1, 1]])
    scores = score_predictions(truth, label, ["no", "yes"])
    assert scores.n == 5
    assert scores.coverage == pytest.approx(3 / 5)
    assert (scores.accuracy.right, scores.accuracy.n) == (2, 3)
    assert (scores.accuracy_all.right, scores.accuracy_all.n) == (2, 5)
    no = scores.classes[0]
    assert (no.support, no.given) == (3, 1)
    assert (no.recall.right, no.recall.n) == (1, 3)
    assert (no.precision.right, no.precision.n) == (1, 1)
    assert no.f1 == pytest.approx(2 * 1 / (3 + 1))


def test_rows_of_another_class_are_wrong() -> None:
    truth = np.array([0, 0, 1, 1, -2, -2, -2, -1], np.int32)
    label = np.array([0, 1, 1, -1, 0, 0, -1, 0], np.int32)
    confusion = confusion_counts(truth, label, 2)
    np.testing.assert_array_equal(confusion, [[1, 1, 0], [0, 1, 1]])
    scores = score_confusion(confusion, ["no", "yes"], other=np.array([2, 0, 1]))
    assert (scores.n, scores.n_other) == (7, 3)
    assert scores.coverage == pytest.approx(5 / 7)
    assert (scores.accuracy.right, scores.accuracy.n) == (2, 5)
    assert (scores.accuracy_all.right, scores.accuracy_all.n) == (2, 7)
    no = scores.classes[0]
    assert (no.support, no.given) == (2, 3)
    assert (no.precision.right, no.precision.n) == (1, 3)
    assert (no.recall.right, no.recall.n) == (1, 2)
    assert no.f1 == pytest.approx(2 * 1 / (2 + 3))


def test_classes_that_never_occur_do_not_lower_the_mean() -> None:
    truth = np.array([0, 0, 2], np.int32)
    scores = score_predictions(truth, truth, ["a", "b", "c"])
    assert scores.classes[1].f1 is None
    assert scores.macro_f1 == 1.0
    nothing = score_predictions(truth[:0], truth[:0], ["a"])
    assert (nothing.macro_f1, nothing.coverage, nothing.accuracy.value) == (None, None, None)


def test_large_confusion_matrices_are_not_kept() -> None:
    names = [str(code) for code in range(MAX_CONFUSION_CLASSES + 1)]
    codes = np.arange(len(names), dtype=np.int32)
    scores = score_predictions(codes, codes, names)
    assert scores.confusion is None
    assert scores.accuracy.value == 1.0


def test_predicted_codes_refuse_zero_rows_and_ties() -> None:
    F = np.array([[0.2, 0.8], [0.5, 0.5], [0.0, 0.0], [0.9, 0.1]], np.float32)
    assert predicted_codes(F).tolist() == [1, -1, -1, 0]


def test_paired_comparison_by_hand() -> None:
    truth = np.zeros(10, np.int32)
    first = np.array([0, 0, 0, 0, 0, 0, 0, 1, -1, 0], np.int32)
    second = np.array([0, 0, 1, 1, 1, 1, -1, 0, 1, 0], np.int32)
    found = compare_paired(truth, first, second)
    assert (found.both, found.first_only, found.second_only, found.neither) == (3, 5, 1, 1)
    assert found.difference == pytest.approx(0.4)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 64)
    assert found.low < 0.4 < found.high
    same = compare_paired(truth, first, first)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    swapped = compare_paired(truth, second, first)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(("n", "p12", "p21"), [(30, 0.3, 0.1), (50, 0.1, 0.1), (50, 0.02, 0.15)])
def test_paired_interval_covers(n: int, p12: float, p21: float) -> None:
    random = np.random.default_rng(5)
    truth = np.zeros(n, np.int32)
    hits = 0
    for _ in range(1000):
        draw = random.random(n)
        first_only, second_only = draw < p12, (draw >= p12) & (draw < p12 + p21)
        first = np.where(second_only, 1, 0).astype(np.int32)
        second = np.where(first_only, 1, 0).astype(np.int32)
        found = compare_paired(truth, first, second)
        hits += found.low <= p12 - p21 <= found.high
    assert 0.93 <= hits / 1000 < 0.995


def test_the_verdict_names_who_is_ahead() -> None:
    truth = np.zeros(100, np.int32)
    good, bad = np.zeros(100, np.int32), np.ones(100, np.int32)
    bad[:70] = 0
    ahead = compare_paired(truth, good, bad).verdict("the graph", "the baseline")
    assert ahead == "The graph is ahead of the baseline by 30.0 points on 100 hidden seeds."
    behind = compare_paired(truth, bad, good).verdict("the graph", "the baseline")
    assert behind.startswith("The baseline is ahead of the graph by 30.0 points")
    close = good.copy()
    close[0] = 1
    assert "may be chance" in compare_paired(truth, close, good).verdict("a", "b")
    assert "level" in compare_paired(truth, good, good).verdict("a", "b")
