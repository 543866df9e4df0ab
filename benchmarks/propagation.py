"""Speed of propagation beside scipy, a two-thread Numba loop, scikit-learn and graphlearning.

Run from the repository on a quiet machine: `python benchmarks/propagation.py [--rows 1000000]`.
Rows are synthetic: 200 Gaussian blobs in 8 dimensions, exact 15 nearest neighbours by a k-d tree,
symmetrised by the maximum (about 21 edges a row), rows in the order of k-means cells, 1 % labelled,
10 classes. The graph is kept in `--cache` and made once (minutes at a million rows).

Prints a table and writes JSON: the bandwidth of this machine (a STREAM-like triad), the kernel
against scipy for 2, 10 and 100 columns, sweeps on two workers of one thread each against loops in
one process, bytes on the wire against the rows of the halos, CPU of driver and scheduler, and
sweeps until 99.9 % of the labels are those of the exact solution.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numba
import numpy as np
import psutil
import scipy.sparse as sp
from distributed import Client, LocalCluster
from scipy.spatial import cKDTree
from sklearn.cluster import MiniBatchKMeans
from sklearn.semi_supervised import LabelSpreading as TheirLabelSpreading

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.sweep import sweep, walk_rows
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.distributed_partitions import WorkerParts
from ssl_dask.propagation.engine.recurrence import Recurrence, RecurrenceSteps, chebyshev_steps
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.engine.session import PropagationSession

N_CLASSES = 10
ALPHA = 0.99
AIMS = {
    "workers_wall_against_two_threads": ("<=", 1.25),
    "workers_wall_against_two_plain_numba_threads": ("<=", 1.25),
    "worker_cpu_against_half_a_sweep": ("<=", 1.2),
    "driver_cpu_ms_per_sweep": ("<=", 6.0),
    "bytes_against_halo_rows": ("<=", 1.05),
    "sweeps_to_99_9_percent": ("<=", 45),
    "kernel_against_scipy_2": (">=", 1.35),
    "kernel_against_scipy_10": (">=", 1.25),
    "kernel_against_scipy_100": (">=", 2.2),
}


def made_graph(n: int, cache: Path) -> tuple[sp.csr_array, np.ndarray]:
    """Return weights in the order of cells, and true classes."""
    path = cache / f"blobs-{n}.npz"
    if not path.exists():
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(200, 8)) * 2.2
        blob = rng.integers(0, 200, n)
        X = (centres[blob] + rng.normal(size=(n, 8)) * 0.8).astype(np.float32)
        order = np.argsort(cells(X), kind="stable")
        X, classes = X[order], blob[order] // (200 // N_CLASSES)
        distances, near = cKDTree(X).query(X, k=16)
        weights = np.exp(-4 * (distances[:, 1:] / (distances[:, -1:] + 1e-12)) ** 2)
        indptr = np.arange(0, 15 * n + 1, 15)
        W = sp.csr_array((weights.astype(np.float32).ravel(), near[:, 1:].ravel(), indptr), (n, n))
        W = sp.csr_array(W.maximum(W.T))
        W.sort_indices()
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, data=W.data, indices=W.indices, indptr=W.indptr, classes=classes)
    held = np.load(path)
    parts = (held["data"], held["indices"].astype(np.int32), held["indptr"].astype(np.int32))
    return sp.csr_array(parts, shape=(n, n)), held["classes"]


def cells(X: np.ndarray) -> np.ndarray:
    """Return the k-means cell of each row, cells numbered so that near ones have near numbers."""
    model = MiniBatchKMeans(min(256, len(X) // 100), n_init=1, max_iter=10, random_state=0)
    sample = np.random.default_rng(1).choice(len(X), min(len(X), 50_000), replace=False)
    model.fit(X[sample])
    rank = np.empty(len(model.cluster_centers_), dtype=np.int64)
    rank[bisected(model.cluster_centers_, np.arange(len(rank)))] = np.arange(len(rank))
    return rank[model.predict(X)]


def bisected(centres: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return `chosen` ordered by halving along the first principal axis, again and again."""
    if len(chosen) < 2:
        return chosen
    centred = centres[chosen] - centres[chosen].mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = chosen[np.argsort(centred @ axis)]
    half = len(order) // 2
    return np.concatenate([bisected(centres, order[:half]), bisected(centres, order[half:])])


def timed(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return median (wall, CPU of this process) in ms, taking turns so that all see one machine."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            seen[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (
            1e3 * float(np.median([wall for wall, _ in times])),
            1e3 * float(np.median([cpu for _, cpu in times])),
        )
        for name, times in seen.items()
    }


@numba.njit(nogil=True)
def triad(a: Any, b: Any, c: Any) -> None:
    """STREAM's triad."""
    for i in range(len(a)):
        a[i] = b[i] + np.float32(3) * c[i]


@numba.njit(nogil=True)
def plain_sweep(
    indptr: Any, indices: Any, data: Any, F: Any, B: Any, out: Any, first: int, last: int
) -> None:
    """F <- alpha S F + (1 - alpha) B as one writes it down."""
    for i in range(first, last):
        for k in range(F.shape[1]):
            out[i, k] = np.float32(0)
        for entry in range(indptr[i], indptr[i + 1]):
            for k in range(F.shape[1]):
                out[i, k] += data[entry] * F[indices[entry], k]
        for k in range(F.shape[1]):
            out[i, k] = np.float32(ALPHA) * out[i, k] + np.float32(1 - ALPHA) * B[i, k]


def bandwidth(rounds: int) -> float:
    """Return GB/s of one core: two reads, one write."""
    a, b, c = np.zeros((3, 2**25), dtype=np.float32)
    (times,) = timed({"triad": lambda: triad(a, b, c)}, rounds).values()
    return 12 * 2**25 / times[1] / 1e6


def normalised(W: sp.csr_array) -> sp.csr_array:
    """Return D^-1/2 W D^-1/2."""
    root = np.sqrt(np.asarray(W.sum(axis=1), dtype=np.float64)).ravel()
    data = W.data / (np.repeat(root, np.diff(W.indptr)) * root[W.indices])
    return sp.csr_array((data.astype(np.float32), W.indices, W.indptr), shape=W.shape)


def kernels(W: sp.csr_array, triad_rate: float, rounds: int) -> list[dict[str, Any]]:
    """Compare the kernel with scipy on one thread, the same order of rows."""
    found = []
    walk, S = walk_rows(W.indptr, W.indices, W.data), normalised(W)
    n = W.shape[0]
    for n_columns in (2, 10, 100):
        if n * n_columns > 2e7:
            # 100 columns of a million rows would be about memory, not about the kernel.
            rows = int(2e7 / n_columns)
            part = sp.csr_array(W[:rows, :rows])
            walk, S, n = walk_rows(part.indptr, part.indices, part.data), normalised(part), rows
        rng = np.random.default_rng(0)
        Z, before = rng.random((2, n, n_columns), dtype=np.float32)
        step = (0.9, 0.0, -0.1, 0.0)
        times = timed(
            {
                "scipy": lambda Z=Z, S=S: S @ Z,
                "scipy, whole step": lambda Z=Z, S=S, b=before: (
                    np.float32(0.9) * (S @ Z) - np.float32(0.1) * b
                ),
                "ours, whole step": lambda Z=Z, b=before, w=walk, n=n, step=step: sweep(
                    w, 0, n, 0, Z, b, 0, step
                ),
            },
            rounds,
        )
        moved = 8 * S.nnz + 8 * n + 12 * n * n_columns
        ours = times["ours, whole step"][1]
        found.append(
            {
                "rows": n,
                "columns": n_columns,
                "cpu_ms": {name: cpu for name, (_, cpu) in times.items()},
                "against_scipy": times["scipy"][1] / ours,
                "share_of_triad": moved / ours / 1e6 / triad_rate,
            }
        )
    return found


def in_process(W: sp.csr_array, B: np.ndarray, rounds: int) -> dict[str, tuple[float, float]]:
    """Return ms a sweep of loops in this process: scipy, plain Numba and the kernel."""
    S, walk, n = normalised(W), walk_rows(W.indptr, W.indices, W.data), W.shape[0]
    F, out = B.copy(), np.empty_like(B)
    half = int(np.searchsorted(W.indptr, W.nnz // 2))
    bounds = [(0, half), (half, n)]
    pool = ThreadPoolExecutor(2)
    step = (0.9, 0.0, -0.1, 0.0)

    def plain(ends: tuple[int, int]) -> None:
        plain_sweep(S.indptr, S.indices, S.data, F, B, out, *ends)

    def ours(ends: tuple[int, int]) -> None:
        sweep(walk, *ends, 0, F, out[ends[0] :], 0, step)

    return timed(
        {
            "scipy, one thread": lambda: np.float32(ALPHA) * (S @ F) + np.float32(1 - ALPHA) * B,
            "plain Numba, two threads": lambda: list(pool.map(plain, bounds)),
            "our kernel, one thread": lambda: ours((0, n)),
            "our kernel, two threads": lambda: list(pool.map(ours, bounds)),
        },
        rounds,
    )


def spreading(alpha: float = ALPHA) -> Recurrence:
    """Return label spreading by Chebyshev steps."""
    return Recurrence("spreading", (alpha, 1 - alpha), chebyshev_steps(alpha), {"alpha": alpha})


def on_workers(graph: BlockGraph, labels: Labels, rounds: int) -> dict[str, Any]:
    """Return what supersteps of ten sweeps, the last counted, cost on two workers."""
    with (
        # As the package's own clusters: the profiler of tasks takes CPU of the workers.
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        execution = Execution(client)
        placing = time.perf_counter()
        with PropagationSession(graph, execution, n_columns=labels.n_classes) as session:
            placed = time.perf_counter() - placing
            parts = session.parts
            assert isinstance(parts, WorkerParts)
            sources = SeedSources.from_folds(labels).at_nodes(graph, execution)
            session.solve(spreading(), sources=sources, max_iter=10, tol=0.0)
            workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
            coefficients = tuple(spreading().steps(t) for t in range(11, 21))  # type: ignore[misc]
            halo = sum(client.run(halo_rows, parts.session).values())
            wall, cpu, driver, moved = [], [], [], []
            for _ in range(rounds):
                before = [used(process) for process in workers], used(psutil.Process())
                sent = sum(client.run(received_bytes).values())
                began = time.perf_counter()
                parts.advance(RecurrenceSteps(coefficients))
                wall.append(time.perf_counter() - began)
                driver.append(used(psutil.Process()) - before[1])
                cpu.append(max(used(p) - b for p, b in zip(workers, before[0], strict=True)))
                moved.append(sum(client.run(received_bytes).values()) - sent)
    return {
        "place_s": placed,
        "wall_ms": 1e2 * float(np.median(wall)),
        "worker_cpu_ms": 1e2 * float(np.median(cpu)),
        "driver_cpu_ms": 1e2 * float(np.median(driver)),
        "bytes": float(np.median(moved)) / 10,
        "halo_rows": halo,
        "halo_bytes": 4 * labels.n_classes * halo,
    }


def used(process: psutil.Process) -> float:
    """Return the CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def halo_rows(session: str, dask_worker: Any) -> int:
    """Return the rows of the halo that a worker gets in each sweep."""
    return len(dask_worker._ssl_dask_parts.parts[session].halo)


def received_bytes(dask_worker: Any) -> int:
    """Return the bytes of scores that a worker has got from others so far."""
    return int(dask_worker._ssl_dask_parts.received)


def sweeps_to_labels(graph: BlockGraph, labels: Labels, n: int) -> dict[str, Any]:
    """Return after how many sweeps 99.9 % of the labels are those of the exact solution."""
    execution = Execution()
    sources = SeedSources.from_folds(labels).at_nodes(graph, execution)
    # Conjugate gradients: another solver than the one that is judged.
    exact_recurrence = Recurrence("exact", (ALPHA, 1 - ALPHA), None, {}, dtype="float64")
    with PropagationSession(graph, execution, n_columns=labels.n_classes) as session:

        def codes(recurrence: Recurrence, sweeps: int) -> np.ndarray:
            solved = session.solve(recurrence, sources=sources, max_iter=sweeps, tol=None)
            return np.concatenate([b.compute() for b in solved.blocks]).argmax(axis=1)

        exact = codes(exact_recurrence, 150)
        free = np.setdiff1d(np.arange(n), labels.rows)
        agreed: dict[int, float] = {}
        for sweeps in range(20, 61):
            agreed[sweeps] = float(np.mean(codes(spreading(), sweeps)[free] == exact[free]))
            if agreed[sweeps] >= 0.999:
                break
    return {"sweeps": max(agreed), "agreement": agreed[max(agreed)]}


def peers(W: sp.csr_array, labels: Labels, classes: np.ndarray) -> dict[str, Any]:
    """Return seconds of whole solves on the same graph where that is possible."""
    codes = labels.to_codes()
    graph, execution = BlockGraph.from_scipy(W, n_strips=2), Execution()
    began = time.perf_counter()
    sources = SeedSources.from_folds(labels).at_nodes(graph, execution)
    with PropagationSession(graph, execution, n_columns=labels.n_classes) as session:
        solved = session.solve(spreading(), sources=sources, max_iter=1000, tol=1e-4)
    found: dict[str, Any] = {
        "ours, alpha .99, to the stop rule": time.perf_counter() - began,
        "ours, sweeps": solved.n_iter,
    }

    def kernel(*_: Any) -> Any:
        return W

    model = TheirLabelSpreading(kernel=kernel, alpha=ALPHA, max_iter=solved.n_iter, tol=0.0)
    began = time.perf_counter()
    # It builds its own Laplacian of the weights.
    try:
        model.fit(np.zeros((len(codes), 1)), codes)
        found[f"scikit-learn, {solved.n_iter} sweeps"] = time.perf_counter() - began
    except (ValueError, TypeError, MemoryError) as error:
        found["scikit-learn"] = f"does not take this graph: {type(error).__name__}"
    try:
        import graphlearning
    except ImportError:
        found["graphlearning"] = "not installed"
        return found
    for name, solver in (("Laplace", "laplace"), ("Poisson", "poisson")):
        learner = getattr(graphlearning.ssl, solver)(sp.csr_matrix(W))
        began = time.perf_counter()
        learner.fit(labels.rows, labels.codes)
        found[f"graphlearning, {name}"] = time.perf_counter() - began
    return found


def judged(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each number that has an aim beside it."""
    loops, workers = result["in_process_ms"], result["on_workers"]
    seen = {
        "workers_wall_against_two_threads": workers["wall_ms"]
        / loops["our kernel, two threads"][0],
        "workers_wall_against_two_plain_numba_threads": workers["wall_ms"]
        / loops["plain Numba, two threads"][0],
        "worker_cpu_against_half_a_sweep": workers["worker_cpu_ms"]
        / (loops["our kernel, one thread"][1] / 2),
        "driver_cpu_ms_per_sweep": workers["driver_cpu_ms"],
        "bytes_against_halo_rows": workers["bytes"] / workers["halo_bytes"],
        "sweeps_to_99_9_percent": result["to_labels"]["sweeps"],
        **{f"kernel_against_scipy_{k['columns']}": k["against_scipy"] for k in result["kernels"]},
    }
    return {
        name: {
            "seen": value,
            "aim": " ".join(map(str, AIMS[name])),
            "reached": bool(
                value <= AIMS[name][1] if AIMS[name][0] == "<=" else value >= AIMS[name][1]
            ),
        }
        for name, value in seen.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/.cache"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/.cache/propagation.json"))
    arguments = parser.parse_args()
    W, classes = made_graph(arguments.rows, arguments.cache)
    rng = np.random.default_rng(1)
    codes = np.where(rng.random(len(classes)) < 0.01, classes, -1)
    labels = Labels.from_codes(codes, np.arange(N_CLASSES))
    B = np.zeros((len(classes), N_CLASSES), dtype=np.float32)
    B[labels.rows, labels.codes] = 1
    rate = bandwidth(arguments.rounds)
    graph = BlockGraph.from_scipy(W, n_strips=8)
    result: dict[str, Any] = {
        "rows": arguments.rows,
        "edges_a_row": W.nnz / arguments.rows,
        "load_average": os.getloadavg()[0],
        "triad_gb_per_s": rate,
        "kernels": kernels(W, rate, arguments.rounds),
        "in_process_ms": in_process(W, B, arguments.rounds),
        "on_workers": on_workers(graph, labels, arguments.rounds),
        "to_labels": sweeps_to_labels(graph, labels, arguments.rows),
        "peers_s": peers(W, labels, classes),
    }
    result["judged"] = judged(result)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "judged"}, indent=1))
    for name, row in result["judged"].items():
        verdict = "" if row["reached"] else "missed"
        print(f"{name:45s} {row['seen']:10.2f}  {row['aim']:>10s}  {verdict}")


if __name__ == "__main__":
    main()
