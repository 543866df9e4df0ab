"""Multi-view training: rounds over views, rows that lack some, weights of views, the estimator."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

from ssl_dask.estimators import MultiViewClassifier
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec
from ssl_dask.self_labeled.learners.view_models import INNER_FOLDS, inner_folds
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.methods.multi_view import MultiView
from ssl_dask.self_labeled.rows.block_rows import Piece
from tests.oracles import multi_view_rounds
from tests.rounds_by_keywords import multi_view

N, C = 400, 3
RNG = np.random.default_rng(11)
TRUTH = RNG.choice(C, N, p=[0.5, 0.3, 0.2])
VIEWS = {
    "shape": np.eye(C)[TRUTH] * 1.5 + RNG.normal(size=(N, C)),
    "words": np.eye(C, 6)[TRUTH] * 1.2 + RNG.normal(size=(N, 6)),
}
PRESENT = {"shape": RNG.random(N) < 0.7, "words": RNG.random(N) < 0.9}
CODES = np.full(N, -1)
for _code in range(C):
    CODES[RNG.choice(np.flatnonzero(_code == TRUTH), 8, replace=False)] = _code
LABELS = Labels.from_codes(CODES, np.arange(C))
BAYES = Learner.of_estimator(GaussianNB())


def run(chunks: Any, execution: Execution, **settings: Any) -> SelfLabeled:
    lacking = {n: np.where(PRESENT[n][:, None], X, 0) for n, X in VIEWS.items()}
    return multi_view(
        {name: da.from_array(X, chunks=(chunks, -1)) for name, X in lacking.items()},
        LABELS,
        present={name: da.from_array(has, chunks=chunks) for name, has in PRESENT.items()},
        execution=execution,
        **{"learner": BAYES, "patience": None, "max_iter": 3, **settings},
    )


def answers(found: SelfLabeled, execution: Execution) -> tuple[np.ndarray, np.ndarray]:
    assigned = execution.compute(found.assignment)
    codes = np.concatenate([one.assignment.codes[:, 0] for one in assigned])
    return codes, np.concatenate(execution.compute(list(found.F.to_delayed().ravel())))


def test_rounds_are_those_written_out() -> None:
    execution = Execution(threads=1)
    lacking = ~(PRESENT["shape"] | PRESENT["words"])
    assert lacking.sum() > 3
    history = multi_view_rounds.rounds(
        VIEWS, PRESENT, CODES, C, GaussianNB, share=0.7, mass=2.0, n_rounds=3
    )
    found = run(N, execution, fusion="equal", share=0.7, mass=2.0)
    assert found.n_iter == 3
    for number, record in enumerate(found.records, 1):
        want = history[number][0]
        mass = np.bincount(want[want >= 0], minlength=C) / N
        np.testing.assert_allclose(record.class_mass, mass)
    codes, F = answers(found, execution)
    np.testing.assert_array_equal(codes, history[3][0])
    np.testing.assert_allclose(F, history[3][1], atol=1e-5)
    assert (F[lacking] == 0).all()
    new = (codes >= 0) & (CODES < 0)
    assert new.sum() > 100
    assert (F[~lacking].argmax(axis=1) == TRUTH[~lacking]).mean() > 0.7


def test_a_view_that_says_nothing_weighs_little() -> None:
    views = {"good": VIEWS["shape"], "noise": RNG.normal(size=(N, 4)) * 9}
    found = multi_view(
        {name: da.from_array(X, chunks=(N, -1)) for name, X in views.items()},
        LABELS, learner=BAYES, max_iter=1, execution=Execution(threads=1),
    )  # fmt: skip
    weights = (found.records[0].notes or {})["view_weights"]
    # Naive Bayes is too sure of itself: its weight is below 1.
    assert 0.1 < weights["good"] < 0.5
    assert weights["noise"] < 0.02
    assert 0.1 < (found.records[0].notes or {})["agreement"] < 0.9


def test_evidence_of_a_seed_comes_from_models_that_have_not_seen_it() -> None:
    method = MultiView({"shape": BAYES}, C, shares=np.full(C, 1 / C))
    rows = LABELS.rows
    X = VIEWS["shape"][rows]
    piece = Piece(rows, X, LABELS.codes, np.ones(len(rows), np.float32), np.ones(len(rows), bool))
    fold = inner_folds(piece, 0)
    model = method.fit(0, [piece], (0, 0, 0, 0))
    assert set(fold) == set(range(INNER_FOLDS))
    assert model.evidence.shape == (len(rows), C)
    mine = int(np.flatnonzero(fold == 2)[0])
    moved = X.copy()
    moved[mine] += 5
    changed = Piece(rows, moved, piece.codes, piece.weights, piece.given)
    other = method.fit(0, [changed], (0, 0, 0, 0))
    same = fold == 2
    same[mine] = False
    np.testing.assert_array_equal(other.evidence[same], model.evidence[same])
    assert (other.evidence[mine] != model.evidence[mine]).any()
    assert (other.evidence[fold == 1] != model.evidence[fold == 1]).any()


def test_one_seed_a_class_has_no_weights_to_learn() -> None:
    first = np.unique(LABELS.codes, return_index=True)[1]
    few = LABELS.subset(np.isin(np.arange(LABELS.n_seeds), first))
    found = multi_view(
        {name: da.from_array(X, chunks=(N, -1)) for name, X in VIEWS.items()},
        few, learner=LearnerSpec(), max_iter=2, execution=Execution(threads=1),
    )  # fmt: skip
    assert (found.records[0].notes or {})["view_weights"] == {"shape": 1.0, "words": 1.0}


def test_views_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match=r"\['colour'\] are no views"):
        run(N, Execution(threads=1), learners={"colour": BAYES})


def test_rows_of_nan_lack_the_view(cluster_client: Client) -> None:
    X = np.hstack([np.where(PRESENT[n][:, None], VIEWS[n], np.nan) for n in VIEWS])
    make = MultiViewClassifier(
        {"shape": slice(0, 3), "words": [3, 4, 5, 6, 7, 8]}, "gaussian_nb", max_iter=3,
        patience=None, n_folds=0,
    )  # fmt: skip
    model = make.fit(X, CODES)
    found = run(N, Execution(threads=1))
    np.testing.assert_allclose(
        model.label_distributions_, answers(found, Execution(threads=1))[1], atol=1e-6
    )
    assert set(model.view_weights_) == {"shape", "words"}
    lacking = ~(PRESENT["shape"] | PRESENT["words"])
    assert (model.predict(X)[lacking] == -1).all()
    np.testing.assert_array_equal(model.predict_proba(X), model.label_distributions_)
    far = clone(make).set_params(client=cluster_client).fit(da.from_array(X, chunks=(90, 4)), CODES)
    np.testing.assert_array_equal(
        far.transduction_.compute(scheduler=cluster_client), model.transduction_
    )
    sparse = clone(make).set_params(estimator=None).fit(sp.csr_array(X), CODES)
    assert (sparse.predict(sp.csr_array(X)) == TRUTH)[~lacking].mean() > 0.6
    X[0, 1], X[0, 0] = np.nan, 1.0
    with pytest.raises(ValueError, match="view 'shape': 2 values are NaN"):
        clone(make).fit(np.where(np.arange(N)[:, None] == 0, X, np.nan_to_num(X)), CODES)
