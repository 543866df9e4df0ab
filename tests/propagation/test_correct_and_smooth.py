"""Correct & Smooth on given probabilities: closed form, folds, nodes that rows share."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from ssl_dask.graph.block.block_graph import BlockGraph
from tests.by_keywords import correct_and_smooth
from tests.made_graphs import N_CLASSES, graph_of_nodes, labels_of, random_weights, some_codes
from tests.oracles import closed_forms

ALPHAS = (0.8, 0.9)


def some_probabilities(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(N_CLASSES, 0.5), n).astype(np.float32)


def test_closed_form_and_folds() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 2)
    labels, fold = labels_of(codes), np.arange(12) % 3 == 0
    Z = [some_probabilities(150, 3), some_probabilities(150, 4)]
    z = np.stack([some_probabilities(12, 5), some_probabilities(12, 6)])
    dense, Y = W.toarray().astype(float), closed_forms.one_hot(codes, N_CLASSES)
    exact = closed_forms.corrected_and_smoothed(dense, Z[0], z[0], Y, ALPHAS)
    Y[labels.rows[fold]] = 0
    without = closed_forms.corrected_and_smoothed(dense, Z[1], z[1][~fold], Y, ALPHAS)
    found = correct_and_smooth(
        BlockGraph.from_scipy(W, n_strips=3),
        labels,
        [da.from_array(one, chunks=(40, -1)) for one in Z],
        z,
        correct_alpha=ALPHAS[0],
        smooth_alpha=ALPHAS[1],
        tol=1e-5,
        hidden=[fold],
    )
    assert found.converged
    np.testing.assert_allclose(found.F.compute(), exact, atol=1e-4)
    np.testing.assert_allclose(found.fold_F[0], without[labels.rows[fold]], atol=1e-4)
    assert (exact.argmax(axis=1) != Z[0].argmax(axis=1)).mean() > 0.1


def test_rows_that_share_a_node() -> None:
    W, codes = random_weights(60, 5, density=0.15), some_codes(60, 2)
    nodes = np.random.default_rng(3).permutation(60)
    Z, z = some_probabilities(60, 3), some_probabilities(12, 5)[None]
    graph = graph_of_nodes(W, nodes, (20, 40))
    labels = labels_of(codes)
    found = correct_and_smooth(graph, labels, [Z], z, correct_alpha=0.8, tol=1e-6).F.compute()
    by_row = W.toarray().astype(float)[np.ix_(nodes, nodes)]
    Y = closed_forms.one_hot(codes, N_CLASSES)
    exact = closed_forms.corrected_and_smoothed(by_row, Z, z[0], Y, ALPHAS)
    np.testing.assert_allclose(found, exact, atol=1e-4)
    with pytest.raises(ValueError, match="probabilities must be 1 arrays"):
        correct_and_smooth(graph, labels, [Z[:50]], z)
