"""The types that stored models are made of, and whether a job's models can be stored."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from ssl_dask.errors import JobSpecError
from ssl_dask.features.categorical_columns import HashedCategoriesTransform, OneHotTransform
from ssl_dask.features.column_profiles import GroupProfile
from ssl_dask.features.numeric_columns import NumericTransform, Scaling
from ssl_dask.features.optional_groups import OptionalTransform
from ssl_dask.features.text_columns import TextTransform
from ssl_dask.features.vector_columns import ComponentsTransform, VectorTransform
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.features.hashed_ngrams import HashedNgrams
from ssl_dask.methods import METHODS
from ssl_dask.storage.runs.model_files import NotStorableError, model_bytes

FEATURE_TYPES = (
    ComponentsTransform,
    GroupProfile,
    HashedCategoriesTransform,
    HashedNgrams,
    NumericTransform,
    OneHotTransform,
    OptionalTransform,
    Scaling,
    TextTransform,
    VectorTransform,
)
"""Fitted features, and what their columns held."""


@cache
def own_types() -> frozenset[str]:
    """Return the types of this package that stored models are made of."""
    of_methods = (kind for name in METHODS for kind in METHODS[name].model_types)
    return frozenset(
        f"{one.__module__}.{one.__qualname__}" for one in (*FEATURE_TYPES, *of_methods)
    )


def check_models(spec: JobSpec, trusted: Collection[str]) -> None:
    """Find out before the work whether learners can be used, and their models stored if asked for.

    Where a learner cannot be fitted on a few made rows nothing is known, and the run's warnings
    say at its end what became of the models.

    Raises
    ------
    JobSpecError
        A learner cannot be used on the job's features, or its models cannot be stored.
    """
    METHODS[spec.method.name].check_learners(spec.method, spec.features, trusted)
    if not spec.output.models:
        return
    for name, model in METHODS[spec.method.name].trial_models(spec.method, trusted):
        try:
            model_bytes(model, own_types(), trusted)
        except NotStorableError as error:
            raise JobSpecError(
                f"output.models: a model of {name} cannot be stored: {error}",
                hint="leave output.models out, or take another learner",
            ) from None
