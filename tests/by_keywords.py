"""Propagation methods called with keywords: graph, labels, and fields of spec, inputs and control.

`label_spreading(graph, labels, alpha=0.5, hidden=folds, execution=execution)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels, NumberLabels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.ensemble.ensemble_run import SeedClassifier
from ssl_dask.propagation.methods import graph_ensemble as graph_ensemble_method
from ssl_dask.propagation.methods.anchor_graph import AnchorGraphSpec, AnchorModel, fit_anchors
from ssl_dask.propagation.methods.correct_and_smooth import (
    CorrectAndSmoothSpec,
    correct_probabilities,
)
from ssl_dask.run_control import RunControl

CONTROL = tuple(field.name for field in fields(RunControl))


def _parts(keywords: dict[str, Any]) -> tuple[dict[str, Any], RunControl, dict[str, Any]]:
    """Return (fields of the inputs, the control, parameters of the method)."""
    given = {name: keywords.pop(name) for name in ("hidden", "sample_weight") if name in keywords}
    if given.get("sample_weight") is not None:
        given["sample_weight"] = np.asarray(given["sample_weight"])
    control = {name: keywords.pop(name) for name in CONTROL if name in keywords}
    if control.get("execution") is None:
        control["execution"] = Execution()
    return given, RunControl(**control), keywords


def by_keywords(method: Method) -> Callable[..., Propagated]:
    def run(graph: BlockGraph, labels: Labels, **keywords: Any) -> Propagated:
        given, control, parameters = _parts(keywords)
        inputs = MethodInputs(labels, graph=graph, **given)
        return method.run(inputs, method.spec(**parameters), control)

    return run


label_spreading = by_keywords(METHODS["label_spreading"])
label_propagation = by_keywords(METHODS["label_propagation"])
balanced_spreading = by_keywords(METHODS["balanced_spreading"])
poisson = by_keywords(METHODS["poisson"])
poisson_mbo = by_keywords(METHODS["poisson_mbo"])
modified_adsorption = by_keywords(METHODS["modified_adsorption"])


def graph_ensemble(
    graph: BlockGraph, labels: Labels, *, classifier: Any = None, **keywords: Any
) -> Propagated:
    """`classifier`: a `SeedClassifier`."""
    given, control, _ = _parts(keywords)
    return graph_ensemble_method.mix_on_graph(
        MethodInputs(labels, graph=graph, **given), classifier, control
    )


def logistic_regression(X: Any, X_seeds: Any, labels: Labels) -> SeedClassifier:
    whole = da.from_delayed(delayed(X, pure=False, traverse=False), X.shape, meta=X[:0])
    inputs = MethodInputs(labels, X=whole, X_seeds=X_seeds)
    return graph_ensemble_method.logistic_regression(inputs, Execution())


def harmonic_regression(graph: BlockGraph, rows: Any, targets: Any, **keywords: Any) -> Propagated:
    values = np.asarray(targets, dtype=np.float64)
    labels = NumberLabels(graph.n_rows, np.asarray(rows), values).as_labels()
    return by_keywords(METHODS["harmonic_regression"])(graph, labels, **keywords)


def correct_and_smooth(
    graph: BlockGraph, labels: Labels, probabilities: Any, at_seeds: Any, **keywords: Any
) -> Propagated:
    given, control, parameters = _parts(keywords)
    sources = SeedSources.from_folds(labels, given.get("hidden", ()), given.get("sample_weight"))
    spec = CorrectAndSmoothSpec(**parameters)
    return correct_probabilities(graph, sources, probabilities, at_seeds, spec, control)


def anchor_graph(X: Any, labels: Labels, **keywords: Any) -> tuple[AnchorModel, list[np.ndarray]]:
    given, control, parameters = _parts(keywords)
    sources = SeedSources.from_folds(labels, given.get("hidden", ()), given.get("sample_weight"))
    return fit_anchors(X, sources, AnchorGraphSpec(**parameters), control.execution)
