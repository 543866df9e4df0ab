"""What the estimators refuse of their parameters, with the name of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssl_dask import estimators as ours
from tests.committee_case import made_rows

REFUSED: list[tuple[Any, str]] = [
    (ours.LabelSpreading(alpha=0.0), "alpha=0.0"),
    (ours.LabelSpreading(alpha=1.0), "alpha=1.0"),
    (ours.LabelSpreading(alpha="0.5"), "alpha='0.5'"),
    (ours.LabelSpreading(max_iter=0), "max_iter=0"),
    (ours.LabelSpreading(max_iter=2.5, tol=-1.0), "max_iter=2.5.*tol=-1.0"),
    (ours.LabelSpreading(kernel="poly"), "must be 'knn', 'rbf' or a function"),
    (ours.LabelSpreading(n_neighbors=0), "n_neighbors=0"),
    (ours.LabelSpreading(metric="manhattan"), "metric='manhattan'"),
    (ours.LabelSpreading(weights="distance"), "weights='distance'"),
    (ours.LabelSpreading(symmetrize="no"), "symmetrize='no'"),
    (ours.LabelSpreading(kernel="rbf", weights="uniform"), "weights='uniform' is not used"),
    (ours.LabelSpreading(kernel=np.dot, metric="cosine"), "metric='cosine' is not used"),
    (ours.LabelSpreading(kernel="rbf", gamma=-1.0), "gamma=-1.0"),
    (ours.LabelPropagation(on_collapse="never"), "on_collapse='never'"),
    (ours.PoissonLearning(class_shares={0: 0.5, 1: 0.6, 2: 0.2}), "must sum to 1"),
    (ours.AnchorGraph(gamma=0.0), "gamma"),
    (ours.SelfTrainingClassifier(threshold=1.5), "threshold"),
    (ours.SelfTrainingClassifier(n_folds=1), "n_folds"),
    (ours.SelfTrainingClassifier("logistic"), "logistic_regression"),
    (ours.SelfTrainingClassifier(3), "classifier"),
    (ours.SelfTrainingClassifier(criterion="best"), "criterion"),
    (
        ours.SelfTrainingClassifier(mass=2.0, cautious=False),
        r"mass=2\.0 is not used with cautious=False: leave it",
    ),
    (ours.TriTrainingClassifier(voting="loud"), "voting"),
    (ours.DemocraticCoLearningClassifier(["gaussian_nb", "knn"]), "a majority needs 3"),
    (ours.CoForestClassifier(threshold=1.0), "threshold"),
    (ours.CoTrainingClassifier(view_columns=[[0], [8]]), "column numbers must be 0 to 7"),
    (ours.CoTrainingClassifier(view_columns=[[0], [1], [2]]), "it must have two"),
    (
        ours.CoTrainingClassifier(view_columns=[[0], [1, 1]]),
        r"view_columns\[1\] names a column twice",
    ),
    (ours.SemiSupervisedNB(unlabelled_weight=2.0), "unlabelled_weight"),
    (ours.MultiViewClassifier({}), "views is empty"),
    (ours.MultiViewClassifier({"a": [0, 0]}), "a column twice"),
    (ours.MultiViewClassifier({"a": [0, 8]}), "beyond the 8"),
    (ours.MultiViewClassifier({"a": "0"}), "a slice or a list"),
    (ours.MultiViewClassifier({"a": [0]}, estimators={"b": None}), "none of the views"),
    (ours.MultiViewClassifier(share=0.0), "share"),
    (ours.MultiViewClassifier(fusion="best"), "fusion"),
]


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_wrong_parameters_are_named(model: Any, message: str) -> None:
    X, _, seeds = made_rows(n=60)
    with pytest.raises(ValueError, match=message):
        model.fit(np.abs(X), seeds)
