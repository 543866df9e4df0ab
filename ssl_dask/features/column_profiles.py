"""What columns held in the rows of the fit, and whether those of other rows are of the same kind.

Other rows are compared by counts and exact sums, so that the figures do not depend on the blocks.
A column differs where one of these moved, and by more than chance:

- more than 1 % of the values are outside of the range. Of n and m rows of one kind a share of
  2 / (n + 1) of the m is expected there, whatever the distribution is;
- the mean, by more than one standard deviation of the rows of the fit;
- the share of missing cells, by more than 10 points;
- the share of unseen n-grams, or of unknown categories, by more than 10 points. Of a text as those
  of the fit a share of n1 / n is expected, where n1 of n (row, n-gram) pairs are of an n-gram that
  one row alone has (Good, The population frequencies of species, Biometrika 1953, equation 9). Of
  categories none is.

More than chance are 5 standard errors: of shares after the arcsine transformation, which holds for
few rows and for shares near 0 too; of means those of Welch. Fewer than 30 rows are not judged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.features.block_reader import Columns, stack_columns
from ssl_dask.features.categorical_columns import CategorySurvey, OneHotTransform, count_nulls
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.optional_groups import OptionalSurvey, OptionalTransform
from ssl_dask.features.text_columns import TextSurvey
from ssl_dask.features.transform import Block, Transform
from ssl_dask.features.vector_columns import VectorSurvey, as_float32
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.kernels.arithmetic.field_sums import FieldSums

FEWEST_ROWS = 30
"""Rows below which nothing is said of them."""
STANDARD_ERRORS = 5.0
"""What is farther from the rows of the fit is not by chance."""
OUTSIDE = 0.01
"""Share of the values of a column that may be outside of the range."""
MOVED = 0.1
"""How far a share may move."""
DEVIATIONS = 1.0
"""How far a mean may move, in standard deviations."""


@dataclass(frozen=True)
class GroupProfile:
    """What the c columns of a group held in the rows of the fit, by d numbers a row."""

    columns: tuple[str, ...]
    n_rows: int
    missing: Float64
    """float64 (c,): share of the cells that are null."""
    n_values: Int64 = field(repr=False)
    low: Float64 = field(repr=False)
    high: Float64 = field(repr=False)
    mean: Float64 = field(repr=False)
    deviation: Float64 = field(repr=False)
    """(d,) each: of the values; d is c for numbers, the length of vectors, 0 for words."""
    unseen: Float64
    """float64 (c,), of texts (1,), else (0,): share of unseen values in other rows of the kind."""
    known: Bool | None = field(default=None, repr=False)
    """bool (n_features,): n-grams of texts that rows have; None for other kinds."""


@dataclass(frozen=True)
class GroupCounts(FieldSums):
    """What the columns of a group hold in other rows; `+` merges two blocks."""

    n_rows: int
    missing: Int64
    """int64 (c,): null cells."""
    values: ColumnSums
    outside: Int64
    """int64 (d,): values outside of the range of the fit."""
    seen: Int64
    unseen: Int64
    """int64, as `GroupProfile.unseen`: (row, n-gram) pairs or categories, and which are unseen."""


@dataclass(frozen=True)
class ColumnDrift:
    """How a column differs from the rows of the fit; of vectors the worst position counts.

    `outside`: share of the values outside of the range. `mean_shift`: in standard deviations, None
    where these are 0. `missing`, `unseen`: shares, beside those that were to be expected.
    `differs`: what moved too far, in words. `known_before`: that of it which
    `features.unknown_categories` tells before rows are compared.
    """

    group: str
    column: str
    outside: float | None
    mean_shift: float | None
    missing: float
    missing_in_run: float
    unseen: float | None
    unseen_in_run: float | None
    differs: tuple[str, ...]
    known_before: tuple[str, ...] = ()

    @property
    def news(self) -> tuple[str, ...]:
        """What differs and was not told before."""
        return tuple(words for words in self.differs if words not in self.known_before)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures that the column has."""
        figures = {name: value for name, value in asdict(self).items() if value is not None}
        del figures["known_before"]
        return figures


def profile_of(group: FeatureGroup, survey: Any) -> GroupProfile:
    """Return the profile of a group by the statistics that its features are fitted to."""
    n_lacking = 0
    if isinstance(survey, OptionalSurvey):
        n_lacking, survey = survey.n_lacking, survey.statistics
    columns, known, unseen = group.columns(), None, np.zeros(0)
    missing: Any = np.zeros(len(columns))
    sums: Any = survey.sums if isinstance(survey, VectorSurvey) else survey
    if isinstance(survey, TextSurvey | CategorySurvey):
        missing, sums = np.array(survey.missing), ColumnSums.of(np.zeros((survey.n_rows, 0)))
    elif isinstance(survey, ColumnSums):
        missing = survey.missing
    if isinstance(survey, TextSurvey):
        having = survey.rows_having
        known, unseen = having > 0, np.array([(having == 1).sum() / max(having.sum(), 1)])
    elif getattr(group, "encoding", None) == "onehot":
        unseen = np.zeros(len(columns))
    n_rows = sums.n_rows + n_lacking
    return GroupProfile(
        columns,
        n_rows,
        (missing + n_lacking) / n_rows,
        sums.counts,
        sums.minimum,
        sums.maximum,
        sums.mean(),
        sums.std(),
        unseen,
        known,
    )


def count_block(
    group: FeatureGroup, transform: Transform, profile: GroupProfile, columns: Columns, X: Any
) -> GroupCounts:
    """Return the counts of one block, from its columns and the features made of them."""
    n_rows, d = X.shape[0], len(profile.low)
    values: Any = np.zeros((n_rows, d))
    seen = unseen = np.zeros(0, dtype=np.int64)
    if group.kind == "numeric":
        values = stack_columns(columns, profile.columns)
        missing = np.isnan(values).sum(axis=0)
    elif group.kind == "vector":
        vectors = as_float32(columns[profile.columns[0]])
        # A block without any vector does not know their length.
        values = vectors if vectors.shape[1] == d else np.full((n_rows, d), np.nan)
        missing = np.isnan(values).all(axis=1).sum(keepdims=True)
    else:
        missing = np.array([count_nulls(columns[name]) for name in profile.columns])
        if profile.known is not None:
            seen = np.array([X.nnz])
            unseen = np.array([np.count_nonzero(~profile.known[X.indices])])
        elif len(profile.unseen):
            seen = n_rows - missing
            unseen = seen - _known_cells(transform, X)
    outside = ((values < profile.low) | (values > profile.high)).sum(axis=0)
    return GroupCounts(n_rows, missing, ColumnSums.of(values), outside, seen, unseen)


def _known_cells(transform: Transform, X: Block) -> Int64:
    """Return the cells of each column that hold a known category, int64 (c,); nulls hold none."""
    fitted = transform.fitted if isinstance(transform, OptionalTransform) else transform
    assert isinstance(fitted, OneHotTransform)
    categories = [value for values in fitted.categories for value in values]
    column = np.repeat(np.arange(len(fitted.columns)), [len(one) for one in fitted.categories])
    numbers = X.nonzero()[1]
    filled = np.array([value is not None for value in categories], dtype=bool)
    known = column[numbers[filled[numbers]]]
    return np.bincount(known, minlength=len(fitted.columns))


def compare_group(name: str, profile: GroupProfile, counts: GroupCounts) -> list[ColumnDrift]:
    """Return what differs in each column of a group; nothing without rows."""
    if counts.n_rows == 0:
        return []
    found = []
    for j, column in enumerate(profile.columns):
        # One column may hold vectors of many positions.
        at = slice(None) if len(profile.columns) == 1 else slice(j, j + 1)
        outside, beyond = _outside(profile, counts, at)
        shift, moved = _mean_shift(profile, counts, at)
        missing, missing_in_run = counts.missing[j] / counts.n_rows, float(profile.missing[j])
        unseen = unseen_in_run = None
        if j < len(profile.unseen) and counts.seen[j]:
            unseen = float(counts.unseen[j] / counts.seen[j])
            unseen_in_run = float(profile.unseen[j])
        rows = counts.n_rows, profile.n_rows
        differs, known_before = [*beyond, *moved], []
        if has_moved(missing, missing_in_run, *rows):
            differs.append(f"{missing:.1%} are missing, of the run's {missing_in_run:.1%}")
        if unseen is not None and has_moved(unseen, unseen_in_run, *rows):
            what = "categories" if profile.known is None else "words and characters in a row"
            words = (
                f"{unseen:.1%} of the {what} are unknown, {unseen_in_run:.1%} were to be expected"
            )
            differs.append(words)
            known_before += [words] if profile.known is None else []
        found.append(
            ColumnDrift(
                name,
                column,
                outside,
                shift,
                float(missing),
                missing_in_run,
                unseen,
                unseen_in_run,
                tuple(differs) if counts.n_rows >= FEWEST_ROWS else (),
                tuple(known_before),
            )
        )
    return found


def differ(share: Any, in_run: Any, n: Any, n_in_run: Any) -> Any:
    """Return whether shares of n and of n_in_run rows differ by more than chance."""
    apart = 2 * np.abs(np.arcsin(np.sqrt(share)) - np.arcsin(np.sqrt(in_run)))
    return apart > STANDARD_ERRORS * np.sqrt(1 / n + 1 / n_in_run)


def has_moved(share: Any, in_run: Any, n: Any, n_in_run: Any) -> bool:
    """Return whether a share has moved by more than 10 points, and by more than chance."""
    return bool(abs(share - in_run) > MOVED and differ(share, in_run, n, n_in_run))


def _outside(
    profile: GroupProfile, counts: GroupCounts, at: slice
) -> tuple[float | None, list[str]]:
    """Return the largest share of values outside of the range, and what is to be said of it."""
    n, n_in_run = counts.values.counts[at], profile.n_values[at]
    n, k, n_in_run = (one[n > 0] for one in (n, counts.outside[at], n_in_run))
    if len(n) == 0:
        return None, []
    share = k / n
    beyond = (share > OUTSIDE) & (n >= FEWEST_ROWS)
    beyond &= differ(share, np.minimum(2 / (n_in_run + 1), share), n, n_in_run)
    largest = float(share.max())
    words = f"{largest:.1%} of the values are outside of the run's range"
    return largest, [words + _of_positions(beyond)] if beyond.any() else []


def _mean_shift(
    profile: GroupProfile, counts: GroupCounts, at: slice
) -> tuple[float | None, list[str]]:
    """Return how far the mean moved, in deviations, and what is to be said of it."""
    n, unit = counts.values.counts[at], profile.deviation[at]
    rows = np.flatnonzero((n > 0) & (unit > 0))
    if len(rows) == 0:
        return None, []
    mean, deviation = counts.values.mean()[at][rows], counts.values.std()[at][rows]
    n, unit, n_in_run = n[rows], unit[rows], profile.n_values[at][rows]
    # Divided first: squares of large values would overflow.
    shift = mean / unit - profile.mean[at][rows] / unit
    error = np.sqrt((deviation / unit) ** 2 / n + 1 / n_in_run)
    moved = (np.abs(shift) > np.maximum(DEVIATIONS, STANDARD_ERRORS * error)) & (n >= FEWEST_ROWS)
    farthest = float(shift[np.abs(shift).argmax()])
    words = f"the mean is {abs(farthest):,.1f} deviations {'higher' if farthest > 0 else 'lower'}"
    return farthest, [words + _of_positions(moved)] if moved.any() else []


def _of_positions(found: Bool) -> str:
    return f" (in {found.sum()} of {len(found)} positions, the worst)" if len(found) > 1 else ""
