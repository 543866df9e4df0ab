"""A small made job whose labels are numbers: a smooth function, and an island without seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.made_job import made_job

N_ROWS, N_ISLAND, N_SEEDS = 320, 20, 60


def made_numbers(*, seed: int = 0) -> pa.Table:
    """Return 320 rows: id, two features, the numbers of 60 seeds, the truth.

    The last 20 rows lie far away from all others, and none of them is labelled.
    """
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (N_ROWS, 2))
    truth = 500 + 40 * np.sin(2 * X[:, 0]) + 10 * X[:, 1] ** 2 + rng.normal(size=N_ROWS)
    X[-N_ISLAND:] += 1000
    known = np.zeros(N_ROWS, bool)
    known[rng.choice(N_ROWS - N_ISLAND, N_SEEDS, replace=False)] = True
    return pa.table(
        {
            "id": np.arange(N_ROWS) * 3 + 10**15,
            "a": X[:, 0],
            "b": X[:, 1].astype(np.float32),
            "level": pa.array(truth, mask=~known),
            "truth": truth,
        }
    )


def number_job(rows: Path, out: Path, **more: Any) -> dict[str, Any]:
    """Return a job as plain data; `more` replaces its top keys."""
    return made_job(
        rows,
        out,
        **{
            "name": "made numbers",
            "input": {"path": str(rows), "id": "id", "label": "level", "truth": "truth"},
            "features": {"place": {"numeric": ["a", "b"], "scale": "none"}},
            "method": {"name": "harmonic_regression"},
            **more,
        },
    )
