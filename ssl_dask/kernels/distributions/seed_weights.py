"""What a seed stands for where its chance of being labelled is known: groups drawn at rates.

The rows fall into groups, and the seeds of a group are a random sample of its rows (a stratified
sample). A seed of a group of N rows and n seeds stands for N / n rows.

References
----------
L. Kish, "Survey Sampling", 1965, chapter 3 (stratified samples), section 11.7 (effective number).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int32, Int64
from ssl_dask.kernels.distributions.class_mixture import N_DRAWS, SEED
from ssl_dask.kernels.distributions.class_shares import (
    ClassShares,
    shares_of_draws,
)

PRIOR_SEEDS = 0.5
"""Seeds that each class has in each group before any is seen (Jeffreys), as `shares_of_sample`."""


@dataclass(frozen=True)
class SeedStrata:
    """Groups of rows of which the seeds are a random sample each."""

    rows: Int64
    """int64 (H,): rows of each group."""
    of_seed: Int64
    """int64 (S,): group of each seed."""

    def row_weights(self, fair: Bool) -> Float64:
        """Return how many rows each seed stands for, float64 (S,); 0 for seeds not in `fair` (S,).

        Groups without a seed are left out.
        """
        n_seeds = np.bincount(self.of_seed[fair], minlength=len(self.rows))
        each = self.rows / np.maximum(n_seeds, 1)
        return np.where(fair, each[self.of_seed], 0.0)

    def shares(self, codes: Int32, n_classes: int, confidence: float) -> ClassShares:
        """Return the shares of the classes by the seeds, with intervals.

        Parameters
        ----------
        codes
            int32 (S,): their classes; -1 for those that are no part of the sample.

        Notes
        -----
        Draws are of Dirichlet distributions, group by group; a group without a seed may be of any
        class.
        """
        rng, size = np.random.default_rng(SEED), float(self.rows.sum())
        prior = PRIOR_SEEDS
        draws = np.zeros((N_DRAWS, n_classes))
        for group, n_rows in enumerate(self.rows):
            counts = np.bincount(codes[(self.of_seed == group) & (codes >= 0)], minlength=n_classes)
            draws += n_rows / size * rng.dirichlet(counts + prior, N_DRAWS)
        return shares_of_draws(draws, "seeds", confidence)


def effective_weights(weights: Float64, codes: Int32) -> Float64:
    """Return weights float64 (S,) scaled so that those of a class sum to its effective number.

    That is sum(w)^2 / sum(w^2): the seeds of equal weight that would tell as much. Equal weights
    become 1.

    Parameters
    ----------
    weights, codes
        float64 (S,) >= 0 and int32 (S,).

    Examples
    --------
    >>> effective_weights(np.array([1.0, 1, 4]), np.zeros(3, np.int32)).round(2).tolist()
    [0.33, 0.33, 1.33]
    """
    n = int(codes.max(initial=-1)) + 1
    total = np.bincount(codes, weights=weights, minlength=n)
    squares = np.bincount(codes, weights=weights**2, minlength=n)
    scale = np.divide(total, squares, where=squares > 0.0, out=np.zeros(n))
    return weights * scale[codes]
