"""What the steps of a run share: the job, the rows that were read, and where all runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssl_dask.console import RunClock
from ssl_dask.execution import Execution
from ssl_dask.features.views import FeatureView, join
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.inputs.job_inputs import Inputs, ReadData
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.run_folder import OutputFolder


@dataclass(frozen=True)
class RunContext:
    """A run whose rows are read and described.

    Parameters
    ----------
    spec, inputs, data
        The job, its files, and what reading found.
    views
        Groups of features by name.
    output
        Where the result goes.
    execution, checkpoints, clock
        Where it runs, what it goes on from, and who is told.
    trust_modules
        Modules whose classes the job may name as learners.
    """

    spec: JobSpec
    inputs: Inputs
    data: ReadData
    views: Mapping[str, FeatureView]
    output: OutputFolder
    execution: Execution
    checkpoints: Checkpoints
    clock: RunClock
    trust_modules: tuple[str, ...]

    @property
    def view(self) -> FeatureView:
        """All groups of features side by side, lazy."""
        return join(self.views, self.spec.group_weights)

    @property
    def run_path(self) -> Path:
        """Folder of the finished run."""
        return self.output.root / "runs" / self.output.run_id
