"""Accuracy, time and memory of self-labelling beside scikit-learn, sslearn, LAMDA-SSL and mvlearn.

    python benchmarks/self_labeled.py --data FOLDER --draws 20 --json out.json
    python benchmarks/self_labeled.py --sets digits --draws 3 --entrants tri_training co_forest

FOLDER has a folder a set with `data.parquet`, see `self_labeled_data.py`; digits needs none. All
entrants get the same rows, dense, and the same draws of labels. Accuracy is that of unlabelled
rows: mean over the draws, and their standard deviation. Each entrant runs in a process of its own
for each set; the time is that of one draw, the memory the largest sum of the process tree. Halves
of the columns, split at random, are the views of co-training. Peers that are not installed are
named and left out: pip install sslearn mvlearn LAMDA-SSL.

Below the table: each of our methods less the peer with the same learner, draw by draw, with the
standard error of the mean difference.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measured import MeasuringError, Stopwatch, measure
from self_labeled_data import ALL_SETS, RowFiles, draw_seeds, prepare
from self_labeled_entrants import PEERS, entrants, installed, two_classes_only
from threadpoolctl import threadpool_limits

LIMIT_SECONDS = 3600.0
DEFAULT_SETS = ("digits", "usps", "letter", "satimage6", "dry_bean", "trec6", "sms_spam")


@dataclass(frozen=True)
class Job:
    """An entrant on a set: all draws, in one process."""

    entrant: str
    rows: RowFiles
    per_class: int
    draws: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """What an entrant reached.

    Parameters
    ----------
    accuracy
        Of the unlabelled rows, of each draw; empty if it failed.
    seconds
        Of one draw.
    peak_mib
        Of its process and those that it started.
    error
        Last line of what went wrong.
    """

    dataset: str
    per_class: int
    entrant: str
    accuracy: tuple[float, ...]
    seconds: float
    peak_mib: float
    error: str | None = None


def label_all_draws(job: Job, stopwatch: Stopwatch) -> list[float]:
    """Run an entrant on every draw; the function that is measured."""
    warnings.simplefilter("ignore")
    run = entrants()[job.entrant]
    X, y = job.rows.read()
    found = []
    warm = draw_seeds(job.rows.name, y, job.per_class, 10_000)
    with threadpool_limits(1):
        # Compiled kernels are loaded once a process, whatever the rows.
        run(X[: max(200, int((warm >= 0).nonzero()[0].max()) + 1)], _head(warm), 0)
        with stopwatch.running():
            for draw in job.draws:
                seeds = draw_seeds(job.rows.name, y, job.per_class, draw)
                said = run(X, seeds, draw)
                rest = seeds < 0
                found.append(float((said[rest] == y[rest]).mean()))
    return found


def _head(seeds: np.ndarray) -> np.ndarray:
    return seeds[: max(200, int((seeds >= 0).nonzero()[0].max()) + 1)]


def run_job(job: Job) -> Result:
    """Measure an entrant on a set."""
    name = (job.rows.name, job.per_class, job.entrant)
    try:
        found = measure(label_all_draws, job, limit_seconds=LIMIT_SECONDS)
    except MeasuringError as error:
        return Result(*name, (), 0.0, 0.0, str(error).strip().splitlines()[-1])
    return Result(*name, tuple(found.answer), found.wall_s / len(job.draws), found.peak_mib)


def show(results: Sequence[Result]) -> None:
    """Print a line for each result, by set."""
    width = max(len(one.entrant) for one in results)
    for one in results:
        if one.error is not None:
            print(f"{one.dataset:12} {one.per_class:3}  {one.entrant:{width}}  {one.error}")
            continue
        print(
            f"{one.dataset:12} {one.per_class:3}  {one.entrant:{width}}"
            f"  {100 * np.mean(one.accuracy):6.2f} +- {100 * np.std(one.accuracy):5.2f} %"
            f"  {one.seconds:7.2f} s  {one.peak_mib:6.0f} MiB"
        )


def compare(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return and print our methods less the peers' of the same name and learner."""
    by_key = {(one.dataset, one.per_class, one.entrant): one for one in results if one.accuracy}
    lines = []
    for (dataset, per_class, entrant), theirs in by_key.items():
        parts = entrant.split(" | ")
        if len(parts) != 3 or parts[1] == "ssl_dask":
            continue
        for learner in dict.fromkeys([parts[2], "own"]):
            ours = by_key.get((dataset, per_class, f"{parts[0]} | ssl_dask | {learner}"))
            if ours is None:
                continue
            gap = 100 * (np.array(ours.accuracy) - np.array(theirs.accuracy))
            lines.append(
                {
                    "dataset": dataset,
                    "per_class": per_class,
                    "ours": ours.entrant,
                    "theirs": entrant,
                    "gap": float(gap.mean()),
                    "standard_error": float(gap.std(ddof=1) / np.sqrt(len(gap)))
                    if len(gap) > 1
                    else 0.0,
                    "their_spread": float(100 * np.std(theirs.accuracy)),
                }
            )
    if lines:
        print("\nours less theirs, points of accuracy (standard error; spread of theirs)")
    for line in lines:
        print(
            f"{line['dataset']:12} {line['per_class']:3}  {line['ours']:36} - {line['theirs']:36}"
            f" {line['gap']:+6.2f} ({line['standard_error']:.2f}; {line['their_spread']:.2f})"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=ALL_SETS, default=list(DEFAULT_SETS))
    parser.add_argument("--per-class", nargs="+", type=int, default=[5, 10])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--max-rows", type=int, default=5000, help="of larger sets a part is drawn")
    parser.add_argument(
        "--entrants", nargs="+", default=[], help="only those whose names hold one of these words"
    )
    parser.add_argument("--json", type=Path, help="write all numbers there")
    args = parser.parse_args()
    for package in PEERS:
        if not installed(package):
            print(f"{package} is not installed: left out", file=sys.stderr)
    names = [
        name
        for name in entrants()
        if not args.entrants or any(word in name for word in args.entrants)
    ]
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        for dataset in args.sets:
            if dataset != "digits" and (args.data is None or not (args.data / dataset).is_dir()):
                print(f"{dataset}: not in --data, left out", file=sys.stderr)
                continue
            rows = prepare(args.data, dataset, args.max_rows, Path(scratch))
            n_classes = int(rows.read()[1].max()) + 1
            for per_class in args.per_class:
                for name in names:
                    if two_classes_only(name) and n_classes > 2:
                        continue
                    job = Job(name, rows, per_class, tuple(range(args.draws)))
                    results.append(run_job(job))
                    show(results[-1:])
                    sys.stdout.flush()
    lines = compare(results)
    if args.json is not None:
        packages = ("ssl-dask", "numpy", "scikit-learn", "sslearn", "mvlearn", "LAMDA-SSL")
        versions = {package: _version(package) for package in packages}
        numbers = {"versions": versions, "results": [asdict(r) for r in results], "gaps": lines}
        args.json.write_text(json.dumps(numbers, indent=1))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
