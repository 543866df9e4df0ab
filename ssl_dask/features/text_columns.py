"""Text columns to hashed word and character n-grams, weighted by TF-IDF."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float64, Int64
from ssl_dask.errors import InputDataError
from ssl_dask.features.block_reader import Columns
from ssl_dask.features.categorical_columns import count_nulls, refuse_nulls
from ssl_dask.features.feature_groups import TextGroup
from ssl_dask.features.transform import refuse_counted
from ssl_dask.kernels.features.hashed_ngrams import HashedNgrams, smooth_idf, weighted_rows


@dataclass(frozen=True)
class TextSurvey:
    """Counts over rows of text; `+` merges two blocks."""

    n_rows: int
    """Rows seen."""
    n_empty: int
    """Rows without n-grams."""
    missing: tuple[int, ...]
    """Nulls of each column."""
    rows_having: Int64
    """int64 (n_features,): document frequency, the number of rows with a feature."""

    def __add__(self, other: TextSurvey) -> TextSurvey:
        return TextSurvey(
            self.n_rows + other.n_rows,
            self.n_empty + other.n_empty,
            tuple(a + b for a, b in zip(self.missing, other.missing, strict=True)),
            self.rows_having + other.rows_having,
        )


def _ngrams_of(group: TextGroup) -> HashedNgrams:
    return HashedNgrams(
        group.analyzer, group.word_ngrams, group.char_ngrams, group.n_features, group.lowercase
    )


def survey_text(group: TextGroup, columns: Columns) -> TextSurvey:
    """Return the counts of one block; hashes its texts, as the transform does again."""
    counts = _ngrams_of(group).count([columns[name] for name in group.text])
    return TextSurvey(
        counts.shape[0],
        int(np.count_nonzero(np.diff(counts.indptr) == 0)),
        tuple(count_nulls(columns[name]) for name in group.text),
        np.bincount(counts.indices, minlength=group.n_features).astype(np.int64),
    )


@dataclass(frozen=True)
class TextTransform:
    """TF-IDF rows of unit length; 8 bytes a feature when pickled."""

    name: str
    columns: tuple[str, ...]
    """Names of the columns."""
    missing: str
    ngrams: HashedNgrams
    """Counts word and character n-grams."""
    idf: Float64 | None = field(repr=False)
    """float64 (n_features,), or None."""
    sublinear_tf: bool
    notes: tuple[str, ...]
    spread: float = 1.0
    sparse: bool = True

    @property
    def width(self) -> int:
        """Number of features."""
        return self.ngrams.n_features

    def transform(self, columns: Columns) -> sp.csr_array:
        """Return the features of a block, float32 CSR (n, n_features), int32 indices, sorted.

        Raises
        ------
        InputDataError
            A null where none is allowed.
        """
        if self.missing == "error":
            refuse_nulls(self.name, self.columns, columns)
        return weighted_rows(
            self.ngrams.count([columns[name] for name in self.columns]),
            self.ngrams.halves,
            idf=self.idf,
            sublinear_tf=self.sublinear_tf,
        )


def fit_text(name: str, group: TextGroup, survey: TextSurvey) -> TextTransform:
    """Fit the transform to the counts of all blocks.

    Raises
    ------
    InputDataError
        Nulls where none are allowed; no text has an n-gram.
    """
    if group.missing == "error":
        what, hint = f"features.{name}: {{count}} missing values", "set missing: empty"
        refuse_counted(what, group.text, survey.missing, hint)
    if survey.n_empty == survey.n_rows:
        raise InputDataError(
            f"features.{name}: no row has any text",
            column=group.text[0],
            rows=survey.n_rows,
            hint="take the group out of the features",
        )
    notes = []
    if survey.n_empty:
        notes.append(f"features.{name}: {survey.n_empty} rows have no text and no features")
    for column, n_missing in zip(group.text, survey.missing, strict=True):
        if n_missing:
            notes.append(f"column {column!r}: {n_missing} missing values became empty texts")
    return TextTransform(
        name,
        group.text,
        group.missing,
        _ngrams_of(group),
        smooth_idf(survey.n_rows, survey.rows_having) if group.tfidf else None,
        group.sublinear_tf,
        tuple(notes),
    )
