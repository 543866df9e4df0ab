"""Co-training against the paper's table, round by round, for any blocks and on workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.errors import ConstantViewError
from ssl_dask.estimators import CoTrainingClassifier
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.kernels.learners.co_training import joined_views, split_columns
from tests.committee_case import N_CLASSES, codes_of, labels_of, made_rows, seeded_fit, views_of
from tests.oracles import committees
from tests.rounds_by_keywords import co_training

COLUMNS = {"left": slice(0, 4), "right": slice(4, 8)}
BAYES = {"name": "gaussian_nb"}
SHALLOW = {"name": "decision_tree", "parameters": {"max_depth": 2}}
TREE = DecisionTreeClassifier(max_depth=2)


@pytest.mark.parametrize("n_blocks", [1, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {"k_best": 9, "threshold": 0.5, "rescore": False},
        {"k_best": 21, "threshold": 0.0, "rescore": True},
        {"k_best": None, "threshold": 0.6, "rescore": True},
    ],
)
def test_labels_of_every_round_are_the_papers(settings: dict[str, Any], n_blocks: int) -> None:
    X, _, seeds = made_rows(seed=5)
    # The trees are equally sure of many rows.
    estimator, learner = (GaussianNB(), BAYES) if settings["rescore"] else (TREE, SHALLOW)
    halves = [X[:, one] for one in COLUMNS.values()]
    views = views_of(X, n_blocks, COLUMNS)
    # Without k_best, how many rows a round labels depends on the number of rounds.
    ends = [5] if settings["k_best"] is None else [1, 2, 3, 4, 5]
    for end in ends:
        expected = committees.co_training(
            halves,
            seeds,
            seeded_fit([estimator]),
            N_CLASSES,
            max_iter=end,
            order=[committees.row_key(row, 0, Purpose.TIES) for row in range(len(X))],
            **settings,
        )
        found = co_training(views, labels_of(seeds), learner=learner, max_iter=end, **settings)
        np.testing.assert_array_equal(codes_of(found, 2), expected.codes[-1])
    for record, votes in zip(found.records, expected.votes, strict=True):
        agreement = (votes[:, 0] == votes[:, 1])[seeds < 0].mean()
        assert record.notes["agreement"] == pytest.approx(agreement)
    first, second = expected.codes[-1][seeds < 0].T
    assert (first != second).any()
    assert (first >= 0).mean() > 0.1


def test_one_view_is_split_into_halves() -> None:
    first, second = split_columns(9, 4)
    assert (len(first), len(second)) == (5, 4)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(9))
    assert (first != split_columns(9, 5)[0]).any()
    with pytest.raises(ValueError, match="n_columns"):
        split_columns(1, 0)


def test_views_are_joined_by_their_product() -> None:
    first = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    second = np.array([[0.3, 0.4, 0.3], [0.2, 0.8, 0.0]])
    joined = joined_views([first, second])
    root = np.sqrt(first[0] * second[0])
    np.testing.assert_allclose(joined[0], root / root.sum(), rtol=1e-6)
    # The first view rules class 1 out; it is left a chance, but not the lead.
    assert joined[1].argmax() == 0
    assert 0 < joined[1, 1] < 0.01


def test_what_cannot_be_two_views_is_refused() -> None:
    X, _, seeds = made_rows()
    three = views_of(X, 2, {"a": slice(0, 2), "b": slice(2, 4), "c": slice(4, 8)})
    with pytest.raises(ValueError, match="two views, and there are 3"):
        co_training(three, labels_of(seeds))
    with pytest.raises(ValueError, match="no group of features 'd'"):
        co_training(three, labels_of(seeds), view_names=("a", "d"))
    found = co_training(three, labels_of(seeds), view_names=("a", "c"), learner=BAYES)
    assert found.F.shape == (len(X), N_CLASSES)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_view_in_which_all_rows_are_alike_is_named(sparse: bool) -> None:
    X, _, seeds = made_rows()
    X[:, 4:] = [1.0, 0.0, 2.0, 3.0]
    rows = sp.csr_array(X) if sparse else X
    halves = [list(range(4)), list(range(4, 8))]
    message = r"view 'second': all 240 rows are alike in it"
    with pytest.raises(ConstantViewError, match=message) as caught:
        CoTrainingClassifier(view_columns=halves, n_folds=0).fit(rows, seeds)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 3
    # One row in one block differs, and the view is one.
    X[-1, 7] = 5.0
    rows = sp.csr_array(X) if sparse else X
    CoTrainingClassifier(view_columns=halves, max_iter=1, n_folds=0).fit(rows, seeds)


def test_rows_of_different_blocks_differ() -> None:
    X, _, seeds = made_rows()
    views = views_of(X, 4, COLUMNS)
    # Alike within each block, but not over all.
    steps = views["right"].map_blocks(lambda block: block * 0 + len(block))
    found = co_training({**views, "right": steps}, labels_of(seeds), learner=BAYES, max_iter=1)
    assert found.n_iter == 1
    flat = views["right"] * 0 + 4
    with pytest.raises(ConstantViewError, match="view 'right'"):
        co_training({**views, "right": flat}, labels_of(seeds), learner=BAYES, max_iter=1)
    with pytest.raises(ConstantViewError, match=r"the first half .* 'X'.*\n.*the second half"):
        co_training({"X": flat}, labels_of(seeds), learner=BAYES, max_iter=1)


def two_sights(n: int = 600, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows (n, 8) of two views that are independent given the class; classes and seeds."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, N_CLASSES, n)
    centres = rng.normal(size=(N_CLASSES, 8)) * 1.5
    X = (centres[y] + spread * rng.normal(size=(n, 8))).astype(np.float32)
    seeds = np.full(n, -1, dtype=np.int32)
    for c in range(N_CLASSES):
        seeds[np.flatnonzero(y == c)[:40]] = c
    return X, y, seeds


def test_views_that_err_together_are_told() -> None:
    X, _, seeds = two_sights(spread=2.5)
    labels = labels_of(seeds)
    hidden = [np.arange(labels.n_seeds) % 3 == f for f in range(3)]
    same = {"a": slice(0, 8), "b": slice(0, 8)}
    found = co_training(views_of(X, 2, same), labels, learner=BAYES, hidden=hidden)
    assert any("depend on each other" in note for note in found.warnings)
    apart = co_training(views_of(X, 2, COLUMNS), labels, learner=BAYES, hidden=hidden)
    assert not any("depend on each other" in note for note in apart.warnings)
    columns = list(range(8))
    with pytest.warns(UserWarning, match="depend on each other"):
        CoTrainingClassifier("gaussian_nb", view_columns=[columns, columns], n_folds=3).fit(
            X, seeds
        )


def test_the_estimator_takes_columns_of_views() -> None:
    X, y, seeds = two_sights()
    halves = [range(4), range(4, 8)]
    model = CoTrainingClassifier(view_columns=halves, n_folds=0).fit(X, seeds)
    assert (model.predict(X) == y)[seeds < 0].mean() > 0.8
    sparse = CoTrainingClassifier(view_columns=halves, n_folds=0)
    assert sparse.fit(sp.csr_array(X), seeds).predict(sp.csr_array(X)).shape == (600,)
