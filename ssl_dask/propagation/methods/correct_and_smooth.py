"""Correct & Smooth: any classifier's probabilities, put right and smoothed along the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Float64, Floating
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import rows_in_blocks
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums
from ssl_dask.kernels.learners.supervised_model import SupervisedModel
from ssl_dask.kernels.propagation.sweep import Scores, row_degrees
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import (
    STOP_WORDS,
    Propagated,
    Solved,
    distributions,
    seeds_and_graph,
)
from ssl_dask.propagation.engine.recurrence import Recurrence, chebyshev_steps
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from ssl_dask.propagation.engine.solve_cost import sweeps_cost, sweeps_for
from ssl_dask.run_control import RunControl, retried
from ssl_dask.spec_model import SpecModel
from ssl_dask.supervised import SupervisedSpec, fit_supervised


class CorrectAndSmoothSpec(SpecModel):
    """Logistic regression on the seeds, corrected and smoothed over the graph (Huang et al. 2020).

    For rows whose columns and edges both say something.
    """

    name: Literal["correct_and_smooth"] = "correct_and_smooth"
    correct_alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """How far errors at the seeds are carried, above 0 and below 1."""
    smooth_alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """How far probabilities are carried, above 0 and below 1."""
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most sweeps of each of the two."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-4
    """Largest residual when they stop, relative to the largest source."""


def correct_and_smooth(
    inputs: MethodInputs, spec: CorrectAndSmoothSpec, control: RunControl
) -> Propagated:
    """Fit logistic regression on the seeds, correct it where it errs on them, and smooth it.

    The errors are those at seeds that the classifier had not seen: for each fold it is fitted anew
    without the fold, and once more without each other fold. For the rest see
    `correct_probabilities`. Every row has evidence: the classifier's.
    """
    graph, sources = seeds_and_graph(inputs)
    labels, X_seeds, classifier = inputs.labels, inputs.X_seeds, SupervisedSpec()
    if inputs.X is None or X_seeds is None:
        raise ValueError("this method needs features: X and X_seeds")

    def fitted(seen: Bool) -> SupervisedModel:
        weights = None if inputs.sample_weight is None else sources.weights[seen]
        return fit_supervised(
            X_seeds[seen], labels.codes[seen], labels.n_classes, classifier, weights
        )

    rows, at_seeds, not_converged = [], [], 0
    for out in sources.hidden:
        model = fitted(~out)
        not_converged += not model.converged
        rows.append(predict_proba_blocks(model, inputs.X))
        unseen = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
        for other in sources.hidden[1:]:
            seen = ~out & ~other
            if not (out & other).any() and seen.any():
                unseen[other] = fitted(seen).predict_proba(X_seeds[other])
        at_seeds.append(unseen)
    found = correct_probabilities(graph, sources, rows, np.stack(at_seeds), spec, control)
    return replace(found, folds_not_converged=not_converged)


def correct_probabilities(
    graph: BlockGraph,
    sources: SeedSources,
    probabilities: Sequence[da.Array | Float32],
    seed_probabilities: Floating,
    spec: CorrectAndSmoothSpec,
    control: RunControl,
) -> Propagated:
    """Correct: E = (1 - a) (I - a S)^-1 (Y - Z at the seeds); smooth Z + s E, seeds put back.

    1. Errors at the seeds are spread by S = D^-1/2 W D^-1/2, scaled at each row to the mean size of
       an error at a seed ("autoscale"), and added.
    2. F = (1 - a) (I - a S)^-1 G, G the corrected probabilities, at the seeds their labels.

    Parameters
    ----------
    graph, sources
        Graph of N rows; the seeds and the folds, with the weights of the errors in step 1.
    probabilities
        float32 (N, C) of all rows for all seeds, then for each fold without the seeds it hides.
    seed_probabilities
        (1 + folds, S, C): those of the seeds, each by a classifier that had seen neither the seed
        nor what the fold hides. Step 1 leaves out a seed whose row is zero.
    spec, control
        How far both are carried and when the solves end; where they run. No checkpoints.

    Raises
    ------
    ValueError
        The probabilities are not of the graph's rows, the seeds and the folds.
    ComputeError
        Workers were lost again and again, or lack memory.

    References
    ----------
    Q. Huang et al.: Combining Label Propagation and Simple Models Out-performs Graph Neural
    Networks, ICLR 2021, eq. 2 to 4.
    """
    execution = control.execution
    given = _checked_probabilities(graph, sources, probabilities, seed_probabilities)
    at_nodes = sources.at_nodes(graph, execution)
    residuals, size = _residuals(at_nodes, given)
    Z = _at_nodes(graph, probabilities, execution)
    correct = _spreading("correct", spec.correct_alpha, spec.tol)
    smooth = _spreading("smooth", spec.smooth_alpha, spec.tol)
    listened = RunControl(execution, on_round=control.on_round)

    def find() -> Propagated:
        solve = partial(session.solve, max_iter=spec.max_iter, tol=spec.tol, control=listened)
        errors = solve(correct, sources=residuals)
        G = _corrected_blocks(graph, Z, errors, size, at_nodes, execution)
        dense = DenseSources(G, sources.labels.n_classes, sources.n_groups)
        # Its sources are everywhere: no headroom is needed.
        solved = _both(errors, solve(smooth, dense=dense, scale=1.0))
        return distributions(graph, at_nodes, smooth, solved, execution)

    with PropagationSession(
        graph, execution, n_columns=sources.n_columns, losses=control.losses
    ) as session:
        return retried(find, control.losses)


def _corrected_blocks(
    graph: BlockGraph,
    Z: Sequence[Delayed],
    errors: Solved,
    size: Float64,
    at_nodes: NodeSources,
    execution: Execution,
) -> list[Delayed]:
    """Return the corrected probabilities, float32 (m_i, G * C), one a strip."""
    columns = [errors.blocks, graph.strips, Z, graph.node_starts]
    tasks = block_tasks(_corrected, columns, size, at_nodes, errors.scale)
    return execution.persist(tasks, TASK_LABEL)


def _both(errors: Solved, smoothed: Solved) -> Solved:
    """Return the smoothed scores with the sweeps of both solves."""
    return replace(
        smoothed,
        n_iter=errors.n_iter + smoothed.n_iter,
        records=[*errors.records, *smoothed.records],
        converged=errors.converged and smoothed.converged,
        reason=smoothed.reason if errors.converged else errors.reason,
    )


def _checked_probabilities(
    graph: BlockGraph,
    sources: SeedSources,
    probabilities: Sequence[da.Array | Float32],
    seed_probabilities: Floating,
) -> Float64:
    """Return the probabilities at the seeds, float64, if all are of the right shape."""
    labels = sources.labels
    wanted = (sources.n_groups, labels.n_seeds, labels.n_classes)
    given = np.asarray(seed_probabilities, dtype=np.float64)
    of_rows = [tuple(Z.shape) for Z in probabilities]
    if given.shape != wanted or of_rows != [(graph.n_rows, labels.n_classes)] * wanted[0]:
        raise ValueError(
            f"probabilities must be {wanted[0]} arrays of shape"
            f" {(graph.n_rows, labels.n_classes)} and seed_probabilities of shape {wanted}; got"
            f" {of_rows} and {given.shape}"
        )
    return given


def _spreading(name: str, alpha: float, tol: float) -> Recurrence:
    return Recurrence(
        name=f"correct_and_smooth: {name}",
        target=(alpha, 1.0 - alpha),
        steps=chebyshev_steps(alpha),
        settings={"alpha": alpha, "tol": tol},
    )


def _residuals(at_nodes: NodeSources, given: Float64) -> tuple[NodeSources, Float64]:
    """Return y - z at the nodes with seeds, and the mean of its absolute sums, float64 (G,)."""
    sources = at_nodes.sources
    n_groups, n_seeds, n_classes = given.shape
    truth = np.eye(n_classes)[sources.labels.codes]
    known = given.any(axis=2) & ~sources.hidden
    error = (truth[None] - given) * known[:, :, None]
    size = np.array(
        [
            np.abs(error[g, known[g]]).sum(axis=1).mean() if known[g].any() else 0.0
            for g in range(n_groups)
        ]
    )
    place = np.searchsorted(at_nodes.nodes, at_nodes.seed_nodes)
    weights = np.broadcast_to(sources.weights, (n_groups, n_seeds))
    sums = np.zeros(at_nodes.values.shape)
    counts = np.zeros(sums.shape[:2])
    for g in range(n_groups):
        np.add.at(sums[:, g], place, weights[g, :, None] * error[g])
        np.add.at(counts[:, g], place, known[g].astype(np.float64))
    values = sums / np.maximum(counts, 1.0)[:, :, None]
    return replace(at_nodes, values=values.astype(np.float32)), size


def _at_nodes(
    graph: BlockGraph, probabilities: Sequence[da.Array | Float32], execution: Execution
) -> list[Delayed]:
    """Return the probabilities of all groups side by side, float32 (m_i, G * C), one a strip."""
    groups = [rows_in_blocks(Z, graph.row_chunks, execution.place) for Z in probabilities]
    rows = execution.persist(block_tasks(_joined, groups), TASK_LABEL)
    return graph.at_nodes(rows, execution)


def _joined(*blocks: Float32) -> Float32:
    return np.concatenate(blocks, axis=1).astype(np.float32, copy=False)


def _corrected(
    block: Scores,
    strip: Any,
    Z: Float32,
    first: int,
    size: Float64,
    at_nodes: NodeSources,
    scale: float,
) -> Float32:
    """Return probabilities with their errors taken off, and seeds at their labels."""
    n_groups, n_classes = at_nodes.values.shape[1:]
    root = np.sqrt(row_degrees(strip.indptr, strip.data))
    E = (np.asarray(block, dtype=np.float64) * (root / scale)[:, None]).reshape(
        len(block), n_groups, n_classes
    )
    total = ordered_sums(np.abs(E))
    # The papers' code leaves rows alone whose error would be magnified a thousand times.
    factor = np.divide(size[None], total, where=total > 0.0, out=np.zeros_like(total))
    factor[factor > 1000.0] = 1.0
    G = np.maximum(Z.reshape(E.shape) + factor[:, :, None] * E, 0.0)
    low, high = np.searchsorted(at_nodes.nodes, [first, first + len(block)])
    node, group = np.nonzero(at_nodes.seen[low:high])
    labels = at_nodes.values[low + node, group].astype(np.float64)
    G[at_nodes.nodes[low + node] - first, group] = labels / ordered_sums(labels)[:, None]
    return G.reshape(len(block), -1).astype(np.float32)


def _cost(spec: CorrectAndSmoothSpec, shape: JobShape) -> MethodCost:
    sweeps = sweeps_for(spec.correct_alpha) + sweeps_for(spec.smooth_alpha)
    columns = shape.n_classes * (1 + shape.n_folds)
    return sweeps_cost(sweeps, columns, vectors=4, size=4, flops=shape.regression_flops)


METHOD = Method(
    CorrectAndSmoothSpec,
    correct_and_smooth,
    "graph and features",
    cost=_cost,
    runs_at_features=True,
    stop_words=STOP_WORDS,
)
