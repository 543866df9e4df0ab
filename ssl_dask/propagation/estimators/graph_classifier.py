"""The scikit-learn skin that all propagation methods share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_dask.class_labels import (
    decode_labels,
    decoded_dtype,
    encode_targets,
    weighted_labels,
)
from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.errors import QualityError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.kernels.distributions.label_distributions import summarise_rows
from ssl_dask.labels import OTHER_CLASS, UNLABELLED, Labels
from ssl_dask.propagation.engine.propagate import Propagated, until_found
from ssl_dask.propagation.fallback.class_collapse import CollapseWarning, find_collapse
from ssl_dask.propagation.methods.class_shares import expected_rows
from ssl_dask.propagation.new_rows.out_of_sample import nearest_distributions, radial_distributions
from ssl_dask.spec_model import SpecModel

ON_COLLAPSE = ("warn", "switch", "error")
GRAPH_PARAMETERS = {
    "knn": ("n_neighbors", "metric", "weights", "symmetrize"),
    "rbf": ("gamma",),
}

WARNS_CALLER = 5
"""Frames from `_uncollapsed` to whoever called `fit`."""


class GraphClassifier(ClassifierMixin, BaseEstimator):
    """Builds a graph of the rows, propagates labels over it, and refuses what is unclear.

    A subclass names its parameters in `__init__`, `method_parameters` among them, and the function
    that propagates.
    """

    method_parameters: ClassVar[tuple[str, ...]]
    method_spec: ClassVar[type[SpecModel]]
    method_run: ClassVar[Callable[..., Propagated]]
    on_collapse = "warn"
    """A subclass that can be switched to another method has it as a parameter."""
    graph_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = GRAPH_PARAMETERS

    kernel: str
    n_neighbors: int
    metric: str
    weights: str
    symmetrize: str
    gamma: float
    client: AnyClient

    def _propagate(
        self,
        graph: BlockGraph,
        labels: Labels,
        spec: SpecModel,
        execution: Execution,
        sample_weight: npt.NDArray[np.float64] | None = None,
    ) -> Propagated:
        """Run the method with the parameters in `spec`; `sample_weight` (S,) is of the seeds."""
        parameters = spec.model_dump(exclude={"name"})
        return self.method_run(
            graph, labels, **parameters, sample_weight=sample_weight, execution=execution
        )

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
            (N,): weight >= 0 of each row as a seed; None: 1 each. A row of weight 0 is no seed,
            but still part of the graph; weights of unlabelled rows are of no account.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable; no row is labelled. With a
            single class all connected rows get it, as in scikit-learn.
        QualityError
            Classes collapsed, and `on_collapse` says "error", or "switch" and no method avoids it.
        GraphError
            The graph does not fit into memory.

        Warns
        -----
        ConvergenceWarning
            `max_iter` sweeps were not enough, or float32 cannot reach `tol`.
        CollapseWarning
            Most classes, by their shares of the seeds, have next to no row.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )
        spec, X = self._checked_method(), as_dask_array(X)
        if isinstance(X, BlockGraph):
            self._refuse_unused(tuple(p for names in self.graph_parameters.values() for p in names))
            self._forget_features()
            graph, n_rows, rows = X, X.n_rows, None
        else:
            self._checked_graph()
            rows = self._checked_rows(X, reset=True)
            n_rows = rows.shape[0]
        execution = Execution.of(self.client)
        labels = encode_targets(y, n_rows, execution)
        weights = None
        if sample_weight is not None:
            labels, weights = weighted_labels(labels, sample_weight)
        if rows is not None:
            graph = self._build_graph(rows, execution)
            self.X_ = rows
        self.classes_ = labels.classes

        def find() -> Propagated:
            found = self._propagate(graph, labels, spec, execution, weights)
            found = self._uncollapsed(found, graph, labels, spec, execution, weights)
            self._keep_answers(found, X, execution)
            return found

        found = until_found(find)
        self._warn_unless_converged(found)
        self.graph_ = graph
        self.n_iter_ = found.n_iter
        return self

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
        rows = self._checked_rows(as_dask_array(X), reset=False)
        execution = Execution.of(self.client)
        F = self.label_distributions_
        if self.kernel == "rbf":
            return radial_distributions(rows, self.X_, F, gamma=self.gamma, execution=execution)
        return nearest_distributions(
            rows,
            self.X_,
            F,
            n_neighbors=self.n_neighbors,
            metric=self.metric,
            weights=self.weights,
            execution=execution,
        )

    def predict(self, X: Any) -> Any:
        """Return the most likely class of new rows; -1 or None where there is none or a tie.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.

        Returns
        -------
        Array (m,) of class labels; a Dask array if `X` is one.
        """
        return self._decide(self.predict_proba(X))[0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of labelled rows that `predict` gets right; refusing a row is wrong.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.
        y
            (m,): true class labels, array or Dask array. Rows that are unlabelled, as for `fit`,
            are left out.
        sample_weight
            (m,): weight of each row; None for equal weights.

        Raises
        ------
        ValueError
            Lengths differ, no row is labelled, or the labels are of another kind than the classes.

        Notes
        -----
        Brings an int32 of each row to this process.
        """
        F = self.predict_proba(X)
        execution = Execution.of(self.client)
        truth = encode_targets(y, F.shape[0], execution)
        if (truth.classes.dtype.kind in "OU") != (self.classes_.dtype.kind in "OU"):
            raise ValueError(
                f"y holds labels of type {truth.classes.dtype}, but the classes are"
                f" {self.classes_.dtype}"
            )
        if isinstance(F, da.Array):
            blocks = F.map_blocks(_decided_codes, drop_axis=1, dtype=np.int32).to_delayed()
            codes = np.concatenate(execution.compute(list(blocks), "scores"))
        else:
            codes = _decided_codes(F)
        place = np.minimum(np.searchsorted(self.classes_, truth.classes), len(self.classes_) - 1)
        # -2 is no code: a class that `fit` has not seen is never right.
        known = np.where(self.classes_[place] == truth.classes, place, OTHER_CLASS)
        right = codes[truth.rows] == known[truth.codes]
        if sample_weight is None:
            return float(right.mean())
        weights = column_or_1d(np.asarray(sample_weight, dtype=np.float64))
        check_consistent_length(weights, F)
        return float(np.average(right, weights=weights[truth.rows]))

    def _decide(self, F: Any) -> tuple[Any, Any]:
        """Return (labels, abstained) of distributions, as Dask arrays if `F` is one."""
        if not isinstance(F, da.Array):
            codes = _decided_codes(F)
            return decode_labels(codes, self.classes_), codes == UNLABELLED
        dtype = decoded_dtype(self.classes_, abstained=True)
        codes = F.map_blocks(_decided_codes, drop_axis=1, dtype=np.int32)
        labels = codes.map_blocks(decode_labels, self.classes_, dtype, dtype=dtype)
        return labels, codes == UNLABELLED

    def _uncollapsed(
        self,
        found: Propagated,
        graph: BlockGraph,
        labels: Labels,
        spec: SpecModel,
        execution: Execution,
        sample_weight: npt.NDArray[np.float64] | None,
    ) -> Propagated:
        """Return what was found, or what another method finds where classes have collapsed."""
        self.method_ = spec.model_dump()
        collapse = find_collapse(found.class_rows, expected_rows(spec, labels))
        # Where all rows are seeds there is none whose class could be missed.
        if collapse is None or labels.n_seeds == labels.n_rows:
            return found
        name = type(self).__name__
        if self.on_collapse == "warn":
            hint = "LabelPropagation(class_mass='seeds'), BalancedSpreading and PoissonLearning"
            warnings.warn(
                f"{name}: {collapse.sentence()}: they have collapsed into the others; {hint} keep"
                " classes apart with few labels",
                CollapseWarning,
                stacklevel=WARNS_CALLER,
            )
            return found
        # These methods have classes of their own, which are made of this one.
        from ssl_dask.propagation.fallback.fallback_methods import answers_to, run_answer

        for answer in answers_to(spec) if self.on_collapse == "switch" else ():
            other = run_answer(answer, graph, labels, execution, sample_weight)
            if find_collapse(other.class_rows, expected_rows(answer, labels)) is None:
                self.method_ = answer.model_dump()
                warnings.warn(
                    f"{name}: {collapse.sentence()}: the labels are those of {self.method_}",
                    CollapseWarning,
                    stacklevel=WARNS_CALLER,
                )
                return other
        raise QualityError(
            f"{name}: {collapse.sentence()}",
            hint="label more rows, or take other features or another method",
        )

    def _keep_answers(self, found: Propagated, X: Any, execution: Execution) -> None:
        if isinstance(X, da.Array):
            # Chunked as X, not as the strips of the graph.
            self.label_distributions_ = found.F.rechunk({0: X.chunks[0]})
        else:
            blocks = list(found.F.to_delayed().ravel())
            self.label_distributions_ = np.concatenate(execution.compute(blocks))
        self.transduction_, self.abstained_ = self._decide(self.label_distributions_)

    def _build_graph(self, rows: Any, execution: Execution) -> BlockGraph:
        if self.kernel == "rbf":
            return rbf_graph(rows, _plain(self.gamma), execution=execution)
        return knn_graph(
            rows,
            _plain(self.n_neighbors),
            metric=self.metric,
            weights=self.weights,
            symmetrize=self.symmetrize,
            execution=execution,
        )

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        if not isinstance(X, da.Array):
            return validate_data(
                self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32]
            )
        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead")
        if reset:
            self._forget_features()
            self.n_features_in_ = int(X.shape[1])
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return X

    def _forget_features(self) -> None:
        for name in ("X_", "n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)

    def _checked_method(self) -> SpecModel:
        if self.on_collapse not in ON_COLLAPSE:
            raise ValueError(
                f"on_collapse={self.on_collapse!r}: it must be 'warn', 'switch' or 'error'"
            )
        values = {name: _plain(getattr(self, name)) for name in self.method_parameters}
        return _checked(self.method_spec, values)

    def _checked_graph(self) -> None:
        if self.kernel not in self.graph_parameters:
            raise ValueError(
                f"kernel is {self.kernel!r}; it must be 'knn' or 'rbf'; for another, fit on"
                " BlockGraph.from_scipy(W)"
            )
        values = {name: _plain(getattr(self, name)) for name in self.graph_parameters[self.kernel]}
        _checked(GraphSpec, {"kind": self.kernel, **values})
        for kernel, names in self.graph_parameters.items():
            if kernel != self.kernel:
                self._refuse_unused(names)

    def _refuse_unused(self, names: tuple[str, ...]) -> None:
        defaults = type(self)().get_params(deep=False)
        for name in names:
            value = getattr(self, name)
            if value != defaults[name]:
                raise ValueError(
                    f"{name}={value!r} is not used here (kernel={self.kernel!r}, or X is a graph);"
                    " leave it at its default"
                )

    def _warn_unless_converged(self, found: Propagated) -> None:
        if found.converged:
            return
        cure = (
            "raise max_iter or tol"
            if found.reason == "max_iter"
            else "float32 allows no smaller error: raise tol"
        )
        warnings.warn(
            f"{type(self).__name__} did not converge: after {found.n_iter} iterations the error is"
            f" {found.records[-1].residual:.2g}, tol is {_plain(self.tol):g}; {cure}",
            ConvergenceWarning,
            stacklevel=3,
        )

    def __sklearn_clone__(self) -> Self:
        # A client is a connection: copies share it.
        params = self.get_params(deep=False)
        client = params.pop("client")
        copies = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(**copies, client=client)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _decided_codes(F: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Return the code of each row's class, -1 where there is no evidence or a tie."""
    codes, _, tied = summarise_rows(F)
    return np.where(tied, np.int32(UNLABELLED), codes)


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _checked(model: type[SpecModel], values: dict[str, Any]) -> SpecModel:
    """Return the parameters as a spec; a ValueError names each that is wrong."""
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}={item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ValueError("; ".join(wrong)) from None
