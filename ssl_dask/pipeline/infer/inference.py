"""Steps 3 and 4: features -> graph -> what the job's method finds for each row.

One way for all methods: `Method.needs` names what a method is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from ssl_dask.array_types import Float64, Int64
from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.evaluation.given_shares import ranges_of_rest, share_ranges
from ssl_dask.execution import Execution
from ssl_dask.features.views import FeatureView, join, present_arrays
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.graph_summary import graph_summary, seed_agreement
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.distributions.class_shares import stated_shares
from ssl_dask.kernels.distributions.weighted_figures import (
    class_accuracy,
    class_figure,
    largest_class_figure,
)
from ssl_dask.labels import Labels
from ssl_dask.method import Method, MethodInputs, MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.infer.job_graph import job_graph
from ssl_dask.pipeline.infer.row_sample import RowSample, fetch_seeds_and_sample
from ssl_dask.pipeline.infer.saved_state import choose_executor, solve_and_store
from ssl_dask.pipeline.infer.seed_reach import seed_reach
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.propagation.fallback.class_collapse import Collapse
from ssl_dask.propagation.fallback.run_with_fallback import (
    HiddenJudge,
    collapse_sentences,
    method_words,
    run_with_fallback,
)
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel

ONE_VIEW = "X"


@dataclass(frozen=True)
class Inferred:
    """What step 4 found.

    Parameters
    ----------
    found
        What the method found.
    spec
        The method that labelled, with its parameters: the job's, or another where its classes had
        collapsed and hidden seeds do not call that one worse.
    F
        `found.F`, chunked as the row layout.
    hidden_F
        Each seed's row of F while it was hidden: float32 (S, C), zeros for seeds never hidden; or
        float64 (S,), NaN for them.
    rows
        The features of all rows, and those of the few rows that are on the client.
    has_seed
        Per block of the layout, bool (n_i,): whether a path leads to a seed; None where the method
        labels rows without one.
    graph
        What the report says of the graph; empty without one.
    unseeded
        Row of the smallest tag of a component without seeds -> its rows; the largest ones.
    warnings
        What a person should know, a sentence each.
    baseline
        Name of the supervised baseline whose answer this is, in the method's place; None: it is the
        method's own.
    """

    found: MethodResult
    spec: SpecModel
    F: da.Array
    hidden_F: npt.NDArray[Any]
    rows: RowSample
    has_seed: list[Delayed] | None = None
    graph: Mapping[str, Any] = field(default_factory=dict)
    unseeded: Mapping[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    baseline: str | None = None

    @property
    def method(self) -> Method:
        """The record of the method that labelled."""
        return METHODS[_name(self.spec)]


def infer(run: RunContext, labels: Labels, folds: HiddenSeeds, sampled: Int64) -> Inferred:
    """Run the job's method, with each fold's seeds hidden.

    Parameters
    ----------
    run
        The run.
    labels
        The seeds; of numbers the classes are the distinct ones.
    folds
        Which seeds are hidden together.
    sampled
        int64, sorted: rows whose features the report's picture wants.

    Raises
    ------
    QualityError
        Classes have collapsed, and the job does not take that; or a learner cannot be fitted.
    ComputeError
        Workers were lost or ran out of memory.
    """
    method, execution = run.method, run.execution
    X, views, present = _method_features(run)
    rows = fetch_seeds_and_sample(X, labels.rows, sampled, execution)
    inputs = MethodInputs(
        labels,
        hidden=folds.masks,
        X=X if "features" in method.needs else None,
        X_seeds=rows.seeds,
        X_execution=execution,
        views=views,
        present=present,
        tags=_tags(run),
        trusted=run.trust_modules,
    )
    if method.needs in ("graph", "graph and features"):
        return _infer_on_graph(run, inputs, folds, rows)
    run.clock.stage(method.stage)
    found = _solve(run, method, run.spec.method, inputs, execution)
    return _inferred(run, found, run.spec.method, folds, inputs, rows)


def _tags(run: RunContext) -> da.Array | None:
    """Return the tags of the rows; rounds read them again and again."""
    tags = run.tags()
    if tags is None:
        return None
    if run.method.needs == "rounds":
        tags = run.execution.persist(tags, "tags")
    return array_of_blocks(tags, run.data.layout.row_chunks, (), np.int64)


def method_views(
    spec: JobSpec, views: Mapping[str, FeatureView], joined: FeatureView
) -> tuple[dict[str, da.Array], dict[str, da.Array]]:
    """Return what a method of rounds is given of the features, and which rows have which of it.

    Parameters
    ----------
    spec
        The job.
    views, joined
        The groups of features, and all of them side by side.
    """
    method = METHODS[spec.method.name]
    if not method.named_views:
        return {ONE_VIEW: joined.X}, {}
    present = present_arrays(views) if method.knows_present else {}
    return {name: view.X for name, view in views.items()}, present


def _method_features(run: RunContext) -> tuple[da.Array, dict[str, da.Array], dict[str, da.Array]]:
    """Return X, and the views of rounds, as far as the method wants it kept on the workers."""
    method, execution = run.method, run.execution
    if method.needs != "rounds":
        return (run.view.persist(execution, "describe") if method.keeps_X else run.view).X, {}, {}
    held = {name: view.persist(execution, "describe") for name, view in run.views.items()}
    joined = join(held, run.spec.group_weights)
    if len(held) > 1 and not method.named_views:
        joined = joined.persist(execution, "describe")
    return joined.X, *method_views(run.spec, held, joined)


def _infer_on_graph(
    run: RunContext, inputs: MethodInputs, folds: HiddenSeeds, rows: RowSample
) -> Inferred:
    method, execution, labels = run.method, run.execution, inputs.labels
    run.clock.stage("graph")
    graph = job_graph(run, rows.X)
    components = graph.components(execution)
    summary = {**graph.settings, **graph_summary(graph, execution, components)}
    # They stand beside the counts already.
    del summary["settings"]
    if not summary.get("notes"):
        summary.pop("notes", None)
    run.clock.stage(method.stage)
    found, spec, warnings = _run_or_switch(run, inputs, graph, folds)
    inferred = _inferred(run, found, spec, folds, inputs, rows)
    if found.notes:
        summary["notes"] = [*summary.get("notes", []), *found.notes]
    inferred = replace(inferred, graph=summary, warnings=(*warnings, *inferred.warnings))
    if method.runs_at_features or method.target == "numbers":
        return inferred
    order = graph.order
    nodes = labels.rows if order is None else order.nodes_of(labels.rows, execution)
    reached, n_without, unseeded = seed_reach(
        components, order, nodes, run.data.layout.row_chunks, execution, run.tags()
    )
    pairs, alike = seed_agreement(graph, nodes, labels.codes, execution)
    summary |= {
        "rows_without_path_to_seed": n_without,
        "edges_between_seeds": pairs,
        "edges_between_seeds_of_one_class": alike,
    }
    return replace(inferred, has_seed=reached, graph=summary, unseeded=unseeded)


def _run_or_switch(
    run: RunContext, inputs: MethodInputs, graph: BlockGraph, folds: HiddenSeeds
) -> tuple[MethodResult, SpecModel, tuple[str, ...]]:
    """Run the method on its graph, and others beside it where its classes collapse.

    A collapse that most hidden seeds of the classes contradict is none: they are rare. Of all that
    were tried, hidden seeds choose the answer.
    """
    method, spec, labels = run.method, run.spec.method, inputs.labels
    if method.runs_at_features:
        here = replace(inputs, graph=graph)
        return _solve(run, method, spec, here, run.execution), spec, ()
    groups = 1 + folds.n_folds
    n_columns = groups if method.target == "numbers" else labels.n_classes * groups
    near, where = choose_executor(graph, n_columns, run.execution, run.clock)
    on_graph = replace(inputs, graph=near)
    if method.target == "numbers":
        return _solve(run, method, spec, on_graph, where), spec, ()

    def solve(method: Method, spec: SpecModel, number: int) -> Any:
        given = on_graph if "features" in method.needs else replace(on_graph, X=None)
        return _solve(run, method, spec, given, where, number)

    answer = run_with_fallback(spec, labels, solve, **_collapse_rules(run, labels, folds))
    return answer.found, answer.spec, collapse_sentences(answer)


def _collapse_rules(run: RunContext, labels: Labels, folds: HiddenSeeds) -> dict[str, Any]:
    """Return what is done where classes collapse, and how answers are judged: keywords."""
    was_hidden = folds.fold >= 0
    truth, shares = labels.codes[was_hidden], _known_shares(run, labels)

    def judge(collapse: Collapse, found: MethodResult) -> Collapse:
        return collapse.judged(labels, folds.masks, _hidden_F(found, folds, labels, run.method))

    def figures(method: Method, spec: SpecModel, found: MethodResult) -> tuple[float, float] | None:
        if not len(truth):
            return None
        F = _hidden_F(found, folds, labels, run.method)
        hidden = F[was_hidden], truth, shares
        return class_figure(*hidden), class_accuracy(*hidden)

    def tell(spec: SpecModel, collapse: Collapse) -> None:
        name = method_words(spec)
        run.clock.event(
            "classes_collapsed",
            level="warning",
            method=name,
            message=f"{name}: {collapse.sentence()}: they have collapsed into the others",
        )

    chance = largest_class_figure(truth, shares) if len(truth) else 0.0
    policy = run.spec.decision.on_collapse
    cure = "switch" if policy == "error" else "warn writes the labels as they are"
    return {
        "policy": policy,
        "shares": shares,
        "judge": HiddenJudge(judge, figures, chance),
        "on_collapse": tell,
        "hint": "label more rows of the classes that are gone, or take other features; or"
        f" decision.on_collapse: {cure}",
    }


def _known_shares(run: RunContext, labels: Labels) -> Float64:
    """Return the shares among the rows, float64 (C,), as the job gives them, or the seeds have."""
    given = run.spec.input.class_shares
    if not isinstance(given, Mapping):
        return labels.class_counts() / labels.n_seeds
    counts = labels.class_counts()
    return stated_shares(*ranges_of_rest(share_ranges(given, labels), counts, labels.n_rows)).values


def _solve(
    run: RunContext,
    method: Method,
    spec: SpecModel,
    inputs: MethodInputs,
    where: Execution,
    number: int = 0,
) -> MethodResult:
    """Run one method; `number` 0 is the job's: each that is tried has checkpoints of its own."""
    state = "rounds" if method.needs == "rounds" else "propagation"
    return solve_and_store(
        partial(method.run, inputs, spec),
        RunControl(where, on_round=run.clock.round),
        f"{state}_{method.name}" if number else state,
        run.checkpoints,
        run.clock,
    )


def _inferred(
    run: RunContext,
    found: MethodResult,
    spec: SpecModel,
    folds: HiddenSeeds,
    inputs: MethodInputs,
    rows: RowSample,
) -> Inferred:
    return Inferred(
        found,
        spec,
        F=found.F.rechunk({0: tuple(run.data.layout.row_chunks)}),
        hidden_F=_hidden_F(found, folds, inputs.labels, run.method),
        rows=rows,
        warnings=found.warnings,
    )


def _hidden_F(
    found: MethodResult, folds: HiddenSeeds, labels: Labels, method: Method
) -> npt.NDArray[Any]:
    if method.target == "numbers":
        return folds.gathered(found.fold_F, np.full(labels.n_seeds, np.nan))
    empty = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    return folds.gathered(found.fold_F, empty)


def _name(spec: SpecModel) -> str:
    return str(spec.model_dump()["name"])
