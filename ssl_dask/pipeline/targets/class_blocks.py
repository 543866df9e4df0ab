"""Steps 5 and 6 of one block of classes, on a worker: decide, score, write, return counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_dask.array_types import Int32, Int64
from ssl_dask.decision.calibration import not_calibrated
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.decision.labelling import REASONS, SOURCES, Decided, DecisionRule, decide_block
from ssl_dask.decision.review_queue import ReviewQueue
from ssl_dask.evaluation.block_scores import BlockScore, score_block
from ssl_dask.features.column_profiles import GroupCounts
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels
from ssl_dask.pipeline.targets.block_task import BlockTask
from ssl_dask.pipeline.targets.review import ReviewSearch
from ssl_dask.storage.labels.label_verdict import LabelValue
from ssl_dask.storage.labels.true_labels import truth_codes
from ssl_dask.storage.result.result_schema import ResultSchema, label_schema
from ssl_dask.storage.runs.manifest import PartRecord


@dataclass(frozen=True)
class ClassResult:
    """What comes back from a block: the record of its part, counts, and a few rows."""

    part: PartRecord
    """The written part."""
    score: BlockScore
    """Counts of labels, sources, reasons, and against the truth."""
    baseline: BlockScore | None
    """The same for the supervised baseline's labels; None without truth or baseline."""
    review: ReviewQueue | None
    """The block's rows for the review queue; None if none is asked for."""
    sampled: Int32
    """int32: codes decided for the sampled rows of this block."""
    counts: tuple[GroupCounts, ...]
    """What the columns of new rows hold, by group."""


@dataclass(frozen=True)
class ClassesWritten:
    """The written parts, and what came back from the blocks."""

    results: list[ClassResult]
    """One for each block."""
    score: BlockScore
    """The counts of all blocks."""
    parts: list[PartRecord]
    """Parts of the result."""
    review_rows: int
    """Rows in the review queue."""
    warnings: tuple[str, ...]
    """What a person should know, a sentence each."""


def class_schema(fields: Any, job: JobSpec, classes: Any, kind: Any) -> ResultSchema:
    """Return what the parts of the result look like.

    Parameters
    ----------
    fields
        Arrow schema of the input.
    job
        Its id, kept columns, `output.probabilities` and `output.rank`.
    classes
        Array (C,).
    kind
        Arrow type of the labels; None: the plain type of the classes.
    """
    words = {"source": SOURCES, "reason": REASONS}
    keep, p, rank = job.output.columns, job.output.probabilities, job.output.rank is not None
    return label_schema(
        fields, job.input.id, keep, classes, kind, words, probabilities=p, rank=rank
    )


@dataclass(frozen=True, kw_only=True)
class ClassBlocks(BlockTask[ClassResult]):
    """Decides the class of each row of a block."""

    labels: Labels
    """The seeds."""
    rule: DecisionRule
    """How rows become labels."""
    search: ReviewSearch | None = None
    """What the review list looks for; None if none is asked for."""
    unlabelled: Sequence[LabelValue] = ()
    """Values of the truth column that stand for no label."""

    def write(self, block: int, start: int, F: Any, *beside: Any) -> ClassResult:
        """Decide, count and write the rows of one block.

        Parameters
        ----------
        block, start
            Number of the block and of its first row.
        F
            The block's distributions float32 (n, C).
        beside
            Whether paths lead to seeds, bool (n,), or None; the supervised baseline's
            distributions float32 (n, C), or None; for the review list features (n, d) and tags
            int64 (n,), or None each; `BlockRanks`, or None. Of new rows, the counts of their
            columns come next.
        """
        has_seed, baseline_F, X, tags, ranked, *counts = beside
        positions, codes = self.labels.in_rows(start, start + len(F))
        names = self.schema.probability_names
        positive = self.search is not None and self.search.positive is not None
        decided = decide_block(
            F, positions, codes, has_seed, self.rule, keep_probabilities=bool(names) or positive
        )
        truth = baseline = review = None
        if self.truth is not None:
            truth = truth_codes(
                self.reader, block, self.truth, self.labels.classes, self.unlabelled
            )
        if baseline_F is not None:
            plain = DecisionRule(not_calibrated("baseline"), DecisionSpec())
            most_likely = decide_block(baseline_F, positions, codes, None, plain)
            baseline = self._score(most_likely, positions, truth)
        if self.search is not None:
            review = self.search.of_block(decided, start, X, tags)
        p = decided.probabilities.T if names and decided.probabilities is not None else ()
        rank = {} if ranked is None else {"rank": ranked.column(len(F))}
        part = self.write_part(
            block,
            {
                "label": decided.label,
                "probability": decided.probability,
                "source": decided.source,
                "reason": decided.reason,
                "margin": decided.margin,
                **dict(zip(names, p, strict=True)),
                **rank,
            },
        )
        score = self._score(decided, positions, truth)
        sampled = self.sampled_of(start, decided.label)
        return ClassResult(part, score, baseline, review, sampled, tuple(counts))

    def _score(self, decided: Decided, positions: Int64, truth: Int32 | None) -> BlockScore:
        return score_block(
            decided,
            positions,
            n_classes=self.labels.n_classes,
            n_sources=len(SOURCES),
            n_reasons=len(REASONS),
            truth=truth,
        )
