"""Hashed word and character n-grams of texts, and TF-IDF rows.

Counts are those of scikit-learn's stateless `HashingVectorizer` without signs, so a row has the
same counts in any block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Float64, Int64
from ssl_dask.kernels.features.row_transforms import unit_sparse_rows


@dataclass(frozen=True)
class HashedNgrams:
    """Counts word n-grams, character n-grams, or both, in `n_features` columns.

    Examples
    --------
    >>> ngrams = HashedNgrams("word", (1, 1), (1, 1), n_features=16, lowercase=True)
    >>> counts = ngrams.count([np.array(["to be or not to be", None], dtype=object)])
    >>> sorted(counts[[0]].data.tolist()), counts[[1]].nnz
    ([1.0, 1.0, 2.0, 2.0], 0)
    """

    analyzer: str
    """"word", "char", "char_wb", or "word_char": word n-grams in the first half of the columns,
    character n-grams in the second."""
    word_ngrams: tuple[int, int]
    char_ngrams: tuple[int, int]
    """Least and largest n."""
    n_features: int
    """Number of columns; even for "word_char"."""
    lowercase: bool
    """Whether texts are lower-cased first."""

    @property
    def halves(self) -> tuple[int, ...]:
        """Widths of the column ranges that are counted and weighted separately."""
        if self.analyzer == "word_char":
            return (self.n_features // 2, self.n_features // 2)
        return (self.n_features,)

    def count(self, columns: Sequence[npt.NDArray[np.object_]]) -> sp.csr_array:
        """Return the counts of each row, float64 CSR (n, n_features), indices sorted.

        All text columns share the features. Each column rotates them by its own offset, so that a
        word is another feature in another column.

        Parameters
        ----------
        columns
            Object arrays (n,) of str, or None for an empty text.
        """
        halves = [
            reduce(add, self._column_counts(analyzer, width, columns))
            for analyzer, width in zip(self._analyzers(), self.halves, strict=True)
        ]
        counts = halves[0] if len(halves) == 1 else sp.hstack(halves, format="csr")
        counts.sort_indices()
        return counts

    def _analyzers(self) -> tuple[str, ...]:
        return ("word", "char") if self.analyzer == "word_char" else (self.analyzer,)

    def _column_counts(
        self, analyzer: str, width: int, columns: Sequence[npt.NDArray[np.object_]]
    ) -> Iterator[sp.csr_array]:
        # Not before a text is counted: it takes numba.
        from ssl_dask.kernels.features.ngram_counts import count_ngrams

        ngrams = self.word_ngrams if analyzer == "word" else self.char_ngrams
        for number, texts in enumerate(columns):
            counts = count_ngrams(texts, analyzer, ngrams, width, lowercase=self.lowercase)
            yield _rotated(counts, number)


def _rotated(counts: sp.csr_array, number: int) -> sp.csr_array:
    n_features = counts.shape[1]
    offset = number * 0x9E3779B1 % n_features
    indices = ((counts.indices.astype(np.int64) + offset) % n_features).astype(np.int32)
    return sp.csr_array((counts.data, indices, counts.indptr), shape=counts.shape)


def weighted_rows(
    counts: sp.csr_array, halves: Sequence[int], *, idf: Float64 | None, sublinear_tf: bool
) -> sp.csr_array:
    """Return TF-IDF rows of unit length, float32 CSR (n, n_features), sorted.

    Parameters
    ----------
    counts
        Of `HashedNgrams.count`.
    halves
        Widths of the column ranges that are scaled to length 1 separately, then together, so that
        the many character n-grams of a text do not outweigh its few words.
    idf
        float64 (n_features,), or None.
    sublinear_tf
        Whether a count becomes 1 + ln(count).
    """
    values = counts.data.astype(np.float64)
    if sublinear_tf:
        # math.log of each distinct count: vectorised logarithms may differ in the last bit.
        distinct, position = np.unique(values, return_inverse=True)
        values = np.array([1.0 + math.log(count) for count in distinct])[position]
    if idf is not None:
        values = values * idf[counts.indices]
    rows = sp.csr_array((values, counts.indices, counts.indptr), shape=counts.shape)
    if len(halves) > 1:
        bounds = np.cumsum([0, *halves])
        parts = [unit_sparse_rows(rows[:, start:stop]) for start, stop in pairwise(bounds)]
        rows = sp.hstack(parts, format="csr")
    return _float32(unit_sparse_rows(rows))


def _float32(rows: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(
        (
            rows.data.astype(np.float32, copy=False),
            rows.indices.astype(np.int32, copy=False),
            rows.indptr.astype(np.int32, copy=False),
        ),
        shape=rows.shape,
    )


def smooth_idf(n_rows: int, rows_having: Int64) -> Float64:
    """Return the smoothed IDF ln((1 + n_rows) / (1 + rows_having)) + 1, float64 (n_features,).

    >>> smooth_idf(3, np.array([3, 1])).round(4).tolist()
    [1.0, 1.6931]
    """
    return np.log((1.0 + n_rows) / (1.0 + rows_having)) + 1.0
