"""Small Parquet files for the tests of the reading rooms."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout


def write(path: Path, columns: Mapping[str, Any] | pa.Table, *, group_rows: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    pq.write_table(table, path, row_group_size=group_rows, write_page_checksum=True)
    return path


def open_reader(
    folder: Path, *, block_rows: int | None = None, columns: Sequence[str] | None = None
) -> ColumnReader:
    dataset = Dataset.open(str(folder), base=folder)
    names = dataset.schema.names if columns is None else columns
    return ColumnReader(
        dataset, plan_layout(dataset, names, block_bytes=2**30, block_rows=block_rows)
    )


def travelled(value: Any) -> Any:
    """The value as it arrives on a worker."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301
