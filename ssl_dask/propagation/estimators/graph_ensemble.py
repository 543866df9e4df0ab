"""The default method, an ensemble on a graph, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.propagate import (
    Propagated,
)
from ssl_dask.propagation.ensemble.ensemble_run import MEMBER_TOL
from ssl_dask.propagation.ensemble.graph_ensemble import (
    ENSEMBLE_WEIGHTS,
    GraphEnsembleSpec,
    graph_ensemble,
    logistic_regression,
)
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.spec_model import SpecModel


class GraphEnsemble(GraphClassifier):
    """The graph ensemble as a scikit-learn classifier; see `graph_ensemble`.

    Parameters
    ----------
    n_neighbors, metric
        See `graph.knn_graph`.
    classifier
        "logistic_regression": a member beside the graph's, from 3 seeds a class on. "none".
    client
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

    Notes
    -----
    Attributes as `LabelSpreading`; `details_` has the weights of the members. Fitted on a
    `BlockGraph` there are no features, hence no classifier; a graph with
    `alternatives["steep_gaussian"]` is used with both weights.
    """

    method_parameters = ("classifier",)
    method_spec = GraphEnsembleSpec
    graph_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {"knn": ("n_neighbors", "metric")}

    kernel = "knn"
    weights = "gaussian"
    symmetrize = "average"
    tol = MEMBER_TOL

    def __init__(
        self,
        n_neighbors: int = 15,
        *,
        metric: str = "euclidean",
        classifier: str = "logistic_regression",
        client: AnyClient = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.classifier = classifier
        self.client = client

    def _build_graph(self, rows: Any, execution: Execution) -> BlockGraph:
        return knn_graph(
            rows,
            int(self.n_neighbors),
            metric=self.metric,
            weights=ENSEMBLE_WEIGHTS,
            symmetrize="average",
            execution=execution,
        )

    def _propagate(
        self,
        graph: BlockGraph,
        labels: Labels,
        spec: SpecModel,
        execution: Execution,
        sample_weight: npt.NDArray[np.float64] | None = None,
    ) -> Propagated:
        classifier = None
        rows = getattr(self, "X_", None)
        if self.classifier != "none" and rows is not None:
            X_seeds = _seed_rows(rows, labels.rows, execution)
            classifier = logistic_regression(rows, X_seeds, labels)
        found = graph_ensemble(
            graph,
            labels,
            classifier=classifier,
            sample_weight=sample_weight,
            execution=execution,
        )
        self.details_ = found.details
        return found


def _seed_rows(rows: Any, wanted: npt.NDArray[np.int64], execution: Execution) -> Any:
    """Return a few rows of X in this process."""
    if not isinstance(rows, da.Array):
        return rows[wanted]
    return execution.compute([delayed(rows[wanted])], "seeds")[0]
