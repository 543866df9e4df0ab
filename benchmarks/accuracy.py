"""Accuracy with few labels a class, beside graphlearning, scikit-learn and logistic regression.

    python benchmarks/accuracy.py --data FOLDER                        # all sets that are there
    python benchmarks/accuracy.py --sets digits --draws 20             # needs no data folder
    python benchmarks/accuracy.py --data FOLDER --sets usps letter --per-class 1 5 --json out.json

FOLDER has a folder a set with `data.parquet`: usps, mnist (a column `features`), letter, satimage6,
dry_bean (columns of numbers), newsgroups20, trec6 (texts), each with a column `label`; or
`nodes.parquet` and `edges.parquet`: cora, citeseer, minesweeper, with features and the published
split.

All methods get the same draws of labels, and those of a graph the same exact neighbour lists: ours
15 neighbours, graphlearning 10 of them, as it is used. One rule chooses everything in ours; none of
it looks at the truth. Accuracy is that of unlabelled rows, mean over draws. Text is searched on 100
latent components and classified on its TF-IDF. Peers that are not installed are named and left out:
pip install graphlearning.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from accuracy_data import GRAPH_SETS, SETS, DataSet, GraphSet, read_graph, read_set
from dask import delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.semi_supervised import LabelSpreading as SklearnSpreading

from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs, MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.propagation.methods.graph_ensemble import ENSEMBLE_WEIGHTS
from ssl_dask.propagation.methods.propagated_features import PropagatedFeaturesSpec
from ssl_dask.run_control import RunControl

try:
    import graphlearning
except ImportError:
    graphlearning = None

PER_CLASS = (1, 2, 5, 10, 50)
SIX = ("usps", "letter", "satimage6", "dry_bean", "newsgroups20", "trec6")
OURS = "ssl_dask auto"
SCIKIT_MAX_ROWS = 25_000
"""scikit-learn's spreading holds a dense kernel unless told otherwise; with more rows it is left
out."""

Predict = Callable[[np.ndarray], np.ndarray]


def draw_seeds(data: DataSet, per_class: int, draw: int) -> np.ndarray:
    """Return rows, `per_class` of each class, the same in every run."""
    key = [zlib.crc32(data.name.encode()), per_class, draw]
    order = np.random.default_rng(key).permutation(len(data.y))
    return np.sort(
        np.concatenate([order[data.y[order] == c][:per_class] for c in range(data.n_classes)])
    )


def labels_of(data: DataSet, rows: np.ndarray) -> Labels:
    codes = np.full(len(data.y), -1)
    codes[rows] = data.y[rows]
    return Labels.from_codes(codes, np.arange(data.n_classes))


def by_name(name: str, inputs: MethodInputs, **parameters: Any) -> MethodResult:
    """Run a method in this process."""
    method = METHODS[name]
    found: MethodResult = method.run(inputs, method.spec(**parameters), RunControl())
    return found


def our_methods(data: DataSet) -> dict[str, Predict]:
    graph = knn_graph(data.dense, 15, weights=ENSEMBLE_WEIGHTS, search="exact")

    def ensemble(rows: np.ndarray) -> np.ndarray:
        labels = labels_of(data, rows)
        X = da.from_delayed(delayed(data.X), data.X.shape, meta=data.X[:0])
        inputs = MethodInputs(labels, graph=graph, X=X, X_seeds=data.X[labels.rows])
        found = by_name("graph_ensemble", inputs)
        return np.asarray(found.F.compute().argmax(axis=1))

    def plain(rows: np.ndarray) -> np.ndarray:
        inputs = MethodInputs(labels_of(data, rows), graph=graph)
        found = by_name("balanced_spreading", inputs, tol=1e-2)
        return np.asarray(found.F.compute().argmax(axis=1))

    return {OURS: ensemble, "ssl_dask balanced_spreading": plain}


def peers(data: DataSet) -> dict[str, Predict]:
    methods: dict[str, Predict] = {"logistic regression": _logistic(data)}
    if graphlearning is not None:
        distances, indices = knn_search(data.dense, data.dense, 11)
        lists = _self_first(np.asarray(distances), np.asarray(indices))
        W = graphlearning.weightmatrix.knn(None, 10, knn_data=lists, kernel="gaussian")
        for name, make in {
            "graphlearning Poisson": lambda: graphlearning.ssl.poisson(
                W, solver="gradient_descent"
            ),
            "graphlearning random walk": lambda: graphlearning.ssl.randomwalk(W, alpha=0.95),
            "graphlearning Laplace": lambda: graphlearning.ssl.laplace(W),
        }.items():
            methods[name] = _graphlearning(data, make)
    if len(data.y) <= SCIKIT_MAX_ROWS:
        for alpha in (0.2, 0.99):
            methods[f"scikit-learn spreading {alpha}"] = _scikit(data, alpha)
    return methods


def _self_first(distances: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (indices, distances) with each row's own place first, as graphlearning wants them.

    A row with many copies may not be in its own list: then it takes the last place. Distances of
    copies are lifted a little: graphlearning divides by that of the last neighbour.
    """
    rows = np.arange(len(indices))[:, None]
    lost = ~(indices == rows).any(axis=1)
    indices, distances = indices.copy(), np.maximum(distances, 1e-6)
    indices[lost, -1] = rows[lost, 0]
    own = indices == rows
    distances[own] = 0.0
    order = np.argsort(~own, axis=1, kind="stable")
    return np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1)


def _graphlearning(data: DataSet, make: Callable[[], object]) -> Predict:
    def predict(rows: np.ndarray) -> np.ndarray:
        model = make()
        model.fit(rows, data.y[rows])  # type: ignore[attr-defined]
        return np.asarray(model.predict())  # type: ignore[attr-defined]

    return predict


def _logistic(data: DataSet) -> Predict:
    def predict(rows: np.ndarray) -> np.ndarray:
        return np.asarray(
            LogisticRegression(max_iter=1000).fit(data.X[rows], data.y[rows]).predict(data.X)
        )

    return predict


def _scikit(data: DataSet, alpha: float) -> Predict:
    def predict(rows: np.ndarray) -> np.ndarray:
        y = np.full(len(data.y), -1)
        y[rows] = data.y[rows]
        model = SklearnSpreading(kernel="knn", n_neighbors=10, alpha=alpha, max_iter=100)
        return np.asarray(model.fit(data.dense, y).transduction_)

    return predict


def run_set(
    data: DataSet, per_class: Sequence[int], draws: Sequence[int], wanted: Sequence[str]
) -> dict[str, dict[int, list[float]]]:
    """Return method -> labels a class -> accuracy of each draw."""
    methods = {**our_methods(data), **peers(data)}
    if wanted:
        methods = {name: one for name, one in methods.items() if any(w in name for w in wanted)}
    found: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in methods}
    for n in per_class:
        began = time.perf_counter()
        for draw in draws:
            rows = draw_seeds(data, n, draw)
            rest = np.setdiff1d(np.arange(len(data.y)), rows)
            for name, predict in methods.items():
                right = predict(rows)[rest] == data.y[rest]
                found[name][n].append(float(right.mean()))
        line = "  ".join(f"{name} {np.mean(found[name][n]):.3f}" for name in methods)
        print(f"{data.name} {n}: {line}  ({time.perf_counter() - began:.0f} s)", flush=True)
    return found


def run_graph(data: GraphSet) -> dict[str, float]:
    """Return the test accuracy of each method, on the public split, and rows that it refused.

    Two classes, of which one is rare and unlike its neighbours: average precision.
    """
    codes = np.where(data.split == "train", data.y, -1)
    labels = Labels.from_codes(codes, np.arange(data.n_classes))
    graph = BlockGraph.from_scipy(sp.csr_array(data.W))
    test = (data.split == "test") & (data.y >= 0)
    X = da.from_array(data.X, chunks=(1000, -1))
    spec = PropagatedFeaturesSpec()
    # As a job does it: hidden seeds choose what the job leaves open.
    folds = hide_seeds(labels, 5, random_state=0)
    inputs = MethodInputs(labels, folds.masks, graph=graph, X=X)
    carried = METHODS[spec.name].run(inputs, spec, RunControl())
    Z = np.asarray(carried.F.compute())
    if data.n_classes == 2:
        return {
            "features and graph, average precision": float(
                average_precision_score(data.y[test], Z[test, 1])
            )
        }
    answers = {"features and graph: propagated_features": Z.argmax(axis=1)}
    refused = {}
    inputs = MethodInputs(labels, graph=graph)
    runs = {"graph only: auto": by_name("graph_ensemble", inputs)}
    for name in ("balanced_spreading", "label_propagation"):
        runs[f"graph only: {name}"] = by_name(name, inputs)
    for name, found in runs.items():
        F = found.F.compute()
        answers[name] = np.where(F.any(axis=1), F.argmax(axis=1), -1)
        refused[f"{name}, test rows refused"] = int((answers[name][test] < 0).sum())
    scores = {name: float((a[test] == data.y[test]).mean()) for name, a in answers.items()}
    return {**scores, **refused}


def summary(results: dict[str, dict[str, dict[int, list[float]]]]) -> None:
    """Print the means over sets, and the set with the least lead over its best peer."""
    sets = list(results)
    budgets = sorted({n for found in results.values() for n in next(iter(found.values()))})
    groups = {"all sets": sets, "six sets": [s for s in SIX if s in sets]}
    for title, chosen in groups.items():
        names = [m for m in results[sets[0]] if all(m in results[s] for s in chosen)]
        if not chosen or (title == "six sets" and chosen == sets):
            continue
        print(f"\n{title}: {', '.join(chosen)}")
        width = max(map(len, names))
        for name in names:
            means = [np.mean([np.mean(results[s][name][n]) for s in chosen]) for n in budgets]
            print(f"  {name:{width}}  " + "  ".join(f"{mean:.4f}" for mean in means))
        peers = [name for name in names if not name.startswith("ssl_dask")]
        if OURS not in names or not peers:
            continue
        gaps = []
        for n in budgets:
            against = {
                s: np.mean(results[s][OURS][n]) - max(np.mean(results[s][m][n]) for m in peers)
                for s in chosen
            }
            worst = min(against, key=lambda s: against[s])
            gaps.append(f"{against[worst]:+.3f} {worst}")
        print(f"  {'least lead over the best peer':{width}}  " + "  ".join(gaps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, *GRAPH_SETS], help="default: all")
    parser.add_argument("--per-class", nargs="+", type=int, default=list(PER_CLASS))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument(
        "--methods", nargs="+", default=[], help="only those whose names hold one of these words"
    )
    parser.add_argument("--json", type=Path, help="write all numbers there")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if graphlearning is None:
        print("graphlearning is not installed: left out", file=sys.stderr)
    draws = range(args.first_draw, args.first_draw + args.draws)
    wanted = args.sets or [*SETS, *GRAPH_SETS]
    results, graphs = {}, {}
    for name in wanted:
        if name != "digits" and (args.data is None or not (args.data / name).is_dir()):
            print(f"{name}: not in --data, left out", file=sys.stderr)
        elif name in GRAPH_SETS:
            graphs[name] = run_graph(read_graph(args.data, name))
            for method, value in graphs[name].items():
                print(f"{name}  {method}  {value:.4g}")
        else:
            results[name] = run_set(read_set(args.data, name), args.per_class, draws, args.methods)
    if results:
        summary(results)
    if args.json is not None:
        packages = ("numpy", "scipy", "scikit-learn", "graphlearning", "dask")
        versions = {p: _version(p) for p in packages}
        args.json.write_text(
            json.dumps({"versions": versions, "sets": results, "graphs": graphs}, indent=1)
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
