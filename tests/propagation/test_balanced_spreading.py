"""Balanced spreading: equal masses of the classes, weighted seeds, and what it is good for."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from ssl_dask.estimators import BalancedSpreading, LabelSpreading
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.seed_sources import SeedSources
from tests.by_keywords import balanced_spreading
from tests.made_graphs import N_CLASSES, few_labels, labels_of, random_weights, some_codes


def test_every_class_has_the_same_mass_however_many_seeds_it_has() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 3, n_seeds=20)
    # Class 0 keeps one seed, the others five.
    codes[np.flatnonzero(codes == 0)[1:]] = -1
    found = balanced_spreading(BlockGraph.from_scipy(W), labels_of(codes), alpha=0.95, tol=1e-7)
    degree = np.asarray(W.sum(axis=1)).ravel()
    mass = (found.F.compute() * (found.mass.compute() * degree)[:, None]).sum(axis=0)
    np.testing.assert_allclose(mass, np.ones(N_CLASSES), rtol=1e-3)


def test_seed_weights_count_within_a_class() -> None:
    labels = Labels.from_codes([0, 0, 1, -1], [0, 1])
    sources = SeedSources.from_folds(labels, (), [3.0, 1.0, 7.0])
    np.testing.assert_allclose(sources.balanced(0.0).weights, [[0.75, 0.25, 1.0]])
    # Two seeds against one: the root of their number, mean 1.
    totals = np.sqrt([2.0, 1.0]) / np.sqrt([2.0, 1.0]).mean()
    want = [[0.75 * totals[0], 0.25 * totals[0], totals[1]]]
    np.testing.assert_allclose(sources.balanced(0.5).weights, want)


def test_it_is_better_than_label_spreading_with_one_seed_a_class() -> None:
    X, y = load_digits(return_X_y=True)
    right = {BalancedSpreading: [], LabelSpreading: []}
    for draw in range(4):
        codes = few_labels(y, 1, draw)
        for kind, found in right.items():
            labels = kind(alpha=0.99).fit(X, codes).transduction_
            found.append(np.mean(labels[codes < 0] == y[codes < 0]))
    assert np.mean(right[BalancedSpreading]) > np.mean(right[LabelSpreading])
    assert np.mean(right[BalancedSpreading]) > 0.84
