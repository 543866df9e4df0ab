"""What the neighbour graph has to reach on two cores, checked against the numbers of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Bound:
    """One line of the demand.

    Parameters
    ----------
    what
        In words.
    value
        Takes the numbers of a run, as they are written to JSON; None if they do not tell.
    limit
        Of the value.
    at_least
        The value must not be below the limit; else it must not be above.
    """

    what: str
    value: Callable[[Numbers], float | None]
    limit: float
    at_least: bool = False

    def check(self, numbers: Numbers) -> dict[str, Any]:
        """Return the bound, its value, and whether it is kept (None: not measured)."""
        value = self.value(numbers)
        kept = None
        if value is not None:
            kept = value >= self.limit if self.at_least else value <= self.limit
        side = "at least" if self.at_least else "at most"
        return {
            "what": self.what,
            "value": value,
            "side": side,
            "limit": self.limit,
            "kept": kept,
        }


def _result(numbers: Numbers, name: str, n_rows: int, entrant: str) -> Numbers | None:
    for one in numbers["sets"]:
        if one["rows"]["name"] == name and one["rows"]["n_rows"] == n_rows:
            return one["results"].get(entrant)
    return None


def _ratio(
    name: str, n_rows: int, ours: str, theirs: str, key: str
) -> Callable[[Numbers], float | None]:
    def value(numbers: Numbers) -> float | None:
        a, b = (_result(numbers, name, n_rows, entrant) for entrant in (ours, theirs))
        return None if a is None or b is None else a[key] / b[key]

    return value


def _of(name: str, n_rows: int, entrant: str, key: str) -> Callable[[Numbers], float | None]:
    def value(numbers: Numbers) -> float | None:
        result = _result(numbers, name, n_rows, entrant)
        return None if result is None else result.get(key)

    return value


def _growth(name: str, small: int, large: int, entrant: str) -> Callable[[Numbers], float | None]:
    def value(numbers: Numbers) -> float | None:
        a, b = (_result(numbers, name, n, entrant) for n in (large, small))
        return None if a is None or b is None else a["wall_s"] / b["wall_s"]

    return value


def _kernel(n_columns: int, key: str) -> Callable[[Numbers], float | None]:
    def value(numbers: Numbers) -> float | None:
        for one in numbers["kernel"]:
            if (one["n_rows"], one["n_columns"]) == (KERNEL_ROWS, n_columns):
                return one[key]
        return None

    return value


def _exponent(numbers: Numbers) -> float | None:
    return numbers["scaling"]["exponent_cpu"] if numbers["scaling"] else None


def _worker_memory(numbers: Numbers) -> float | None:
    """Return the worker's peak over 2.2 KB a row of the largest shard + 250 MB."""
    result = _result(numbers, "digits64", MILLION, "ours-cluster")
    shard = None if result is None else result["settings"].get("largest_shard_rows")
    if result is None or shard is None or result["worker_peak_mib"] is None:
        return None
    return result["worker_peak_mib"] * 2**20 / (2200 * shard + 250e6)


MILLION = 1_000_000
KERNEL_ROWS = 10_000
_D64 = ("digits64", 200_000)

BOUNDS: Sequence[Bound] = (
    Bound(
        "digits64 200k, 2 workers: wall over pynndescent's",
        _ratio(*_D64, "ours-cluster", "pynndescent", "wall_s"),
        1.0,
    ),
    Bound(
        "digits64 200k, 2 workers: wall over faiss HNSW's",
        _ratio(*_D64, "ours-cluster", "faiss-hnsw", "wall_s"),
        0.3,
    ),
    Bound(
        "digits64 200k, 2 workers: recall of the search",
        _of(*_D64, "ours-cluster", "recall_reported"),
        0.99,
        at_least=True,
    ),
    Bound(
        "digits64 200k, in process: CPU over pynndescent's",
        _ratio(*_D64, "ours-process", "pynndescent", "cpu_s"),
        0.5,
    ),
    Bound(
        "digits64 200k, in process: CPU over faiss HNSW's",
        _ratio(*_D64, "ours-process", "faiss-hnsw", "cpu_s"),
        0.12,
    ),
    Bound(
        "digits64 200k, in process: weights and symmetry over the search",
        _of(*_D64, "ours-process", "edges_over_search"),
        0.12,
    ),
    Bound("exact kernel, d 64: share of sgemm", _kernel(64, "share_of_sgemm"), 0.30, True),
    Bound("exact kernel, d 784: share of sgemm", _kernel(784, "share_of_sgemm"), 0.65, True),
    Bound("exact kernel, d 64: over scikit-learn brute", _kernel(64, "ratio_to_scikit_learn"), 0.6),
    Bound(
        "exact kernel, d 784: over scikit-learn brute", _kernel(784, "ratio_to_scikit_learn"), 0.6
    ),
    Bound(
        "digits64 1M, 2 workers: wall over that of 200k",
        _growth("digits64", 200_000, MILLION, "ours-cluster"),
        6.5,
    ),
    Bound(
        "digits64 1M, 2 workers: recall of the search",
        _of("digits64", MILLION, "ours-cluster", "recall_reported"),
        0.99,
        at_least=True,
    ),
    Bound(
        "digits64 1M: worker memory over 2.2 KB a row of the largest shard + 250 MB",
        _worker_memory,
        1.0,
    ),
    Bound("growth of CPU, 125k to 1M, equal shards: exponent", _exponent, 1.15),
    Bound(
        "digits64 10M, 2 workers: recall of the search",
        _of("digits64", 10 * MILLION, "ours-cluster", "recall_reported"),
        0.98,
        at_least=True,
    ),
    Bound(
        "digits64 10M, 2 workers: wall seconds",
        _of("digits64", 10 * MILLION, "ours-cluster", "wall_s"),
        420.0,
    ),
    Bound(
        "mnist 70k, 2 workers: wall over pynndescent's",
        _ratio("mnist", 70_000, "ours-cluster", "pynndescent", "wall_s"),
        0.8,
    ),
    Bound(
        "mnist 70k, 2 workers: recall of the search",
        _of("mnist", 70_000, "ours-cluster", "recall_reported"),
        0.98,
        at_least=True,
    ),
    Bound(
        "sparse 30k, in process: CPU over scikit-learn brute's",
        _ratio("sparse", 30_000, "ours-process", "scikit-learn", "cpu_s"),
        0.35,
    ),
    Bound(
        "sparse 30k, in process: recall in the graph",
        _of("sparse", 30_000, "ours-process", "recall_in_graph"),
        0.95,
        at_least=True,
    ),
)


def print_bounds(checked: Sequence[Mapping[str, Any]]) -> None:
    """Print the bounds that this run measured."""
    measured = [one for one in checked if one["kept"] is not None]
    print(f"\nBounds: {len(measured)} of {len(checked)} measured in this run")
    for one in measured:
        word = "kept" if one["kept"] else "MISSED"
        print(f"  {word:<7}{one['what']:<76}{one['value']:>8.3f}  {one['side']} {one['limit']:g}")
