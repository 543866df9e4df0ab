"""scikit-learn's checks of all estimators: one of each base class in the quick suite, whole.

The others run what a method itself may break in the quick suite, and the rest in the slow one.
"""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator

from ssl_dask import estimators as ours

QUICK = {
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_classifiers_train",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
}
IN_GRAPH = "a row without weight as a seed, or one that is there twice, is still part of the graph"
IN_ROUNDS = "rows without weight are no seeds, but rows that are labelled; bounds count rows"
MINUS_ONE = "-1 is unlabelled; scikit-learn knows it of some names only"
NO_ROUND = "where all rows are labelled there is no round"
ON_GRAPH = {
    "check_sample_weight_equivalence_on_dense_data": IN_GRAPH,
    "check_sample_weight_equivalence_on_sparse_data": IN_GRAPH,
}
ROUNDS = {
    "check_sample_weight_equivalence_on_dense_data": IN_ROUNDS,
    "check_sample_weight_equivalence_on_sparse_data": IN_ROUNDS,
    "check_classifiers_classes": MINUS_ONE,
    "check_non_transformer_estimators_n_iter": NO_ROUND,
}
IN_SELF_TRAINING = {
    name: why
    for name, why in ROUNDS.items()
    if name not in ("check_classifiers_classes", "check_sample_weight_equivalence_on_sparse_data")
}
THREE = ["decision_tree", "logistic_regression", DecisionTreeClassifier(max_depth=2)]
WHOLE: list[tuple[Any, dict[str, str]]] = [
    (ours.LabelSpreading(), ON_GRAPH),
    (ours.LabelPropagationRegressor(), ON_GRAPH),
    (ours.SelfTrainingClassifier(max_iter=2, n_folds=2), IN_SELF_TRAINING),
]
OTHERS: list[tuple[Any, dict[str, str]]] = [
    (ours.LabelPropagation(), ON_GRAPH),
    (ours.PoissonLearning(), {**ON_GRAPH, "check_classifiers_classes": MINUS_ONE}),
    (ours.MultiViewClassifier(max_iter=1, n_folds=0), ROUNDS),
    (ours.SemiSupervisedNB(max_iter=2, n_folds=0), ROUNDS),
    (ours.TriTrainingClassifier("decision_tree", n_folds=2), ROUNDS),
    (ours.DemocraticCoLearningClassifier(THREE, n_folds=0), ROUNDS),
    (ours.CoForestClassifier(n_estimators=4, n_folds=0), ROUNDS),
    (ours.CoTrainingClassifier(max_iter=2, n_folds=0), ROUNDS),
]


def name_of(check: Any) -> str:
    """Return the check's name with the parameters that it is bound to."""
    more: dict[str, Any] = {}
    while hasattr(check, "func"):
        more, check = {**check.keywords, **more}, check.func
    return ",".join([check.__name__, *(f"{key}={value}" for key, value in more.items())])


def checks() -> list[Any]:
    params = []
    for estimator, failed in (*WHOLE, *OTHERS):
        whole = any(estimator is one for one, _ in WHOLE)
        for made in estimator_checks_generator(
            estimator, expected_failed_checks=dict(failed), mark="xfail"
        ):
            given, marks = (made.values, made.marks) if hasattr(made, "values") else (made, ())
            name = name_of(given[1])
            if not whole and name not in QUICK:
                marks = (*marks, pytest.mark.slow)
            words = f"{type(estimator).__name__}-{name}"
            params.append(pytest.param(*given, marks=marks, id=words))
    return params


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
@pytest.mark.filterwarnings("ignore:every row has a number in y")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)
