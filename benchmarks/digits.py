"""Accuracy on scikit-learn's 1,797 digits with 1 to 10 labels a class, beside scikit-learn's own.

Run from the repository: `python benchmarks/digits.py [--draws 30]`. Accuracy is that of the
unlabelled rows, in percent, mean and standard deviation over draws of the labels. With one label a
class a mean of ten draws is uncertain by 1.5 points: take more to compare.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from sklearn import semi_supervised
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ssl_dask.estimators import BalancedSpreading, GraphEnsemble, LabelPropagation, LabelSpreading
from ssl_dask.graphs import knn_graph

PER_CLASS = (1, 2, 5, 10)


def few_labels(truth: np.ndarray, per_class: int, draw: int) -> np.ndarray:
    rng = np.random.default_rng(draw)
    y = np.full(len(truth), -1)
    for c in np.unique(truth):
        y[rng.choice(np.flatnonzero(truth == c), per_class, replace=False)] = c
    return y


def methods(X: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return functions from y (N,) to labels of all rows."""
    graph10, graph15 = knn_graph(X, n_neighbors=10), knn_graph(X, n_neighbors=15)

    def supervised(y: np.ndarray) -> np.ndarray:
        seeds = y >= 0
        return LogisticRegression(max_iter=2000).fit(X[seeds], y[seeds]).predict(X)

    def theirs(name: str, **parameters: object) -> Callable[[np.ndarray], np.ndarray]:
        model = getattr(semi_supervised, name)(kernel="knn", n_neighbors=7, **parameters)
        return lambda y: model.fit(X, y).transduction_

    return {
        "LabelSpreading, alpha .99, k 10": (
            lambda y: LabelSpreading(alpha=0.99).fit(graph10, y).transduction_
        ),
        "LabelSpreading, alpha .99, k 15": (
            lambda y: LabelSpreading(alpha=0.99).fit(graph15, y).transduction_
        ),
        "BalancedSpreading, k 10": lambda y: BalancedSpreading().fit(graph10, y).transduction_,
        "GraphEnsemble, the default method": lambda y: GraphEnsemble().fit(X, y).transduction_,
        "LabelSpreading, defaults": lambda y: LabelSpreading().fit(graph15, y).transduction_,
        "LabelPropagation, defaults": lambda y: LabelPropagation().fit(graph15, y).transduction_,
        "scikit-learn LabelPropagation, k 7": theirs("LabelPropagation"),
        "scikit-learn LabelSpreading, k 7": theirs("LabelSpreading"),
        "scikit-learn LabelSpreading, k 7, .99": theirs(
            "LabelSpreading", alpha=0.99, max_iter=2000
        ),
        "logistic regression on the seeds": supervised,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=30)
    draws = parser.parse_args().draws
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, truth = load_digits(return_X_y=True)
    print(f"{'labels a class':40s}" + "".join(f"{n:>14d}" for n in PER_CLASS))
    for name, label in methods(X).items():
        cells = []
        for per_class in PER_CLASS:
            right = []
            for draw in range(draws):
                y = few_labels(truth, per_class, draw)
                right.append(100 * np.mean(label(y)[y < 0] == truth[y < 0]))
            cells.append(f"{np.mean(right):8.1f} ±{np.std(right):4.1f}")
        print(f"{name:40s}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
