"""Modified adsorption (MAD): a dummy label takes the rows that walks from seeds hardly reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.distributions.label_distributions import normalise_rows, row_mass
from ssl_dask.kernels.propagation.random_walk_choice import neighbour_entropy, walk_choice
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs
from ssl_dask.propagation.engine.node_vectors import rows_at
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import (
    STOP_WORDS,
    Propagated,
    Solved,
    items_of,
    rows_of_blocks,
    seeds_and_graph,
    told_records,
)
from ssl_dask.propagation.engine.recurrence import Recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession, identity_of
from ssl_dask.propagation.engine.solve_cost import CONJUGATE_VECTORS, sweeps_cost
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import LastKept, RunControl, retried
from ssl_dask.spec_model import SpecModel

DUMMY_SHARE = 0.05
"""On digits and one to twenty labels a class, 0 to 5 % of the rows are then refused, and those are
wrong more often than others."""
SWEEPS = 60
"""About so many until labels rest."""


class ModifiedAdsorptionSpec(SpecModel):
    """Modified adsorption (Talukdar and Crammer 2009): refuses rows far from every seed."""

    name: Literal["modified_adsorption"] = "modified_adsorption"
    mu1: Annotated[float, Field(gt=0.0)] = 1.0
    """Weight of the seeds' labels."""
    mu2: Annotated[float, Field(gt=0.0)] = 1.0
    """Weight of the agreement of neighbours."""
    mu3: Annotated[float, Field(gt=0.0)] | None = None
    """Weight of the dummy label at each row: the larger, the nearer to a seed must a row be to get
    a label. Default: all rows together have a twentieth of the seeds' weight."""
    beta: Annotated[float, Field(gt=1.0)] = 2.0
    """How far labels go on through rows with many neighbours, above 1."""
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-4
    """Largest error of a score when it stops, relative to the largest source."""


def modified_adsorption(
    inputs: MethodInputs, spec: ModifiedAdsorptionSpec, control: RunControl
) -> Propagated:
    """Minimise sum_v mu1 i_v |Y_v - F_v|^2 + mu2 sum_vu c_v w_vu |F_v - F_u|^2 + mu3 |F_v - R_v|^2.

    F has one column more than there are classes, that of the dummy label. At each node a walk
    injects the node's own label (i_v, at seeds), goes on (c_v) or is abandoned (a_v), see
    `kernels.propagation.random_walk_choice`; R_v is a_v in the column of the dummy label. Nodes
    with many neighbours abandon more walks, so that hubs spread little. The system

        (mu1 i_v + mu3 + mu2 sum_u w'_vu) F_v = mu2 sum_u w'_vu F_u + mu1 i_v Y_v + mu3 R_v,
        w'_vu = (c_v + c_u) w_vu,

    is solved by conjugate gradients with the diagonal preconditioner, where the paper iterates. A
    row on which the dummy label outweighs every class has F = 0, but its mass is kept.

    The graph's weights are not scaled: twice the weights are twice `mu2`. As in the paper, a seed
    with one neighbour injects nothing. Y_v is multiplied by the seed's weight.

    Notes
    -----
    A label changes the weights around it, so each fold is a solve of its own, of C + 1 columns. A
    worker holds 8 bytes a node. Only the solve with all seeds has checkpoints: folds begin anew
    when the run is resumed. For errors see `session.propagate`.

    References
    ----------
    P. P. Talukdar, K. Crammer: New Regularized Algorithms for Transductive Learning, ECML PKDD
    2009, eq. 4 and algorithm 1.
    """
    graph, sources = seeds_and_graph(inputs)
    execution = control.execution
    at_nodes = sources.at_nodes(graph, execution)
    dummies = _dummy_weights(spec, sources, graph.n_nodes)
    weights = {"mu1": spec.mu1, "mu2": spec.mu2, "mu3": dummies[0], "beta": spec.beta}
    recurrence = Recurrence(
        name="modified_adsorption",
        target=(1.0, 1.0),
        steps=None,
        settings={**weights, "tol": spec.tol},
        powers=(1.0, 0.0),
        dtype="float64",
    )
    entropies = execution.persist(block_tasks(_entropy_of_strip, [graph.strips]), TASK_LABEL)
    first = told_records(control, _without_dummy)
    of_folds = RunControl(execution, losses=control.losses)
    identity = identity_of(graph, sources, recurrence)
    answers = []
    for group, mu3 in enumerate(dummies):
        walk_weights = (spec.mu1, spec.mu2, mu3, spec.beta)
        walked, blocks = _walked(graph, at_nodes, group, entropies, walk_weights)
        dense = DenseSources(execution.persist(blocks, TASK_LABEL), inputs.labels.n_classes + 1)
        of_group = (of_folds, {}) if group else (first, identity)
        answers.append(_solve(walked, recurrence, dense, spec, *of_group))
    return _joined_answers(graph, at_nodes, answers, execution)


def _joined_answers(
    graph: BlockGraph,
    at_nodes: NodeSources,
    answers: Sequence[tuple[Solved, list[Delayed]]],
    execution: Execution,
) -> Propagated:
    """Return the answer of all seeds, and the rows of the hidden seeds from those of the folds."""
    sources = at_nodes.sources
    solved, finished = answers[0]
    hidden_nodes = [at_nodes.seed_nodes[mask] for mask in sources.hidden[1:]]
    F_blocks, mass_blocks = items_of(finished, 2)
    F, mass, class_rows, n_empty = rows_of_blocks(
        graph, F_blocks, mass_blocks, sources.labels.n_classes, execution
    )
    everywhere = all(one.converged for one, _ in answers)
    return Propagated(
        F=F,
        mass=mass,
        fold_F=[
            rows_at(graph, items_of(blocks, 1)[0], nodes, execution).astype(np.float32)
            for (_, blocks), nodes in zip(answers[1:], hidden_nodes, strict=True)
        ],
        records=[_without_dummy(record) for record in solved.records],
        converged=everywhere,
        n_iter=solved.n_iter,
        reason=solved.reason if everywhere or not solved.converged else "max_iter",
        class_rows=class_rows,
        n_without_evidence=n_empty,
    )


def _dummy_weights(spec: ModifiedAdsorptionSpec, sources: SeedSources, n_nodes: int) -> list[float]:
    """Return the weight of the dummy label in each group.

    A weight that does not fall with N would in time outweigh any number of seeds.
    """
    if spec.mu3 is not None:
        return [spec.mu3] * sources.n_groups
    seen = [int(np.count_nonzero(~mask)) for mask in sources.hidden]
    return [DUMMY_SHARE * spec.mu1 * n / n_nodes for n in seen]


def _walked(
    graph: BlockGraph,
    at_nodes: NodeSources,
    group: int,
    entropies: Sequence[Delayed],
    weights: tuple[float, float, float, float],
) -> tuple[BlockGraph, list[Delayed]]:
    """Return the graph with weights mu2 w' and the ground, and the right-hand side of a group."""
    seeds = at_nodes.nodes[at_nodes.seen[:, group]]
    values = at_nodes.values[at_nodes.seen[:, group], group]
    whole = delayed(_joined, pure=False)(*entropies)
    cuts = np.searchsorted(seeds, [*graph.node_starts, graph.n_nodes])
    own = [slice(a, b) for a, b in pairwise(cuts)]
    places = [seeds[part] - first for part, first in zip(own, graph.node_starts, strict=True)]
    strips = block_tasks(_walked_strip, [graph.strips, graph.node_starts], whole, seeds, weights)
    columns = [entropies, places, [values[part] for part in own]]
    dense = block_tasks(_sources_of_strip, columns, weights)
    return replace(graph, strips=tuple(strips), alternatives={}), dense


def _solve(
    walked: BlockGraph,
    recurrence: Recurrence,
    dense: DenseSources,
    spec: ModifiedAdsorptionSpec,
    control: RunControl,
    identity: Mapping[str, Any],
) -> tuple[Solved, list[Delayed]]:
    """Solve the system of one group; blocks are (F, mass) of the strips."""
    execution = control.execution
    placed = replace(walked, strips=tuple(execution.persist(walked.strips, TASK_LABEL)))
    last = LastKept(control)

    def find() -> tuple[Solved, list[Delayed]]:
        solved = session.solve(
            recurrence,
            dense=dense,
            max_iter=spec.max_iter,
            tol=spec.tol,
            scale=1.0,
            identity=identity,
            control=last.control,
        )
        return solved, execution.persist(block_tasks(_finished, [solved.blocks]), TASK_LABEL)

    with PropagationSession(
        placed, execution, n_columns=dense.n_classes, conjugate=True, losses=control.losses
    ) as session:
        return retried(find, control.losses)


def _without_dummy(record: RoundRecord) -> RoundRecord:
    return replace(record, class_mass=record.class_mass[:-1])


def _entropy_of_strip(strip: sp.csr_array) -> Float64:
    return neighbour_entropy(strip.indptr, strip.data)


def _joined(*blocks: Float64) -> Float64:
    return np.concatenate(blocks)


def _walked_strip(
    strip: sp.csr_array,
    first: int,
    entropy: Float64,
    seeds: Int64,
    weights: tuple[float, float, float, float],
) -> sp.csr_array:
    """Return mu2 (c_v + c_u) w_vu, and in a last column the weight mu1 i_v + mu3 of the ground."""
    mu1, mu2, mu3, beta = weights
    labelled = np.zeros(len(entropy), dtype=np.bool_)
    labelled[seeds] = True
    choice = walk_choice(entropy, labelled, beta)
    m, n = strip.shape[0], len(entropy)
    row = np.repeat(np.arange(m), np.diff(strip.indptr))
    data = mu2 * (choice.go_on[first + row] + choice.go_on[strip.indices]) * strip.data
    ends = strip.indptr[1:]
    ground = mu1 * choice.inject[first : first + m] + mu3
    indices = np.insert(strip.indices, ends, np.int32(n))
    values = np.insert(data, ends, ground).astype(np.float32)
    indptr = strip.indptr + np.arange(m + 1, dtype=strip.indptr.dtype)
    return sp.csr_array((values, indices, indptr), shape=(m, n + 1))


def _sources_of_strip(
    entropy: Float64, positions: Int64, values: Float32, weights: tuple[float, float, float, float]
) -> Float32:
    """Return mu1 i_v Y_v + mu3 R_v, float32 (m, C + 1)."""
    mu1, _, mu3, beta = weights
    labelled = np.zeros(len(entropy), dtype=np.bool_)
    labelled[positions] = True
    choice = walk_choice(entropy, labelled, beta)
    dense = np.zeros((len(entropy), values.shape[1] + 1), dtype=np.float32)
    dense[positions, :-1] = mu1 * choice.inject[positions, None] * values
    dense[:, -1] = mu3 * choice.abandon
    return dense


def _finished(scores: Scores) -> tuple[Float32, Float64]:
    """Return F, 0 where the dummy label is not outweighed, and the mass of the classes."""
    classes = scores[:, :-1]
    F = normalise_rows(classes)
    F[classes.max(axis=1) <= scores[:, -1]] = 0.0
    return F, row_mass(classes)


def _cost(spec: ModifiedAdsorptionSpec, shape: JobShape) -> MethodCost:
    # Each fold is a solve of its own, one after the other.
    return sweeps_cost(
        SWEEPS * (1 + shape.n_folds),
        shape.n_classes + 1,
        vectors=CONJUGATE_VECTORS + 1,
        size=8,
        fixed=8 * shape.n_rows,
    )


METHOD = Method(
    ModifiedAdsorptionSpec,
    modified_adsorption,
    "graph",
    cost=_cost,
    fallbacks=lambda spec: (("label_propagation", {"class_mass": "seeds"}), ("poisson", {})),
    no_evidence="dummy_label",
    stop_words=STOP_WORDS,
)
