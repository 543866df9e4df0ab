"""Semi-supervised labelling of Parquet data that does not fit one machine, on Dask.

`ssl-dask run job.yaml` is the command; the names below are the same from Python. Importing the
package starts nothing; the names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ssl_dask.graph.attached_rows import attach_rows as attach_rows
    from ssl_dask.graph.block_graph import BlockGraph as BlockGraph
    from ssl_dask.graph.entity_graph import entity_graph as entity_graph
    from ssl_dask.graph.graph_sum import sum_graphs as sum_graphs
    from ssl_dask.graph.neighbour_graph import knn_graph as knn_graph
    from ssl_dask.graph.rbf_graph import rbf_graph as rbf_graph
    from ssl_dask.graph.routed_index import RoutedIndex as RoutedIndex
    from ssl_dask.job_spec import load_job as load_job
    from ssl_dask.labels import Labels as Labels
    from ssl_dask.pipeline.run import RunResult as RunResult
    from ssl_dask.pipeline.run import run_job as run_job
    from ssl_dask.pipeline.stored_models import StoredModels as StoredModels
    from ssl_dask.pipeline.stored_models import load_models as load_models
    from ssl_dask.propagation.anchor_graph import AnchorGraph as AnchorGraph
    from ssl_dask.propagation.balanced_spreading import BalancedSpreading as BalancedSpreading
    from ssl_dask.propagation.graph_ensemble import GraphEnsemble as GraphEnsemble
    from ssl_dask.propagation.harmonic_regressor import (
        LabelPropagationRegressor as LabelPropagationRegressor,
    )
    from ssl_dask.propagation.label_propagation import LabelPropagation as LabelPropagation
    from ssl_dask.propagation.label_spreading import LabelSpreading as LabelSpreading
    from ssl_dask.propagation.modified_adsorption import ModifiedAdsorption as ModifiedAdsorption
    from ssl_dask.propagation.new_rows import new_row_distributions as new_row_distributions
    from ssl_dask.propagation.poisson import PoissonLearning as PoissonLearning
    from ssl_dask.propagation.poisson_mbo import PoissonMBO as PoissonMBO
    from ssl_dask.propagation.propagated_features import propagated_features as propagated_features
    from ssl_dask.self_labeled.co_forest import CoForestClassifier as CoForestClassifier
    from ssl_dask.self_labeled.co_training_classifier import (
        CoTrainingClassifier as CoTrainingClassifier,
    )
    from ssl_dask.self_labeled.democratic_co_learning import (
        DemocraticCoLearningClassifier as DemocraticCoLearningClassifier,
    )
    from ssl_dask.self_labeled.multi_view_classifier import (
        MultiViewClassifier as MultiViewClassifier,
    )
    from ssl_dask.self_labeled.self_training import (
        SelfTrainingClassifier as SelfTrainingClassifier,
    )
    from ssl_dask.self_labeled.semi_supervised_nb import SemiSupervisedNB as SemiSupervisedNB
    from ssl_dask.self_labeled.tri_training import TriTrainingClassifier as TriTrainingClassifier

_HOMES = {
    "AnchorGraph": "ssl_dask.propagation.anchor_graph",
    "BalancedSpreading": "ssl_dask.propagation.balanced_spreading",
    "BlockGraph": "ssl_dask.graph.block_graph",
    "CoForestClassifier": "ssl_dask.self_labeled.co_forest",
    "CoTrainingClassifier": "ssl_dask.self_labeled.co_training_classifier",
    "DemocraticCoLearningClassifier": "ssl_dask.self_labeled.democratic_co_learning",
    "GraphEnsemble": "ssl_dask.propagation.graph_ensemble",
    "LabelPropagation": "ssl_dask.propagation.label_propagation",
    "LabelPropagationRegressor": "ssl_dask.propagation.harmonic_regressor",
    "LabelSpreading": "ssl_dask.propagation.label_spreading",
    "Labels": "ssl_dask.labels",
    "MultiViewClassifier": "ssl_dask.self_labeled.multi_view_classifier",
    "ModifiedAdsorption": "ssl_dask.propagation.modified_adsorption",
    "PoissonLearning": "ssl_dask.propagation.poisson",
    "PoissonMBO": "ssl_dask.propagation.poisson_mbo",
    "RunResult": "ssl_dask.pipeline.run",
    "RoutedIndex": "ssl_dask.graph.routed_index",
    "SelfTrainingClassifier": "ssl_dask.self_labeled.self_training",
    "SemiSupervisedNB": "ssl_dask.self_labeled.semi_supervised_nb",
    "StoredModels": "ssl_dask.pipeline.stored_models",
    "TriTrainingClassifier": "ssl_dask.self_labeled.tri_training",
    "attach_rows": "ssl_dask.graph.attached_rows",
    "entity_graph": "ssl_dask.graph.entity_graph",
    "knn_graph": "ssl_dask.graph.neighbour_graph",
    "load_job": "ssl_dask.job_spec",
    "load_models": "ssl_dask.pipeline.stored_models",
    "new_row_distributions": "ssl_dask.propagation.new_rows",
    "propagated_features": "ssl_dask.propagation.propagated_features",
    "rbf_graph": "ssl_dask.graph.rbf_graph",
    "run_job": "ssl_dask.pipeline.run",
    "sum_graphs": "ssl_dask.graph.graph_sum",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
