"""The interface of fitted transforms: columns of a block to features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

import scipy.sparse as sp

from ssl_dask.array_types import Float32
from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import Columns

Block: TypeAlias = Float32 | sp.csr_array
"""Features of one block, float32 (n, d): dense, or CSR."""


class Transform(Protocol):
    """A fitted transform; small and picklable."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the columns, a sentence each."""

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR."""

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows; of dense rows, of their distance to the mean."""

    @property
    def width(self) -> int:
        """Number of features d."""

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block.

        Raises
        ------
        InputDataError
            Missing, infinite or too large values where the group allows none.
        """


class DenseTransform(Transform, Protocol):
    """A transform to dense features of known range: principal components can be taken of them."""

    @property
    def name(self) -> str:
        """Name of the group."""

    @property
    def bounds(self) -> tuple[Float32, ...]:
        """Smallest, largest and typical value of each feature, float32 (d,) each."""

    def transform(self, columns: Columns) -> Float32:
        """Return the features of a block, float32 (n, d)."""


def count_problems(
    what: str, columns: Iterable[str], counts: Iterable[int], hint: str | None
) -> list[Problem]:
    """Return one problem for each column whose count is not 0.

    Parameters
    ----------
    what
        The message, with `{count}` where the count stands.
    columns, counts
        Column names, and how many cells of each are wrong.
    hint
        The cure.
    """
    return [
        Problem(what.format(count=count), column=column, rows=count, hint=hint)
        for column, count in zip(columns, map(int, counts), strict=True)
        if count
    ]


def refuse_counted(
    what: str, columns: Iterable[str], counts: Iterable[int], hint: str | None
) -> None:
    """Raise `InputDataError` with the problems of `count_problems`, if there are any."""
    if problems := count_problems(what, columns, counts, hint):
        raise InputDataError(problems)
