"""One sweep of a propagation method over one strip of the graph.

Every linear method on a graph is a recurrence

    F_{t+1} = a_t S F_t + b_t F_t + c_t F_{t-1} + d_t B

with S either the random walk D^-1 W or the symmetric D^-1/2 W D^-1/2. The latter is similar to
the former: with Z = D^-1/2 F the recurrence becomes Z_{t+1} = a_t D^-1 W Z_t + ... + d_t D^-1/2
B. So W is stored once, unscaled, a strip needs only its own degrees, and `row_scale` (the
square root of the degree, or 1) leads from Z to F. Rows of Z and F are proportional: they have
the same most likely class.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

from ssl_dask.kernels.label_distributions import TIE_MARGIN

Scores = npt.NDArray[np.floating]

SHARE_MOVED = 1e-3
"""A row whose share of a class moves by more in a sweep has not come to rest."""
SMALLEST = float(np.finfo(np.float32).smallest_normal)
"""Smaller scores become 0. Numbers below have few digits left, down to a last one that rounding
never lets go of: they would carry a label on and on without any evidence."""


class StripScaling(NamedTuple):
    """How the rows of a strip are scaled.

    Parameters
    ----------
    inverse_degree
        float64 (n,): 1 / sum of the weights of the row; 0 for a row without edges.
    row_scale
        float64 (n,): F = row_scale * Z.
    """

    inverse_degree: npt.NDArray[np.float64]
    row_scale: npt.NDArray[np.float64]


class StripSeeds(NamedTuple):
    """The seeds among the rows of a strip.

    Parameters
    ----------
    positions
        int64 (s,), increasing: rows within the strip.
    values
        float32 (s, G * C): right-hand side B at these rows, in the scale of F.
    clamped
        bool (s, G): whether the row keeps its value in this group of columns.
    """

    positions: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    clamped: npt.NDArray[np.bool_]


class Coefficients(NamedTuple):
    """Numbers a, b, c, d of one step, and (p, q) of the fixed point F = p S F + q B."""

    a: float
    b: float
    c: float
    d: float
    p: float
    q: float


class SweepCounts(NamedTuple):
    """What a sweep changed, by group of columns. All are counts or maxima: they join exactly.

    Parameters
    ----------
    changed
        int64 (G,): rows whose most likely class is another than before, or that had none.
    reached
        int64 (G,): rows that had no score at all before this sweep and have one now.
    unsettled
        int64 (G,): rows whose share of some class moved by more than `SHARE_MOVED`. Far from the
        seeds scores are tiny, and a small residual says nothing about their shares.
    step
        float64 (G,): largest |F_{t+1} - F_t|.
    residual
        float64 (G,): largest |p S F_t + q B - F_t| of the rows that are not clamped.
    largest
        float64 (G,): largest |F_{t+1}|.
    class_rows
        int64 (C,): rows by most likely class, in the first group.
    """

    changed: npt.NDArray[np.int64]
    reached: npt.NDArray[np.int64]
    unsettled: npt.NDArray[np.int64]
    step: npt.NDArray[np.float64]
    residual: npt.NDArray[np.float64]
    largest: npt.NDArray[np.float64]
    class_rows: npt.NDArray[np.int64]

    def joined(self, other: SweepCounts) -> SweepCounts:
        """Return the counts of both sets of rows together."""
        return SweepCounts(
            self.changed + other.changed,
            self.reached + other.reached,
            self.unsettled + other.unsettled,
            np.maximum(self.step, other.step),
            np.maximum(self.residual, other.residual),
            np.maximum(self.largest, other.largest),
            self.class_rows + other.class_rows,
        )


def strip_scaling(strip: sparse.csr_array, *, symmetric: bool) -> StripScaling:
    """Return the scaling of a strip's rows, for S symmetric or for a random walk.

    Parameters
    ----------
    strip
        Weights (n, N), float32, not negative.
    """
    degree = np.zeros(strip.shape[0])
    _compiled_row_sums()(strip.indptr.astype(np.int64), strip.data, degree)
    positive = degree > 0.0
    inverse = np.divide(1.0, degree, where=positive, out=np.zeros_like(degree))
    # A row without edges keeps its own value; there is nothing to scale.
    scale = np.where(positive, np.sqrt(degree), 1.0) if symmetric else np.ones_like(degree)
    return StripScaling(inverse, scale)


def initial_values(
    n_rows: int,
    seeds: StripSeeds,
    scaling: StripScaling,
    factor: float,
    dtype: npt.DTypeLike = np.float32,
) -> Scores:
    """Return Z_0, `dtype` (n, G * C): `factor` times B, or B itself where a row is clamped."""
    Z = np.zeros((n_rows, seeds.values.shape[1]), dtype=dtype)
    if len(seeds.positions):
        n_classes = seeds.values.shape[1] // seeds.clamped.shape[1]
        clamped = np.repeat(seeds.clamped, n_classes, axis=1)
        start = np.where(clamped, seeds.values, factor * seeds.values.astype(np.float64))
        Z[seeds.positions] = start / scaling.row_scale[seeds.positions, None]
    return Z


def sweep_strip(
    strip: sparse.csr_array,
    Z: Scores,
    first_row: int,
    Z_before: Scores,
    seeds: StripSeeds,
    scaling: StripScaling,
    coefficients: Coefficients,
) -> tuple[Scores, SweepCounts]:
    """Return the strip's rows of Z_{t+1}, and what changed.

    Each row is a sum over its neighbours in the order of their numbers, in float64, rounded once
    to the type of Z: the bits of a row depend neither on the strip it lies in nor on the number of
    columns.

    Parameters
    ----------
    strip
        Weights (n, N), float32: rows `first_row` to `first_row + n` of W.
    Z
        float32 or float64 (N, G * C): Z_t of all rows.
    Z_before
        (n, G * C), of the same type: Z_{t-1} of the strip's rows.

    Notes
    -----
    Memory: (N + 2 n) G C numbers. Time: one multiplication and addition for each edge and column.
    """
    new = np.empty((strip.shape[0], Z.shape[1]), dtype=Z.dtype)
    own = Z[first_row : first_row + strip.shape[0]]
    n_groups = seeds.clamped.shape[1]
    n_classes = Z.shape[1] // n_groups
    counts = SweepCounts(
        np.zeros(n_groups, dtype=np.int64),
        np.zeros(n_groups, dtype=np.int64),
        np.zeros(n_groups, dtype=np.int64),
        np.zeros(n_groups),
        np.zeros(n_groups),
        np.zeros(n_groups),
        np.zeros(n_classes, dtype=np.int64),
    )
    _compiled_sweep()(
        new,
        strip.indptr.astype(np.int64),
        strip.indices,
        strip.data,
        Z,
        own,
        Z_before,
        scaling.inverse_degree,
        scaling.row_scale,
        seeds.positions,
        seeds.values,
        seeds.clamped,
        np.array(coefficients, dtype=np.float64),
        *counts,
    )
    return new, counts


@lru_cache(maxsize=1)
def _compiled_row_sums() -> Any:
    data = numba.types.Array(numba.float32, 1, "C", readonly=True)
    signature = numba.void(numba.int64[::1], data, numba.float64[::1])
    return numba.njit([signature], nogil=True, cache=True)(_add_rows)


def _add_rows(indptr, data, sums):  # type: ignore[no-untyped-def]
    """Add the entries of each row from left to right: np.add.reduceat's order is not promised."""
    for i in range(len(sums)):
        for entry in range(indptr[i], indptr[i + 1]):
            sums[i] += np.float64(data[entry])


@lru_cache(maxsize=1)
def _compiled_sweep() -> Any:
    """Compile `_finish_rows` once, at its first use, for arrays that may be read-only."""
    f32_2d = numba.types.Array(numba.float32, 2, "C", readonly=True)
    f64_1d = numba.types.Array(numba.float64, 1, "C", readonly=True)
    i64_1d = numba.types.Array(numba.int64, 1, "C", readonly=True)
    bool_2d = numba.types.Array(numba.boolean, 2, "C", readonly=True)
    counts = (*(numba.int64[::1],) * 3, *(numba.float64[::1],) * 3)
    f32_1d = numba.types.Array(numba.float32, 1, "C", readonly=True)
    signatures = []
    for index, number in itertools.product(
        (numba.int32, numba.int64), (numba.float32, numba.float64)
    ):
        indices = numba.types.Array(index, 1, "C", readonly=True)
        scores = numba.types.Array(number, 2, "C", readonly=True)
        signatures.append(
            numba.void(
                number[:, ::1],
                *(i64_1d, indices, f32_1d, scores, scores, scores),
                *(f64_1d, f64_1d, i64_1d, f32_2d, bool_2d, f64_1d),
                *counts,
                numba.int64[::1],
            )
        )
    return numba.njit(signatures, nogil=True, cache=True)(_sweep_rows)


def _sweep_rows(  # type: ignore[no-untyped-def]
    new_rows, indptr, indices, data, Z, own, before, inverse_degree, row_scale, seed_rows,
    seed_values, clamped, coefficients, changed, reached, unsettled, steps, residuals, largest,
    class_rows,
):  # fmt: skip
    """Write the rows of Z_{t+1} to `new_rows`, and count what changed."""
    a, b, c = coefficients[0], coefficients[1], coefficients[2]
    d, p, q = coefficients[3], coefficients[4], coefficients[5]
    n_groups = len(changed)
    n_classes = len(class_rows)
    next_seed = 0
    walk_sums = np.zeros(Z.shape[1])
    for i in range(new_rows.shape[0]):
        walk_sums[:] = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            weight = np.float64(data[entry])
            neighbour = Z[indices[entry]]
            for k in range(len(walk_sums)):
                walk_sums[k] += weight * np.float64(neighbour[k])
        seed = -1
        if next_seed < len(seed_rows) and seed_rows[next_seed] == i:
            seed = next_seed
            next_seed += 1
        scale = row_scale[i]
        for g in range(n_groups):
            first = g * n_classes
            held = seed >= 0 and clamped[seed, g]
            for k in range(first, first + n_classes):
                walk = walk_sums[k] * inverse_degree[i]
                source = np.float64(0.0)
                if seed >= 0:
                    source = seed_values[seed, k] / scale
                old = np.float64(own[i, k])
                new = a * walk + b * old + c * np.float64(before[i, k]) + d * source
                if abs(new) < SMALLEST:
                    new = np.float64(0.0)
                if held:
                    new = source
                else:
                    residual = abs(p * walk + q * source - old) * scale
                    residuals[g] = max(residuals[g], residual)
                new_rows[i, k] = new
            old_total = 0.0
            new_total = 0.0
            for k in range(first, first + n_classes):
                old_total += max(np.float64(own[i, k]), 0.0)
                new_total += max(np.float64(new_rows[i, k]), 0.0)
            moved = 0.0
            if old_total > 0.0 and new_total > 0.0:
                for k in range(first, first + n_classes):
                    old_share = max(np.float64(own[i, k]), 0.0) / old_total
                    new_share = max(np.float64(new_rows[i, k]), 0.0) / new_total
                    moved = max(moved, abs(new_share - old_share))
            if moved > SHARE_MOVED:
                unsettled[g] += 1
            old_best = first
            new_best = first
            was_empty = True
            is_empty = True
            for k in range(first, first + n_classes):
                if own[i, k] > own[i, old_best]:
                    old_best = k
                if new_rows[i, k] > new_rows[i, new_best]:
                    new_best = k
                was_empty = was_empty and own[i, k] == 0.0
                is_empty = is_empty and new_rows[i, k] == 0.0
                step = abs(np.float64(new_rows[i, k]) - np.float64(own[i, k])) * scale
                steps[g] = max(steps[g], step)
                largest[g] = max(largest[g], abs(new_rows[i, k]) * scale)
            had_label = own[i, old_best] > 0.0
            has_label = new_rows[i, new_best] > 0.0
            if was_empty and not is_empty:
                reached[g] += 1
            if had_label != has_label:
                changed[g] += 1
            elif has_label and new_best != old_best:
                # Two classes that rounding alone sets in order do not make a row restless.
                lead = np.float64(new_rows[i, new_best]) - np.float64(new_rows[i, old_best])
                if lead > TIE_MARGIN * new_rows[i, new_best]:
                    changed[g] += 1
            if g == 0 and has_label:
                class_rows[new_best] += 1
