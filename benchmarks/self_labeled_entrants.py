"""Who labels rows in the benchmark of self-labelling: ssl_dask's methods and their peers.

An entrant is called as `run(X, seeds, random_state)`, seeds with -1 for unlabelled rows, and
returns a class for every row. Two learners are compared like with like: a decision tree, which is
the peers' own default, and logistic regression. "own" is what a library does when nothing is said.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import SelfTrainingClassifier as SklearnSelfTraining
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import (
    CoForestClassifier,
    CoTrainingClassifier,
    DemocraticCoLearningClassifier,
    SelfTrainingClassifier,
    TriTrainingClassifier,
)
from ssl_dask.kernels.learners.co_training import split_columns
from ssl_dask.kernels.learners.supervised_model import SupervisedModel

Run = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

PEERS = ("sslearn", "LAMDA_SSL", "mvlearn")


def installed(package: str) -> bool:
    """Return whether a peer is there."""
    return importlib.util.find_spec(package) is not None


def entrants() -> dict[str, Run]:
    """Return all entrants by name, those of peers that are installed among them."""
    found: dict[str, Run] = {
        "supervised | logistic regression": _supervised,
        "supervised | decision tree": _fitted(lambda state: _tree(state)),
        "self_training | ssl_dask | own": _ours(SelfTrainingClassifier),
        "self_training | scikit-learn | logistic": _scikit_self_training,
        "tri_training | ssl_dask | own": _ours(TriTrainingClassifier),
        "tri_training | ssl_dask | tree": _ours(TriTrainingClassifier, "decision_tree"),
        "tri_training | ssl_dask | logistic": _ours(TriTrainingClassifier, _logistic()),
        "democratic | ssl_dask | own": _ours(DemocraticCoLearningClassifier),
        "democratic | ssl_dask | paper": _ours(DemocraticCoLearningClassifier, _paper_three()),
        "co_forest | ssl_dask | own": _ours(CoForestClassifier),
        "co_forest | ssl_dask | 7 trees": _ours(CoForestClassifier, n_estimators=7),
        "co_training | ssl_dask | own": _ours(CoTrainingClassifier),
        "co_training | ssl_dask | tree": _ours(CoTrainingClassifier, "decision_tree"),
        "co_training | ssl_dask | logistic": _ours(CoTrainingClassifier, _logistic()),
    }
    if installed("sslearn"):
        found |= {
            "tri_training | sslearn | tree": _sslearn("TriTraining", _tree),
            "tri_training | sslearn | logistic": _sslearn("TriTraining", lambda _: _logistic()),
            "democratic | sslearn | paper": _sslearn_democratic,
            "co_forest | sslearn | 7 trees": _sslearn("CoForest", _tree),
            "co_training | sslearn | tree": _sslearn_co_training(_tree),
            "co_training | sslearn | logistic": _sslearn_co_training(lambda _: _logistic()),
        }
    if installed("LAMDA_SSL"):
        found["tri_training | LAMDA-SSL | tree"] = _lamda_tri_training
    if installed("mvlearn"):
        found["co_training | mvlearn | own"] = _mvlearn_co_training
    return found


def two_classes_only(entrant: str) -> bool:
    """Return whether an entrant takes two classes only."""
    return "mvlearn" in entrant


def _tree(random_state: int) -> Any:
    return DecisionTreeClassifier(random_state=random_state)


def _logistic() -> Any:
    return LogisticRegression(max_iter=1000)


def _paper_three() -> list[Any]:
    """Return the learners of democratic co-learning in the paper, and in sslearn."""
    return [DecisionTreeClassifier(), GaussianNB(), KNeighborsClassifier(n_neighbors=3)]


def _fitted(make: Callable[[int], Any]) -> Run:
    def run(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
        given = seeds >= 0
        return make(random_state).fit(X[given], seeds[given]).predict(X)

    return run


def _supervised(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
    given = seeds >= 0
    model = SupervisedModel(int(seeds.max()) + 1)
    return model.fit(X[given], seeds[given].astype(np.int32)).predict(X)


def _ours(kind: Any, *learner: Any, **parameters: Any) -> Run:
    def run(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
        model = kind(*learner, random_state=random_state, **parameters)
        model.fit(X, seeds)
        return model.classes_[model.label_distributions_.argmax(axis=1)]

    return run


def _scikit_self_training(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
    return SklearnSelfTraining(_logistic()).fit(X, seeds).predict(X)


def _sslearn(name: str, make: Callable[[int], Any]) -> Run:
    def run(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
        import sslearn.wrapper

        kind = getattr(sslearn.wrapper, name)
        model = kind(base_estimator=make(random_state), random_state=random_state)
        return model.fit(X, seeds).predict(X)

    return run


def _sslearn_democratic(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
    import sslearn.wrapper

    model = sslearn.wrapper.DemocraticCoLearning(
        base_estimator=_paper_three(), random_state=random_state
    )
    return model.fit(X, seeds).predict(X)


def _sslearn_co_training(make: Callable[[int], Any]) -> Run:
    def run(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
        import sslearn.wrapper

        model = sslearn.wrapper.CoTraining(
            base_estimator=make(random_state), random_state=random_state
        )
        halves = [half.tolist() for half in split_columns(X.shape[1], random_state)]
        return model.fit(X, seeds, features=halves).predict(X)

    return run


def _lamda_tri_training(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
    from LAMDA_SSL.Algorithm.Classification.Tri_Training import Tri_Training

    # It draws from NumPy's global generator.
    np.random.seed(random_state)  # noqa: NPY002
    model = Tri_Training(base_estimator=[_tree(random_state + i) for i in range(3)])
    given = seeds >= 0
    model.fit(X[given], seeds[given], X[~given])
    return model.predict(X)


def _mvlearn_co_training(X: np.ndarray, seeds: np.ndarray, random_state: int) -> np.ndarray:
    from mvlearn.semi_supervised import CTClassifier

    halves = [X[:, half] for half in split_columns(X.shape[1], random_state)]
    model = CTClassifier(random_state=random_state)
    return model.fit(halves, np.where(seeds < 0, np.nan, seeds)).predict(halves).astype(int)
