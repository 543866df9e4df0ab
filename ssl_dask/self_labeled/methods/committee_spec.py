"""What all methods of several learners are asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ssl_dask.self_labeled.loop.round_spec import RoundSpec


class CommitteeSpec(RoundSpec):
    """Rounds of learners that label for each other."""

    max_iter: Annotated[int, Field(ge=1)] = 30
    """Most rounds; most often the bound on errors ends them after a few."""
    patience: Annotated[int, Field(ge=1)] | None = 10
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best; null: the last round answers. The first rounds often lose a little."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of samples and splits, and of learners that are random."""
