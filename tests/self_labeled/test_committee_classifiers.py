"""The classifiers of committees keep scikit-learn's conventions."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import (
    CoForestClassifier,
    CoTrainingClassifier,
    DemocraticCoLearningClassifier,
    TriTrainingClassifier,
)
from tests.committee_case import made_rows
from tests.estimator_checks import parametrize_checks

# Checks of scikit-learn that are known to fail, each with its reason.
WEIGHTS = "rows without weight are still labelled; samples and bounds count rows, not weights"
FAILED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
    "check_non_transformer_estimators_n_iter": "with no row to label there is no round",
    "check_classifiers_classes": "-1 is unlabelled; scikit-learn knows it of some names only",
}
THREE = ["decision_tree", "logistic_regression", DecisionTreeClassifier(max_depth=2)]
CLASSIFIERS = [
    TriTrainingClassifier("decision_tree", n_folds=2),
    DemocraticCoLearningClassifier(THREE, n_folds=0),
    CoForestClassifier(n_estimators=4, n_folds=0),
    CoTrainingClassifier(max_iter=2, n_folds=0),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_checks([], CLASSIFIERS, lambda estimator: FAILED)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda one: type(one).__name__)
def test_arrays_of_any_kind_give_the_same(model: Any, cluster_client: Client) -> None:
    X, _, seeds = made_rows(n=300, sep=2.0)
    here = model.fit(X, seeds)
    F, labels = here.label_distributions_, here.transduction_
    new = here.predict_proba(X[:50])
    np.testing.assert_array_equal(new, F[:50])
    again = pickle.loads(pickle.dumps(here))  # noqa: S301
    np.testing.assert_array_equal(again.predict_proba(X[:50]), new)
    blocks = da.from_array(X, chunks=((100, 130, 70), (8,)))
    there = model.__sklearn_clone__().set_params(client=cluster_client).fit(blocks, seeds)
    assert isinstance(there.label_distributions_, da.Array)
    np.testing.assert_array_equal(cluster_client.compute(there.label_distributions_).result(), F)
    np.testing.assert_array_equal(cluster_client.compute(there.transduction_).result(), labels)
    sparse = model.__sklearn_clone__().fit(sp.csr_array(X), seeds)
    assert (sparse.predict(sp.csr_array(X)) == here.predict(X)).mean() > 0.9
