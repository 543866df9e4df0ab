"""Columns in memory, read in blocks: what storage gives to the features, without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.views import FeatureView

GROUP = TypeAdapter(FeatureGroup)
N_ROWS = 48
RNG = np.random.default_rng(0)
COLUMNS: dict[str, Any] = {
    "amount": RNG.lognormal(sigma=2, size=N_ROWS),
    "length": RNG.integers(1, 9, N_ROWS),
    "kind": RNG.choice(["a", "b", "c"], N_ROWS).tolist(),
    "text": [" ".join(RNG.choice(["get", "put", "or", "1"], 4)) for _ in range(N_ROWS)],
    "pixels": RNG.normal(100, 30, (N_ROWS, 12)).astype(np.float32),
}
SPECS: dict[str, Any] = {
    "shape": {"numeric": ["amount", "length"]},
    "lengths": {"categorical": ["length", "kind"]},
    "payload": {"text": "text", "n_features": 1024},
    "image": {"vector": "pixels", "n_components": 5},
}
GROUPS = {name: GROUP.validate_python(spec) for name, spec in SPECS.items()}


class MemoryReader:
    """Cuts arrays at `cuts` into blocks; counts how often each block was read."""

    def __init__(self, columns: Mapping[str, Any], cuts: Sequence[int] = ()) -> None:
        self.columns = dict(columns)
        n_rows = len(next(iter(self.columns.values())))
        self.bounds = [0, *sorted(cuts), n_rows]
        self.row_counts = tuple(b - a for a, b in pairwise(self.bounds))
        self.n_reads = 0

    def read(self, block: int, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
        self.n_reads += 1
        rows = slice(self.bounds[block], self.bounds[block + 1])
        forms = {
            "numeric": lambda values: np.asarray(values, dtype=np.float64),
            "string": lambda values: np.array(
                [None if v is None else str(v) for v in values], dtype=object
            ),
            "vector": lambda values: np.asarray(values, dtype=np.float32),
            "vector_or_null": lambda values: np.asarray(values, dtype=np.float32),
        }
        return {name: forms[kind](self.columns[name][rows]) for name, kind in kinds.items()}


def one_group(
    columns: Mapping[str, Any], cuts: Sequence[int] = (), name: str = "group", **spec: Any
) -> FeatureView:
    """Return one group of features of columns that are cut into blocks."""
    groups = {name: GROUP.validate_python(spec)}
    return describe(MemoryReader(columns, cuts), groups, Execution(threads=1))[name]


def dense(view: FeatureView) -> np.ndarray:
    """Return all rows, each block as long as the view says."""
    blocks = Execution(threads=1).compute(view.blocks())
    assert [block.shape[0] for block in blocks] == list(view.row_chunks)
    return np.vstack([block.toarray() if sp.issparse(block) else block for block in blocks])


def cuts_of(n_rows: int) -> st.SearchStrategy[list[int]]:
    """Hypothesis: distinct places at which `n_rows` rows are cut into blocks of one row or more."""
    return st.lists(st.integers(1, n_rows - 1), unique=True, max_size=n_rows - 1)
