"""With a client open, the Python API computes on its cluster, as Dask does, with the same bits."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.errors import ComputeError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.propagation.estimators.anchor_graph import AnchorGraph
from ssl_dask.propagation.estimators.graph_classifiers import LabelSpreading
from ssl_dask.propagation.estimators.harmonic_regressor import LabelPropagationRegressor
from ssl_dask.propagation.methods.propagated_features import propagated_features
from ssl_dask.self_labeled.estimators.self_training_classifier import SelfTrainingClassifier
from tests.made_points import assert_same, in_chunks

N = 120


def rows():
    """Return two clouds of rows and the class of each, -1 for all but 10."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, N)
    X = rng.normal(size=(N, 5)) + 3.0 * side[:, None]
    return X.astype(np.float32), np.where(np.arange(N) < 10, side, -1)


def held_on(client, X):
    """Return X, persisted on the cluster where it is a Dask array."""
    return client.persist(X) if isinstance(X, da.Array) else X


def kinds_of(X):
    return {
        "numpy": X,
        "dask": da.from_array(X, chunks=(50, -1)),
        "csr": in_chunks(sp.csr_array(np.where(X > 1, X, 0)), (50, N - 50)),
    }


@pytest.mark.parametrize("kind", ["numpy", "dask", "csr"])
def test_graphs_are_made_on_the_open_client_with_the_same_bits(cluster_client, kind):
    X, _ = rows()
    given = kinds_of(X)[kind]
    here = [knn_graph(given, 5), rbf_graph(given, 0.5)]
    expected = [graph.to_scipy() for graph in (*here, sum_graphs([(g, 1.0) for g in here]))]
    carried = np.asarray(propagated_features(here[0], given))
    with cluster_client.as_current():
        held = held_on(cluster_client, given)
        there = [knn_graph(held, 5), rbf_graph(held, 0.5)]
        found = [graph.to_scipy() for graph in (*there, sum_graphs([(g, 1.0) for g in there]))]
        same = np.asarray(propagated_features(there[0], held))
    assert min(W.nnz for W in expected) > N
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
    assert np.ptp(carried) > 1
    assert carried.tobytes() == same.tobytes()


def test_entities_are_joined_on_the_open_client(cluster_client):
    columns = {"card": np.arange(N) % 30}
    expected = entity_graph(columns).to_scipy()
    with cluster_client.as_current():
        found = entity_graph(columns)
        assert_same(found, expected)
        with pytest.raises(ComputeError) as raised:
            found.to_scipy(Execution())
    assert "client=" in raised.value.problems[0].hint


@pytest.mark.parametrize("kind", ["numpy", "dask", "csr"])
@pytest.mark.parametrize("make", [LabelSpreading, SelfTrainingClassifier])
def test_classifiers_fit_on_the_open_client_with_the_same_bits(cluster_client, kind, make):
    X, y = rows()
    given = kinds_of(X)[kind]
    here = make().fit(given, y)
    expected = [np.asarray(one) for one in (here.label_distributions_, here.transduction_)]
    with cluster_client.as_current():
        held = held_on(cluster_client, given)
        there = make().fit(held, y)
        found = [np.asarray(one) for one in (there.label_distributions_, there.transduction_)]
        scores = np.asarray(there.predict_proba(held))
    assert set(expected[1].tolist()) >= {0, 1}
    assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]
    assert np.asarray(here.predict_proba(given)).tobytes() == scores.tobytes()


@pytest.mark.parametrize("make", [AnchorGraph, LabelPropagationRegressor])
def test_other_estimators_fit_on_the_open_client(cluster_client, make):
    X, y = rows()
    y = np.where(y < 0, -1 if make is AnchorGraph else np.nan, y)
    given = kinds_of(X)["dask"]
    small = {"n_anchors": 8} if make is AnchorGraph else {}
    here = make(**small).fit(given, y).predict(X)
    with cluster_client.as_current():
        there = make(**small).fit(held_on(cluster_client, given), y).predict(X)
    assert len(np.unique(here)) > 1
    assert here.tobytes() == there.tobytes()


def test_rows_of_a_cluster_are_refused_in_this_process(cluster_client):
    X, _ = rows()
    held = held_on(cluster_client, kinds_of(X)["dask"])
    with cluster_client.as_current(), pytest.raises(ComputeError) as raised:
        knn_graph(held, 5, client="local")
    assert "client=" in raised.value.problems[0].hint


def test_the_client_given_comes_first(cluster_client):
    assert Execution.of().client is None
    with cluster_client.as_current():
        assert Execution.of().client is cluster_client
        assert Execution.of("local").client is None
        execution = Execution()
        assert Execution.of(None, execution) is execution
        inside = cluster_client.submit(lambda: Execution.of().client is None, pure=False).result()
    assert inside
    assert Execution.of(cluster_client).client is cluster_client
    with pytest.raises(ValueError, match="not both"):
        Execution.of("local", execution)
    with pytest.raises(ValueError, match="local"):
        Execution.of("tcp://127.0.0.1:8786")
