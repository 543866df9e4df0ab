"""The records of the package's methods, and what they cost."""

from __future__ import annotations

from typing import Any

from ssl_dask.job_spec import JobSpec
from ssl_dask.method import JobShape, MethodCost
from ssl_dask.methods import METHODS
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod

GRAPH_CLASSIFIERS = {
    name: METHODS[name]
    for name in METHODS
    if METHODS[name].needs.startswith("graph")
    and METHODS[name].target == "classes"
    and not METHODS[name].runs_at_features
}
ROUND_METHODS = {
    name: method for name in METHODS if isinstance(method := METHODS[name], RoundsMethod)
}


def cost_of(spec: JobSpec, n_rows: int, n_features: int, n_classes: int, **more: Any) -> MethodCost:
    """Return what the method of a job costs on so many rows."""
    shape = JobShape(
        n_rows,
        n_features,
        n_classes,
        n_folds=spec.evaluation.folds,
        n_groups=len(spec.features),
        n_optional=sum(group.optional for group in spec.features.values()),
        **more,
    )
    return METHODS[spec.method.name].cost(spec.method, shape)
