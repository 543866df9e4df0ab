"""What the steps of a run share: the job, the rows that were read, and where it all runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dask.delayed import Delayed

from ssl_dask.console import RunClock
from ssl_dask.execution import Execution
from ssl_dask.features.views import FeatureView, join
from ssl_dask.job_spec import JobSpec
from ssl_dask.method import Method
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.inputs.job_inputs import Inputs, ReadData
from ssl_dask.storage.ids.id_hash import row_tags
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.run_folder import OutputFolder


@dataclass(frozen=True)
class DescribedJob:
    """A job whose rows are read and described.

    Parameters
    ----------
    spec, inputs, data
        The job, its files, and what reading found.
    views
        Groups of features by name.
    execution
        Where tasks run.
    """

    spec: JobSpec
    inputs: Inputs
    data: ReadData
    views: Mapping[str, FeatureView]
    execution: Execution

    @property
    def method(self) -> Method:
        """The record of the job's method."""
        return METHODS[self.spec.method.name]

    @property
    def view(self) -> FeatureView:
        """All groups of features side by side, lazy."""
        return join(self.views, self.spec.group_weights)

    def tags(self) -> list[Delayed] | None:
        """Return tasks of the tags of the rows, int64 (n_i,) a block; None: rows have no ids.

        They read the ids once more.
        """
        column = self.spec.input.id
        return None if column is None else row_tags(self.data.reader, column)

    def kept_groups(self, names: tuple[str, ...]) -> FeatureView:
        """Return some groups of features side by side, kept on the workers."""
        weights = {name: self.spec.group_weights[name] for name in names}
        view = join({name: self.views[name] for name in names}, weights)
        return view.persist(self.execution, "describe")


@dataclass(frozen=True)
class RunContext(DescribedJob):
    """A run of such a job.

    Parameters
    ----------
    output
        Where the result goes.
    checkpoints
        Its checkpoints, and those of the killed run that it goes on from.
    clock
        The listener, which also keeps the time.
    trust_modules
        Modules whose classes the job may name as learners.
    """

    output: OutputFolder
    checkpoints: Checkpoints
    clock: RunClock
    trust_modules: tuple[str, ...]

    @property
    def run_path(self) -> Path:
        """Folder of the finished run."""
        return self.output.root / "runs" / self.output.run_id
