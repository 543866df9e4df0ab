"""Which piece each labelled row is learned from, where a model is fitted piece by piece."""

from __future__ import annotations

import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.kernels.arithmetic.row_keys import row_keys

PIECES_MIXED = 32
"""Pieces whose rows are mixed with each other: files are often sorted by class, and a model that
saw one class after the other would forget the first. Each block is read once for each of them."""
PIECE_KEY = 4
"""Purpose of the pseudo-random numbers that mix rows."""


def piece_count(n_rows: int, most: int) -> int:
    """Return into how many pieces of at most `most` rows `n_rows` rows are cut."""
    whole, rest = divmod(n_rows, PIECES_MIXED * most)
    return whole * PIECES_MIXED + -(-rest // most)


def mixed_ranks(piece: int, n_rows: int, most: int) -> tuple[int, int]:
    """Return the first rank that may be of a piece, and the one after the last."""
    first = piece // PIECES_MIXED * PIECES_MIXED * most
    return first, min(first + PIECES_MIXED * most, n_rows)


def piece_numbers(ranks: Int64, n_rows: int, most: int, random_state: int) -> Int64:
    """Return the piece of each row, int64 (n,), from 0 to `piece_count` - 1.

    Runs of 32 `most` rows are dealt out to their pieces, one row of so many neighbours to each, in
    an order that turns at random: no piece has more than `most` rows, none is more than a row
    larger than another of its run, and a piece has rows from all over its run, also where classes
    take turns in it.

    Parameters
    ----------
    ranks
        int64 (n,): how many labelled rows stand before each. What a row gets depends on nothing
        else, hence not on the blocks.
    n_rows
        Labelled rows in all.
    most
        Most rows of a piece.
    random_state
        Another number deals them otherwise.
    """
    run, rank = np.divmod(ranks, PIECES_MIXED * most)
    first = run * (PIECES_MIXED * most)
    size = np.minimum(n_rows - first, PIECES_MIXED * most)
    pieces = -(-size // most)
    place = rank % pieces
    turn = row_keys(ranks - place, PIECE_KEY, random_state) % pieces.astype(np.uint64)
    return run * PIECES_MIXED + (place + turn.astype(np.int64)) % pieces
