"""The base of all classifiers that propagate labels over a graph of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self, cast

import dask.array as da
import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from ssl_dask.array_types import Float64
from ssl_dask.class_labels import encode_seeds
from ssl_dask.dask_arrays import as_dask_array, row_handles
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.kernel_graph import kernel_graph
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.distributions.weighted_figures import (
    class_accuracy,
    class_figure,
    largest_class_figure,
)
from ssl_dask.labels import Labels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.node_vectors import rows_of
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.fallback.class_collapse import CollapseWarning
from ssl_dask.propagation.fallback.run_with_fallback import (
    Answer,
    HiddenJudge,
    OnCollapse,
    run_with_fallback,
)
from ssl_dask.propagation.new_rows.out_of_sample import (
    kernel_distributions,
    nearest_distributions,
    radial_distributions,
)
from ssl_dask.run_control import RunControl, retried
from ssl_dask.sklearn_skin import ClassifierSkin, checked_spec, plain
from ssl_dask.spec_model import SpecModel

FOLDS = 5
"""In which seeds are hidden to choose an answer where classes collapsed."""
ON_COLLAPSE = ("warn", "switch", "error")
GRAPH_PARAMETERS = {"knn": ("n_neighbors", "metric", "weights", "symmetrize"), "rbf": ("gamma",)}
OF_ANY_KERNEL = ("n_neighbors", "gamma")
"""scikit-learn takes these beside any kernel, so that a search over kernels can set them all."""
USUAL_GAMMA = 20.0
Kernel = str | Callable[[Any, Any], Any] | None


class GraphClassifier(ClassifierSkin):
    """Builds a graph of the rows, propagates labels over it, and abstains where it is unclear.

    A subclass has its parameters in `__init__`, among them those of the spec of its `method`.
    """

    method: ClassVar[Method]
    on_collapse = "warn"
    """A subclass that can be switched to another method has it as a parameter."""
    graph_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = GRAPH_PARAMETERS
    edge_weights: ClassVar[tuple[str, ...]] = ()
    """Weights of the graph in place of the parameter `weights`."""

    kernel: Kernel
    n_neighbors: int
    metric: str
    weights: str
    symmetrize: str
    gamma: float | None
    tol: float

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Label all rows of `X` from those that are labelled in `y`.

        Parameters
        ----------
        X
            (N, d): NumPy array, data frame, SciPy sparse matrix, or Dask array chunked by rows
            (dense or CSR chunks); or a `BlockGraph` of N rows.
        y
            (N,), array or Dask array: class labels; -1 for unlabelled rows, or None in an array of
            objects (strings).
        sample_weight
            (N,), array or Dask array: weight >= 0 of each row as a seed; None: 1 each. A row of
            weight 0 is no seed; weights of unlabelled rows are ignored.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable; no row is labelled. With a
            single class all connected rows get it, as in scikit-learn.
        QualityError
            Classes collapsed, and `on_collapse` is "error", or "switch" and no method avoids it.
        GraphError
            The graph does not fit into memory.

        Warns
        -----
        ConvergenceWarning
            `max_iter` sweeps were not enough, or float32 cannot reach `tol`.
        CollapseWarning
            Most classes, by their shares of the seeds, have next to no row.
        """
        self._require_y(y)
        spec, X = self._checked_method(), as_dask_array(X)
        given, rows = self._graph_or_rows(X)
        n_rows = rows.shape[0] if given is None else given.n_rows
        control = RunControl(self._execution())
        labels, weights = encode_seeds(y, n_rows, sample_weight, control.execution)
        graph = self._graph_of(rows, control.execution) if given is None else given
        if given is None:
            self.X_ = rows
            if "n_equal_by_rounding" in graph.settings:
                warnings.warn(graph.settings["notes"][0], UserWarning, stacklevel=2)
        self._keep_classes(labels)

        inputs = partial(self._inputs, graph, rows, labels, weights, control.execution)
        answer = retried(partial(self._propagate, spec, inputs, X, control), control.losses)
        found = answer.found
        self.method_ = answer.spec.model_dump()
        self._warn_of_collapse(answer)
        if not found.converged:
            error = found.records[-1].residual
            self._warn_not_converged(
                error, plain(self.tol), found.n_iter if found.reason == "max_iter" else None
            )
        self.graph_ = graph
        self.n_iter_ = found.n_iter
        return self

    def _graph_or_rows(self, X: Any) -> tuple[BlockGraph | None, Any]:
        """Return (the graph, None) if X is one, else (None, the checked rows)."""
        if isinstance(X, BlockGraph):
            self._refuse_unused(tuple(p for names in self.graph_parameters.values() for p in names))
            self._forget_features()
            return X, None
        self._checked_graph()
        return None, self._checked_rows(X, reset=True)

    def _propagate(
        self, spec: SpecModel, make_inputs: Callable[[], MethodInputs], X: Any, control: RunControl
    ) -> Answer:
        """Run the method, or one that keeps the classes apart, and keep the labels."""
        inputs = make_inputs()
        labels = inputs.labels
        folds = hide_seeds(labels, FOLDS, 0)
        was_hidden = folds.fold >= 0
        truth, shares = labels.codes[was_hidden], labels.class_counts() / labels.n_seeds

        def figures(
            method: Method, one: SpecModel, found: Propagated
        ) -> tuple[float, float] | None:
            # Once more, with seeds hidden: a fit hides none.
            if not len(truth):
                return None
            hidden = method.run(replace(inputs, hidden=folds.masks), one, control)
            empty = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
            judged = folds.gathered(hidden.fold_F, empty)[was_hidden], truth, shares
            return class_figure(*judged), class_accuracy(*judged)

        chance = largest_class_figure(truth, shares) if len(truth) else 0.0
        answer = run_with_fallback(
            spec,
            labels,
            lambda method, one, number: cast(Propagated, method.run(inputs, one, control)),
            policy=cast(OnCollapse, self.on_collapse),
            judge=HiddenJudge(figures=figures, chance=chance),
        )
        self._keep_answers(answer.found, X, control.execution)
        return answer

    def _inputs(
        self,
        graph: BlockGraph,
        rows: Any,
        labels: Labels,
        weights: Float64 | None,
        execution: Execution,
    ) -> MethodInputs:
        """Return what the method learns from; features only if it needs them and there are any."""
        features: dict[str, Any] = {}
        if rows is not None and self.method.needs == "graph and features":
            # Large integers lose their offset while they are exact; classifiers scale the rest.
            near = self._near_zero(rows, reset=True) if rows.dtype.kind in "iu" else rows
            X = near
            if not isinstance(near, da.Array):
                # Sent once, not with each pass over X.
                (whole,) = execution.place([near], lasting=True)
                X = da.from_delayed(whole, near.shape, meta=near[:0])
            features = {"X": X, "X_seeds": rows_of(near, labels.rows, execution)}
        return MethodInputs(labels, sample_weight=weights, graph=graph, **features)

    def predict_proba(self, X: Any) -> Any:
        """Return the class distribution of new rows, by their nearest training rows.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.

        Returns
        -------
        float32 (m, C), columns as `classes_`: rows sum to 1, or to 0 where the training rows nearby
        have no evidence. A Dask array if `X` is one.

        Raises
        ------
        ValueError
            The model was fitted on a graph, so nothing is known about features.
        """
        check_is_fitted(self)
        if not hasattr(self, "X_"):
            raise ValueError(
                f"this {type(self).__name__} was fitted on a graph, which says nothing about new"
                " rows; the labels of its own rows are in transduction_"
            )
        rows = self._checked_rows(X, reset=False)
        execution, kernel = self._execution(), self._kernel()
        F = self.label_distributions_
        if callable(kernel):
            return kernel_distributions(rows, self.X_, F, kernel=kernel, execution=execution)
        if kernel == "rbf":
            return radial_distributions(rows, self.X_, F, gamma=self._gamma(), execution=execution)
        how = {name: getattr(self, name) for name in ("n_neighbors", "metric", "weights")}
        return nearest_distributions(rows, self.X_, F, **how, execution=execution)

    def _warn_of_collapse(self, answer: Answer) -> None:
        collapse = answer.tried[0].collapse if answer.switched else answer.collapse
        if collapse is None:
            return
        said = f"; hidden seeds say: {answer.figures}" if answer.figures else ""
        if answer.switched:
            end = f"the labels are those of {self.method_}{said}"
        elif answer.tried:
            end = f"no method in its place does better{said}"
        else:
            end = (
                "they have collapsed into the others; LabelPropagation(class_mass='seeds'),"
                " BalancedSpreading and PoissonLearning keep classes apart with few labels"
            )
        text = f"{type(self).__name__}: {collapse.sentence()}: {end}"
        warnings.warn(text, CollapseWarning, stacklevel=3)

    def _keep_answers(self, found: Propagated, X: Any, execution: Execution) -> None:
        if isinstance(X, da.Array):
            # Chunked as X, not as the strips of the graph.
            F = found.F.rechunk({0: X.chunks[0]})
        else:
            F = np.concatenate(execution.compute(row_handles(found.F)))
        self._keep_labels(F, self.method.no_evidence)

    def _kernel(self) -> str | Callable[[Any, Any], Any]:
        if self.kernel is None:
            return "knn" if self.gamma is None else "rbf"
        return self.kernel

    def _gamma(self) -> float:
        return USUAL_GAMMA if self.gamma is None else float(self.gamma)

    def _graph_of(self, rows: Any, execution: Execution) -> BlockGraph:
        kernel = self._kernel()
        if callable(kernel):
            return kernel_graph(kernel, rows)
        if kernel == "rbf":
            return rbf_graph(rows, self._gamma(), execution=execution)
        return knn_graph(
            rows,
            plain(self.n_neighbors),
            metric=self.metric,
            weights=self.edge_weights or self.weights,
            symmetrize=self.symmetrize,
            execution=execution,
        )

    def _checked_method(self) -> SpecModel:
        if self.on_collapse not in ON_COLLAPSE:
            raise ValueError(
                f"on_collapse={self.on_collapse!r}: it must be 'warn', 'switch' or 'error'"
            )
        return self._checked_spec(self.method.spec)

    def _checked_graph(self) -> None:
        kernel, used = self._kernel(), tuple[str, ...]()
        if not callable(kernel):
            if kernel not in self.graph_parameters:
                raise ValueError(
                    f"kernel is {kernel!r}; it must be 'knn', 'rbf' or a function; for a graph of"
                    " your own, fit on BlockGraph.from_scipy(W)"
                )
            used = self.graph_parameters[kernel]
            values = {name: plain(getattr(self, name)) for name in used}
            given = {name: value for name, value in values.items() if value is not None}
            checked_spec(GraphSpec, {"kind": kernel, **given})
        others = {name for names in self.graph_parameters.values() for name in names}
        self._refuse_unused(tuple(sorted(others - {*used, *OF_ANY_KERNEL})))

    def _refuse_unused(self, names: tuple[str, ...]) -> None:
        defaults = type(self)().get_params(deep=False)
        for name in names:
            value = getattr(self, name)
            if value != defaults[name]:
                raise ValueError(
                    f"{name}={value!r} is not used here (kernel={self._kernel()!r}, or X is a"
                    " graph); leave it at its default"
                )


def scaled_affinities(W: Any, left: float, right: float) -> Any:
    """Return D^-left W D^-right (N, N), D the sums of the rows; dense if W is, else CSR."""
    degrees = np.asarray(W.sum(axis=1), dtype=np.float64).ravel()
    inverse = np.divide(1.0, degrees, where=degrees > 0.0, out=np.zeros(len(degrees)))
    scaled = sp.diags_array(inverse**left) @ W @ sp.diags_array(inverse**right)
    return sp.csr_array(scaled) if sp.issparse(W) else scaled
