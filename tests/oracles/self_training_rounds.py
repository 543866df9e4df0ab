"""scikit-learn's self-training, asked for what this package answers too."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.semi_supervised import SelfTrainingClassifier


def rounds_of_sklearn(estimator: Any, X: Any, y: np.ndarray, **settings: Any) -> dict[str, Any]:
    """Labels, the round of each, and why it ended."""
    model = SelfTrainingClassifier(estimator, **settings).fit(X, y)
    return {
        "labels": model.transduction_,
        "rounds": model.labeled_iter_,
        "reason": model.termination_condition_,
        "probabilities": model.predict_proba(X),
        "n_iter": model.n_iter_,
    }
