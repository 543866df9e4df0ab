"""Semi-supervised labelling of Parquet data that does not fit one machine, on Dask.

`ssl-dask run job.yaml` is the command; the names below are the same from Python. Importing the
package starts nothing; the names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ssl_dask.version import __version__

if TYPE_CHECKING:
    from ssl_dask.graph.block.block_graph import BlockGraph as BlockGraph
    from ssl_dask.graph.build.attached_rows import attach_rows as attach_rows
    from ssl_dask.graph.build.entity_graph import entity_graph as entity_graph
    from ssl_dask.graph.build.graph_sum import sum_graphs as sum_graphs
    from ssl_dask.graph.build.neighbour_graph import knn_graph as knn_graph
    from ssl_dask.graph.build.rbf_graph import rbf_graph as rbf_graph
    from ssl_dask.graph.routed.routed_index import RoutedIndex as RoutedIndex
    from ssl_dask.job_spec import load_job as load_job
    from ssl_dask.labels import Labels as Labels
    from ssl_dask.pipeline.run import RunResult as RunResult
    from ssl_dask.pipeline.run import run_job as run_job
    from ssl_dask.pipeline.stored_models import StoredModels as StoredModels
    from ssl_dask.pipeline.stored_models import load_models as load_models
    from ssl_dask.propagation.estimators.anchor_graph import AnchorGraph as AnchorGraph
    from ssl_dask.propagation.estimators.balanced_spreading import (
        BalancedSpreading as BalancedSpreading,
    )
    from ssl_dask.propagation.estimators.graph_ensemble import GraphEnsemble as GraphEnsemble
    from ssl_dask.propagation.estimators.harmonic_regressor import (
        LabelPropagationRegressor as LabelPropagationRegressor,
    )
    from ssl_dask.propagation.estimators.label_propagation import (
        LabelPropagation as LabelPropagation,
    )
    from ssl_dask.propagation.estimators.label_spreading import LabelSpreading as LabelSpreading
    from ssl_dask.propagation.estimators.modified_adsorption import (
        ModifiedAdsorption as ModifiedAdsorption,
    )
    from ssl_dask.propagation.estimators.poisson_learning import PoissonLearning as PoissonLearning
    from ssl_dask.propagation.estimators.poisson_mbo import PoissonMBO as PoissonMBO
    from ssl_dask.propagation.methods.propagated_features import (
        propagated_features as propagated_features,
    )
    from ssl_dask.propagation.new_rows.new_rows import (
        new_row_distributions as new_row_distributions,
    )
    from ssl_dask.self_labeled.estimators.co_forest_classifier import (
        CoForestClassifier as CoForestClassifier,
    )
    from ssl_dask.self_labeled.estimators.co_training_classifier import (
        CoTrainingClassifier as CoTrainingClassifier,
    )
    from ssl_dask.self_labeled.estimators.democratic_classifier import (
        DemocraticCoLearningClassifier as DemocraticCoLearningClassifier,
    )
    from ssl_dask.self_labeled.estimators.multi_view_classifier import (
        MultiViewClassifier as MultiViewClassifier,
    )
    from ssl_dask.self_labeled.estimators.self_training_classifier import (
        SelfTrainingClassifier as SelfTrainingClassifier,
    )
    from ssl_dask.self_labeled.estimators.semi_supervised_nb import (
        SemiSupervisedNB as SemiSupervisedNB,
    )
    from ssl_dask.self_labeled.estimators.tri_training_classifier import (
        TriTrainingClassifier as TriTrainingClassifier,
    )

_HOMES = {
    "AnchorGraph": "ssl_dask.propagation.estimators.anchor_graph",
    "BalancedSpreading": "ssl_dask.propagation.estimators.balanced_spreading",
    "BlockGraph": "ssl_dask.graph.block.block_graph",
    "CoForestClassifier": "ssl_dask.self_labeled.estimators.co_forest_classifier",
    "CoTrainingClassifier": "ssl_dask.self_labeled.estimators.co_training_classifier",
    "DemocraticCoLearningClassifier": "ssl_dask.self_labeled.estimators.democratic_classifier",
    "GraphEnsemble": "ssl_dask.propagation.estimators.graph_ensemble",
    "LabelPropagation": "ssl_dask.propagation.estimators.label_propagation",
    "LabelPropagationRegressor": "ssl_dask.propagation.estimators.harmonic_regressor",
    "LabelSpreading": "ssl_dask.propagation.estimators.label_spreading",
    "Labels": "ssl_dask.labels",
    "MultiViewClassifier": "ssl_dask.self_labeled.estimators.multi_view_classifier",
    "ModifiedAdsorption": "ssl_dask.propagation.estimators.modified_adsorption",
    "PoissonLearning": "ssl_dask.propagation.estimators.poisson_learning",
    "PoissonMBO": "ssl_dask.propagation.estimators.poisson_mbo",
    "RunResult": "ssl_dask.pipeline.run",
    "RoutedIndex": "ssl_dask.graph.routed.routed_index",
    "SelfTrainingClassifier": "ssl_dask.self_labeled.estimators.self_training_classifier",
    "SemiSupervisedNB": "ssl_dask.self_labeled.estimators.semi_supervised_nb",
    "StoredModels": "ssl_dask.pipeline.stored_models",
    "TriTrainingClassifier": "ssl_dask.self_labeled.estimators.tri_training_classifier",
    "attach_rows": "ssl_dask.graph.build.attached_rows",
    "entity_graph": "ssl_dask.graph.build.entity_graph",
    "knn_graph": "ssl_dask.graph.build.neighbour_graph",
    "load_job": "ssl_dask.job_spec",
    "load_models": "ssl_dask.pipeline.stored_models",
    "new_row_distributions": "ssl_dask.propagation.new_rows.new_rows",
    "propagated_features": "ssl_dask.propagation.methods.propagated_features",
    "rbf_graph": "ssl_dask.graph.build.rbf_graph",
    "run_job": "ssl_dask.pipeline.run",
    "sum_graphs": "ssl_dask.graph.build.graph_sum",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
