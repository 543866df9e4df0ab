"""Cases of the estimators, on some hundred handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from distributed import Client
from sklearn.datasets import load_digits

from ssl_dask import estimators
from tests.goldens.case import FULL, QUICK, USUAL, Case, Work
from tests.goldens.content import WORDS, Items, array_digest
from tests.goldens.places import heard_warnings

N_ROWS, N_HELD, SEEDS_OF_A_CLASS, CHUNK = 320, 60, 4, 70
ESTIMATORS: dict[str, dict[str, Any]] = {
    "LabelSpreading": {"alpha": 0.95, "n_neighbors": 8},
    "LabelPropagation": {"n_neighbors": 8},
    "BalancedSpreading": {"n_neighbors": 8},
    "PoissonLearning": {"n_neighbors": 8},
    "PoissonMBO": {"n_neighbors": 8},
    "ModifiedAdsorption": {"n_neighbors": 8},
    "GraphEnsemble": {"n_neighbors": 8},
    "AnchorGraph": {"n_anchors": 60},
    "LabelPropagationRegressor": {"n_neighbors": 8},
    "SelfTrainingClassifier": {"max_iter": 3, "n_folds": 2},
    "CoTrainingClassifier": {"max_iter": 2, "n_folds": 2},
    "TriTrainingClassifier": {"max_iter": 2, "n_folds": 2},
    "DemocraticCoLearningClassifier": {"max_iter": 2, "n_folds": 2},
    "CoForestClassifier": {"n_estimators": 4, "max_iter": 3, "n_folds": 2},
    "MultiViewClassifier": {"max_iter": 2, "n_folds": 2},
    "SemiSupervisedNB": {"max_iter": 5, "n_folds": 2},
}
FITTED = (
    "classes_",
    "transduction_",
    "label_distributions_",
    "abstained_",
    "labeled_iter_",
    "n_iter_",
    "kept_round_",
    "termination_condition_",
    "view_weights_",
    "n_features_in_",
)
FORMS: dict[str, tuple[Callable[[np.ndarray], Any], int]] = {
    "dense": (np.asarray, QUICK),
    "csr": (sp.csr_array, USUAL),
    "dask": (lambda X: da.from_array(X, chunks=(CHUNK, X.shape[1])), USUAL),
    "cluster": (lambda X: da.from_array(X, chunks=(CHUNK, X.shape[1])), FULL),
}
"""Form of the rows -> what makes it of an array, and the smallest size that has it."""


def estimator_cases() -> list[Case]:
    return [
        Case(f"estimator/{name}/{form}", size, partial(estimator_items, name, form))
        for name in ESTIMATORS
        for form, (_, size) in FORMS.items()
    ]


def digits(*, numbers: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, labels with gaps, and rows that are held back."""
    X, y = load_digits(return_X_y=True)
    X = X[: N_ROWS + N_HELD].astype(np.float32)
    known = np.zeros(N_ROWS, bool)
    rng = np.random.default_rng(3)
    for code in range(10):
        known[rng.choice(np.flatnonzero(y[:N_ROWS] == code), SEEDS_OF_A_CLASS, False)] = True
    if numbers:
        return X[:N_ROWS], np.where(known, y[:N_ROWS] * 1.5, np.nan), X[N_ROWS:]
    return X[:N_ROWS], np.where(known, y[:N_ROWS], -1), X[N_ROWS:]


def estimator_items(name: str, form: str, work: Work) -> Items:
    """Fit an estimator and return what it has learned and what it says of rows held back."""
    X, y, held = digits(numbers=name == "LabelPropagationRegressor")
    shape = FORMS[form][0]
    client = work.places.client("cluster") if form == "cluster" else None
    model = getattr(estimators, name)(**ESTIMATORS[name], client=client)
    items: Items = {}
    heard: list[tuple[str, str]] = []
    with heard_warnings(heard):
        model.fit(shape(X), y)
        for key in FITTED:
            if hasattr(model, key):
                items[key] = value_item(getattr(model, key), client)
        for verb in ("predict", "predict_proba"):
            if hasattr(model, verb):
                items[verb] = value_item(getattr(model, verb)(shape(held)), client)
    items["attributes"] = sorted(
        key for key in vars(model) if key.endswith("_") and not key.startswith("_")
    )
    items["rounds"] = len(getattr(model, "rounds_", ()))
    items["warnings"] = [kind for kind, _ in heard]
    items[f"warnings{WORDS}"] = [text for _, text in heard]
    return items


def value_item(value: Any, client: Client | None) -> Any:
    """Return a plain value as it is, of an array the digest, and how its chunks are cut."""
    if isinstance(value, da.Array):
        chunks = [list(map(str, cuts)) for cuts in value.chunks]
        if client is None:
            return [array_digest(value.compute(scheduler="synchronous")), chunks]
        return [array_digest(client.compute(value).result()), chunks]
    if isinstance(value, np.ndarray | np.generic):
        return array_digest(value)
    if isinstance(value, dict):
        return {str(key): value_item(one, client) for key, one in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
