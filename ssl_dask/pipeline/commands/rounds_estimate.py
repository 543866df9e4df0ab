"""What rounds of self-labelling will cost: tasks, bytes between workers, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ssl_dask.features.block_reader import MERGE_WIDTH
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.arithmetic.confidence_histogram import BINS
from ssl_dask.kernels.learners.row_samples import piece_count
from ssl_dask.self_labeled import METHODS
from ssl_dask.self_labeled.loop.fit_limits import FITS_TOGETHER
from ssl_dask.self_labeled.loop.round_fits import FEWEST_FIT_ROWS, FIT_BYTES, SPARSE_ENTRIES
from ssl_dask.self_labeled.loop.round_tasks import RoundTasks
from ssl_dask.self_labeled.loop.rounds import POOL_ROWS

ROUNDS_GUESSED = 10
LABEL_BYTES = 12
"""Of a row by one learner: its class, weight and round."""
MODEL_VALUE_BYTES = 8


@dataclass(frozen=True)
class RoundsEstimate:
    """What the rounds cost, all of them together.

    Parameters
    ----------
    rounds
        At most.
    fitted_share
        Of the rows that a fit takes.
    tasks
        Of all rounds, with their checkpoints.
    bytes_moved
        Between workers.
    fit_bytes
        What a worker needs for its fits, whatever it holds besides.
    kept_bytes
        Features, labels and scores that all workers hold together, and put on disk for want of
        memory.
    """

    rounds: int
    fitted_share: float
    tasks: int
    bytes_moved: int
    fit_bytes: int
    kept_bytes: int


def estimate_rounds(
    spec: JobSpec,
    *,
    n_rows: int,
    n_features: int,
    n_classes: int,
    sparse: bool = False,
    n_blocks: int = 1,
    n_workers: int = 1,
) -> RoundsEstimate:
    """Return what the rounds of a job's method cost; a bound where they may end early.

    Parameters
    ----------
    n_features
        Features d of a row, over all groups.
    n_classes
        C, a guess where no row has been read.
    """
    method: Any = spec.method
    known = METHODS[method.name]
    n_groups, n_folds = len(spec.features), spec.evaluation.folds
    rounds = getattr(method, "max_iter", None) or ROUNDS_GUESSED
    learners = known.n_learners(method, n_groups)
    # With views of their own, learners share the features out.
    row_bytes = 8 * min(n_features, SPARSE_ENTRIES) if sparse else 4 * n_features
    own = known.named_views and n_groups > 1
    learner_bytes = -(-row_bytes // learners) if own else row_bytes
    given = getattr(method, "max_fit_rows", None)
    most = given or max(FIT_BYTES // max(row_bytes, 1), FEWEST_FIT_ROWS)
    fitted = min(n_rows, most)
    together = min(n_rows, FITS_TOGETHER * most)
    table = MODEL_VALUE_BYTES * n_features * n_classes
    others = (n_workers - 1) / n_workers
    if known.rounds.sums:
        fit_bytes, travels = (MERGE_WIDTH + 1) * table, n_workers * table
    elif known.rounds.shares_rows:
        fit_bytes = (2 * fitted + together) * row_bytes
        travels = min(learners, n_workers) * together * row_bytes
    else:
        fit_bytes = 2 * fitted * learner_bytes
        # A learner in pieces gets all rows, as often as it goes over them.
        over = passes_in_pieces(method, n_rows) if n_rows > most else 0
        sent = n_rows * over if over else fitted
        steps = piece_count(n_rows, most) * over if over else 1
        travels = learners * (sent * learner_bytes + (steps - 1) * table)
    models = learners * table
    histograms = BINS * 8 * known.n_histograms(method, n_classes) * known.n_surveys * n_blocks
    pooled = n_folds > 0 and (n_blocks > 1 or n_rows > POOL_ROWS)
    pool = min(n_rows, POOL_ROWS) * row_bytes if pooled else 0
    each = others * (travels + histograms) + (n_workers - 1) * models
    moved = others * pool + (1 + rounds) * each
    columns = learners if known.own_labels else 1
    labels = LABEL_BYTES * columns + (4 * n_classes if known.rounds.soft else 0)
    # Labels before and after a round, and the scores in between; the joined features beside those
    # of the groups.
    copies = 2 if n_groups > 1 and not known.named_views else 1
    kept = n_rows * (copies * row_bytes + 3 * labels)
    return RoundsEstimate(
        rounds,
        fitted / max(n_rows, 1),
        _tasks(spec, rounds, learners, n_blocks, n_rows, most),
        int(moved),
        fit_bytes + models,
        kept,
    )


def passes_in_pieces(method: Any, n_rows: int) -> int:
    """Return how often learners go over so many rows in pieces; 0: none learns in pieces."""
    named = (getattr(method, name, None) for name in ("learner", "second_learner"))
    return max((one.passes_over(n_rows) for one in named if one and one.partial_fit), default=0)


def _tasks(spec: JobSpec, rounds: int, learners: int, n_blocks: int, n_rows: int, most: int) -> int:
    pooled = n_blocks > 1 or n_rows > POOL_ROWS

    def pieces(rows: int) -> int:
        over = passes_in_pieces(spec.method, rows) if rows > most else 0
        return piece_count(rows, most) * over

    known = METHODS[spec.method.name]
    n_views = len(spec.features) if known.named_views else 1
    lacking = sum(group.optional for group in spec.features.values())
    tasks = RoundTasks(
        n_blocks,
        spec.evaluation.folds,
        learners,
        n_parts=n_views + (lacking if known.knows_present else 0),
        pooled=pooled,
        shares_rows=known.rounds.shares_rows,
        sums=known.rounds.sums,
        compares_learners=known.rounds.compares_learners,
        pieces=pieces(n_rows),
        fold_pieces=pieces(min(n_rows, POOL_ROWS)),
    )
    # The labels of the best round are stored beside those of the last.
    each = tasks.of_round(known.n_surveys) + tasks.of_checkpoint(kept=True)
    return tasks.begin + rounds * each + tasks.of_kept
