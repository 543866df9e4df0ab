"""Ids that come more than once in a label file, with one label or with several."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.errors import Caution, Problem
from ssl_dask.labels import UNLABELLED
from ssl_dask.storage.labels.label_places import LabelPlaces

Conflicts = Literal["refuse", "leave_out", "majority"]


def one_label_each(
    ids: pa.Array,
    codes: npt.NDArray[np.int32],
    places: LabelPlaces,
    place: tuple[str, str],
    conflicts: Conflicts,
) -> tuple[pa.Array, npt.NDArray[np.int32], list[Problem], list[str]]:
    """Keep one label of each id.

    Parameters
    ----------
    ids
        Arrow array (S,), without nulls.
    codes
        int32 (S,): label of each.
    places
        Where they stand in the file.
    place
        Path and column of the file.
    conflicts
        As for `read_label_file`.

    Returns
    -------
    Ids and codes, each id once; problems and notes on ids that come more than once.
    """
    shown, column = place
    numbers = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    if (counts == 1).all():
        return ids, codes, [], []
    # Numbers run from 0 in order of first appearance, so that `first` is a table of them.
    differing = np.unique(numbers[codes != codes[first[numbers]]])
    problems, notes, chosen = [], list[str](), codes[first]
    kept = np.ones(len(first), dtype=bool)
    if len(differing) and conflicts == "refuse":
        rows = np.flatnonzero(numbers == differing[0])
        other = rows[codes[rows] != codes[rows[0]]][0]
        message = (
            f"{_ids_come(len(differing))} with different labels, first at"
            f" {places.told(first[differing])}; the first comes again at"
            f" {places.told(np.array([other]))}"
        )
        hint = "keep one label for each id, or set labels.conflicts: majority, or leave_out"
        problems.append(Problem(message, shown, None, column, len(differing), hint))
    elif len(differing):
        chosen[differing] = UNLABELLED
        if conflicts == "majority":
            chosen = _most_frequent(numbers, codes)
        kept = chosen != UNLABELLED
        text = f"{_ids_come(len(differing))} with different labels"
        left = int((~kept).sum())
        notes.append(Caution(f"{shown}: {text}; {left:,} of them are left without a label"))
    if same := int((counts > 1).sum()) - len(differing):
        notes.append(f"{shown}: {_ids_come(same)} more than once with the same label")
    return ids.take(pa.array(first[kept])), chosen[kept], problems, notes


def _most_frequent(
    numbers: npt.NDArray[np.int32], codes: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Return the most frequent code of each number from 0 on; -1 where two are as frequent."""
    pairs, n = np.unique(np.stack([numbers, codes], axis=1), axis=0, return_counts=True)
    order = np.lexsort((n, pairs[:, 0]))
    owner, code, n = pairs[order, 0], pairs[order, 1], n[order]
    last = np.flatnonzero(np.r_[owner[1:] != owner[:-1], True])
    before = np.maximum(last - 1, 0)
    tied = (last > 0) & (owner[before] == owner[last]) & (n[before] == n[last])
    return np.where(tied, UNLABELLED, code[last]).astype(np.int32)


def _ids_come(n: int) -> str:
    return "1 id comes" if n == 1 else f"{n:,} ids come"
