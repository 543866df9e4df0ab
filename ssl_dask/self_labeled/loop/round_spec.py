"""Parameters that methods share which fit learners on labelled rows, and how they are checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.self_labeled.learners.known_learners import LEARNERS
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of, learner_specs
from ssl_dask.self_labeled.loop.round_method import Piece
from ssl_dask.spec_model import SpecModel

TRIAL_ROWS = 24


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


def _learners_of(method: SpecModel, trusted: Collection[str]) -> list[Learner]:
    """Return the learners that a method names; raise JobSpecError where one may not be used."""
    in_pieces = isinstance(method, RoundSpec) and method.fits_in_pieces
    return [learner_of(one, trusted, in_pieces=in_pieces) for one in learner_specs(method)]


def check_learners(
    method: SpecModel, features: Mapping[str, FeatureGroup], trusted: Collection[str]
) -> None:
    """Find out before the work whether a method's learners can be used on groups of features.

    Parameters
    ----------
    features
        Name -> group of features.
    trusted
        Modules whose classes may be named by their path.

    Raises
    ------
    JobSpecError
        A learner may not be used; or it takes dense rows only, and is to learn from texts or hashed
        categories.
    """
    _learners_of(method, trusted)
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


def trial_models(method: SpecModel, trusted: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield name and a fitted model of each learner that may not be storable.

    Those of the registry are, as they come. A learner with parameters, or of another package, is
    fitted on a few made rows; one that cannot be fitted on these is left out.
    """
    for learner in _learners_of(method, trusted):
        known = LEARNERS.get(learner.name)
        if known is not None and learner.parameters == known.defaults:
            continue
        rng = np.random.default_rng(0)
        codes = (np.arange(TRIAL_ROWS) % 2).astype(np.int32)
        X = (rng.random((TRIAL_ROWS, 3)) + codes[:, None]).astype(np.float32)
        ones, seeds = np.ones(TRIAL_ROWS, dtype=np.float32), np.ones(TRIAL_ROWS, dtype=np.bool_)
        piece = Piece(np.arange(TRIAL_ROWS), X, codes, ones, seeds)
        with suppress(QualityError):
            yield learner.name, learner.fit([piece], 2, (0, 0, 0, 0))
