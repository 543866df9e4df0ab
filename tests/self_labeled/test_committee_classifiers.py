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

THREE = ["decision_tree", "logistic_regression", DecisionTreeClassifier(max_depth=2)]
CLASSIFIERS = [
    TriTrainingClassifier("decision_tree", n_folds=2),
    DemocraticCoLearningClassifier(THREE, n_folds=0),
    CoForestClassifier(n_estimators=4, n_folds=0),
    CoTrainingClassifier(max_iter=2, n_folds=0),
]


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
