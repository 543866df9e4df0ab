"""From a resolved job to a committed run: the only place that composes the rooms of the package."""

from ssl_dask.pipeline.draft import draft_job
from ssl_dask.pipeline.plan import plan_job, validate_job
from ssl_dask.pipeline.reporting import summary_rows
from ssl_dask.pipeline.run import RunResult, run_job
from ssl_dask.pipeline.saved_runs import rebuild_report, shipped_job

__all__ = [
    "RunResult",
    "draft_job",
    "plan_job",
    "rebuild_report",
    "run_job",
    "shipped_job",
    "summary_rows",
    "validate_job",
]
