"""Steps 5 and 6 of one block, on a worker: what is the same for classes and numbers.

The modules of block tasks import no reports: workers need not load what draws them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.array_types import Int64
from ssl_dask.dask_arrays import row_handles
from ssl_dask.execution import Execution
from ssl_dask.job_spec import JobSpec
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import ROW_COLUMN, ResultSchema
from ssl_dask.storage.runs.manifest import PartRecord

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BlockTask(ABC, Generic[Result]):
    """Turns a block of what a method found into a part of the result; sent once a worker."""

    reader: ColumnReader
    columns: tuple[str, ...]
    row_numbers: str | None
    """Read the block's id and kept columns, or number its rows."""
    stage: Path
    run_id: str
    schema: ResultSchema
    """Where and how a part is written."""
    truth: str | None
    """Column of the true labels, or None."""
    sampled: Int64
    """int64, sorted: global rows whose labels the report's picture wants."""

    @abstractmethod
    def write(self, block: int, start: int, F: Any, *beside: Any) -> Result:
        """Decide the rows of one block, count them, and write its part. Runs on a worker.

        Parameters
        ----------
        block, start
            Number of the block and of its first row.
        F
            What the method found of the block's rows.
        beside
            Other arrays of the block, or None.
        """

    def write_part(self, block: int, arrays: Mapping[str, npt.NDArray[Any]]) -> PartRecord:
        """Write the block's part: its id, the kept columns, and `arrays` by column."""
        table = self.reader.read_table(block, self.columns, row_numbers=self.row_numbers)
        return write_part(self.stage, self.run_id, block, table, arrays, self.schema)

    def sampled_of(self, start: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of the sampled rows among those of a block that begins at `start`."""
        first, last = np.searchsorted(self.sampled, [start, start + len(values)])
        return values[self.sampled[first:last] - start]


def carried_fields(job: JobSpec) -> dict[str, Any]:
    """Return which columns go to the output, id or row number first: fields of a `BlockTask`."""
    row_id, columns = job.input.id, job.output.columns
    if row_id is None:
        return {"columns": columns, "row_numbers": ROW_COLUMN}
    return {"columns": (row_id, *columns), "row_numbers": None}


def write_blocks(
    task: BlockTask[Result], F: da.Array, execution: Execution, *beside: Sequence[Any] | None
) -> list[Result]:
    """Write every block of F, on the workers.

    Parameters
    ----------
    task
        What all blocks share.
    F
        What the method found, in the blocks of the task's reader.
    beside
        Other arrays, a handle for each block; None: the task gets None.
    """
    starts = task.reader.layout.starts
    blocks = row_handles(F)
    shared = delayed(task, pure=False, traverse=False)
    write = delayed(_write_block, pure=False)
    others = [[None] * len(blocks) if one is None else one for one in beside]
    tasks = [
        write(shared, block, int(starts[block]), *arrays)
        for block, arrays in enumerate(zip(blocks, *others, strict=True))
    ]
    return execution.compute(tasks, "write")


def _write_block(task: BlockTask[Result], block: int, start: int, F: Any, *beside: Any) -> Result:
    return task.write(block, start, F, *beside)
