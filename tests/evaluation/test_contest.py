"""The comparison with baselines, and the baselines, against scikit-learn and by hand."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import average_precision_score

from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.evaluation import rivals
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.contest import compare_classes, compare_numbers
from ssl_dask.evaluation.floors import check_floors, require_floors
from ssl_dask.evaluation.rivals import class_rivals, forest_rival, number_rivals
from ssl_dask.evaluation.value_baselines import RidgeBaseline
from ssl_dask.execution import Execution
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.distributions.weighted_figures import seed_weights
from ssl_dask.labels import Labels

HALVES = np.array([0.5, 0.5])
TITLES = {"method": "the method", "good": "the good", "bad": "the bad"}


def codes_of(n: int = 100) -> np.ndarray:
    return np.repeat([0, 1], n // 2).astype(np.int32)


def answers_of(codes: np.ndarray, wrong: dict[str, int]) -> dict[str, np.ndarray]:
    """Return answers that have the first seeds of each class wrong, as many as said."""
    made = {}
    for name, n in wrong.items():
        given = codes.copy()
        for code in (0, 1):
            given[np.flatnonzero(codes == code)[:n]] = 1 - code
        made[name] = np.eye(2, dtype=np.float32)[given]
    return made


def test_the_best_baseline_is_the_one_to_beat() -> None:
    codes = codes_of()
    found = compare_classes(
        answers_of(codes, {"method": 15, "bad": 20, "good": 2}), TITLES, codes, HALVES, ["a", "b"]
    )
    assert (found.measure, found.rare, found.n, found.best) == ("accuracy", None, 100, "good")
    assert found.asked_for.figure == pytest.approx(0.7)
    assert [one.figure for one in found.baselines] == pytest.approx([0.6, 0.96])
    assert found.difference == pytest.approx(-0.26)
    assert found.worse
    assert found.with_published("good").published.title == "the good"
    assert found.with_published(None).published.title == "the method"
    assert "the method is 0.7, that of the good 0.96 (difference -0.26" in found.sentence()


def test_a_little_worse_is_not_worse() -> None:
    codes = codes_of()
    for wrong in (4, 2, 0):
        made = answers_of(codes, {"method": wrong, "good": 3})
        found = compare_classes(made, TITLES, codes, HALVES, ["a", "b"])
        assert not found.worse
        assert found.low < found.difference < found.high


def test_a_row_without_a_label_is_not_right() -> None:
    codes = codes_of()
    made = answers_of(codes, {"method": 0, "good": 0})
    made["method"][:30] = 0.0
    found = compare_classes(made, TITLES, codes, HALVES, ["a", "b"])
    assert found.asked_for.figure == pytest.approx(0.7)
    assert found.worse


def test_seeds_count_by_the_share_of_their_class() -> None:
    # Worse on the smaller class, better on the larger one.
    codes = codes_of()
    made = answers_of(codes, {"method": 0, "good": 0})
    made["method"][np.flatnonzero(codes == 1)[:20]] = [1.0, 0.0]
    made["good"][np.flatnonzero(codes == 0)[:10]] = [0.0, 1.0]
    even = compare_classes(made, TITLES, codes, HALVES, ["a", "b"])
    skewed = compare_classes(made, TITLES, codes, np.array([0.7, 0.3]), ["a", "b"])
    assert even.worse
    assert even.difference == pytest.approx(-0.5 * 0.4 + 0.5 * 0.2)
    assert skewed.difference == pytest.approx(-0.3 * 0.4 + 0.7 * 0.2)
    assert not skewed.worse


def test_the_rare_class_is_compared_by_average_precision() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [150, 50]).astype(np.int32)
    shares = np.array([0.97, 0.03])
    made = {}
    for name, signal in (("method", 0.3), ("good", 3.0), ("bad", 0.0)):
        p = 1.0 / (1.0 + np.exp(-(signal * codes + rng.normal(size=200))))
        made[name] = np.column_stack([1 - p, p]).astype(np.float32)
    found = compare_classes(made, TITLES, codes, shares, ["fair", "fraud"], {"bad": "a note"})
    assert (found.measure, found.rare, found.best) == ("average precision", "fraud", "good")
    weights = seed_weights(codes, shares)
    for one in (found.asked_for, *found.baselines):
        wanted = average_precision_score(codes, made[one.name][:, 1], sample_weight=weights)
        assert one.figure == pytest.approx(wanted)
        assert one.low <= one.figure <= one.high
    assert found.baselines[1].note == "a note"
    assert found.worse
    again = compare_classes(made, TITLES, codes, shares, ["fair", "fraud"], {"bad": "a note"})
    assert again == found


def test_numbers_are_compared_on_the_seeds_that_the_method_reached() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    made = {"method": truth + 1.0, "good": truth + 0.1 * rng.normal(size=60), "bad": truth + 2.0}
    made["method"][:10] = np.nan
    made["good"][:10] += 100.0
    found = compare_numbers(made, TITLES, truth)
    assert (found.n, found.best, found.worse) == (50, "good", True)
    assert found.asked_for.figure == pytest.approx(1.0)
    assert found.baselines[0].figure == pytest.approx(np.abs(made["good"] - truth)[10:].mean())
    made["method"] = truth.copy()
    assert not compare_numbers(made, TITLES, truth).worse
    made["method"] = np.full(60, np.nan)
    assert compare_numbers(made, TITLES, truth) is None


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, Labels]:
    X, y = load_digits(return_X_y=True)
    seeds = np.sort(np.random.default_rng(0).choice(len(y), 120, replace=False))
    dense = np.full(len(y), -1)
    dense[seeds] = y[seeds]
    return X.astype(np.float32), Labels.from_codes(dense, np.arange(10))


def test_rivals_learn_from_the_seeds_that_a_fold_leaves(digits: tuple) -> None:
    X, labels = digits
    folds, X_seeds = hide_seeds(labels, 4, 0), X[labels.rows]
    logistic = SupervisedBaseline.fit(X_seeds, labels.codes, folds, 10)
    shares = np.full(10, 0.08)
    shares[3] = 0.28
    found = class_rivals(X_seeds, labels, folds, shares, Execution(), logistic)
    assert [one.name for one in found] == ["supervised", "forest", "majority"]
    names = [one.name for one in class_rivals(X_seeds, labels, folds, shares, Execution(), None)]
    assert names == ["forest", "majority"]
    for mask in folds.masks:
        kept = X_seeds[~mask]
        varying = np.flatnonzero(np.ptp(kept, axis=0) > 0)
        forest = ExtraTreesClassifier(random_state=0).fit(kept[:, varying], labels.codes[~mask])
        wanted = forest.predict_proba(X_seeds[mask][:, varying])
        np.testing.assert_allclose(found[1].hidden[mask], wanted, atol=1e-6)
    assert (found[2].hidden.argmax(axis=1) == 3).all()
    assert found[2].title == "always class 3"
    rows = da.from_array(X, chunks=(400, -1))
    for one in found:
        F = one.all_rows(rows)
        assert F.chunks[0] == rows.chunks[0]
        answer = F.compute()
        assert (answer.shape, answer.dtype) == ((len(X), 10), np.float32)
        np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-5)
    assert (found[1].all_rows(rows).compute().argmax(axis=1) == load_digits().target).mean() > 0.8
    assert (answer.argmax(axis=1) == 3).all()


def test_a_forest_takes_so_many_seeds_at_most_and_says_so(
    digits: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, labels = digits
    folds, X_seeds = hide_seeds(labels, 4, 0), sparse.csr_array(X[labels.rows])
    monkeypatch.setattr(rivals, "MOST_FOREST_SEEDS", 60)
    found = forest_rival(X_seeds, labels, folds, Execution())
    assert found.note == "fitted to 60 of 120 seeds, drawn at random"
    assert found.hidden.any(axis=1).all()
    right = (found.hidden.argmax(axis=1) == labels.codes).mean()
    monkeypatch.setattr(rivals, "MOST_FOREST_SEEDS", 120)
    whole = forest_rival(X_seeds, labels, folds, Execution())
    assert whole.note == ""
    monkeypatch.setattr(rivals, "MOST_FOREST_CELLS", 600)
    assert np.array_equal(forest_rival(X_seeds, labels, folds, Execution()).hidden, found.hidden)
    assert 0.4 < right < (whole.hidden.argmax(axis=1) == labels.codes).mean()


def test_the_mean_of_numbers_knows_no_hidden_seed() -> None:
    rng = np.random.default_rng(0)
    X, values = rng.normal(size=(40, 2)), rng.normal(5.0, size=40)
    folds = hide_seeds(Labels.from_codes(np.zeros(40, int), ["a"]), 4, 0)
    ridge, mean = number_rivals(values, folds, RidgeBaseline.fit(X, values, folds))
    for mask in folds.masks:
        np.testing.assert_allclose(mean.hidden[mask], values[~mask].mean())
    rows = da.from_array(X, chunks=(15, -1))
    assert mean.all_rows(rows).compute().tolist() == [values.mean()] * 40
    assert np.corrcoef(ridge.all_rows(rows).compute(), values)[0, 1] > 0.0


def test_floors_are_at_the_shares_of_the_rows_and_of_given_labels() -> None:
    labels = Labels(1000, np.arange(100), codes_of(), np.array(["fair", "fraud"]))
    codes, shares = labels.codes, np.array([0.9, 0.1])
    given = codes.copy()
    # A tenth of the fair seeds are called fraud: 0.09 of the rows, and so is 0.1 of fraud.
    given[:5] = 1
    F = np.eye(2, dtype=np.float32)[given]
    require_floors({"min_precision": {"fraud": 0.52}}, labels, shares, codes, F, given)
    require_floors({"min_accuracy": 0.9, "min_precision": 0.5}, labels, shares, codes, F, given)
    with pytest.raises(QualityError, match=r"precision of class fraud is 0\.526 on 100 hidden"):
        require_floors({"min_precision": 0.53}, labels, shares, codes, F, given)
    with pytest.raises(QualityError, match=r"accuracy of the labels is 0\.91 "):
        require_floors({"min_accuracy": 0.92}, labels, shares, codes, F, given)
    with pytest.raises(QualityError, match=r"average precision of class fraud is 0\.526"):
        require_floors({"min_average_precision": 0.53}, labels, shares, codes, F, given)
    # Rows that abstain are out of both.
    given[:5] = -1
    require_floors({"min_accuracy": 1.0, "min_precision": 1.0}, labels, shares, codes, F, given)
    given[codes == 1] = 0
    with pytest.raises(QualityError, match="no hidden seed of 100 says what the precision"):
        require_floors({"min_precision": {"fraud": 0.1}}, labels, shares, codes, F, given)
    # Of one class alone nothing is ranked.
    for code in (0, 1):
        one = codes == code
        with pytest.raises(QualityError, match="no hidden seed of 50 says what the average"):
            require_floors(
                {"min_average_precision": 0.1}, labels, shares, codes[one], F[one], given[one]
            )


def test_floors_of_classes_that_there_are_not() -> None:
    labels = Labels(100, np.arange(3), np.arange(3, dtype=np.int32), np.array([0, 1, 2]))
    even, F = np.full(3, 1 / 3), np.eye(3, dtype=np.float32)
    for floors, words in (
        ({"min_precision": 0.5}, "the rarer of two classes, and the seeds have 3"),
        ({"min_precision": {"1": 0.5}}, "'1' is none of the classes"),
        ({"min_precision": {True: 0.5}}, "True is none of the classes"),
        ({"min_average_precision": 0.5}, "the seeds have 3"),
    ):
        with pytest.raises(JobSpecError, match=words):
            require_floors(floors, labels, even, labels.codes, F, labels.codes)
        with pytest.raises(JobSpecError, match=words):
            check_floors(floors, labels)
    two = Labels(100, np.arange(2), np.arange(2, dtype=np.int32), np.array([0, 1]))
    with pytest.raises(JobSpecError, match="none has half of an even share"):
        require_floors({"min_precision": 0.5}, two, HALVES, two.codes, F[:2, :2], two.codes)


def test_a_method_whose_labels_are_worse_is_worse_unless_its_ranking_is_better() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.array([1, 0], dtype=np.int32), [40, 160])
    p = np.clip(0.25 + 0.35 * truth + rng.normal(0.0, 0.12, 200), 0.01, 0.99)
    # The same order, and half of the rows above .5.
    high = np.clip(p + 0.3, 0.01, 0.99)
    answers = {
        name: np.stack([1.0 - one, one], axis=1).astype(np.float32)
        for name, one in (("method", high), ("logistic", p))
    }
    titles = {"method": "the method", "logistic": "logistic regression"}
    shares = np.array([0.8, 0.2])
    found = compare_classes(answers, titles, truth, shares, ["ok", "fraud"])
    assert (found.measure, found.worse) == ("average precision", True)
    assert found.labels is not None
    assert found.labels[2] < 0.0 <= found.high
    assert "points fewer right labels than logistic regression" in found.sentence()
    turned = compare_classes(
        dict(reversed(answers.items())), titles, truth, shares, ["ok", "fraud"]
    )
    assert not turned.worse
