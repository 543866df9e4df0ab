"""scikit-learn estimators: `y` holds -1 (None among objects) where a row has no label.

Estimators on a graph are fitted on features or on a `ssl_dask.graphs.BlockGraph`; the others label
rows in rounds, without a graph.

>>> import numpy as np
>>> X = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
>>> LabelSpreading(n_neighbors=2).fit(X, [0, -1, -1, 1, -1, -1]).transduction_
array([0, 0, 0, 1, 1, 1])
"""

from ssl_dask.propagation.estimators.anchor_graph import AnchorGraph
from ssl_dask.propagation.estimators.graph_classifiers import (
    BalancedSpreading,
    GraphEnsemble,
    LabelPropagation,
    LabelSpreading,
    ModifiedAdsorption,
    PoissonLearning,
    PoissonMBO,
)
from ssl_dask.propagation.estimators.harmonic_regressor import (
    HarmonicRegressor,
    LabelPropagationRegressor,
)
from ssl_dask.self_labeled.estimators.co_training_classifier import CoTrainingClassifier
from ssl_dask.self_labeled.estimators.committee_classifiers import (
    CoForestClassifier,
    DemocraticCoLearningClassifier,
    TriTrainingClassifier,
)
from ssl_dask.self_labeled.estimators.multi_view_classifier import MultiViewClassifier
from ssl_dask.self_labeled.estimators.self_training_classifier import SelfTrainingClassifier
from ssl_dask.self_labeled.estimators.semi_supervised_nb import SemiSupervisedNB

__all__ = [
    "AnchorGraph",
    "BalancedSpreading",
    "CoForestClassifier",
    "CoTrainingClassifier",
    "DemocraticCoLearningClassifier",
    "GraphEnsemble",
    "HarmonicRegressor",
    "LabelPropagation",
    "LabelPropagationRegressor",
    "LabelSpreading",
    "ModifiedAdsorption",
    "MultiViewClassifier",
    "PoissonLearning",
    "PoissonMBO",
    "SelfTrainingClassifier",
    "SemiSupervisedNB",
    "TriTrainingClassifier",
]
