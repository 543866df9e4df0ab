"""A small real job for tests: 1,797 handwritten digits in four files, 50 of them labelled."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

N_ROWS, N_FILES, PER_CLASS = 1797, 4, 5


def write_rows(folder: Path) -> None:
    """Write the digits as Parquet files: an id, 64 pixels, the seed labels and the truth."""
    X, y = load_digits(return_X_y=True)
    assert len(y) == N_ROWS
    rng = np.random.default_rng(0)
    seeds = [
        rng.choice(np.flatnonzero(y == digit), PER_CLASS, replace=False) for digit in range(10)
    ]
    hidden = np.ones(N_ROWS, bool)
    hidden[np.concatenate(seeds)] = False
    pixels = pa.array(X.astype(np.float32).ravel())
    table = pa.table(
        {
            "image": np.arange(N_ROWS) + 1000,
            "pixels": pa.FixedSizeListArray.from_arrays(pixels, 64),
            "seed": pa.array(y, mask=hidden),
            "digit": y,
        }
    )
    folder.mkdir(parents=True)
    cuts = np.linspace(0, N_ROWS, N_FILES + 1).astype(int)
    for part, (start, stop) in enumerate(itertools.pairwise(cuts)):
        pq.write_table(table.slice(start, stop - start), folder / f"part-{part}.parquet")


def write_job(path: Path, rows: str | Path, output: str | Path, **more: object) -> Path:
    """Write a job file that labels the digits in `rows`; `more` replaces its top keys."""
    job = {
        "name": "digits",
        "input": {"path": str(rows), "id": "image", "label": "seed", "truth": "digit"},
        "features": {"image": {"vector": "pixels"}},
        "graph": {"n_neighbors": 10},
        "method": {"name": "label_spreading", "alpha": 0.99},
        "output": {"path": str(output)},
        "cluster": {"kind": "local", "workers": 2, "memory": "1GiB"},
        **more,
    }
    # JSON is YAML.
    path.write_text(json.dumps(job, indent=1))
    return path


def read_labels(run: Path) -> pa.Table:
    """Return the rows of a run's result, in input order; fail unless it is whole and useful."""
    table = pq.read_table(sorted((run / "labels").glob("part-*.parquet")))
    assert table["image"].to_pylist() == list(range(1000, 1000 + N_ROWS))
    assert table["label"].null_count < 100
    assert len(table["label"].unique()) >= 10
    assert table["source"].to_pylist().count("seed") == 10 * PER_CLASS
    assert len(np.unique(table["probability"].to_numpy())) > 20
    return table


def assert_same_answer(one: Path, other: Path) -> None:
    """Fail unless two runs gave the same labels, probabilities and margins, bit for bit."""
    a, b = read_labels(one), read_labels(other)
    assert a.schema.equals(b.schema)
    for name in ("label", "source", "reason"):
        assert a[name].to_pylist() == b[name].to_pylist(), name
    for name in ("probability", "margin"):
        assert a[name].to_numpy().tobytes() == b[name].to_numpy().tobytes(), name
