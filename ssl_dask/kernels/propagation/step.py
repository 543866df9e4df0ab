"""Around a sweep: sources, residuals, counts of changes, and the vector updates of block CG.

Every linear method on a graph is a recurrence

    F_{t+1} = a_t S F_t + b_t F_t + c_t F_{t-1} + d_t B

with S either the random walk D^-1 W or the symmetric D^-1/2 W D^-1/2. With Z = D^-1/2 F the latter
becomes Z_{t+1} = a_t D^-1 W Z_t + ... + d_t D^-1/2 B. So the walk is the only operator: sources
enter as D^-s B and scores leave as D^r Z (`powers` are s and r). Rows of Z and F are proportional,
so they have the same most likely class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int64
from ssl_dask.kernels.distributions.label_distributions import TIE_MARGIN
from ssl_dask.kernels.propagation.sweep import SMALLEST, WalkRows, sweep

SHARE_MOVED = 1e-3
"""A row is unsettled if its share of a class moves by more in a sweep."""


class SparseSources(NamedTuple):
    """The non-zero rows of the right-hand side B in a run of rows."""

    positions: Int64
    """int64 (s,), increasing: rows within the run."""
    values: Float32
    """float32 (s, G * C): B at these rows, in the scale of F."""
    clamped: Bool
    """bool (s, G): whether the row keeps its value in a group of columns."""

    def scaled(self, factor: Float64, dtype: npt.DTypeLike) -> Floating:
        """Return `values` times the `factor` of each row, float64 (n,): the scale of Z."""
        return (self.values * factor[self.positions, None]).astype(dtype)


class SweepCounts(NamedTuple):
    """Changes of a sweep by group of columns: counts and maxima, which merge exactly."""

    changed: Int64
    """int64 (G,): rows whose most likely class changed, or that got or lost one."""
    reached: Int64
    """int64 (G,): rows with their first non-zero score."""
    unsettled: Int64
    """int64 (G,): rows whose share of a class moved by more than `SHARE_MOVED`. Far from the seeds
    scores are tiny, so a small residual does not imply settled shares."""
    step: Float64
    """float64 (G,): largest |F_{t+1} - F_t|."""
    residual: Float64
    """float64 (G,): largest |p S F_t + q B - F_t| of the rows that are not clamped."""
    largest: Float64
    """float64 (G,): largest |F_{t+1}|."""
    class_rows: Int64
    """int64 (C,): rows by most likely class, in the first group."""

    @classmethod
    def none(cls, n_groups: int, n_classes: int) -> SweepCounts:
        """Return the counts of no rows."""
        rows, largest = np.zeros((3, n_groups), dtype=np.int64), np.zeros((3, n_groups))
        per_class = np.zeros(n_classes, dtype=np.int64)
        return cls(rows[0], rows[1], rows[2], largest[0], largest[1], largest[2], per_class)

    def joined(self, other: SweepCounts) -> SweepCounts:
        """Merge the counts of two sets of rows."""
        return SweepCounts(
            self.changed + other.changed, self.reached + other.reached,
            self.unsettled + other.unsettled, np.maximum(self.step, other.step),
            np.maximum(self.residual, other.residual), np.maximum(self.largest, other.largest),
            self.class_rows + other.class_rows,
        )  # fmt: skip


def add_sources(
    out: Floating,
    first: int,
    sources: SparseSources,
    scaled: Floating,
    factor: float,
    start: int,
    stop: int,
    *,
    hold: bool,
) -> None:
    """Add `factor` times the sources of rows `start` to `stop` to `out`, in place.

    Parameters
    ----------
    out
        (., G * C): row `first` belongs to row `start` of the run.
    sources
        Of the run.
    scaled
        (s, G * C), dtype of `out`: the sources in the scale of Z.
    hold
        Whether clamped rows become the source; else they become 0.
    """
    low, high = np.searchsorted(sources.positions, [start, stop])
    if low < high:
        _add_sources(
            out, sources.positions[low:high] + (first - start), scaled[low:high],
            sources.clamped[low:high], out.dtype.type(factor), hold,
        )  # fmt: skip


def plain_rows(rows: WalkRows) -> WalkRows:
    """Return rows without normalisation: `sweep` then gives W Z instead of D^-1 W Z."""
    return rows._replace(inverse_sum=np.ones(rows.n_rows))


def step_with_residual(
    rows: WalkRows,
    plain: WalkRows,
    start: int,
    stop: int,
    first: int,
    Z: Floating,
    out: Floating,
    left: Floating,
    coefficients: tuple[float, float, float, float],
    target: tuple[float, float],
    source: Floating | None = None,
    n_entries: int | None = None,
) -> None:
    """Do the step of `sweep` and compute the residual, for the cost of one sweep.

    The arguments that are not listed are those of `sweep`.

    Parameters
    ----------
    plain
        `plain_rows` of `rows`: both results share its sums.
    out
        (stop - start, K), dtype of `Z`: F_{t-1}, replaced by the F_{t+1} of `sweep`, bit for bit.
    left
        (stop - start, K), dtype of `Z`: replaced by p S Z + q source - Z.
    target
        (p, q).
    """
    left[:] = 0.0
    # A tiny sum is not yet the result, so it is not flushed to 0.
    sweep(plain, start, stop, first, Z, left, 0, (1.0, 0.0, 0.0, 0.0), None, n_entries, 0.0)
    number = Z.dtype.type
    own = slice(first + start, first + stop)
    _finish_both(
        left, rows.inverse_sum[start:stop], Z[own], out,
        out[:0] if source is None else source[own],
        *(number(x) for x in (*coefficients, *target)),
    )  # fmt: skip


def count_changes(
    new: Floating, old: Floating, residual: Floating | None, row_scale: Float64,
    counts: SweepCounts,
) -> None:  # fmt: skip
    """Add the changes of a sweep from `old` to `new`, (n, G * C) each, to `counts`.

    Parameters
    ----------
    residual
        (n, G * C) in the scale of Z, 0 at clamped rows; None: not counted here.
    row_scale
        float64 (n,): F = row_scale * Z.
    """
    given = new[:0] if residual is None else residual
    _count_changes(new, old, given, row_scale, *counts)


@numba.njit(nogil=True, cache=True)
def _finish_both(sums, inverse, Z, out, source, a, b, c, d, p, q):  # type: ignore[no-untyped-def]
    zero = a - a
    into_new = len(source) > 0 and d != zero
    into_left = len(source) > 0 and q != zero
    for i in range(sums.shape[0]):
        factor = a * Z.dtype.type(inverse[i])
        share = p * Z.dtype.type(inverse[i])
        for k in range(sums.shape[1]):
            new = factor * sums[i, k] + b * Z[i, k] + c * out[i, k]
            left = share * sums[i, k] - Z[i, k]
            if into_new:
                new += d * source[i, k]
            if into_left:
                left += q * source[i, k]
            out[i, k] = zero if abs(new) < SMALLEST else new
            sums[i, k] = left


@numba.njit(nogil=True, cache=True)
def _add_sources(out, positions, scaled, clamped, factor, hold):  # type: ignore[no-untyped-def]
    n_classes = out.shape[1] // clamped.shape[1]
    zero = factor - factor
    for seed in range(len(positions)):
        i = positions[seed]
        for k in range(out.shape[1]):
            if clamped[seed, k // n_classes]:
                out[i, k] = scaled[seed, k] if hold else zero
            else:
                new = out[i, k] + factor * scaled[seed, k]
                out[i, k] = zero if abs(new) < SMALLEST else new


@numba.njit(nogil=True, cache=True)
def _count_changes(  # type: ignore[no-untyped-def]
    new_rows, old_rows, residual, row_scale, changed, reached, unsettled, steps, residuals, largest,
    class_rows,
):  # fmt: skip
    # No branches on scores: mispredictions would cost more than the rest.
    n_groups = len(changed)
    n_classes = len(class_rows)
    with_residual = len(residual) > 0
    for i in range(new_rows.shape[0]):
        scale = row_scale[i]
        for g in range(n_groups):
            first = g * n_classes
            old_top = np.float64(old_rows[i, first])
            new_top = np.float64(new_rows[i, first])
            old_total = max(old_top, 0.0)
            new_total = max(new_top, 0.0)
            step = abs(new_top - old_top)
            size = abs(new_top)
            filled = abs(old_top)
            old_best = first
            new_best = first
            for k in range(first + 1, first + n_classes):
                old = np.float64(old_rows[i, k])
                new = np.float64(new_rows[i, k])
                old_total += max(old, 0.0)
                new_total += max(new, 0.0)
                step = max(step, abs(new - old))
                size = max(size, abs(new))
                filled = max(filled, abs(old))
                old_best = k if old > old_top else old_best
                old_top = max(old_top, old)
                new_best = k if new > new_top else new_best
                new_top = max(new_top, new)
            steps[g] = max(steps[g], step * scale)
            largest[g] = max(largest[g], size * scale)
            if with_residual:
                left = 0.0
                for k in range(first, first + n_classes):
                    left = max(left, abs(np.float64(residual[i, k])))
                residuals[g] = max(residuals[g], left * scale)
            # |new / new_total - old / old_total|, without dividing each.
            bound = SHARE_MOVED * old_total * new_total
            moved = 0
            for k in range(first, first + n_classes):
                one = max(np.float64(old_rows[i, k]), 0.0) * new_total
                other = max(np.float64(new_rows[i, k]), 0.0) * old_total
                moved |= abs(other - one) > bound
            had_label = old_top > 0.0
            has_label = new_top > 0.0
            unsettled[g] += moved & had_label & has_label
            reached[g] += (filled == 0.0) & (size > 0.0)
            if had_label != has_label:
                changed[g] += 1
            elif has_label and new_best != old_best:
                # A change of order within rounding does not count.
                lead = new_top - np.float64(new_rows[i, old_best])
                if lead > TIE_MARGIN * new_top:
                    changed[g] += 1
            if g == 0 and has_label:
                class_rows[new_best - first] += 1


@numba.njit(nogil=True, cache=True)
def conjugate_step(
    x: Any, r: Any, direction: Any, image: Any, product: Any, alpha: Any, beta: Any
) -> None:
    """Do the vector updates of one step of block conjugate gradients, in one pass over memory.

    Updates in place: direction = r + beta direction, image = product + beta image = A direction,
    x += alpha direction, r -= alpha image; all (n, K). `product` is A r; `alpha` and `beta`,
    float64 (K,), are the scalars of each column.
    """
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            step = np.float64(r[i, k]) + beta[k] * np.float64(direction[i, k])
            moved = np.float64(product[i, k]) + beta[k] * np.float64(image[i, k])
            direction[i, k] = step
            image[i, k] = moved
            x[i, k] += alpha[k] * step
            r[i, k] -= alpha[k] * moved
