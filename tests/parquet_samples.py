"""Small Parquet files and labels for the tests of the reading rooms."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.execution import Execution
from ssl_dask.storage.checks.column_check import ColumnNeeds
from ssl_dask.storage.checks.input_check import scan_input
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from ssl_dask.storage.labels.label_file import SeedFile, read_label_file
from ssl_dask.storage.labels.label_rules import ANY_CLASSES, LabelRule
from ssl_dask.storage.labels.seed_labels import SeedTable

HERE = Execution(threads=2)


def write(path: Path, columns: Mapping[str, Any] | pa.Table, *, group_rows: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    pq.write_table(table, path, row_group_size=group_rows, write_page_checksum=True)
    return path


def open_reader(
    folder: Path | str, *, block_rows: int | None = None, columns: Sequence[str] | None = None
) -> ColumnReader:
    dataset = Dataset.open(folder, base=Path(folder))
    names = dataset.schema.names if columns is None else columns
    return ColumnReader(
        dataset, plan_layout(dataset, names, block_bytes=2**30, block_rows=block_rows)
    )


def travelled(value: Any) -> Any:
    """The value as it arrives on a worker."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301


def write_parts(folder: Path, *parts: Any, group_rows: int = 50) -> None:
    """Write 0.parquet, 1.parquet, ..."""
    for i, part in enumerate(parts):
        write(folder / f"{i}.parquet", part, group_rows=group_rows)


def flip_a_bit(path: Path, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 4
    path.write_bytes(content)


def told(found: SeedTable | SeedFile) -> str:
    """The problems as text."""
    return "\n".join(map(str, found.problems))


def read_seeds(
    reader: ColumnReader,
    execution: Execution = HERE,
    *,
    rule: LabelRule = ANY_CLASSES,
    seed_file: SeedFile | None = None,
    **needs: Any,
) -> SeedTable:
    """The labels that a scan of the input finds."""
    found = scan_input(reader, ColumnNeeds(rule=rule, **needs), execution, seed_file=seed_file)
    assert found.seeds is not None
    return found.seeds


def seeds_of_column(
    folder: Path, *parts: Any, rule: LabelRule = ANY_CLASSES, block_rows: int | None = None
) -> SeedTable:
    """The labels of files with one column of labels, four rows a row group."""
    write_parts(folder, *({"y": part} for part in parts), group_rows=4)
    return read_seeds(open_reader(folder, block_rows=block_rows), rule=rule, label="y")


def seeds_of_csv(
    folder: Path, reader: ColumnReader, content: str | bytes, **options: Any
) -> SeedFile:
    """The labels of the CSV file y.csv, whose columns are id and y."""
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "y.csv").write_bytes(data)
    id_type = reader.dataset.schema.field("id").type
    return read_label_file(
        "y.csv",
        **({"id_column": "id", "label_column": "y", "base": folder, "id_type": id_type} | options),
    )
