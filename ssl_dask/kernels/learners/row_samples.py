"""Random samples of labelled rows for fits: bootstrap, copies by weight, and mini-batches.

Every draw is a hash of (key, row number), so it does not depend on the blocks.
"""

from __future__ import annotations

import numpy as np

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys

MOST_COPIES = 10
"""Copies of the heaviest row, so that one light seed does not multiply all other rows."""
PIECES_MIXED = 32
"""Pieces whose rows are mixed with each other: files are often sorted by class, and a model that
saw one class after the other would forget the first. Each block is read once for each of them."""


def stratified_bootstrap(rows: Int64, codes: Int32, *key: int) -> Int64:
    """Draw a bootstrap sample within each class: as many rows as it has, with replacement.

    Parameters
    ----------
    rows
        int64 (n,): row numbers, ascending.
    codes
        int32 (n,): their classes.
    key
        As for `row_keys`: another key gives another sample.

    Returns
    -------
    int64 (n,): positions in `rows`, ascending, some more than once.

    Examples
    --------
    >>> stratified_bootstrap(np.arange(6), np.array([0, 0, 0, 1, 1, 1], dtype=np.int32), 7).tolist()
    [0, 0, 2, 4, 4, 4]
    """
    order = np.argsort(codes, kind="stable")
    by_class = codes[order]
    first = np.searchsorted(by_class, by_class, side="left")
    count = np.searchsorted(by_class, by_class, side="right") - first
    draws = row_keys(rows[order], *key) >> np.uint64(32)
    chosen = first + ((draws * count.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
    return np.sort(order[chosen])


def weight_unit(least_given: float, heaviest: float) -> float:
    """Return the weight that corresponds to one copy of a row.

    Parameters
    ----------
    least_given
        Smallest weight of a row that must not be lost; infinite without such rows.
    heaviest
        Largest weight of all rows.
    """
    return max(min(least_given, heaviest), heaviest / MOST_COPIES)


def copies_by_weight(rows: Int64, weights: Float32, given: Bool, unit: float, *key: int) -> Int64:
    """Round weights to numbers of copies at random, for models without weights; int64 (n,).

    A row gets the whole part of weight / unit copies, and one more with the remainder as its
    probability. The draw is the row's own: a row that gets heavier is never dropped.

    Parameters
    ----------
    rows
        int64 (n,): their numbers.
    weights
        float32 (n,), above 0.
    given
        bool (n,): rows that get at least one copy.
    unit
        Of `weight_unit`.
    key
        As for `row_keys`.
    """
    share = weights.astype(np.float64) / unit
    whole = np.floor(share)
    chance = (row_keys(rows, Purpose.COPIES, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    copies = whole.astype(np.int64) + (chance < share - whole)
    return np.where(given, np.maximum(copies, 1), copies)


def piece_count(n_rows: int, most: int) -> int:
    """Return how many pieces of at most `most` rows `n_rows` rows are cut into.

    >>> piece_count(250, most=100)
    3
    """
    whole, rest = divmod(n_rows, PIECES_MIXED * most)
    return whole * PIECES_MIXED + -(-rest // most)


def mixed_ranks(piece: int, n_rows: int, most: int) -> tuple[int, int]:
    """Return the range (first, stop) of the ranks that a piece may hold."""
    first = piece // PIECES_MIXED * PIECES_MIXED * most
    return first, min(first + PIECES_MIXED * most, n_rows)


def piece_numbers(ranks: Int64, n_rows: int, most: int, random_state: int) -> Int64:
    """Return the piece of each row, int64 (n,), from 0 to `piece_count` - 1.

    A run of 32 `most` rows is dealt to its pieces in turns: of as many neighbouring rows as there
    are pieces each piece gets one, and each turn begins at a random piece. So a piece has at most
    `most` rows, pieces of a run differ by one row at most, and each piece samples its whole run,
    also where classes alternate in it.

    Parameters
    ----------
    ranks
        int64 (n,): number of labelled rows before each row. The piece depends on nothing else,
        hence not on the blocks.
    n_rows
        Labelled rows in all.
    most
        Most rows of a piece.
    random_state
        Chooses where each turn begins.
    """
    run, rank = np.divmod(ranks, PIECES_MIXED * most)
    first = run * (PIECES_MIXED * most)
    size = np.minimum(n_rows - first, PIECES_MIXED * most)
    pieces = -(-size // most)
    place = rank % pieces
    turn = row_keys(ranks - place, Purpose.PIECES, random_state) % pieces.astype(np.uint64)
    return run * PIECES_MIXED + (place + turn.astype(np.int64)) % pieces
