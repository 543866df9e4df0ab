"""The exact kernel of ssl_dask on one core, beside a matrix product and scikit-learn's brute force;
and its float64 distances beside those of plain Numba.

Each is measured in turn, over and over, in one process with one thread; CPU seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from knn_data import RowFile
from measured import Stopwatch
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ssl_dask.kernels.knn.exact_dense import update_nearest
from ssl_dask.kernels.knn.exact_distance import squared_distance
from ssl_dask.kernels.knn.neighbour_lists import empty_lists

PEAK_SIDE = 3072
WARM_ROWS = 1000


@numba.njit(nogil=True)
def plain_distance(x: Any, y: Any) -> float:
    """Return |x - y|^2 in float64 as one writes it down."""
    total = 0.0
    for c in range(len(x)):
        step = np.float64(x[c]) - np.float64(y[c])
        total += step * step
    return total


def total_of(distance: Callable[[Any, Any], float]) -> Callable[[Any], float]:
    """Return the compiled sum of the distances of all pairs of rows."""

    @numba.njit(nogil=True)
    def total(X: Any) -> float:
        found = 0.0
        for i in range(len(X)):
            for j in range(len(X)):
                found += distance(X[i], X[j])
        return found

    return total


@dataclass(frozen=True)
class KernelJob:
    """All pairs of `rows`, k neighbours, `repeat` times."""

    rows: RowFile
    k: int
    repeat: int


def run(job: KernelJob, stopwatch: Stopwatch) -> dict[str, float]:
    """Return medians: CPU seconds, and the share of the rate of a large matrix product."""
    X = job.rows.read()
    side = np.random.default_rng(0).standard_normal((PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    product = np.empty_like(side)

    def ours(points: Any = X) -> None:
        ids = np.arange(len(points))
        update_nearest(points, ids, points, ids, *empty_lists(len(points), job.k))

    def theirs(points: Any = X) -> None:
        search = NearestNeighbors(n_neighbors=job.k + 1, algorithm="brute", n_jobs=1)
        search.fit(points).kneighbors(points)

    some = np.ascontiguousarray(X[:WARM_ROWS], dtype=np.float32)
    ordered, plain = total_of(squared_distance), total_of(plain_distance)
    work: dict[str, Callable[[], Any]] = {
        "sgemm": lambda: np.matmul(side, side, out=product),
        "kernel": ours,
        "scikit_learn": theirs,
        "distances": lambda: ordered(some),
        "plain_distances": lambda: plain(some),
    }
    with threadpool_limits(1):
        work["sgemm"]()
        ours(X[:WARM_ROWS])
        theirs(X[:WARM_ROWS])
        ordered(some), plain(some)
        seconds: dict[str, list[float]] = {name: [] for name in work}
        with stopwatch.running():
            for _ in range(job.repeat):
                for name, function in work.items():
                    began = time.process_time()
                    function()
                    seconds[name].append(time.process_time() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    peak = 2 * PEAK_SIDE**3 / median["sgemm"]
    rate = 2 * len(X) ** 2 * X.shape[1] / median["kernel"]
    return {
        "n_rows": len(X),
        "n_columns": X.shape[1],
        "kernel_cpu_s": median["kernel"],
        "scikit_learn_cpu_s": median["scikit_learn"],
        "sgemm_gflops": peak / 1e9,
        "kernel_gflops": rate / 1e9,
        "share_of_sgemm": rate / peak,
        "ratio_to_scikit_learn": median["kernel"] / median["scikit_learn"],
        "plain_numba_to_distances": median["plain_distances"] / median["distances"],
    }
