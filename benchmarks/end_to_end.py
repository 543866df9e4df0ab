"""The whole job, stage by stage: wall and CPU time, peak memory of the client and of a worker.

    python benchmarks/end_to_end.py                 # 70,000 digits, 50 labels, 2 workers of 1 GiB
    python benchmarks/end_to_end.py --draws 5       # the same for 5 draws of the seeds
    python benchmarks/end_to_end.py --rows 5000000  # made rows x 20 numbers, without a graph

Prints a table, and writes JSON with --json FILE. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.job_file import load_job, resolve_job
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.commands.saved_runs import shipped_job
from ssl_dask.round_record import RoundRecord

MIB = 2**20
SAMPLE_SECONDS = 0.05
FILE_ROWS = 500_000


class StageMeter:
    """A run listener that measures each stage: wall, CPU of all processes, peak resident memory."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.rounds = 0
        self._me = psutil.Process()
        self._name = "start"
        self._began = time.perf_counter()
        self._cpu_by_pid: dict[int, float] = {}
        self._cpu_at_stage = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        here = self.stages[self._name]
        here["client_mib"] = max(here["client_mib"], self._me.memory_info().rss / MIB)
        self._cpu_by_pid[self._me.pid] = sum(self._me.cpu_times()[:2])
        for child in self._me.children(recursive=True):
            try:
                with child.oneshot():
                    self._cpu_by_pid[child.pid] = sum(child.cpu_times()[:2])
                    here["worker_mib"] = max(here["worker_mib"], child.memory_info().rss / MIB)
            except psutil.NoSuchProcess:
                continue

    def _close_stage(self) -> None:
        self._sample()
        now, cpu = time.perf_counter(), sum(self._cpu_by_pid.values())
        self.stages[self._name]["wall_s"] += now - self._began
        self.stages[self._name]["cpu_s"] += cpu - self._cpu_at_stage
        self._began, self._cpu_at_stage = now, cpu

    def begin(self, run_id: str) -> None:
        """Ignore the name of the run."""

    def stage(self, name: str) -> None:
        """Close the stage before, and open this one."""
        self._close_stage()
        self._name = name

    def progress(self, what: str, done: int, total: int) -> None:
        """Ignore the progress."""

    def round(self, record: RoundRecord) -> None:
        """Count the sweeps."""
        self.rounds += 1

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Ignore events."""

    def finish(self) -> dict[str, dict[str, float]]:
        """Return stage -> wall_s, cpu_s, client_mib, worker_mib; the last row is the total."""
        self._close_stage()
        self._stop.set()
        self._thread.join()
        rows = {
            name: dict(values) for name, values in self.stages.items() if values["wall_s"] > 0.005
        }
        rows["total"] = {
            "wall_s": sum(row["wall_s"] for row in rows.values()),
            "cpu_s": sum(row["cpu_s"] for row in rows.values()),
            "client_mib": max(row.get("client_mib", 0.0) for row in rows.values()),
            "worker_mib": max(row.get("worker_mib", 0.0) for row in rows.values()),
        }
        return rows


def make_rows(folder: Path, n_rows: int, n_columns: int = 20, n_seeds: int = 200) -> None:
    """Write files of `FILE_ROWS` rows: id, numbers around three centres, and a few labels."""
    centres = np.random.default_rng(0).normal(size=(3, n_columns))
    seeds = set(np.random.default_rng(1).choice(n_rows, n_seeds, replace=False).tolist())
    for first in range(0, n_rows, FILE_ROWS):
        rng = np.random.default_rng([2, first])
        size = min(FILE_ROWS, n_rows - first)
        kind = rng.integers(0, 3, size)
        values = centres[kind] + rng.normal(size=(size, n_columns))
        ids = np.arange(first, first + size)
        labels = [int(k) if i in seeds else None for i, k in zip(ids.tolist(), kind, strict=True)]
        table = pa.table(
            {
                "id": ids,
                **{f"x{j}": values[:, j] for j in range(n_columns)},
                "label": pa.array(labels, pa.int64()),
            }
        )
        pq.write_table(table, folder / f"part-{first:012d}.parquet", row_group_size=100_000)


def made_job(folder: Path, n_columns: int = 20) -> dict[str, Any]:
    """Return a job over the files of `make_rows` that leaves the graph out."""
    return {
        "name": "made rows",
        "input": {"path": str(folder), "id": "id", "label": "label"},
        "features": {"numbers": {"numeric": [f"x{j}" for j in range(n_columns)]}},
        "method": {"name": "supervised"},
        "output": {"path": str(folder.parent / "out")},
        "cluster": {"kind": "local", "workers": 2, "memory": "1GiB"},
    }


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print one line a stage."""
    print(f"\n{title}")
    print(f"{'stage':<14}{'wall s':>9}{'CPU s':>9}{'client MiB':>12}{'worker MiB':>12}")
    for name, row in rows.items():
        print(
            f"{name:<14}{row['wall_s']:>9.2f}{row['cpu_s']:>9.2f}"
            f"{row.get('client_mib', 0.0):>12.0f}{row.get('worker_mib', 0.0):>12.0f}"
        )


def measure(spec: Any) -> tuple[dict[str, dict[str, float]], Any]:
    """Run a job; return its stages and its result."""
    meter = StageMeter()
    try:
        result = run_job(spec, listener=meter, force=True)
    finally:
        rows = meter.finish()
    return rows, result


def digits(draws: int, scratch: Path, overrides: list[str]) -> dict[str, Any]:
    """Run the digits job with `draws` different sets of 50 seeds."""
    job = shipped_job("mnist")
    truth = pq.read_table(job.parent / "data" / "mnist.parquet", columns=["image_id", "digit"])
    ids, digit = truth["image_id"].to_numpy(), truth["digit"].to_numpy()
    out: dict[str, Any] = {"draws": []}
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(digit == value), 5, replace=False) for value in range(10)]
        )
        seeds = scratch / f"seeds-{draw}.csv"
        lines = [f"{ids[row]},{digit[row]}" for row in np.sort(rows)]
        seeds.write_text("\n".join(["id,label", *lines]) + "\n")
        spec = load_job(
            job,
            [f"input.labels.path={seeds}", f"output.path={scratch / 'out'}", *overrides],
        )
        stages, result = measure(spec)
        truth_scores = result.report.evaluation.truth
        print_table(f"70,000 digits, seeds of draw {draw}", stages)
        accuracy = truth_scores.unlabelled.accuracy_all.value
        print(f"accuracy on the unlabelled rows: {accuracy:.4f}")
        out["draws"].append({"stages": stages, "accuracy_unlabelled": accuracy})
    values = [one["accuracy_unlabelled"] for one in out["draws"]]
    out["mean"], out["sd"] = float(np.mean(values)), float(np.std(values, ddof=min(1, draws - 1)))
    print(
        f"\naccuracy on the unlabelled rows, mean of {draws} draws:"
        f" {out['mean']:.4f} +- {out['sd']:.4f}"
    )
    return out


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, help="make so many rows and leave the graph out")
    parser.add_argument("--draws", type=int, default=1, help="sets of seeds for the digits")
    parser.add_argument(
        "--set", action="append", default=[], help="override a key of the digits job"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if arguments.rows:
            data = scratch / "rows"
            data.mkdir()
            make_rows(data, arguments.rows)
            size = sum(path.stat().st_size for path in data.iterdir())
            stages, _ = measure(resolve_job(made_job(data)))
            print_table(
                f"{arguments.rows:,} rows x 20 numbers, {size / MIB:,.0f} MiB of Parquet", stages
            )
            numbers: dict[str, Any] = {"rows": arguments.rows, "bytes": size, "stages": stages}
        else:
            numbers = digits(arguments.draws, scratch, arguments.set)
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
