"""The default: an ensemble of methods over one graph, weighed by seeds that it had not seen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
from pydantic import AfterValidator

from ssl_dask.array_types import Bool
from ssl_dask.dask_arrays import row_handles
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.kernels.learners.supervised_model import SupervisedModel
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, graph_of, rows_of_blocks
from ssl_dask.propagation.engine.solve_cost import sweeps_cost
from ssl_dask.propagation.ensemble.ensemble_run import EnsembleRun, SeedClassifier
from ssl_dask.propagation.ensemble.ensemble_state import run_steps
from ssl_dask.propagation.ensemble.mixing_weights import FEWEST_SEEDS, stacking_folds
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel

SWEEPS, VECTORS = 150, 8
"""About what it takes, see the notes of `graph_ensemble`."""
STEEP_WEIGHTS = "steep_gaussian"
ENSEMBLE_WEIGHTS = ("gaussian", STEEP_WEIGHTS)
"""The weights that the ensemble wants of one neighbour search."""


def _resolved(name: str) -> str:
    """Replace `auto` by the method that it selects, so that the stored job names that method."""
    return "graph_ensemble" if name == "auto" else name


class GraphEnsembleSpec(SpecModel):
    """Several methods over one graph, and logistic regression, weighed on hidden seeds."""

    name: Annotated[Literal["graph_ensemble", "auto"], AfterValidator(_resolved)] = "graph_ensemble"
    classifier: Literal["logistic_regression", "none"] = "logistic_regression"
    """Member beside the graph's, from 3 seeds a class on; it needs features."""


def graph_ensemble(
    inputs: MethodInputs, spec: GraphEnsembleSpec, control: RunControl
) -> Propagated:
    """Label by a mixture of balanced spreading, near and far, and a classifier of the seeds.

    1. Members: balanced spreading with alpha 0.99 and 0.9 over the graph's weights, with 0.99 over
       its `alternatives["steep_gaussian"]` if it has them, the classifier, and its probabilities
       smoothed over the graph (Huang et al. 2020, the second half). Their answers are brought to
       one scale: log shares of the classes, less their mean, divided by their standard deviation.
    2. Mixture: one weight a member, fitted on seeds that were hidden from it (Wolpert 1992). Below
       3 seeds a class: the two far ones, and classes have mass by the root of their seeds.
    3. Second pass: every row is a source of its probabilities, all classes with equal mass, in
       rounds. Its weight is fitted likewise, and it goes over the weights that the hidden seeds
       prefer. Below 3 seeds a class its weight is 8 / (seeds a class), it is the mean of passes
       over both weights, and there are two candidates: classes as they come, and moved to equal
       numbers of rows. The one is taken whose labels cut less of the graph.

    The classifier is logistic regression over the features, if there are any. A seed of weight w
    counts w times within its class. Weights are fitted on the folds that hide seeds; those of a
    fold's seeds are fitted without them. If there are none, the method makes its own folds; they
    are not reported.

    Returns
    -------
    Propagated
        Rows without a path to a seed have F = 0, whatever the classifier predicts.

    Raises
    ------
    QualityError
        There is no seed, or a fold hides them all.
    ComputeError, ResumeMismatchError
        See `session.propagate`. Checkpoints are stored between two steps.

    Notes
    -----
    With K = C (1 + folds) columns: 38 + 38 + 12 + 12 sweeps for the members (the first until every
    row is reached) and 50 for the second pass. Below 3 seeds a class: 76 of K, two times 80 of 2 C,
    1 of 2 C and, where there are folds, two times 80 of K - C. Memory on the workers: up to 8
    vectors of 4 N K bytes.

    References
    ----------
    D. H. Wolpert: Stacked Generalization, Neural Networks 5, 1992. Q. Huang, H. He, A. Singh,
    S.-N. Lim, A. Benson: Combining Label Propagation and Simple Models Out-performs Graph Neural
    Networks, ICLR 2021. J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning, ICML 2020
    (balanced sources, volume constraints).
    """
    classifier = None
    if spec.classifier != "none" and inputs.X is not None:
        classifier = logistic_regression(inputs, control.execution)
    return mix_on_graph(inputs, classifier, control)


def mix_on_graph(
    inputs: MethodInputs, classifier: SeedClassifier | None, control: RunControl
) -> Propagated:
    """Run `graph_ensemble` with a classifier of the seeds, or without one."""
    graph, labels = graph_of(inputs), inputs.labels
    enough = labels.n_seeds >= FEWEST_SEEDS * np.count_nonzero(labels.class_counts())
    folds = list(inputs.hidden)
    if enough and len(folds) < 2:
        folds = stacking_folds(labels)
    fitted = bool(enough and len(folds) >= 2)
    steep = graph.weighted(STEEP_WEIGHTS) if STEEP_WEIGHTS in graph.alternatives else None
    run = EnsembleRun(
        graph,
        steep,
        labels,
        folds,
        fitted=fitted,
        classifier=classifier,
        sample_weight=inputs.sample_weight,
        control=control,
    )
    identity = {
        "method": "graph_ensemble",
        "n_rows": graph.n_rows,
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges,
        "steep": steep is not None,
        "fitted": fitted,
        "classifier": classifier is not None,
        "seeds": run.sources.digest(),
    }
    try:
        state = run_steps(run.steps(), identity, graph.node_chunks, control)
        blocks, hidden_F = run.answer(state)
    finally:
        run.close()
    F, mass, class_rows, n_empty = rows_of_blocks(
        graph, blocks, state.vectors["mass"], labels.n_classes, control.execution
    )
    return Propagated(
        F=F,
        mass=mass,
        fold_F=[hidden_F[mask] for mask in inputs.hidden],
        records=state.records,
        converged=bool(state.numbers["converged"]),
        n_iter=state.n_iter,
        reason="converged" if state.numbers["converged"] else "max_iter",
        class_rows=class_rows,
        n_without_evidence=n_empty,
        details=_details(state.numbers),
    )


def _details(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return what a report has about the mixture, in JSON types."""
    return {
        "weights": numbers["weights"],
        "second_pass": numbers["second_pass"][0],
        "balanced": numbers.get("balanced", False),
        "cuts": numbers.get("cuts"),
    }


def logistic_regression(inputs: MethodInputs, execution: Execution) -> SeedClassifier:
    """Return logistic regression over the features as the classifier of an ensemble.

    Parameters
    ----------
    inputs
        Its labels, X and X_seeds.
    execution
        Where the answers are wanted; X may lie elsewhere.
    """
    labels, X_seeds = inputs.labels, inputs.X_seeds
    elsewhere = inputs.X_execution
    assert inputs.X is not None
    X: da.Array = inputs.X

    def score(seen: Bool) -> da.Array:
        codes = labels.codes[seen]
        # Classes keep the shares that they have among all seeds. A fold that hides one seed more of
        # a class would else speak against that class, when it is judged by those that it hides.
        left = np.bincount(codes, minlength=labels.n_classes)
        weights = labels.class_counts()[codes] / left[codes]
        model = SupervisedModel(labels.n_classes).fit(X_seeds[seen], codes, weights)
        rows = predict_proba_blocks(model, X)
        if elsewhere is None or elsewhere is execution:
            return rows
        found = elsewhere.compute(row_handles(rows), "classifier")
        return da.concatenate([da.from_array(values) for values in found])

    return score


def _cost(spec: GraphEnsembleSpec, shape: JobShape) -> MethodCost:
    columns = shape.n_classes * (1 + shape.n_folds)
    flops = shape.regression_flops if spec.classifier != "none" else 0.0
    return sweeps_cost(SWEEPS, columns, vectors=VECTORS, size=4, flops=flops)


METHOD = Method(
    GraphEnsembleSpec,
    graph_ensemble,
    "graph and features",
    cost=_cost,
    fallbacks=lambda spec: (("label_propagation", {"class_mass": "seeds"}), ("poisson", {})),
    more_weights=(STEEP_WEIGHTS,),
    stop_words=STOP_WORDS,
)
