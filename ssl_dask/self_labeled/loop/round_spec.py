"""Parameters that methods share which fit learners on labelled rows, and how they are checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from ssl_dask.errors import JobSpecError
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.self_labeled.learners.learner_spec import (
    LearnerSpec,
    learner_of,
    learner_specs,
    learners_of,
)
from ssl_dask.spec_model import SpecModel


class RoundSpec(SpecModel):
    """Rounds in which learners are fitted on seeds and pseudo-labels."""

    fits_in_pieces: ClassVar[bool] = False
    """Whether learners may have `partial_fit`."""

    max_fit_rows: Annotated[int, Field(ge=1)] | None = None
    """Most rows that one fit takes: with more labels the seeds, and a pseudo-random choice of the
    other rows; with `partial_fit` of the learner all rows, in pieces of so many. A worker holds
    them twice. null: as many as fill 256 MiB, at least 20,000."""

    def learners_of_group(self, group: str, groups: Sequence[str]) -> list[LearnerSpec]:
        """Return the learners that see a group of features, of all these groups."""
        return learner_specs(self)

    def with_learners(self, **learners: Any) -> Self:
        """Return the same with each `Learner` of a Python program where a job names one."""
        return self.model_copy(update=learners)


class CommitteeSpec(RoundSpec):
    """Rounds of learners that label for each other."""

    max_iter: Annotated[int, Field(ge=1)] = 30
    """Most rounds; most often the bound on errors ends them after a few."""
    patience: Annotated[int, Field(ge=1)] | None = 10
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best; null: the last round answers. The first rounds often lose a little."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of samples and splits, and of learners that are random."""


def check_learners(
    method: SpecModel, features: Mapping[str, FeatureGroup], trusted: Collection[str]
) -> None:
    """Find out before the work whether a method's learners can be used on groups of features.

    Parameters
    ----------
    features
        Name -> group of features.
    trusted
        See `learner_of`.

    Raises
    ------
    JobSpecError
        A learner may not be used, see `learner_of`; or it takes dense rows only, and is to learn
        from texts or hashed categories.
    """
    learners_of(method, trusted)
    if not isinstance(method, RoundSpec):
        return
    in_pieces = method.fits_in_pieces
    for name in [name for name, group in features.items() if group.surely_sparse]:
        for spec in method.learners_of_group(name, list(features)):
            if not learner_of(spec, trusted, in_pieces=in_pieces).takes_sparse:
                raise JobSpecError(
                    f"method: {spec.name} takes dense rows only, and those of features.{name} are"
                    " sparse",
                    hint="take another learner, such as logistic_regression or multinomial_nb",
                )
