"""Laplace, Poisson and Poisson-MBO learning beside graphlearning's, over one graph.

    python benchmarks/same_graph.py --data FOLDER --draws 5 --json out.json      # MNIST, raw pixels
    python benchmarks/same_graph.py --sets digits                                # needs no folder

Both get the same symmetric matrix of weights (10 neighbours, Gaussian), the same labels, and for
Poisson-MBO equal shares of the classes. CPU seconds are those of this process and all its threads,
user and system, of the solve alone; the first draw is done once before it counts, for compilers and
caches. graphlearning runs as it comes, and with Poisson by gradient descent too. The means of
accuracy over draws, on unlabelled rows, and of CPU seconds are printed. FOLDER is that of
`accuracy.py`. pip install graphlearning.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import graphlearning
import numpy as np
from accuracy import by_name, draw_seeds, labels_of
from accuracy_data import SETS, DataSet, read_set

from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.method import MethodInputs

Predict = Callable[[np.ndarray], np.ndarray]
PAIRS = {
    "label_propagation": "graphlearning Laplace",
    "poisson": "graphlearning Poisson",
    "poisson_mbo": "graphlearning Poisson-MBO",
}


def methods_on_one_graph(data: DataSet) -> dict[str, Predict]:
    """Return name -> function from labelled rows to the classes of all rows."""
    graph = knn_graph(data.dense, 10, weights="gaussian", symmetrize="average", search="exact")
    W = graph.to_scipy().astype(np.float64)
    equal = np.full(data.n_classes, 1.0 / data.n_classes)
    theirs = {
        "graphlearning Laplace": lambda: graphlearning.ssl.laplace(W),
        "graphlearning Poisson": lambda: graphlearning.ssl.poisson(W),
        "graphlearning Poisson, gradient descent": lambda: graphlearning.ssl.poisson(
            W, solver="gradient_descent"
        ),
        "graphlearning Poisson-MBO": lambda: graphlearning.ssl.poisson_mbo(W, equal),
    }
    settings: dict[str, dict[str, Any]] = {name: {} for name in PAIRS}
    settings["poisson_mbo"]["class_shares"] = "seeds"

    def ours(name: str) -> Predict:
        def predict(rows: np.ndarray) -> np.ndarray:
            found = by_name(
                name, MethodInputs(labels_of(data, rows), graph=graph), **settings[name]
            )
            return np.asarray(found.F.compute().argmax(axis=1))

        return predict

    def peer(make: Callable[[], Any]) -> Predict:
        def predict(rows: np.ndarray) -> np.ndarray:
            model = make()
            model.fit(rows, data.y[rows])
            return np.asarray(model.predict())

        return predict

    named = {f"ssl_dask {name}": ours(name) for name in PAIRS}
    return {**named, **{name: peer(make) for name, make in theirs.items()}}


def run_set(
    data: DataSet, per_class: Sequence[int], draws: int
) -> dict[str, dict[int, dict[str, list[float]]]]:
    """Return method -> labels a class -> accuracy and CPU seconds of each draw."""
    methods = methods_on_one_graph(data)
    found: dict[str, dict[int, dict[str, list[float]]]] = {
        name: defaultdict(lambda: {"accuracy": [], "cpu_s": []}) for name in methods
    }
    for predict in methods.values():
        predict(draw_seeds(data, per_class[0], 0))
    for n in per_class:
        for draw in range(draws):
            rows = draw_seeds(data, n, draw)
            rest = np.setdiff1d(np.arange(len(data.y)), rows)
            for name, predict in methods.items():
                began = time.process_time()
                answer = predict(rows)
                found[name][n]["cpu_s"].append(time.process_time() - began)
                found[name][n]["accuracy"].append(float((answer[rest] == data.y[rest]).mean()))
        print(f"\n{data.name}, {n} a class, {draws} draws: accuracy, CPU seconds", flush=True)
        for name in methods:
            means = {key: np.mean(values) for key, values in found[name][n].items()}
            print(f"  {name:42}{means['accuracy']:8.4f}{means['cpu_s']:8.2f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["mnist"])
    parser.add_argument("--per-class", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all numbers there")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {}
    for name in args.sets:
        results[name] = run_set(read_set(args.data, name), args.per_class, args.draws)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
