"""Vector columns to features, and principal components of dense features (PCA)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating
from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import Columns
from ssl_dask.features.feature_groups import VectorGroup
from ssl_dask.features.numeric_columns import Scaling
from ssl_dask.features.transform import DenseTransform
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums, SecondMoments, quantum_of
from ssl_dask.kernels.arithmetic.offsets import far_offsets, may_be_far
from ssl_dask.kernels.features.row_transforms import project_rows, unit_rows
from ssl_dask.one_thread import one_thread

MAX_PCA_COLUMNS = 2048
"""Most features d for PCA: the covariance matrix takes 8 d^2 bytes, and a task about ten of it."""
NO_VARIANCE = 1e-10
"""A component whose variance, over the largest, is at most this is rounding noise."""


@dataclass(frozen=True)
class VectorSurvey:
    """Exact statistics of vectors; `+` merges two blocks."""

    column: str
    """Name, for messages."""
    sums: ColumnSums | None
    """Of the positions of the vectors as float32; None without rows."""
    n_zero: int
    """Vectors of zeros."""
    exact: ColumnSums | None = None
    """Of the positions in double precision; None if none is far from zero."""

    def __add__(self, other: VectorSurvey) -> VectorSurvey:
        if self.sums is None or other.sums is None:
            return other if self.sums is None else self
        here, there = len(self.sums.sums), len(other.sums.sums)
        if here != there:
            raise InputDataError(
                f"vectors of {min(here, there)} and of {max(here, there)} numbers",
                column=self.column,
                hint="all vectors of a column must be of one length",
            )
        exact = None
        if self.exact is not None and other.exact is not None:
            exact = self.exact + other.exact
        n_zero = self.n_zero + other.n_zero
        return VectorSurvey(self.column, self.sums + other.sums, n_zero, exact)


def survey_vector(group: VectorGroup, columns: Columns) -> VectorSurvey:
    """Return the statistics of one block."""
    X = columns[group.vector]
    if len(X) == 0:
        return VectorSurvey(group.vector, None, 0)
    near = as_float32(X)
    exact = ColumnSums.of(X) if may_be_far(X) else None
    n_zero = int(np.count_nonzero(~near.any(axis=1)))
    return VectorSurvey(group.vector, ColumnSums.of(near), n_zero, exact)


def as_float32(X: Floating) -> Float32:
    """Return vectors as float32; what is too large becomes infinite, and is refused as such."""
    with np.errstate(over="ignore"):
        return np.asarray(X, dtype=np.float32)


@dataclass(frozen=True)
class VectorTransform:
    """Standardises vectors, scales them to unit length, or keeps them."""

    name: str
    column: str
    """Name."""
    width: int
    """Number of features d."""
    scaling: Scaling | None
    """For scale "standard", and where positions are far from zero; else None."""
    unit_length: bool
    """Whether vectors are scaled to length 1."""
    bounds: tuple[Float32, ...] = field(repr=False)
    """float32 (d,) each: smallest, largest and typical value of each feature."""
    notes: tuple[str, ...]
    spread: float
    sparse: bool = False
    far: Bool | None = None
    """bool (d,): positions that are scaled in double precision; None: no position is."""

    def transform(self, columns: Columns) -> Float32:
        """Return the features of a block, float32 (n, d).

        Raises
        ------
        InputDataError
            Vectors of another length than those fitted, or values that are not finite.
        """
        given = columns[self.column]
        X = as_float32(given)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise InputDataError(
                f"features.{self.name}: vectors of shape {X.shape[1:]}, not ({self.width},)",
                column=self.column,
                hint="give vectors of the length that the models were fitted on",
            )
        if not np.isfinite(X).all():
            raise InputDataError(
                f"features.{self.name}: vectors hold values that are missing, infinite or beyond"
                " 3.4e38",
                column=self.column,
                hint="mend or drop these rows",
            )
        if self.unit_length:
            return unit_rows(X)[0]
        if self.far is not None:
            X = np.where(self.far, given, X.astype(np.float64))
        return X if self.scaling is None else self.scaling.apply(X)


def fit_vector(name: str, group: VectorGroup, survey: VectorSurvey) -> VectorTransform:
    """Fit the transform to the statistics of all blocks.

    Raises
    ------
    InputDataError
        Missing or infinite values; vectors of length 0; no rows.
    """
    sums = _usable_sums(name, group.vector, survey)
    notes = []
    width = len(sums.sums)
    scaling = Scaling.of(sums, "standard") if group.scale == "standard" else None
    constant = Scaling.of(sums, "none").constant
    extremes = np.stack([sums.minimum, sums.maximum, sums.mean()])
    far, exact = None, survey.exact
    if exact is not None and group.scale != "l2":
        offsets = far_offsets([(exact.minimum, exact.maximum)])
        far = None if offsets is None else offsets != 0.0
    if far is not None:
        scaling, constant, extremes = _in_double(group, sums, exact, far)
        notes.append(
            f"column {group.vector!r}: {int(far.sum())} of {width} positions are far from zero"
            " against how they vary, and lost that offset before they became float32"
        )
    n_constant = int(constant.sum())
    if n_constant:
        notes.append(
            f"column {group.vector!r}: {n_constant} of {width} positions hold one value only"
        )
    if group.scale == "l2":
        if survey.n_zero:
            notes.append(f"column {group.vector!r}: {survey.n_zero} vectors are zero and stay so")
        ones = np.ones(width, dtype=np.float32)
        bounds, spread = (-ones, ones, 0 * ones), 1.0
    else:
        scaled = extremes.astype(np.float32) if scaling is None else scaling.apply(extremes)
        bounds = tuple(scaled)
        variance = scaling.variance if scaling is not None else sums.std() ** 2
        spread = float(np.sqrt(variance.sum()))
    return VectorTransform(
        name,
        group.vector,
        width,
        scaling,
        group.scale == "l2",
        bounds,
        tuple(notes),
        spread,
        far=far,
    )


def _usable_sums(name: str, column: str, survey: VectorSurvey) -> ColumnSums:
    sums = survey.sums
    if sums is None or len(sums.sums) == 0:
        raise InputDataError(
            f"features.{name}: no row has a vector with numbers",
            column=column,
            hint="take the group out of the features",
        )
    if n_unusable := int(sums.missing.sum() + sums.infinite.sum()):
        raise InputDataError(
            f"features.{name}: vectors hold {n_unusable} values that are missing, infinite or"
            " beyond 3.4e38",
            column=column,
            hint="mend or drop these rows",
        )
    return sums


def _in_double(
    group: VectorGroup, sums: ColumnSums, exact: ColumnSums | None, far: Bool
) -> tuple[Scaling, Bool, Float64]:
    """Return scaling, constant positions and extremes: of those that are far by exact sums."""
    assert exact is not None
    how = "standard" if group.scale == "standard" else "none"
    near, double = Scaling.of(sums, how), Scaling.of(exact, how)
    if how == "none":
        double = replace(double, shift=exact.minimum)
    names = [one.name for one in fields(Scaling)]
    scaling = Scaling(
        **{one: np.where(far, getattr(double, one), getattr(near, one)) for one in names}
    )
    of_both = [np.stack([one.minimum, one.maximum, one.mean()]) for one in (exact, sums)]
    return scaling, scaling.constant, np.where(far, *of_both)


@dataclass(frozen=True)
class ComponentsTransform:
    """Principal components of the features of another transform."""

    base: DenseTransform
    """Makes the features."""
    mean: Float64 = field(repr=False)
    """float64 (d,)."""
    components: Float64 = field(repr=False)
    """float64 (d, m), one component a column, by falling variance; the entry of largest magnitude
    in each is positive."""
    explained_variance: Float64
    """float64 (m,)."""
    notes: tuple[str, ...]
    sparse: bool = False

    @property
    def name(self) -> str:
        """Name of the group."""
        return self.base.name

    @property
    def width(self) -> int:
        """Number of components m."""
        return len(self.explained_variance)

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows."""
        return float(np.sqrt(self.explained_variance.sum()))

    def transform(self, columns: Columns) -> Float32:
        """Return the components of a block, float32 (n, m)."""
        return project_rows(self.base.transform(columns), self.mean, self.components)


def component_problems(
    name: str, n_components: int, transform: DenseTransform, n_rows: int, column: str
) -> list[Problem]:
    """Return why `n_components` principal components cannot be computed, if they cannot."""
    width = transform.width
    limit = min(width, n_rows)
    if width > MAX_PCA_COLUMNS:
        what = f"n_components for {width} columns; at most {MAX_PCA_COLUMNS}"
        hint = "leave n_components out, or shorten the vectors"
    elif n_components > limit:
        what = f"{n_components} components of {width} columns and {n_rows} rows"
        hint = f"n_components: {limit} at most"
    else:
        return []
    return [Problem(f"features.{name}: {what}", column=column, hint=hint)]


def grid_of(transform: DenseTransform) -> tuple[Float64, Float64]:
    """Return (centre, quantum), float64 (d,): the grid on which second moments are summed."""
    low, high, typical = (bound.astype(np.float64) for bound in transform.bounds)
    return typical, quantum_of(np.maximum(high - typical, typical - low))


def survey_moments(transform: DenseTransform, columns: Columns) -> SecondMoments:
    """Return the second moments of one block."""
    centre, quantum = grid_of(transform)
    return SecondMoments.of(transform.transform(columns), centre, quantum)


def fit_components(
    transform: DenseTransform, n_components: int, moments: SecondMoments
) -> ComponentsTransform:
    """Compute principal components from the second moments of all blocks, by LAPACK's `syevr`.

    Costs d^3 flops and about 40 d^2 bytes, on the client. The bits depend on the LAPACK library,
    not on the blocks.
    """
    from scipy.linalg import eigh

    centre, quantum = grid_of(transform)
    covariance = moments.covariance(quantum)
    width = len(centre)
    with one_thread():
        variance, vectors = eigh(covariance, subset_by_index=[width - n_components, width - 1])
    variance, vectors = np.maximum(variance[::-1], 0.0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(n_components)] < 0, -1.0, 1.0)
    total = float(np.trace(covariance))
    notes = list(transform.notes)
    empty = variance <= NO_VARIANCE * max(float(variance[0]), 0.0)
    if empty.any():
        vectors[:, empty] = 0.0
        variance[empty] = 0.0
        notes.append(
            f"features.{transform.name}: {empty.sum()} components vary nowhere and are zero"
        )
    if total > 0:
        share = 100 * float(variance.sum()) / total
        notes.append(
            f"features.{transform.name}: {n_components} components of {width} columns keep"
            f" {share:.1f} % of the variance"
        )
    return ComponentsTransform(
        transform,
        moments.mean(centre, quantum),
        np.ascontiguousarray(vectors),
        variance,
        tuple(notes),
    )
