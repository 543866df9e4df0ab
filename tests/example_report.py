"""Reports of two real small runs, for the tests of what a report says and how it looks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from ssl_dask import run_job
from ssl_dask.report.run_report import RunReport
from ssl_dask.report.value_report import ValueReport

Report = RunReport | ValueReport


@cache
def digits_report(*, with_truth: bool = True) -> RunReport:
    """Return the report of 50 seeds on 1,797 digits, and 9 rows far away that no seed reaches."""
    X, y = load_digits(return_X_y=True)
    random = np.random.default_rng(3)
    seeds = [random.choice(np.flatnonzero(y == digit), 5, replace=False) for digit in range(10)]
    X = np.concatenate([X, 1000.0 + np.eye(9, 64)]).astype(np.float32)
    truth = np.append(y, np.zeros(9, int))
    columns = {"pixels": pa.FixedSizeListArray.from_arrays(X.ravel(), 64)}
    job: dict[str, Any] = {
        "name": "digits",
        "features": {"pixels": {"vector": "pixels", "scale": "none"}},
        "graph": {"n_neighbors": 7},
        "method": {"name": "label_spreading", "alpha": 0.8},
        "decision": {"min_probability": 0.5, "review_budget": 20},
    }
    report = _report_of(job, columns, truth, np.concatenate(seeds), with_truth=with_truth)
    assert isinstance(report, RunReport)
    return report


@cache
def numbers_report() -> ValueReport:
    """Return the report of 60 seeds on 400 rows of a bent surface, 7 of them without a path."""
    random = np.random.default_rng(4)
    X = random.uniform(-2, 2, (400, 2))
    X[-7:] += 1000
    y = 20 * np.sin(2 * X[:, 0]) + 30 + random.normal(size=400)
    job: dict[str, Any] = {
        "name": "numbers",
        "features": {"place": {"numeric": ["a", "b"], "scale": "none"}},
        "graph": {"n_neighbors": 5},
        "method": {"name": "harmonic_regression"},
    }
    seeds = random.choice(393, 60, replace=False)
    report = _report_of(job, {"a": X[:, 0], "b": X[:, 1]}, y, seeds, with_truth=True)
    assert isinstance(report, ValueReport)
    return report


def _report_of(
    job: dict[str, Any], columns: dict[str, Any], truth: Any, seeds: Any, *, with_truth: bool
) -> Report:
    known = np.isin(np.arange(len(truth)), seeds)
    table = pa.table(
        {
            "id": np.arange(len(truth)),
            **columns,
            "seed": pa.array(truth, mask=~known),
            "truth": truth,
        }
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.parquet")
        pq.write_table(table, path)
        job["input"] = {"path": str(path), "id": "id", "label": "seed"}
        job["input"] |= {"truth": "truth"} if with_truth else {}
        job["output"] = {"path": str(Path(folder, "out"))}
        return run_job(job).report
