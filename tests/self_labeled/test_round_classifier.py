"""Self-training as a scikit-learn classifier."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.estimators import SelfTrainingClassifier, TriTrainingClassifier
from tests.oracles.self_training_rounds import rounds_of_sklearn

Arrays = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """Rows, true classes, and y with 6 labels a class."""
    X, truth = load_digits(return_X_y=True)
    y = np.full(len(truth), -1)
    for c in range(10):
        y[np.flatnonzero(truth == c)[:6]] = c
    return X / 16.0, truth, y


def test_attributes_are_those_of_scikit_learn(digits: Arrays) -> None:
    X, _, y = digits
    base = LogisticRegression(max_iter=2000)
    ours = SelfTrainingClassifier(base, threshold=0.8, max_iter=5, cautious=False).fit(X, y)
    theirs = rounds_of_sklearn(base, X, y, threshold=0.8, max_iter=5)
    np.testing.assert_array_equal(ours.transduction_, theirs["labels"])
    np.testing.assert_array_equal(ours.labeled_iter_, theirs["rounds"])
    assert ours.termination_condition_ == theirs["reason"]
    assert ours.n_iter_ == theirs["n_iter"] == len(ours.rounds_)
    np.testing.assert_allclose(ours.predict_proba(X), theirs["probabilities"], atol=1e-6)
    plain = {"rescore": False, "mass": None, "class_shares": "none", "patience": None}
    one_by_one = SelfTrainingClassifier(base, threshold=0.8, max_iter=5, n_folds=0, **plain)
    one_by_one.fit(X, y)
    np.testing.assert_array_equal(ours.transduction_, one_by_one.transduction_)
    assert ours.predict_log_proba(X[:9]).tobytes() == np.log(ours.predict_proba(X[:9])).tobytes()
    decided = ours.decision_function(X[:9])
    assert (decided.argmax(axis=1) == ours.predict_proba(X[:9]).argmax(axis=1)).all()
    lazily = ours.decision_function(da.from_array(X[:9], chunks=(4, 30)))
    np.testing.assert_allclose(lazily.compute(), decided)


def test_scikit_learns_loop_has_no_caution(
    digits: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    X, _, y = digits
    X, y = X[:200], y[:200]
    names = np.array([-1 if code < 0 else f"digit {code}" for code in y], dtype=object)
    unsure = SelfTrainingClassifier(threshold=0.8, max_iter=2, cautious=False, verbose=True)
    model = unsure.fit(X, names)
    assert {-1} < set(model.transduction_.tolist())
    assert "End of iteration 1, added" in capsys.readouterr().out
    for_blocks = clone(unsure).fit(da.from_array(X, chunks=(90, 64)), names)
    np.testing.assert_array_equal(for_blocks.transduction_.compute(), model.transduction_)
    far = X[:, 2:6] + np.array([0.0, 1e9, 0.0, 0.0])
    for given in (far, da.from_array(far, chunks=(90, 4))):
        with pytest.warns(UserWarning, match="columns 1 of X are far from zero .* as scikit-learn"):
            SelfTrainingClassifier("gaussian_nb", max_iter=0, cautious=False).fit(given, y)
    with pytest.warns(UserWarning, match="k_best is larger than"):
        most = SelfTrainingClassifier(criterion="k_best", k_best=500, cautious=False).fit(X, y)
    assert (most.n_iter_, most.termination_condition_) == (1, "all_labeled")
    with pytest.raises(ValueError, match="dtype <U8, which has no value for unlabelled"):
        SelfTrainingClassifier().fit(X, names.astype("U8"))
    with pytest.warns(UserWarning, match="no unlabeled samples"):
        SelfTrainingClassifier(max_iter=0).fit(X, np.arange(200) % 2)


def test_kinds_of_input_agree(digits: Arrays, cluster_client: Client) -> None:
    X, _, y = digits
    make = SelfTrainingClassifier(max_iter=3, n_folds=3)
    dense = make.fit(X, y)
    named = clone(make).fit(pd.DataFrame(X, columns=[f"p{j}" for j in range(64)]), y)
    assert list(named.feature_names_in_[:2]) == ["p0", "p1"]
    np.testing.assert_array_equal(named.transduction_, dense.transduction_)
    blocks = da.from_array(X, chunks=(300, 20))
    far = clone(make).set_params(client=cluster_client).fit(blocks, da.from_array(y, chunks=500))
    np.testing.assert_array_equal(
        cluster_client.compute(far.transduction_).result(), dense.transduction_
    )
    np.testing.assert_array_equal(
        cluster_client.compute(far.label_distributions_).result(), dense.label_distributions_
    )
    np.testing.assert_array_equal(
        cluster_client.compute(far.predict(blocks[:70])).result(), dense.predict(X[:70])
    )
    sparse = clone(make).fit(sp.csr_array(X), y)
    # Sparse rows are not centred, so the penalty means another thing: most labels agree.
    assert (sparse.predict(sp.csr_array(X)) == dense.predict(X)).mean() > 0.8


def test_strings_and_none(digits: Arrays) -> None:
    X, truth, y = digits
    names = np.array([None if code < 0 else f"digit {code}" for code in y], dtype=object)
    model = SelfTrainingClassifier(max_iter=2, n_folds=0, threshold=0.9).fit(X, names)
    assert model.classes_[3] == "digit 3"
    assert model.transduction_.dtype == object
    assert {None} < set(model.transduction_[:200].tolist())
    said = model.predict(X)
    assert (said == np.array([f"digit {t}" for t in truth])).mean() > 0.8


def test_weights_of_seeds_count(digits: Arrays) -> None:
    X, _, y = digits
    weights = np.where(y == 3, 5.0, 1.0)
    plain = SelfTrainingClassifier(max_iter=1, n_folds=0).fit(X, y)
    heavy = SelfTrainingClassifier(max_iter=1, n_folds=0).fit(X, y, sample_weight=weights)
    assert (heavy.predict(X) == 3).sum() > (plain.predict(X) == 3).sum()


def test_folds_and_fits_follow_the_parameters(digits: Arrays) -> None:
    X, _, y = digits
    X, y = X[:300], y[:300]
    losses = set()
    for random_state in (0, 1):
        made = SelfTrainingClassifier(
            max_iter=1, n_folds=2, max_fit_rows=100, random_state=random_state
        ).fit(X, y)
        assert (made.rounds_[0].notes or {})["most_rows_fitted"] == 100
        losses.add(made.rounds_[0].hidden_loss)
    assert len(losses) == 2
    pieces = {"name": "gaussian_nb", "partial_fit": True}
    made = SelfTrainingClassifier(pieces, max_iter=1, n_folds=0, max_fit_rows=100)
    assert (clone(made).fit(X, y).rounds_[0].notes or {})["pieces_fitted"] >= 2
    with pytest.raises(JobSpecError, match="all rows of a fit at once"):
        TriTrainingClassifier(pieces).fit(X, y)


def test_numbers_that_float32_does_not_hold_are_refused(digits: Arrays) -> None:
    X, truth, y = digits
    small, X = X, X.copy()
    X[:, 36] *= 1e39
    said = r"up to 1e\+39 in column 36, .*: divide the column"
    # Columns in several chunks: the column of X is told, not that of a chunk.
    lazy = da.from_array(X, chunks=(len(X), 30))
    for rows in (X, lazy):
        with pytest.raises(ValueError, match=said):
            SelfTrainingClassifier().fit(rows, y)
    nearly_all = np.where(np.arange(len(truth)) < 5, -1, truth)
    model = SelfTrainingClassifier(max_iter=1, n_folds=0).fit(small, nearly_all)
    with pytest.raises(ValueError, match=said):
        model.predict_proba(lazy).compute()


def test_one_label_a_class_has_no_folds(digits: Arrays) -> None:
    X, truth, _ = digits
    y = np.full(len(truth), -1)
    for c in range(10):
        y[np.flatnonzero(truth == c)[0]] = c
    model = SelfTrainingClassifier(max_iter=2).fit(X, y)
    assert model.rounds_[0].hidden_accuracy is None
    with pytest.raises(QualityError, match="calibrated"):
        SelfTrainingClassifier("svm").fit(X, y)
