"""What reports of classes and of numbers share: the frame, the method, the picture, words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.cluster import versions
from ssl_dask.evaluation.metrics import Interval
from ssl_dask.features.views import FeatureView
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.infer.row_sample import RowSample
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.report.picture import project_2d
from ssl_dask.report.run_report import (
    FeatureSummary,
    InputSummary,
    MethodSummary,
    OutputSummary,
    SelfLabeledSummary,
    StageTime,
)
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled

FEWEST_PICTURED = 3


def common_fields(run: RunContext, graph: Mapping[str, Any], n_parts: int) -> dict[str, Any]:
    """Return the fields that a report has whatever its labels are.

    Parameters
    ----------
    graph
        What is said of the graph; empty: there is none.
    n_parts
        Parts of the labels.
    """
    spec, data, dataset = run.spec, run.data, run.inputs.dataset
    stages = run.clock.seconds()
    return {
        "job_name": spec.name,
        "run_id": run.output.run_id,
        "started": run.clock.started,
        "seconds": run.clock.total(),
        "stages": tuple(StageTime(name=name, seconds=value) for name, value in stages.items()),
        "job": spec.model_dump(mode="json", exclude_none=True),
        "versions": {**versions(), **run.inputs.table_versions},
        "input": InputSummary(
            path=dataset.path,
            files=len(dataset.files),
            rows=data.layout.n_rows,
            columns=len(dataset.columns),
            size=dataset.size,
            notes=tuple(data.notes),
        ),
        "features": tuple(_feature_summary(view, spec) for view in run.views.values()),
        "graph": dict(graph) or None,
        "output": OutputSummary(path=str(run.run_path), parts=n_parts, rows=data.layout.n_rows),
    }


def _feature_summary(view: FeatureView, spec: JobSpec) -> FeatureSummary:
    return FeatureSummary(
        name=view.name,
        kind=spec.features[view.name].kind,
        n_features=view.X.shape[1],
        sparse=view.sparse,
        notes=tuple(view.notes),
    )


def method_summary(run: RunContext, inferred: Inferred) -> MethodSummary:
    """Return how labels were inferred, by the method that labelled."""
    found, asked_for = inferred.found, run.spec.method.name
    if inferred.baseline is not None:
        stopped = "fitted to the seeds alone"
        name = inferred.baseline
        return MethodSummary(
            name=name, parameters={}, asked_for=asked_for, converged=None, stopped=stopped
        )
    parameters = inferred.spec.model_dump()
    name = parameters.pop("name")
    rounds = None
    if isinstance(found, SelfLabeled):
        rounds = SelfLabeledSummary(
            kept_round=found.kept_round,
            baseline_accuracy=found.baseline_accuracy,
            baseline_loss=found.baseline_loss,
        )
    return MethodSummary(
        name=name,
        parameters=parameters,
        asked_for=asked_for if inferred.spec is not run.spec.method else None,
        # Rounds of self-labelling have nothing to converge to.
        converged=found.converged if found.records and rounds is None else None,
        stopped=inferred.method.stop_words[found.reason],
        rounds=tuple(found.records),
        self_labeled=rounds,
    )


def picture_fields(rows: RowSample, seeds: Int64) -> dict[str, Any] | None:
    """Return where the sampled rows are drawn, and which are seeds; None where they are too few."""
    if len(rows.sampled) < FEWEST_PICTURED:
        return None
    return {
        "points": tuple((float(x), float(y)) for x, y in project_2d(rows.sample)),
        "seeds": tuple(np.isin(rows.sampled, seeds).tolist()),
    }


def graph_warnings(graph: Mapping[str, Any], n_rows: int) -> list[str]:
    """Return warnings where the graph depends on ids or row numbers, or leaves values out."""
    found = [
        f"{about['dropped']:,} values of {name!r} were left out of the graph: too many rows share"
        f" them, up to {about['largest']:,} of {n_rows:,}."
        for part in (graph, *graph.get("parts", ()))
        for name, about in part.get("entities", {}).items()
        if about["dropped"]
    ]
    if copies := graph.get("n_among_copies", 0):
        found.append(
            f"{copies:,} of {n_rows:,} rows have as many others at distance 0 as neighbours, or"
            " more (rows that point the same way): the graph joins them with some of these only, by"
            " their ids or row numbers, and their labels depend on that. Add a feature that tells"
            " them apart, or take metric euclidean."
        )
    return found


def abstained_words(n_without: int, reasons: Mapping[str, int]) -> str:
    """Return how many rows got no label, and why, in a line."""
    if not n_without:
        return "0"
    words = ", ".join(f"{name} {count:,}" for name, count in reasons.items())
    return f"{n_without:,} ({words})"


def share_words(interval: Interval) -> str:
    """Return a share with its interval, in a line."""
    if interval.value is None:
        return "unknown"
    return (
        f"{interval.value:.4f}  [{interval.low:.3f}, {interval.high:.3f}]"
        f" at {interval.confidence:.0%}, {interval.n:,} rows"
    )
