"""scikit-learn's checks of estimators: all for one of those that share a skin, fewer for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

SHARED = {
    "check_classifier_data_not_an_array",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_f_contiguous_array_estimator",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_score_takes_y",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_sample_weights_list",
    "check_sample_weights_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_pandas_series",
    "check_sample_weights_shape",
    "check_supervised_y_2d",
}
"""What is fitted on kinds of X, y and weights, which the skin turns into what methods get."""


def parametrize_checks(
    whole: Sequence[Any], others: Sequence[Any], failed: Callable[[Any], Mapping[str, str]]
) -> pytest.MarkDecorator:
    """Return `parametrize_with_checks` for estimators, `others` leaving more to the slow suite.

    Parameters
    ----------
    whole
        Run every check in the quick suite.
    others
        Run those of `SHARED`, and repeated ones on read-only memory, in the slow suite.
    failed
        Estimator -> reasons of the checks that are known to fail.
    """
    params, ids = [], []
    for estimator in (*whole, *others):
        for made in estimator_checks_generator(
            estimator, expected_failed_checks=dict(failed(estimator)), mark="xfail"
        ):
            given, marks = (made.values, made.marks) if hasattr(made, "values") else (made, ())
            check = given[1]
            name, more = _name_of(check)
            if estimator in others and (name in SHARED or "readonly_memmap" in more):
                marks = (*marks, pytest.mark.slow)
            params.append(pytest.param(*given, marks=marks))
            words = ",".join([name, *(f"{key}={value}" for key, value in more.items())])
            ids.append(f"{type(estimator).__name__}-{words}")
    return pytest.mark.parametrize(("estimator", "check"), params, ids=ids)


def _name_of(check: Any) -> tuple[str, dict[str, Any]]:
    more: dict[str, Any] = {}
    while hasattr(check, "func"):
        more, check = {**check.keywords, **more}, check.func
    return check.__name__, more
