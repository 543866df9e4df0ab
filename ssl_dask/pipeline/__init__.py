"""From a resolved job to a committed run: the only place that composes the rooms of the package.

The names below are loaded when they are first used: a worker that unpickles a task of one module
need not import the drawing of reports, nor `ssl-dask plan` what only a run needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_dask.pipeline.draft import draft_job as draft_job
    from ssl_dask.pipeline.draft import write_draft as write_draft
    from ssl_dask.pipeline.graph_job import graph_rows as graph_rows
    from ssl_dask.pipeline.graph_job import store_graph as store_graph
    from ssl_dask.pipeline.plan import plan_job as plan_job
    from ssl_dask.pipeline.predict import predict_rows as predict_rows
    from ssl_dask.pipeline.predict import prediction_rows as prediction_rows
    from ssl_dask.pipeline.reporting import summary_rows as summary_rows
    from ssl_dask.pipeline.run import RunResult as RunResult
    from ssl_dask.pipeline.run import run_job as run_job
    from ssl_dask.pipeline.saved_runs import rebuild_report as rebuild_report
    from ssl_dask.pipeline.saved_runs import shipped_job as shipped_job
    from ssl_dask.pipeline.validation import validate_job as validate_job

_HOMES = {
    "RunResult": "run",
    "draft_job": "draft",
    "plan_job": "plan",
    "predict_rows": "predict",
    "prediction_rows": "predict",
    "rebuild_report": "saved_runs",
    "graph_rows": "graph_job",
    "run_job": "run",
    "store_graph": "graph_job",
    "shipped_job": "saved_runs",
    "summary_rows": "reporting",
    "validate_job": "validation",
    "write_draft": "draft",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
