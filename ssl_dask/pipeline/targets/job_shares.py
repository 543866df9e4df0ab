"""Which shares the classes have among the rows: given by the job, or told from scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64, UInt64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.decision.calibration import Calibration, fit_calibration
from ssl_dask.decision.review_queue import random_scores
from ssl_dask.evaluation.given_shares import ranges_of_rest, share_ranges
from ssl_dask.evaluation.rivals import MAJORITY
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.arithmetic.row_keys import Purpose, keys_below, row_keys
from ssl_dask.kernels.distributions.class_shares import (
    ClassShares,
    em_shares,
    estimate_shares,
    share_ratios,
    shares_of_sample,
    stated_shares,
    unknown_shares,
)
from ssl_dask.kernels.distributions.seed_weights import effective_weights
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.storage.runs.reviewed_rows import reviewed_rows

SAMPLE_ROWS = 100_000
"""Rows whose scores tell the shares: chance moves a share of 1 % by 3 % of itself."""
EM_ROWS, EM_STEPS = 20_000, 500
"""EM is held beside the estimate: it takes half a second at most."""
HELD_BYTES = 1 << 30
"""Scores up to this size are held on the workers, so that rows are not scored twice."""


@dataclass(frozen=True)
class JobShares:
    """Shares of the classes, and what follows from them for probabilities."""

    shares: ClassShares
    """Among the rows that are no seeds, or that review lists had chosen."""
    differ: bool
    """Whether those of the seeds are beyond what is possible among the rows."""
    ratios: tuple[float, ...]
    """What `Calibration.share_ratios` takes; empty where probabilities stay as they are, as where
    the method has moved them to shares that it was given."""
    of_baselines: tuple[float, ...]
    """The same of answers that know no shares but the seeds'."""
    row_F: Float32
    """float32 (n, C): distributions of a random sample of the rows that are no seeds."""
    judged: Bool
    """bool (S,): the seeds that figures are made of: those that were hidden and are a fair sample
    of their class."""
    chosen: Bool
    """bool (S,): those that were hidden, and that review lists had chosen by their score."""
    weights: Float64 | None
    """float64 (m,): how much each judged seed counts among those of its class; None: 1."""
    others: Mapping[str, tuple[float, ...]]
    """Shares that were told in other ways, (C,) each: as of `ScoresAtShares`."""
    warnings: tuple[str, ...] = ()
    """What a person should know, a sentence each."""

    def of_rows(self, labels: Labels) -> Float64:
        """Return the shares that hidden seeds are weighted to, float64 (C,).

        Those of the seeds where an estimate does not exclude them: it would only add its chance.
        """
        if self.shares.origin == "estimated" and not self.differ:
            return labels.class_counts() / labels.n_seeds
        return self.shares.values


def job_shares(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred
) -> tuple[JobShares, Inferred]:
    """Return the shares, and what was inferred with its scores held where that is small.

    A share that is estimated moves probabilities only where it excludes that of the seeds: else
    all answers are those of seeds that are a fair sample.
    """
    labels, confidence = run.data.labels, run.spec.evaluation.confidence
    inferred = _held(run, inferred)
    row_F = sampled_scores(run, inferred.F)
    counts = labels.class_counts()
    was_hidden, (proposed, at_random) = folds.fold >= 0, _reviewed_seeds(run)
    judged, chosen = was_hidden & ~proposed, was_hidden & proposed
    # What was chosen is missing among the rows: its scores stand in for it.
    population = np.concatenate([row_F, inferred.hidden_F[_sampled_seeds(labels, chosen)]])
    hidden_F, codes = inferred.hidden_F[judged], labels.codes[judged]
    weights = _weights(run, judged)
    sampled = np.bincount(
        labels.codes[random_sample(labels.known_by, at_random, proposed)],
        minlength=labels.n_classes,
    )
    told = estimate_shares(hidden_F, codes, population, confidence, weights, sampled)
    if told.origin == "unknown":
        # Those of all seeds, hidden or not.
        told = unknown_shares(counts, str(told.reason))
    given = run.spec.input.class_shares
    if isinstance(given, Mapping):
        fair = np.bincount(labels.codes[~chosen], minlength=labels.n_classes)
        shares = stated_shares(*ranges_of_rest(share_ranges(given, labels), fair, labels.n_rows))
    elif given == "seeds":
        shares = _sample_shares(run, ~proposed)
    else:
        shares = told
    among_seeds = counts / counts.sum()
    differ = shares.excludes(among_seeds)
    corrected = shares.origin in ("given", "estimated") and differ
    ratios = tuple(share_ratios(shares.values, counts).tolist()) if corrected else ()
    others = other_estimates(told, fit_calibration(hidden_F, codes), population, counts)
    own = () if _has_moved(inferred) else ratios
    found = JobShares(shares, differ, own, ratios, row_F, judged, chosen, weights, others)
    contradiction = _contradiction(shares, told, labels.class_names)
    return replace(found, warnings=contradiction), inferred


def written_F(
    F: Float32,
    codes: Int32,
    folds: Int32,
    ratios: tuple[float, ...],
    weights: Float64 | None = None,
) -> Float32:
    """Return distributions of hidden seeds (n, C) as those of rows are before they are decided.

    Parameters
    ----------
    codes, folds
        int32 (n,) each: their classes, and the fold that hides each.
    ratios, weights
        As of `JobShares`.
    """
    if not ratios:
        return F
    return fit_calibration(F, codes, folds, ratios, weights).apply(F)


def _has_moved(inferred: Inferred) -> bool:
    """Return whether distributions are those of shares that are given to what answers."""
    if inferred.baseline is not None:
        return inferred.baseline == MAJORITY
    if not inferred.method.moves_answer:
        return False
    return isinstance(inferred.method.class_shares(inferred.spec), Mapping)


def other_estimates(
    told: ClassShares, calibration: Calibration, row_F: Float32, counts: Int64
) -> dict[str, tuple[float, ...]]:
    """Return shares by other ways, where scores tell any."""
    F = row_F[:EM_ROWS]
    F = F[F.max(axis=1, initial=0.0) > 0.0]
    # Of an estimate by random answers alone the reason says why scores tell nothing.
    if told.origin != "estimated" or told.reason is not None or not len(F):
        return {}
    among_seeds = counts / counts.sum()
    em = em_shares(calibration.apply(F), among_seeds, tolerance=1e-7, max_steps=EM_STEPS)
    return {"em": tuple(em.tolist()), "mean": tuple(F.mean(axis=0, dtype=np.float64).tolist())}


def _weights(run: RunContext, judged: Bool) -> Float64 | None:
    """Return how much each seed of `judged`, bool (S,), counts among those of its class."""
    if (strata := run.data.strata) is None:
        return None
    return effective_weights(strata.row_weights(judged)[judged], run.data.labels.codes[judged])


def _sample_shares(run: RunContext, drawn: Bool) -> ClassShares:
    """Return the shares by seeds that are a random sample, of all rows or of each group.

    Parameters
    ----------
    drawn
        bool (S,): which of them are.
    """
    labels, confidence, strata = run.data.labels, run.spec.evaluation.confidence, run.data.strata
    if strata is not None:
        return strata.shares(np.where(drawn, labels.codes, -1), labels.n_classes, confidence)
    counts = np.bincount(labels.codes[drawn], minlength=labels.n_classes)
    # A class whose seeds were all chosen has a share that is small, and not none.
    return shares_of_sample(np.maximum(counts, 0.5), confidence)


def _reviewed_seeds(run: RunContext) -> tuple[Bool, Bool]:
    """Return the seeds that earlier review lists proposed for their score, and at random.

    bool (S,) each.
    """
    labels = run.data.labels
    if labels.tags is None:
        none = np.zeros(labels.n_seeds, dtype=bool)
        return none, none
    proposed = reviewed_rows(run.output.root)
    return np.isin(labels.tags, proposed.chosen), np.isin(labels.tags, proposed.random)


def random_sample(tags: Int64, at_random: Bool, proposed: Bool) -> Bool:
    """Return the seeds that are a random sample of the rows that were no seeds, bool (S,).

    A row whose turn at random came after it was proposed for its score belongs to the sample:
    without such rows a rare class would be rarer, list by list.

    Parameters
    ----------
    tags, at_random, proposed
        int64 (S,), bool (S,) and bool (S,): tags of the seeds, and those that review lists proposed
        at random and for their score.
    """
    if not at_random.any():
        return at_random
    turns = random_scores(tags)
    return at_random | (proposed & (turns >= turns[at_random].min()))


def sampling_notes(run: RunContext, shares: JobShares) -> list[str]:
    """Return what is said of how the seeds were chosen, in sentences."""
    told = _disagreement(shares, run.data.labels.class_names)
    if (weights := shares.weights) is not None and len(weights):
        told.append(
            f"seeds stand for the rows of their group of {run.spec.input.sampling!r}: for figures"
            f" {len(weights):,} hidden seeds tell as much as {weights.sum():,.0f} of equal"
            " weight"
        )
    if n := int(shares.chosen.sum()):
        told.append(
            f"{n:,} seeds were proposed by review lists for their score: they are learned from, and"
            " no figure is made of them, for they are no fair sample of their class"
        )
    return told


def _sampled_seeds(labels: Labels, chosen: Bool) -> Int64:
    """Return those of the chosen seeds that the sample of the rows would hold, positions."""
    keys = row_keys(labels.known_by, Purpose.SHARES)
    return np.flatnonzero(chosen & (keys <= keys_below(_sampled_part(labels.n_rows))))


def _sampled_part(n_rows: int) -> float:
    return min(1.0, SAMPLE_ROWS / n_rows)


def sampled_scores(run: RunContext, F: da.Array) -> Float32:
    """Return the rows of F, float32 (n, C), of a random sample of the rows that are no seeds.

    Which rows, and their order, go by their tags: the same for any blocks and order of rows.
    """
    labels, chunks = run.data.labels, run.data.layout.row_chunks
    starts = np.concatenate([[0], np.cumsum(chunks)])
    seeds = [labels.in_rows(a, b)[0] for a, b in pairwise(starts)]
    tags = run.tags() or [None] * len(chunks)
    columns: list[Any] = [row_handles(F), tags, starts[:-1], seeds]
    tasks = block_tasks(_sampled, columns, keys_below(_sampled_part(labels.n_rows)))
    found = run.execution.compute(tasks, "class shares")
    keys = np.concatenate([one[0] for one in found])
    return np.concatenate([one[1] for one in found])[np.argsort(keys, kind="stable")]


def _sampled(
    F: Float32, tags: Int64 | None, start: int, seeds: Int64, last: np.uint64
) -> tuple[UInt64, Float32]:
    tags = np.arange(start, start + len(F), dtype=np.int64) if tags is None else tags
    keys = row_keys(tags, Purpose.SHARES)
    wanted = keys <= last
    wanted[seeds] = False
    return keys[wanted], np.asarray(F)[wanted]


def _held(run: RunContext, inferred: Inferred) -> Inferred:
    """Return the same with F held on the workers, unless it is large."""
    F, chunks = inferred.F, run.data.layout.row_chunks
    if F.nbytes > HELD_BYTES:
        return inferred
    blocks = run.execution.persist(row_handles(F), "scores")
    return replace(inferred, F=array_of_blocks(blocks, chunks, F.shape[1:], F.dtype))


def _disagreement(job: JobShares, names: list[str]) -> list[str]:
    """Return a sentence where EM tells shares beyond the interval of the estimate."""
    shares = job.shares
    if shares.origin != "estimated" or "em" not in job.others:
        return []
    em = np.array(job.others["em"])
    beyond = np.maximum(shares.low - em, em - shares.high)
    code = int(beyond.argmax())
    if beyond[code] <= 0.0:
        return []
    return [
        f"the share of {names[code]} is told as {shares.low[code]:.2%} to {shares.high[code]:.2%},"
        f" by EM on calibrated probabilities as {em[code]:.2%}: give input.class_shares if you know"
        " it"
    ]


def _contradiction(shares: ClassShares, told: ClassShares, names: list[str]) -> tuple[str, ...]:
    """Return a warning where scores contradict the shares that the job gives."""
    # Of a range that is given, the shares that are nearest to what is told.
    ends = (shares.low, shares.high) if shares.origin == "given" else (shares.values,) * 2
    nearest = np.clip(told.values, *ends)
    if told.origin != "estimated" or shares is told or not told.excludes(nearest):
        return ()
    given = "input.class_shares: seeds" if shares.origin == "seeds" else "input.class_shares"
    far = np.abs(np.log(np.maximum(told.values, 1e-6) / nearest))
    code = int(np.where((nearest < told.low) | (nearest > told.high), far, -1).argmax())
    return (
        f"{given} and the scores contradict each other: class {names[code]} would have"
        f" {nearest[code]:.2%} of the rows, by the scores of seeds that were hidden"
        f" {told.low[code]:.2%} to {told.high[code]:.2%}.",
    )
