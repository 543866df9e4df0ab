"""Medians, ratios and tables of what the entrants of the neighbour graph took."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from knn_entrants import ENTRANTS
from measured import Measured

SEARCH_STAGES = ("search", "merge")


def medians(runs: Sequence[Measured], n_rows: int) -> dict[str, Any]:
    """Return the medians of the runs of one entrant, and what it says of itself."""
    reported = [run.answer.reported for run in runs]
    worker_peaks = [
        max(run.peak_mib_by_pid[pid] for pid in run.answer.worker_pids)
        for run in runs
        if run.answer.worker_pids
    ]
    cpu = statistics.median(run.cpu_s for run in runs)
    settings = reported[0].get("settings", {})
    seconds = _median_seconds([one.get("settings", {}).get("seconds", {}) for one in reported])
    search = sum(seconds.get(stage, 0.0) for stage in SEARCH_STAGES)
    recall = reported[0].get("recall")
    return {
        "wall_s": statistics.median(run.wall_s for run in runs),
        "cpu_s": cpu,
        "us_per_row": 1e6 * cpu / n_rows,
        "peak_mib": statistics.median(run.peak_mib for run in runs),
        "worker_peak_mib": statistics.median(worker_peaks) if worker_peaks else None,
        "wall_s_of_runs": [run.wall_s for run in runs],
        "cpu_s_of_runs": [run.cpu_s for run in runs],
        "recall": None,
        "recall_reported": recall["estimate"] if recall else None,
        "recall_reported_interval": [recall["low"], recall["high"]] if recall else None,
        "n_edges": reported[0].get("n_edges"),
        "stage_seconds": seconds,
        "edges_over_search": seconds["edges"] / search if search and "edges" in seconds else None,
        "settings": settings,
    }


def _median_seconds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}


def ratios(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return wall, CPU and memory of each of ours over each peer's; exact over exact only."""
    ours = [name for name in results if ENTRANTS[name].is_ours]
    peers = [name for name in results if name not in ours]
    keys = ("wall_s", "cpu_s", "peak_mib")
    return [
        {"ours": a, "peer": b, **{key: results[a][key] / results[b][key] for key in keys}}
        for a in ours
        for b in peers
        if ENTRANTS[b].exact or not ENTRANTS[a].exact
    ]


def print_results(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a line an entrant."""
    print(
        f"  {'':<16}{'wall s':>9}{'CPU s':>9}{'us/row':>8}{'peak MiB':>10}{'worker MiB':>12}"
        f"{'recall':>9}{'in graph':>10}{'says':>8}"
    )
    for name, one in results.items():
        print(
            f"  {name:<16}{one['wall_s']:>9.2f}{one['cpu_s']:>9.2f}{one['us_per_row']:>8.1f}"
            f"{one['peak_mib']:>10.0f}{_cell(one['worker_peak_mib'], 12, 0)}"
            f"{_cell(one['recall'], 9)}{_cell(one.get('recall_in_graph'), 10)}"
            f"{_cell(one['recall_reported'], 8)}"
        )
    for name, one in results.items():
        if one["stage_seconds"]:
            stages = ", ".join(f"{key} {value:.2f}" for key, value in one["stage_seconds"].items())
            share = one["edges_over_search"]
            last = "" if share is None else f"; edges are {share:.1%} of the search"
            print(f"  {name}, wall s of its stages: {stages}{last}")
        made = {
            key: one["settings"][key]
            for key in ("n_shards", "replication", "largest_shard_rows")
            if key in one["settings"]
        }
        if made:
            print(f"  {name}: {', '.join(f'{key} {value:g}' for key, value in made.items())}")
    sys.stdout.flush()


def print_ratios(ratios: Sequence[Mapping[str, Any]]) -> None:
    """Print ours over each peer."""
    for one in ratios:
        print(
            f"  {one['ours']} / {one['peer']:<14} wall {one['wall_s']:.2f},"
            f" CPU {one['cpu_s']:.2f}, memory {one['peak_mib']:.2f}",
            flush=True,
        )


def _cell(value: float | None, width: int, digits: int = 4) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
