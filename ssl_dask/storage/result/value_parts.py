"""The result of a job whose labels are numbers: its columns, and the writing of one part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.storage.result.label_parts import check_shape, joined_columns, name_array, write_part
from ssl_dask.storage.result.result_schema import (
    REASON_MEANING,
    ResultColumn,
    described_field,
    refuse_names,
    with_metadata,
    without_metadata,
)
from ssl_dask.storage.runs.manifest import LABELS_FOLDER, PartRecord

VALUE_COLUMNS = (
    ResultColumn("value", pa.float64(), "The number; null where there is none."),
    ResultColumn(
        "value_low",
        pa.float64(),
        "Lower end of an interval that holds the true number in the stated share of the rows, by"
        " labels that were hidden; null without one.",
    ),
    ResultColumn("value_high", pa.float64(), "Upper end of the interval; null without one."),
    ResultColumn(
        "source",
        pa.string(),
        "How the number was found (seed: given in the input); null without one.",
    ),
    ResultColumn("reason", pa.string(), REASON_MEANING),
)


def check_value_names(id_name: str, kept: Sequence[str]) -> None:
    """Refuse column names of the input that a result of numbers needs for itself.

    Parameters
    ----------
    id_name
        Name of the id column.
    kept
        Names of the input columns that are carried to the output.

    Raises
    ------
    JobSpecError
        Listing every name that clashes or comes twice.
    """
    ours = {column.name for column in VALUE_COLUMNS}
    refuse_names(id_name, kept, ours, ours)


@dataclass(frozen=True)
class ValueSchema:
    """What the parts of a run look like; the same for every part, and sent to the workers.

    Parameters
    ----------
    id
        Field of the id column, as in the input.
    kept
        Fields of the columns carried over from the input.
    source_names, reason_names
        Texts that the codes in the columns stand for; `NO_NAME` is written as null.
    """

    id: pa.Field
    kept: tuple[pa.Field, ...]
    source_names: tuple[str, ...]
    reason_names: tuple[str, ...]

    @property
    def carried(self) -> list[pa.Field]:
        """Fields that come from the input: the id and the kept columns."""
        return [without_metadata(field) for field in (self.id, *self.kept)]

    def labels(self, run_id: str) -> pa.Schema:
        """Return the Arrow schema of a part of `labels`."""
        added = [
            described_field(column.name, column.type, column.meaning) for column in VALUE_COLUMNS
        ]
        return with_metadata([*self.carried, *added], run_id)


@dataclass(frozen=True)
class ValueColumns:
    """What was decided about the rows of one block.

    Parameters
    ----------
    value, low, high
        float64 (n,): the number and the ends of its interval; NaN is written as null.
    source, reason
        uint8 (n,): positions in `ValueSchema.source_names` and `reason_names`.
    """

    value: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    source: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]


def write_value_part(
    stage: Path,
    run_id: str,
    block: int,
    table: pa.Table,
    columns: ValueColumns,
    schema: ValueSchema,
) -> PartRecord:
    """Write the numbers of one block; parameters, errors and costs as `write_label_part`."""
    for name in ("value", "low", "high", "source", "reason"):
        check_shape(name, getattr(columns, name), (table.num_rows,))
    added = [
        _numbers(columns.value),
        _numbers(columns.low),
        _numbers(columns.high),
        name_array(columns.source, schema.source_names),
        name_array(columns.reason, schema.reason_names),
    ]
    whole = joined_columns(table, schema.carried, added, schema.labels(run_id), block)
    return write_part(stage, LABELS_FOLDER, run_id, block, whole)


def _numbers(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values, dtype=np.float64), from_pandas=True)
