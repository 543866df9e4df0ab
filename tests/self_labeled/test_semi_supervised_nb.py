"""EM with naive Bayes: rounds against EM written out, blocks, the likelihood, the estimator."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn.base import clone

from ssl_dask.errors import InputDataError
from ssl_dask.estimators import SemiSupervisedNB
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.loop.hidden_loss import HiddenLoss
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from tests.made_points import in_chunks
from tests.oracles.em_naive_bayes import e_step, em
from tests.rounds_by_keywords import semi_supervised_nb

N, D, C = 150, 12, 3
RNG = np.random.default_rng(5)
TRUTH = RNG.choice(C, N, p=[0.5, 0.3, 0.2])
THETA = RNG.dirichlet(np.full(D, 0.5), C)
# Weighted counts, as text groups make them.
X = np.stack([RNG.multinomial(9, THETA[c]) for c in TRUTH]) * RNG.uniform(0.05, 0.2, (N, D))
X = X.astype(np.float32)
CODES = np.full(N, -1)
for _code in range(C):
    CODES[RNG.choice(np.flatnonzero(_code == TRUTH), 4, replace=False)] = _code
LABELS = Labels.from_codes(CODES, np.arange(C))


def run(chunks: Any, execution: Execution, **settings: Any) -> SelfLabeled:
    view = in_chunks(sp.csr_array(X), chunks)
    given = {"alpha": 0.1, "max_iter": 6, "tol": 0.0, "patience": None, **settings}
    return semi_supervised_nb({"X": view}, LABELS, execution=execution, **given)


def shares(found: SelfLabeled, execution: Execution) -> np.ndarray:
    return np.concatenate(execution.compute(list(found.F.to_delayed().ravel())))


def likelihoods(found: SelfLabeled) -> list[float]:
    return [(record.notes or {})["log_likelihood"] for record in found.records]


@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_rounds_are_those_of_em(weight: float) -> None:
    execution = Execution(threads=1)
    found = run((N,), execution, unlabelled_weight=weight)
    assert found.n_iter == 6
    want = em(X, CODES, C, 0.1, weight, 7)
    np.testing.assert_allclose(
        shares(found, execution), e_step(X, want.prior, want.theta), atol=2e-4
    )
    np.testing.assert_allclose(likelihoods(found), want.log_posterior[:6], rtol=1e-5)
    # The first likelihood is of a model of the seeds alone; from then on EM raises it.
    rising = np.diff(likelihoods(found)[1:])
    assert (rising > -1e-3).all()
    assert rising.max() > 0.1
    said = shares(found, execution).argmax(axis=1)
    assert (said == TRUTH).mean() > 0.75
    first = em(X, CODES, C, 0.1, weight, 1)
    assert (said != e_step(X, first.prior, first.theta).argmax(axis=1)).sum() > 3


def test_a_later_round_as_good_as_the_best_answers() -> None:
    codes = np.array([0, 1, 0, 1, 0, 1], np.int32)
    sure = np.array([0.8, 0.7, 0.9, 0.6, 0.75, 0.2])

    def said(right: np.ndarray) -> list[np.ndarray]:
        F = np.where(np.arange(2)[None] == codes[:, None], right[:, None], 1 - right[:, None])
        return [F.astype(np.float32)]

    masks = [np.ones(6, bool)]
    base = np.array([0.55, 0.45, 0.6, 0.52, 0.55, 0.3])
    late = np.array([0.7, 0.8, 0.6, 0.9, 0.75, 0.15])
    wrong = np.where(np.arange(6) == 1, 0.45, sure)
    # The late one loses 0.4 standard errors more than the best; the wrong one names fewer right.
    for leeway, kept in ((0.0, [0, 1, 1, 1, 1]), (0.25, [0, 1, 1, 1, 1]), (2.0, [0, 1, 2, 2, 2])):
        loss = HiddenLoss(codes, masks, leeway)
        for number, right in enumerate((base, sure, late, wrong, base)):
            loss.add(said(right))
            assert loss.kept_round == kept[number]
            stored = json.loads(json.dumps(loss.as_dict()))
            loss = HiddenLoss(codes, masks, leeway)
            loss.restore(stored)
        means = [loss.mean(number) for number in (1, 2, 3, 0)]
        assert means == sorted(means)
        assert loss.fold_F(kept[-1])[0].shape == (6, 2)


def test_it_ends_when_the_likelihood_rests() -> None:
    found = run((N,), Execution(threads=1), max_iter=200, tol=1e-6)
    assert found.reason == "converged"
    last = likelihoods(found)[-2:]
    assert abs(last[1] - last[0]) <= 1e-6 * abs(last[0])
    assert 4 < found.n_iter < 200


def test_without_weight_unlabelled_rows_say_nothing() -> None:
    execution = Execution(threads=1)
    found = run((70, 80), execution, unlabelled_weight=0.0, max_iter=2)
    first = em(X, CODES, C, 0.1, 0.0, 1)
    np.testing.assert_allclose(
        shares(found, execution), e_step(X, first.prior, first.theta), atol=1e-5
    )


def test_rows_of_a_fit_cannot_be_limited() -> None:
    with pytest.raises(ValueError, match="max_fit_rows"):
        run((50, 100), Execution(threads=1), max_fit_rows=10)


def test_features_below_0_are_refused() -> None:
    view = da.from_array(X - 0.5, chunks=(50, -1))
    with pytest.raises(InputDataError, match=r"features are below 0.*scale: minmax"):
        semi_supervised_nb({"X": view}, LABELS, execution=Execution(threads=1))


def test_the_estimator(cluster_client: Client) -> None:
    y = np.array([None if c < 0 else "abc"[c] for c in CODES], dtype=object)
    model = SemiSupervisedNB(0.1, max_iter=6, tol=0.0, patience=None, n_folds=0).fit(X, y)
    found = run((N,), Execution(threads=1))
    np.testing.assert_array_equal(model.label_distributions_, shares(found, Execution(threads=1)))
    assert model.log_likelihood_ == likelihoods(found)
    assert (model.predict(X) == np.array(list("abc"))[TRUTH]).mean() > 0.75
    assert (model.transduction_[CODES == 1] == "b").all()
    far = clone(model).set_params(client=cluster_client).fit(da.from_array(X, chunks=(40, 5)), y)
    np.testing.assert_array_equal(
        far.label_distributions_.compute(scheduler=cluster_client), model.label_distributions_
    )
    with pytest.raises(ValueError, match="Negative values"):
        SemiSupervisedNB().fit(X - 1, y)
