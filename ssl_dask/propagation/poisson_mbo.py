"""Poisson-MBO: Poisson learning whose labels are sharpened in rounds, with given class shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed
from distributed import Client
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.kernels.walk_sweep import Scores
from ssl_dask.labels import Labels
from ssl_dask.propagation.class_shares import ClassShares, expected_shares
from ssl_dask.propagation.engine import (
    CHECKPOINT_SECONDS,
    MAX_ATTEMPTS,
    Checkpoint,
    OnRound,
    Propagated,
    PropagationSession,
    Recurrence,
    Resume,
    distributions,
    identity_of,
)
from ssl_dask.propagation.graph_classifier import GraphClassifier
from ssl_dask.propagation.parts import WHAT, WorkersChangedError
from ssl_dask.propagation.poisson import (
    centred_sources,
    poisson_recurrence,
    signed_to_distributions,
)
from ssl_dask.propagation.prior_projection import project_blocks
from ssl_dask.propagation.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.seeded_components import SeededComponents
from ssl_dask.propagation.solver import Solved
from ssl_dask.spec_model import SpecModel

N_STEPS = 40
"""Steps of diffusion a round."""
STEP = 0.5
"""Their length: at 1 a graph with two sides would swing between them."""


class PoissonMBOSpec(SpecModel):
    """Poisson-MBO (Calder et al. 2020): for few labels a class where the classes' shares are known.

    Costs 800 sweeps more than `poisson`.
    """

    name: Literal["poisson_mbo"] = "poisson_mbo"
    class_shares: ClassShares = "none"
    """Hold the answer to these shares of the classes: none; seeds: as among the seeds; or
    {class: share}. Wrong shares hurt."""
    n_rounds: Annotated[int, Field(ge=1)] = 20
    """Rounds of diffusion and decision."""
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps of the Poisson learning that it begins with."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error of a score there, relative to the largest source."""


def poisson_mbo(
    graph: BlockGraph,
    labels: Labels,
    *,
    class_shares: Any = "none",
    n_rounds: int = 20,
    max_iter: int = 10_000,
    tol: float = 1e-3,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Decide by Poisson learning; then again and again: diffuse the decision, decide anew.

    A round is 40 steps u <- u - (1/2) D^-1 (L u - b) from u = 1 at each row's class, b the sources
    of `poisson`, then the classes with `class_shares`. The paper's steps are u - (L u - b) / max d,
    which a single hub makes slow; here each row has a step of its own degree, which descends the
    same energy.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    class_shares
        "none"; "seeds"; or {class: share}: see `prior_projection`.
    n_rounds
        Rounds; 40 sweeps each.
    sample_weight
        (S,): weight > 0 of each seed, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        Of the Poisson learning, see `engine.propagate`. Rounds are not checkpointed: when workers
        are lost in them, or the run is killed, they begin anew.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds have.

    References
    ----------
    J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning: Graph Based Semi-Supervised
    Learning at Very Low Label Rates, ICML 2020, algorithm 2.
    """
    if labels.n_rows != graph.n_rows:
        raise ValueError(f"labels of {labels.n_rows} rows, a graph of {graph.n_rows}")
    execution = execution or Execution()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    shares = expected_shares(class_shares, labels, sources.hidden)
    at_nodes = sources.at_nodes(graph, execution)
    components = SeededComponents.find(graph, at_nodes, execution)
    centred = centred_sources(at_nodes, components)
    first = poisson_recurrence("poisson_mbo", tol)

    def decided(blocks: list[Delayed]) -> list[Delayed]:
        F = signed_to_distributions(at_nodes, blocks, components, graph, execution)
        return F if shares is None else project_blocks(graph, F, shares, execution)

    with PropagationSession(graph, execution, n_columns=sources.n_columns) as session:
        for attempt in range(MAX_ATTEMPTS + 1):
            try:
                solved = session.solve(
                    first,
                    sources=centred,
                    max_iter=max_iter,
                    tol=tol,
                    identity=identity_of(graph, sources, first),
                    on_round=on_round,
                    checkpoint=checkpoint,
                    checkpoint_seconds=checkpoint_seconds,
                    resume=resume,
                )
                blocks = solved.blocks
                for _ in range(n_rounds):
                    blocks = _diffused(session, centred, decided(blocks), execution).blocks
                solved = replace(
                    solved,
                    blocks=decided(blocks),
                    scale=1.0,
                    n_iter=solved.n_iter + n_rounds * N_STEPS,
                )
                return distributions(graph, at_nodes, first, solved, execution)
            except WorkersChangedError:
                if attempt == MAX_ATTEMPTS:
                    raise
    raise AssertionError("unreachable")


def _diffused(
    session: PropagationSession, centred: NodeSources, F: list[Delayed], execution: Execution
) -> Solved:
    """Return what becomes of the most likely classes of F in a round."""
    sources = centred.sources
    one_hot = delayed(_most_likely, pure=False)
    labels = execution.persist([one_hot(block, sources.labels.n_classes) for block in F], WHAT)
    diffusion = Recurrence(
        name="poisson_mbo",
        target=(1.0, 1.0),
        steps=lambda _: (STEP, 1.0 - STEP, 0.0, STEP),
        settings={},
        powers=(1.0, 0.0),
        dtype="float64",
    )
    # Begins with the labels, not with a multiple of the sources.
    begun: dict[str, Any] = {"stop_rule": None, "records": [], "scalars": None}
    return session.solve(
        diffusion,
        sources=centred,
        max_iter=N_STEPS,
        tol=None,
        scale=1.0,
        resume=(0, [labels, labels], {"method": diffusion.name, **begun}),
    )


class PoissonMBO(GraphClassifier):
    """Poisson-MBO (Calder et al. 2020) as a scikit-learn classifier.

    Parameters
    ----------
    kernel, n_neighbors, metric, weights, symmetrize, gamma, client
        As in `LabelSpreading`.
    class_shares
        "none", "seeds" or {class: share}: shares of the classes that the answer is held to.
    n_rounds
        Rounds of diffusion and decision.
    max_iter, tol
        Of the Poisson learning that it begins with.

    Notes
    -----
    Attributes, and what holds for parameters that the kernel does not use: as `LabelSpreading`.
    """

    method_parameters = ("class_shares", "n_rounds", "max_iter", "tol")
    method_spec = PoissonMBOSpec
    method_run = staticmethod(poisson_mbo)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        class_shares: Any = "none",
        n_rounds: int = 20,
        max_iter: int = 10_000,
        tol: float = 1e-3,
        client: Client | None = None,
    ) -> None:
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.gamma = gamma
        self.class_shares = class_shares
        self.n_rounds = n_rounds
        self.max_iter = max_iter
        self.tol = tol
        self.client = client


def _most_likely(F: Scores, n_classes: int) -> Scores:
    """Return 1 at the most likely class of each group, the first of equals; 0 without evidence."""
    groups = np.asarray(F).reshape(len(F), -1, n_classes)
    one_hot = np.eye(n_classes)[groups.argmax(axis=2)]
    one_hot[~groups.any(axis=2)] = 0.0
    return one_hot.reshape(F.shape)
