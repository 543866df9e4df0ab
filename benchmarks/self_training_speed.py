"""Self-training of a million rows beside scikit-learn's, on the same rows, learner and settings.

Usage: python benchmarks/self_training_speed.py [--rows 1000000] [--features 32] [--rounds 5]
[--workers 2] [--json FILE] [--no-peer]

Rows are correlated columns of different scales, as tables are; 1,000 are labelled, of two classes.
Told are wall seconds (ours with the way of the rows to the workers), the largest memory of the
client and of a worker, how many labels agree, and what scoring costs beside a bare `predict_proba`
that is spread over the same workers.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed
from distributed import Client, LocalCluster
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier as Peer

from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.methods.self_training import SelfTrainingSpec, self_training
from ssl_dask.self_labeled.rows.block_rows import Piece

BLOCK_ROWS = 62_500
SEEDS = 1_000
SETTINGS = {"criterion": "threshold", "threshold": 0.9}


def make_block(start: int, n_rows: int, n_features: int) -> np.ndarray:
    """Rows of one block, float32; the class stands in the last column."""
    shape = np.random.default_rng(7)
    mixing = shape.normal(size=(n_features, n_features)) / np.sqrt(n_features)
    mixing *= np.exp(shape.normal(size=n_features))
    # The mean variance is 1, so that the penalty means the same to both.
    mixing /= np.sqrt((mixing**2).sum() / n_features)
    line = shape.normal(size=n_features)
    random = np.random.default_rng([11, start])
    Z = random.normal(size=(n_rows, n_features))
    y = Z @ line + random.normal(size=n_rows) > 0
    return np.column_stack([Z @ mixing, y]).astype(np.float32)


def features(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block[:, :-1])


def made(args: argparse.Namespace, execution: Execution) -> tuple[da.Array, Labels]:
    """Make the rows where they are worked on; the classes of the seeds alone come here."""
    starts = list(range(0, args.rows, BLOCK_ROWS))
    sizes = [min(BLOCK_ROWS, args.rows - start) for start in starts]
    whole = [
        delayed(make_block, pure=False)(start, n, args.features)
        for start, n in zip(starts, sizes, strict=True)
    ]
    whole = execution.persist(whole, "make")
    last = delayed(lambda block: block[:SEEDS, -1].astype(int), pure=False)(whole[0])
    (codes,) = execution.compute([last])
    labels = Labels(args.rows, np.arange(SEEDS), codes.astype(np.int32), np.array([0, 1]))
    blocks = execution.persist([delayed(features, pure=False)(one) for one in whole], "make")
    view = da.concatenate(
        [
            da.from_delayed(block, (n, args.features), dtype=np.float32)
            for block, n in zip(blocks, sizes, strict=True)
        ]
    )
    return view, labels


def load_kernels(n_features: int) -> None:
    """Compile the kernels, or load them, before the clock runs, as imports are made before it."""
    learner = learner_of(LearnerSpec())
    # So many that the fit is the one of many rows.
    n_rows = 30_000
    block = make_block(0, n_rows, n_features)
    codes = block[:, -1].astype(np.int32)
    piece = Piece(np.arange(n_rows), features(block), codes, np.ones(n_rows), np.ones(n_rows, bool))
    learner.fit([piece], 2, (0,)).probabilities(features(block))


def ours(args: argparse.Namespace) -> dict[str, Any]:
    with (
        LocalCluster(
            n_workers=args.workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(load_kernels, args.features)
        execution = Execution(client)
        view, labels = made(args, execution)
        began = time.perf_counter()
        spec = SelfTrainingSpec(
            rescore=False,
            mass=None,
            class_shares="none",
            patience=None,
            max_iter=args.rounds,
            **SETTINGS,
        )
        inputs = MethodInputs(labels, views={"X": view})
        found = self_training(inputs, spec, RunControl(execution))
        seconds = time.perf_counter() - began
        scoring = scoring_seconds(view, found, execution)
        memory = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        codes = np.concatenate(
            [one.assignment.codes[:, 0] for one in execution.compute(found.assignment)]
        )
        return {
            "seconds": seconds,
            "rounds": [record.seconds for record in found.records],
            "reason": found.reason,
            **scoring,
            "client_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            "worker_MB": max(memory.values()) / 1000,
            "codes": codes,
        }


def scoring_seconds(view: da.Array, found: SelfLabeled, execution: Execution) -> dict[str, float]:
    """What a pass of scoring takes, and one of scikit-learn's bare predict_proba."""
    blocks = list(view.to_delayed(optimize_graph=False).ravel())
    (model,) = execution.compute(found.models)
    first = features(make_block(0, SEEDS, view.shape[1]))
    y = make_block(0, SEEDS, view.shape[1])[:, -1].astype(int)
    bare = LogisticRegression(max_iter=1000).fit(first, y)
    passes = {}
    for name, score in (
        ("scoring", lambda X: len(model.probabilities(X))),
        ("predict_proba", lambda X: len(bare.predict_proba(X))),
    ):
        task = delayed(score, pure=False)
        execution.compute([task(block) for block in blocks])
        began = time.perf_counter()
        execution.compute([task(block) for block in blocks])
        passes[f"{name}_seconds"] = time.perf_counter() - began
    return passes


def theirs(args: argparse.Namespace) -> dict[str, Any]:
    starts = range(0, args.rows, BLOCK_ROWS)
    X = np.concatenate(
        [make_block(start, min(BLOCK_ROWS, args.rows - start), args.features) for start in starts]
    )
    y = np.full(args.rows, -1)
    y[:SEEDS] = X[:SEEDS, -1].astype(int)
    X = features(X)
    began = time.perf_counter()
    model = Peer(LogisticRegression(max_iter=1000), max_iter=args.rounds, **SETTINGS).fit(X, y)
    return {
        "seconds": time.perf_counter() - began,
        "reason": model.termination_condition_,
        "process_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "codes": model.transduction_,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    load_kernels(args.features)
    results = {"ssl_dask": ours(args)}
    if not args.no_peer:
        results["scikit-learn"] = theirs(args)
        agree = (results["ssl_dask"]["codes"] == results["scikit-learn"]["codes"]).mean()
        times = results["scikit-learn"]["seconds"] / results["ssl_dask"]["seconds"]
        print(f"labels that agree: {agree:.4%}; {times:.2f} times faster")
    for name, found in results.items():
        found.pop("codes")
        print(name, json.dumps(found, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
