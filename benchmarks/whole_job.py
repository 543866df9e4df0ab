"""MNIST from Parquet to Parquet with 10 labels a class, beside scikit-learn and graphlearning.

    python benchmarks/whole_job.py                      # all three, one draw of the labels
    python benchmarks/whole_job.py --draws 5 --entrants ssl_dask
    python benchmarks/whole_job.py --set graph.n_neighbors=10 --json out.json

Each entrant runs in a fresh process, imports not counted: it reads 70,000 x 784 pixels and 100
labels, labels the rest and writes ids and labels. Ours is `method: auto` on a local cluster of two
workers with all that a job does (folds, report, commit); scikit-learn's LabelSpreading has its knn
kernel and alpha 0.99, which is better than its default here; graphlearning its own neighbour
search and Poisson learning by gradient descent. Wall seconds, CPU seconds, the largest process's
and all processes' peak resident memory, and accuracy on the unlabelled rows are printed. Nothing
else should run on the machine meanwhile. Peers need scikit-learn; pip install graphlearning.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import Stopwatch, measure

from ssl_dask.pipeline.commands.saved_runs import shipped_job

PER_CLASS = 10


def draw_seeds(ids: np.ndarray, digit: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and digits of 10 rows of each digit, in row order."""
    order = np.random.default_rng([7, draw]).permutation(len(digit))
    rows = np.sort(np.concatenate([order[digit[order] == c][:PER_CLASS] for c in range(10)]))
    return ids[rows], digit[rows]


def run_ours(job: dict[str, Any], watch: Stopwatch) -> None:
    """Run the job on a cluster of two workers."""
    from ssl_dask.job_file import load_job
    from ssl_dask.pipeline.commands.run import run_job

    keys = [
        f"input.labels.path={job['seeds']}",
        f"output.path={job['out']}",
        "method={name: auto}",
        "features={image: {vector: pixels}}",
        "graph={}",
        *job["set"],
    ]
    spec = load_job(Path(job["job"]), keys)
    with watch.running():
        run_job(spec, force=True)


def run_scikit(job: dict[str, Any], watch: Stopwatch) -> None:
    """Read, spread over 10 neighbours, write."""
    from sklearn.semi_supervised import LabelSpreading

    with watch.running():
        X, ids, y = _read(job)
        model = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.99, max_iter=100)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
        _write(job, ids, model.transduction_)


def run_graphlearning(job: dict[str, Any], watch: Stopwatch) -> None:
    """Read, search 10 neighbours as graphlearning does, learn by Poisson, write."""
    import graphlearning

    with watch.running():
        X, ids, y = _read(job)
        W = graphlearning.weightmatrix.knn(X, 10)
        model = graphlearning.ssl.poisson(W, solver="gradient_descent")
        seeds = np.flatnonzero(y >= 0)
        model.fit(seeds, y[seeds])
        _write(job, ids, model.predict())


def _read(job: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = pq.read_table(job["data"], columns=["image_id", "pixels"])
    ids = table["image_id"].to_numpy()
    values = table["pixels"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    X = values.reshape(len(ids), -1).astype(np.float32)
    y = np.full(len(ids), -1)
    lines = np.loadtxt(job["seeds"], delimiter=",", skiprows=1, dtype=np.int64)
    y[np.searchsorted(ids, lines[:, 0])] = lines[:, 1]
    return X, ids, y


def _write(job: dict[str, Any], ids: np.ndarray, labels: np.ndarray) -> None:
    folder = Path(job["out"])
    folder.mkdir(parents=True)
    table = pa.table({"image_id": ids, "label": np.asarray(labels).astype(np.int64)})
    pq.write_table(table, folder / "labels.parquet")


ENTRANTS = {
    "ssl_dask": run_ours,
    "scikit-learn": run_scikit,
    "graphlearning": run_graphlearning,
}


def accuracy(out: Path, ids: np.ndarray, digit: np.ndarray, seed_ids: np.ndarray) -> float:
    """Return the share of unlabelled rows whose written label is right; a refusal is wrong."""
    folder = out / "latest" / "labels" if (out / "latest").exists() else out
    table = pq.read_table(folder, columns=["image_id", "label"])
    found = table["label"].fill_null(-1).to_numpy()[np.argsort(table["image_id"].to_numpy())]
    order = np.argsort(ids)
    unlabelled = ~np.isin(ids[order], seed_ids)
    return float(np.mean(found[unlabelled] == digit[order][unlabelled]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entrants", nargs="+", choices=ENTRANTS, default=list(ENTRANTS))
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="override a key of our job")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    job = shipped_job("mnist")
    data = job.parent / "data" / "mnist.parquet"
    truth = pq.read_table(data, columns=["image_id", "digit"])
    ids, digit = truth["image_id"].to_numpy(), truth["digit"].to_numpy()
    rows = []
    print(f"{'entrant':<15}{'draw':>5}{'wall s':>9}{'CPU s':>9}{'largest MiB':>13}{'all MiB':>9}"
          f"{'accuracy':>10}")  # fmt: skip
    for draw in range(args.draws):
        for name in args.entrants:
            with tempfile.TemporaryDirectory() as scratch:
                seeds, out = Path(scratch) / "seeds.csv", Path(scratch) / "out"
                seed_ids, seed_digits = draw_seeds(ids, digit, draw)
                lines = [f"{i},{d}" for i, d in zip(seed_ids, seed_digits, strict=True)]
                seeds.write_text("\n".join(["id,label", *lines]) + "\n")
                given = {
                    "job": str(job), "data": str(data), "seeds": str(seeds), "out": str(out),
                    "set": args.set,
                }  # fmt: skip
                took = measure(ENTRANTS[name], given)
                row = {
                    "entrant": name,
                    "draw": draw,
                    "wall_s": took.wall_s,
                    "cpu_s": took.cpu_s,
                    "largest_mib": max(took.peak_mib_by_pid.values()),
                    "peak_mib": took.peak_mib,
                    "accuracy": accuracy(out, ids, digit, seed_ids),
                }
            rows.append(row)
            print(f"{name:<15}{draw:>5}{row['wall_s']:>9.1f}{row['cpu_s']:>9.1f}"
                  f"{row['largest_mib']:>13.0f}{row['peak_mib']:>9.0f}{row['accuracy']:>10.4f}",
                  flush=True)  # fmt: skip
            if args.json:
                args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
