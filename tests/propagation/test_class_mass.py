"""Class mass normalisation of label propagation, and weights of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.estimators import LabelSpreading
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from tests.by_keywords import label_propagation, label_spreading
from tests.made_graphs import N_CLASSES, graph_of_nodes, labels_of, random_weights, some_codes
from tests.oracles import method_closed_forms, propagation_closed_forms


def test_folds_are_scaled_by_their_own_mass() -> None:
    W, codes = random_weights(120, 3), some_codes(120, 4)
    labels, fold = labels_of(codes), np.arange(12) < 4
    graph = BlockGraph.from_scipy(W, n_strips=3)
    both = label_propagation(graph, labels, class_mass="seeds", hidden=[fold], max_iter=40, tol=0)
    alone = label_propagation(graph, labels.subset(~fold), class_mass="seeds", max_iter=40, tol=0)
    at_hidden = alone.F.compute()[labels.rows[fold]]
    assert both.fold_F[0].tobytes() == at_hidden.tobytes()


def test_rows_that_share_a_node_count_each() -> None:
    # Node 0 has fifty rows more: as if it weighed as much in the sum.
    W = random_weights(40, 5, density=0.2)
    nodes = np.concatenate([np.arange(40), np.zeros(50, dtype=np.int64)])
    codes = np.full(90, -1)
    codes[[3, 7, 11, 13]] = [0, 1, 2, 3]
    labels = Labels.from_codes(codes, np.arange(N_CLASSES))
    dense = propagation_closed_forms.harmonic(W.toarray().astype(float), codes[:40], N_CLASSES)
    F = method_closed_forms.class_mass_normalised(dense[nodes], codes, np.full(4, 0.25))
    for chunks in ((90,), (20, 45, 25)):
        graph = graph_of_nodes(W, nodes, chunks)
        found = label_propagation(graph, labels, class_mass="seeds", tol=5e-6)
        np.testing.assert_allclose(found.F.compute(), F, atol=1e-5)


def test_weights_of_seeds() -> None:
    W, codes = random_weights(100, 5), some_codes(100, 6)
    labels = labels_of(codes)
    weights = np.random.default_rng(1).uniform(0.2, 3, labels.n_seeds)
    Y = np.zeros((100, N_CLASSES))
    Y[labels.rows, labels.codes] = weights
    dense = W.toarray().astype(float)
    graph = BlockGraph.from_scipy(W)
    spread = label_spreading(graph, labels, tol=1e-6, sample_weight=weights).F.compute()
    harmonic = label_propagation(graph, labels, tol=5e-6, sample_weight=weights).F.compute()
    normalised = propagation_closed_forms.normalised
    exact = normalised(propagation_closed_forms.spread_sources(dense, Y, 0.9))
    np.testing.assert_allclose(spread, exact, atol=1e-5)
    exact = normalised(propagation_closed_forms.harmonic_sources(dense, Y))
    np.testing.assert_allclose(harmonic, exact, atol=1e-5)
    assert np.abs(label_spreading(graph, labels).F.compute() - spread).max() > 0.05
    for wrong in (np.zeros(12), np.full(12, np.nan), np.ones(11)):
        with pytest.raises(ValueError, match="sample_weight"):
            label_spreading(graph, labels, sample_weight=wrong)


def test_weights_at_fit() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.random((60, 3)), np.full(60, -1)
    y[:8] = [0, 1, 0, 1, 0, 1, 0, 1]
    weights = np.ones(60)
    weights[[1, 3]] = 0.0
    without = np.where(weights > 0, y, -1)
    model = LabelSpreading().fit(X, y, sample_weight=weights)
    same = LabelSpreading().fit(X, without)
    np.testing.assert_array_equal(model.label_distributions_, same.label_distributions_)
    with pytest.raises(ValueError, match="zero for all labelled rows"):
        LabelSpreading().fit(X, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="has 59 values"):
        LabelSpreading().fit(X, y, sample_weight=np.ones(59))
    with pytest.raises(ValueError, match="finite number of at least 0"):
        LabelSpreading().fit(X, y, sample_weight=-np.ones(60))
