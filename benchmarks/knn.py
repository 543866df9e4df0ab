"""The neighbour graph of ssl_dask beside its peers, on the same rows in the same run.

    python benchmarks/knn.py                                  # 200k x 64, sparse rows, the kernel
    python benchmarks/knn.py --quick                          # small rows: does it all run?
    python benchmarks/knn.py --only mnist newsgroups --data FOLDER
    python benchmarks/knn.py --only digits64 --rows 200000 1000000 --entrants ours-cluster
    python benchmarks/knn.py --only scaling                   # 125k to 1M with equal shards

Sets of rows: digits64 and digits784 (handwritten digits, mixed, bent and noisy), sheets (curved
Gaussian sheets, 64 columns), sparse (hashed log templates, cosine), mnist and newsgroups (read from
--data). Beside them: kernel (the exact kernel against a matrix product and scikit-learn), scaling.

Each run has a process of its own; it is warmed up with a few rows, so nothing of compilation or
start counts. Entrants take turns, and medians over --repeat rounds are shown. `ours` ends with
weighted symmetric edges, and on the cluster begins with reading the rows; peers have them in memory
and end with lists. Nothing else should run on the machine meanwhile.

  recall     share of the true k neighbours of 1,000 sampled rows that a peer's lists hold
  in graph   the same of the undirected graph, where a neighbour found from either side counts:
             one measure for all
  says       what ssl_dask itself reports of its search

Peers that are not installed are named and left out: pip install faiss-cpu pynndescent hnswlib.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import knn_entrants
import knn_kernel
import numpy as np
import psutil
from dask.utils import parse_bytes
from knn_bounds import BOUNDS, KERNEL_ROWS, print_bounds
from knn_data import RowFile, describe, write_rows
from knn_entrants import ENTRANTS, WARM_ROWS, Job
from knn_recall import find_truth, share_found
from knn_results import medians, print_ratios, print_results, ratios
from measured import Measured, MeasuringError, measure

VERSIONS = (
    *("numpy", "scipy", "numba", "dask", "distributed", "scikit-learn"),
    *("faiss-cpu", "pynndescent", "hnswlib"),
)


@dataclass(frozen=True)
class Size:
    """Rows of a set, rows of a quick run, and the recall asked of the routed search."""

    rows: int
    quick: int
    target_recall: float


SETS = {
    "digits64": Size(200_000, 20_000, 0.99),
    "digits784": Size(50_000, 4_000, 0.98),
    "sheets": Size(200_000, 20_000, 0.98),
    "sparse": Size(30_000, 4_000, 0.95),
    "mnist": Size(70_000, 10_000, 0.98),
    "newsgroups": Size(18_846, 4_000, 0.95),
}
NEEDS_DATA = ("mnist", "newsgroups")
DEFAULT = ("digits64", "sparse", "kernel")
SCALING_ROWS = (125_000, 250_000, 500_000, 1_000_000)
QUICK_SCALING_ROWS = (25_000, 50_000, 100_000)
QUICK_KERNEL_ROWS = 3_000
MIN_ROWS = 1000
THREAD_VARIABLES = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")]


def machine() -> dict[str, Any]:
    """Return what the numbers depend on beside the code."""
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "versions": versions,
        "load_before": os.getloadavg()[0],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class Bench:
    """Runs entrants in turn and keeps their numbers."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self._arguments = arguments
        self._scratch = scratch
        self.failures = 0

    def compare(self, rows: RowFile, target_recall: float) -> dict[str, Any]:
        """Return the numbers of all entrants that take `rows`."""
        arguments = self._arguments
        print(f"\n{describe(rows)}", flush=True)
        left_out = {}
        names = []
        for name in arguments.entrants:
            why = ENTRANTS[name].why_not(rows, arguments.exact_rows)
            if why is None:
                names.append(name)
            else:
                left_out[name] = why
                print(f"  {name} is left out: {why}")
        truth = find_truth(rows, arguments.neighbors)
        runs, errors = self._rounds(
            names, rows, target_recall, int(parse_bytes(arguments.shard_memory))
        )
        results = {}
        for name, own in runs.items():
            result = medians(own, rows.n_rows)
            finding = own[0].answer
            if finding.lists is not None:
                position = np.repeat(np.arange(len(truth.sample)), finding.lists.shape[1])
                result["recall"] = share_found(rows, truth, position, finding.lists.ravel())
            result["recall_in_graph"] = share_found(
                rows, truth, finding.edge_position, finding.edge_row
            )
            results[name] = result
        numbers = {
            "rows": rows.about(),
            "target_recall": target_recall,
            "results": results,
            "ratios": ratios(results),
            "left_out": left_out,
            "errors": errors,
        }
        print_results(results)
        print_ratios(numbers["ratios"])
        return numbers

    def scaling(self, rows: RowFile, sizes: Sequence[int], target: float) -> dict[str, Any] | None:
        """Return how CPU and wall time of the search in this process grow with the rows."""
        print(
            "\nGrowth with the rows, equal memory for a shard, so shards of like size", flush=True
        )
        why = ENTRANTS["ours-process"].why_not(rows, 0)
        if why is not None:
            print(f"  left out: {why}")
            return None
        memory = int(parse_bytes(self._arguments.scaling_memory))
        results = {}
        for n_rows in sizes:
            runs, _ = self._rounds(["ours-process"], replace(rows, n_rows=n_rows), target, memory)
            if runs:
                results[n_rows] = medians(runs["ours-process"], n_rows)
        print_results({f"{n:,} rows": result for n, result in results.items()})
        out: dict[str, Any] = {"shard_memory": memory, "results": results}
        if len(results) > 1:
            for key in ("cpu_s", "wall_s"):
                exponent = np.polyfit(
                    np.log(list(results)), np.log([one[key] for one in results.values()]), 1
                )[0]
                out[f"exponent_{key[:-2]}"] = float(exponent)
            print(f"  exponent: CPU {out['exponent_cpu']:.3f}, wall {out['exponent_wall']:.3f}")
        return out if len(results) > 1 else None

    def kernel(self, n_rows: int) -> list[dict[str, float]]:
        """Return the numbers of the exact kernel at 64 and 784 columns."""
        print("\nExact kernel on one core, all pairs, CPU seconds", flush=True)
        print(
            f"  {'rows x columns':<18}{'kernel':>9}{'sklearn':>9}{'ratio':>8}"
            f"{'GFlop/s':>9}{'sgemm':>9}{'share':>8}"
        )
        out = []
        for name in ("digits64", "digits784"):
            rows = self.rows_of(name, n_rows)
            job = knn_kernel.KernelJob(rows, self._arguments.neighbors, self._arguments.repeat)
            one = measure(knn_kernel.run, job, limit_seconds=self._arguments.limit).answer
            print(
                f"  {f'{n_rows:,} x {rows.n_columns}':<18}{one['kernel_cpu_s']:>9.3f}"
                f"{one['scikit_learn_cpu_s']:>9.3f}{one['ratio_to_scikit_learn']:>8.2f}"
                f"{one['kernel_gflops']:>9.1f}{one['sgemm_gflops']:>9.1f}"
                f"{one['share_of_sgemm']:>8.1%}",
                flush=True,
            )
            out.append(one)
        return out

    def rows_of(self, name: str, n_rows: int) -> RowFile:
        """Return the first rows of a set, in a folder that is kept for later."""
        folder = self._scratch / f"{name}-{n_rows}"
        if folder.exists():
            shutil.rmtree(folder)
        return write_rows(
            name, n_rows, folder, data=self._arguments.data, threads=self._arguments.threads
        )

    def _rounds(
        self, names: Sequence[str], rows: RowFile, target: float, shard_memory: int
    ) -> tuple[dict[str, list[Measured]], dict[str, str]]:
        """Let each entrant run once a round; one that fails sits out the rest."""
        arguments = self._arguments
        runs: dict[str, list[Measured]] = defaultdict(list)
        errors: dict[str, str] = {}
        # Round 0 has few rows and is not counted: it fills the caches of our compiled kernels,
        # which the warm-up of later processes then only loads, on every worker alike.
        for number in range(arguments.repeat + 1):
            few = min(WARM_ROWS, rows.n_rows)
            searched = rows if number else replace(rows, n_rows=few)
            for name in names:
                if name in errors or (number == 0 and not ENTRANTS[name].is_ours):
                    continue
                with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
                    job = Job(
                        entrant=name,
                        rows=searched,
                        k=arguments.neighbors,
                        threads=arguments.threads,
                        target_recall=target,
                        worker_memory=arguments.worker_memory,
                        shard_memory=shard_memory,
                        scratch=scratch if arguments.move == "files" else None,
                    )
                    try:
                        run = measure(knn_entrants.run, job, limit_seconds=arguments.limit)
                    except MeasuringError as error:
                        errors[name] = str(error)
                        self.failures += 1
                        print(f"  {name} failed:\n{error}", flush=True)
                        continue
                if number == 0:
                    continue
                runs[name].append(run)
                print(
                    f"  round {number}, {rows.n_rows:,} rows, {name}: {run.wall_s:.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
        return {name: own for name, own in runs.items() if name not in errors}, errors


def run_all(arguments: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], int]:
    """Return all numbers, and how many entrants failed."""
    # Dask hands these on to workers, past what ssl_dask says: two workers with two threads each.
    told = [name for name in THREAD_VARIABLES if name in os.environ]
    if told:
        print(f"{', '.join(told)} are set: unset them, or the workers use so many threads each")
    bench = Bench(arguments, scratch)
    numbers: dict[str, Any] = {"machine": machine(), "sets": [], "kernel": [], "scaling": None}
    about = numbers["machine"]
    print(
        f"{about['cores']} cores ({about['processor']}), {about['memory_gib']} GiB, load"
        f" {about['load_before']:.1f}; k = {arguments.neighbors}, {arguments.threads} threads or"
        f" workers, median of {arguments.repeat}"
    )
    for name in (name for name in SETS if name in arguments.only):
        size = SETS[name]
        counts = arguments.rows or [size.quick if arguments.quick else size.rows]
        target = arguments.target_recall or size.target_recall
        rows = bench.rows_of(name, max(counts))
        for n_rows in sorted({min(n, rows.n_rows) for n in counts}):
            numbers["sets"].append(bench.compare(replace(rows, n_rows=n_rows), target))
        shutil.rmtree(rows.folder)
    if "kernel" in arguments.only:
        numbers["kernel"] = bench.kernel(QUICK_KERNEL_ROWS if arguments.quick else KERNEL_ROWS)
    if "scaling" in arguments.only:
        sizes = QUICK_SCALING_ROWS if arguments.quick else SCALING_ROWS
        rows = bench.rows_of("digits64", max(sizes))
        target = arguments.target_recall or SETS["digits64"].target_recall
        numbers["scaling"] = bench.scaling(rows, sizes, target)
    numbers["bounds"] = [bound.check(numbers) for bound in BOUNDS]
    print_bounds(numbers["bounds"])
    return numbers, bench.failures


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = [*SETS, "kernel", "scaling"]
    add = parser.add_argument
    add("--only", nargs="+", choices=parts, metavar="PART", help=f"of {', '.join(parts)}")
    add("--rows", type=int, nargs="+", help="rows of the sets; several sizes show the growth")
    add("--quick", action="store_true", help="small rows, one round")
    add("--data", type=Path, help="folder with mnist/data.parquet and newsgroups20/data.parquet")
    names = list(ENTRANTS)
    listed = ", ".join(names)
    add("--entrants", nargs="+", choices=names, metavar="NAME", default=names, help=f"of {listed}")
    add("--repeat", type=int, help="rounds (default 3, quick 1)")
    add("--neighbors", type=int, default=15, help="k, the row itself not counted (default 15)")
    add("--threads", type=int, default=2, help="threads, or workers of one thread (default 2)")
    add("--target-recall", type=float, help="asked of the routed search (default: by the set)")
    add("--exact-rows", type=int, default=30_000, help="all pairs only up to here (default 30,000)")
    add("--worker-memory", default="4GiB", help="of each worker (default 4GiB)")
    add("--shard-memory", default="384MiB", help="of a shard's task (default 384MiB)")
    add("--scaling-memory", default="96MiB", help="the same, for scaling (default 96MiB)")
    add(
        "--move",
        choices=["files", "memory"],
        default="files",
        help="how routed rows get to their shards (default files)",
    )
    add("--limit", type=float, default=1800, help="seconds that a run may take (default 1800)")
    add("--scratch", type=Path, help="folder for the rows; needs twice their size")
    add("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    arguments.only = arguments.only or list(DEFAULT)
    arguments.repeat = arguments.repeat or (1 if arguments.quick else 3)
    if arguments.data is None and set(arguments.only) & set(NEEDS_DATA):
        parser.error("mnist and newsgroups are read from a folder: give --data FOLDER")
    if (
        min([arguments.repeat, arguments.neighbors, arguments.threads, *(arguments.rows or [1])])
        < 1
    ):
        parser.error("--repeat, --neighbors, --threads and --rows must be at least 1")
    return arguments


def main() -> None:
    """Parse the arguments and run."""
    arguments = parse_arguments()
    # So that the files and the processes of a run that is ended go with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        numbers, failures = run_all(arguments, Path(scratch))
    if arguments.json:
        chosen = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in vars(arguments).items()
        }
        entrants = {name: entrant.about for name, entrant in ENTRANTS.items()}
        numbers |= {"arguments": chosen, "entrants": entrants}
        arguments.json.write_text(json.dumps(numbers, indent=2, default=str) + "\n")
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
