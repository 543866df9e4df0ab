"""How many tasks rounds of self-labelling take: what `run_rounds` makes, counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssl_dask.features.block_reader import MERGE_WIDTH

PER_STORED_BLOCK = 4
"""Its labels are packed, written, read and unpacked."""


@dataclass(frozen=True)
class RoundTasks:
    """Counts the tasks of the rounds of one run, over the track of all seeds and those of folds."""

    n_blocks: int
    """B."""
    n_folds: int
    """Of hidden seeds, all blocks with some of each."""
    n_learners: int
    """L."""
    n_parts: int = 1
    """What a block of rows is sent as: a part for each view, and for each that rows may lack."""
    pooled: bool = True
    """Whether the folds see a sample of the rows, gathered in one block: with more than one block,
    more rows than `POOL_ROWS`, or tags of rows."""
    shares_rows: bool = False
    sums: bool = False
    compares_learners: bool = False
    """How the method fits, as in `RoundMethod`."""
    pieces: int = 0
    fold_pieces: int = 0
    """Pieces that a fit of a round learns from, one in each pass over them being one, with the rows
    of all blocks and with those of a fold; 0: it takes its rows at once. Of the models of the seeds
    alone nothing is said by them: seeds are taken to be fewer than a fit may take."""

    @property
    def begin(self) -> int:
        """Tasks before the first round: tracks, seeds, and the models of the seeds alone."""
        B, F = self.n_blocks, self.n_folds
        pool = B + 2 if self._pool else 0
        compared = F + F * self._gathered if self.compares_learners else 0
        return pool + F * (B + 1) + B + F + self._pool + self._sums(1) + self._fits() + compared

    def of_round(self, n_surveys: int = 1, *, fits: bool = True) -> int:
        """Return the tasks of a round; without `fits` no label has changed, and it is the last."""
        B, F = self.n_blocks, self.n_folds
        scores = B + F + self._pool
        assigned = B + F
        fitted = self._fits(self.pieces, self.fold_pieces) if fits else 0
        return scores + self._sums(n_surveys) + assigned + self._sums(1) + fitted

    def of_checkpoint(self, *, kept: bool) -> int:
        """Return the tasks that store the labels of a round, and read them again.

        `kept`: whether labels of an earlier round, whose models answer, are stored as well.
        """
        stored = self.n_blocks * (2 if kept else 1) + self.n_folds
        return stored * PER_STORED_BLOCK

    @property
    def of_kept(self) -> int:
        """The tasks that fit the models of the kept round again, if later rounds were stored."""
        alone = replace(self, n_folds=0)
        return alone._sums(1) + alone._fits(self.pieces)

    @property
    def _gathered(self) -> int:
        """Parts of a block that was gathered from others, its row numbers too."""
        return 1 + self.n_parts

    @property
    def _pool(self) -> int:
        return self._gathered if self.n_folds and self.pooled else 0

    def _sums(self, n_surveys: int) -> int:
        """Return the tasks of something that is asked of all blocks and summed."""
        return n_surveys * (self.n_blocks + merges(self.n_blocks) + self.n_folds)

    def _fits(self, pieces: int = 0, fold_pieces: int = 0) -> int:
        """Tasks of the models of all tracks, and of what those of folds say of hidden seeds."""
        L, F = self.n_learners, self.n_folds
        if self.shares_rows:
            models = self.n_blocks + L + F * (1 + L)
        else:
            added = merges(self.n_blocks) if self.sums else 0
            models = L * (_fit(self.n_blocks, pieces) + added + F * _fit(1, fold_pieces))
        return models + self._pool + F * (1 + self._gathered)


def _fit(n_blocks: int, pieces: int) -> int:
    """Return the tasks of one model; pieces are cut out of every block, all but the first after
    word that the one before is done."""
    if not pieces:
        return n_blocks + 1
    return n_blocks + pieces * (n_blocks + 1) + (pieces - 1)


def merges(n: int) -> int:
    """Return how many tasks `merge_on_workers` makes of n parts."""
    total = 0
    while n > 1:
        whole, rest = divmod(n, MERGE_WIDTH)
        total += whole + (rest > 1)
        n = whole + (rest > 0)
    return total
