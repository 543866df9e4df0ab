"""Votes of the members of a committee, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_dask.array_types import Float32, Int32
from ssl_dask.kernels.distributions.class_votes import vote_shares
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.rows.block_rows import BlockRows


def votes_of(models: Sequence[FittedLearner], block: BlockRows) -> Int32:
    """Return the class that each model names, int32 (n, L): of equals the smaller code."""
    votes = np.empty((block.n_rows, len(models)), dtype=np.int32)
    for place, model in enumerate(models):
        votes[:, place] = model.probabilities(block.only, block.place).argmax(axis=1)
    return votes


def joint_distributions(
    models: Sequence[FittedLearner],
    block: BlockRows,
    voting: str,
    weights: Sequence[float] | None = None,
) -> Float32:
    """Return class distributions float32 (n, C) of a block by several models.

    Parameters
    ----------
    models
        L of them.
    voting
        "soft": the weighted mean of their probabilities; "hard": the share of their votes.
    weights
        At least 0, some above; None: 1 each. Not used by "hard".
    """
    if voting == "hard":
        return vote_shares(votes_of(models, block), models[0].n_classes)
    weights = [1.0] * len(models) if weights is None else weights
    total: Any = 0.0
    # Added in the order of the models: a sum over an axis may be added in another.
    for model, weight in zip(models, weights, strict=True):
        total = total + weight * model.probabilities(block.only, block.place)
    return (total / sum(weights)).astype(np.float32)
