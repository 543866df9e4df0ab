"""The record of a method that labels in rounds, and what its rounds cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from ssl_dask.features.block_reader import MERGE_WIDTH
from ssl_dask.kernels.arithmetic.radix_selection import BINS
from ssl_dask.kernels.learners.row_samples import piece_count
from ssl_dask.method import FLOPS_PER_PRODUCT, JobShape, Method, MethodCost
from ssl_dask.self_labeled.learners.learner_spec import learner_specs
from ssl_dask.self_labeled.loop.fit_limits import FITS_TOGETHER
from ssl_dask.self_labeled.loop.round_fits import FEWEST_FIT_ROWS, FIT_BYTES, SPARSE_ENTRIES
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.loop.round_spec import check_learners, trial_models
from ssl_dask.self_labeled.loop.round_tasks import RoundTasks
from ssl_dask.self_labeled.loop.rounds import POOL_ROWS

ROUNDS_GUESSED = 10
SURVEYS_OF_HISTOGRAMS = 4
"""Surveys that a round usually takes until histograms have found the best rows."""
LABEL_BYTES = 12
"""Of a row by one learner: its class, weight and round."""
MODEL_VALUE_BYTES = 8
FIT_PASSES = 30
"""Passes of a solver over the rows that a model is fitted on."""

STOP_WORDS: Mapping[str, str] = {
    "max_iter": "the limit of iterations was reached",
    "no_change": "a round changed no label",
    "all_labeled": "all rows have a label",
    "hidden_loss": "hidden seeds were told no better any more",
}


@dataclass(frozen=True, kw_only=True)
class RoundsMethod(Method):
    """A method that labels in rounds; `cost` is counted from what stands here."""

    needs: Literal["graph", "graph and features", "features", "rounds"] = "rounds"
    cost: Callable[[Any, JobShape], MethodCost] = field(init=False)
    stage: str = "self_labeled"
    check_learners: Callable[[Any, Mapping[str, Any], Collection[str]], None] = check_learners
    trial_models: Callable[[Any, Collection[str]], Iterable[tuple[str, Any]]] = trial_models
    stop_words: Mapping[str, str] = field(default_factory=lambda: STOP_WORDS)
    rounds: type[RoundMethod]
    """What runs in the rounds."""
    n_learners: Callable[[Any, int], int] = lambda spec, n_groups: 1
    """Called as `n_learners(spec, n_groups)`: models that a round fits."""
    n_histograms: Callable[[Any, int], int] = lambda spec, n_classes: 0
    """Called as `n_histograms(spec, n_classes)`: histograms that a survey of the scores sums; 0: it
    sums counts, and a round takes a single survey."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost", partial(rounds_cost, self))

    def n_surveys(self, spec: Any, n_classes: int) -> int:
        """Return the surveys that a round usually takes."""
        return SURVEYS_OF_HISTOGRAMS if self.n_histograms(spec, n_classes) else 1


def rounds_cost(method: RoundsMethod, spec: Any, shape: JobShape) -> MethodCost:
    """Return what the rounds of a method cost; a bound where they may end early."""
    rounds = spec.max_iter or ROUNDS_GUESSED
    L, sums = method.n_learners(spec, shape.n_groups), method.rounds.sums
    values = min(shape.n_features, SPARSE_ENTRIES) if shape.sparse else shape.n_features
    row_bytes = (8 if shape.sparse else 4) * values
    # A sum knows no limit of rows.
    most = None if sums else spec.max_fit_rows
    most = most or max(FIT_BYTES // max(row_bytes, 1), FEWEST_FIT_ROWS)
    in_pieces = passes_in_pieces(spec, shape.n_rows) if shape.n_rows > most else 0
    fit_bytes, moved = _of_fits(method, spec, shape, row_bytes, most)
    fitted_share = min(shape.n_rows, most) / max(shape.n_rows, 1)
    # Folds see a sample of many rows; a fit goes over its rows many times, a sum once.
    seen = 1 + shape.n_folds * min(1.0, POOL_ROWS / max(shape.n_rows, 1))
    passes = 1.0 + (in_pieces or (1.0 if sums else FIT_PASSES * fitted_share))
    # Labels before and after a round, and the scores in between; the joined features beside those
    # of the groups.
    labels = LABEL_BYTES * (L if method.rounds.own_labels else 1)
    labels += 4 * shape.n_classes if method.rounds.soft else 0
    copies = 2 if shape.n_groups > 1 and not method.named_views else 1
    kept = shape.n_rows * (copies * row_bytes + 3 * labels) / shape.n_workers
    by_learner = f" L for L = {L} models" if L > 1 else ""
    work = "a sum over the rows" if sums else "the fits"
    return MethodCost(
        fixed_bytes=fit_bytes,
        row_flops=rounds * seen * FLOPS_PER_PRODUCT * values * shape.n_classes * L * passes,
        time=f"up to {rounds:,} rounds: N d C{by_learner} to score, and {work}",
        memory=f"{'sums and a model' if sums else 'the rows and models of fits'}; beside it"
        f" {kept / 2**20:,.1f} MiB of features and labels, which may lie on disk",
        tasks=_tasks(method, spec, shape, rounds, most),
        bytes_moved=int((1 + rounds) * moved + _pool_bytes(shape, row_bytes)),
    )


def passes_in_pieces(spec: Any, n_rows: int) -> int:
    """Return how often learners go over so many rows in pieces; 0: none learns in pieces."""
    in_pieces = [one for one in learner_specs(spec) if one.partial_fit]
    return max((one.passes_over(n_rows) for one in in_pieces), default=0)


def _of_fits(
    method: RoundsMethod, spec: Any, shape: JobShape, row_bytes: int, most: int
) -> tuple[int, float]:
    """Return what a worker needs for its fits, and what a round moves between workers, in bytes."""
    N, L = shape.n_rows, method.n_learners(spec, shape.n_groups)
    # With views of their own, learners share the features out.
    own = method.named_views and shape.n_groups > 1
    learner_bytes = -(-row_bytes // L) if own else row_bytes
    fitted, together = min(N, most), min(N, FITS_TOGETHER * most)
    table = MODEL_VALUE_BYTES * shape.n_features * shape.n_classes
    if method.rounds.sums:
        fit_bytes, travels = (MERGE_WIDTH + 1) * table, shape.n_workers * table
    elif method.rounds.shares_rows:
        fit_bytes = (2 * fitted + together) * row_bytes
        travels = min(L, shape.n_workers) * together * row_bytes
    else:
        fit_bytes = 2 * fitted * learner_bytes
        # A learner in pieces gets all rows, as often as it goes over them.
        over = passes_in_pieces(spec, N) if most < N else 0
        sent = N * over if over else fitted
        steps = piece_count(N, most) * over if over else 1
        travels = L * (sent * learner_bytes + (steps - 1) * table)
    n_surveys = method.n_surveys(spec, shape.n_classes)
    surveys = method.n_histograms(spec, shape.n_classes) * n_surveys * shape.n_blocks
    others = (shape.n_workers - 1) / shape.n_workers
    moved = others * (travels + BINS * 8 * surveys) + (shape.n_workers - 1) * L * table
    return fit_bytes + L * table, moved


def _pool_bytes(shape: JobShape, row_bytes: int) -> float:
    """Return what it moves to gather the rows that folds see on one worker, in bytes."""
    others = (shape.n_workers - 1) / shape.n_workers
    pooled = shape.n_folds > 0 and _pooled(shape)
    return others * min(shape.n_rows, POOL_ROWS) * row_bytes if pooled else 0.0


def _pooled(shape: JobShape) -> bool:
    return shape.tagged or shape.n_blocks > 1 or shape.n_rows > POOL_ROWS


def _tasks(method: RoundsMethod, spec: Any, shape: JobShape, rounds: int, most: int) -> int:
    def pieces(rows: int) -> int:
        over = passes_in_pieces(spec, rows) if rows > most else 0
        return piece_count(rows, most) * over

    n_views = shape.n_groups if method.named_views else 1
    tasks = RoundTasks(
        shape.n_blocks,
        shape.n_folds,
        method.n_learners(spec, shape.n_groups),
        n_parts=n_views + (shape.n_optional if method.knows_present else 0),
        pooled=_pooled(shape),
        shares_rows=method.rounds.shares_rows,
        sums=method.rounds.sums,
        compares_learners=method.rounds.compares_learners,
        pieces=pieces(shape.n_rows),
        fold_pieces=pieces(min(shape.n_rows, POOL_ROWS)),
    )
    # The labels of the best round are stored beside those of the last.
    n_surveys = method.n_surveys(spec, shape.n_classes)
    each = tasks.of_round(n_surveys) + tasks.of_checkpoint(kept=True)
    return tasks.begin + rounds * each + tasks.of_kept
