"""Random walk probabilities of modified adsorption: inject, continue, abandon."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Integer


class WalkChoice(NamedTuple):
    """Probabilities at each node, float64 (n,) each; they sum to 1."""

    inject: Float64
    """The walk ends with the label of the node; 0 without a label."""
    go_on: Float64
    """The walk continues to a neighbour."""
    abandon: Float64
    """The walk ends with the dummy label."""


def neighbour_entropy(indptr: Integer, data: Float32) -> Float64:
    """Return the entropy of the transition of each row of a CSR matrix, in nats, float64 (n,).

    Summed in the order of the entries; 0 for a row with at most one entry.
    """
    entropy = np.empty(len(indptr) - 1)
    _add_entropies(
        np.ascontiguousarray(indptr, dtype=np.int64), np.ascontiguousarray(data), entropy
    )
    return entropy


def walk_choice(entropy: Float64, labelled: Bool, beta: float) -> WalkChoice:
    """Return the probabilities of the three choices.

    Parameters
    ----------
    entropy
        float64 (n,), of `neighbour_entropy`, in nats.
    labelled
        bool (n,).
    beta
        > 1; a larger value lets walks continue at nodes with many neighbours.

    References
    ----------
    P. P. Talukdar, K. Crammer: New Regularized Algorithms for Transductive Learning, ECML PKDD
    2009, section 2 (after S. Baluja et al., WWW 2008).
    """
    go_on = np.log(beta) / np.log(beta + np.exp(entropy))
    inject = np.where(labelled, (1.0 - go_on) * np.sqrt(entropy), 0.0)
    total = np.maximum(go_on + inject, 1.0)
    go_on, inject = go_on / total, inject / total
    return WalkChoice(inject, go_on, np.maximum(1.0 - go_on - inject, 0.0))


@numba.njit(nogil=True, cache=True)
def _add_entropies(indptr, data, entropy):  # type: ignore[no-untyped-def]
    for i in range(len(entropy)):
        total = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[entry])
        h = 0.0
        if total > 0.0:
            for entry in range(indptr[i], indptr[i + 1]):
                share = np.float64(data[entry]) / total
                if share > 0.0:
                    h -= share * np.log(share)
        entropy[i] = max(h, 0.0)
