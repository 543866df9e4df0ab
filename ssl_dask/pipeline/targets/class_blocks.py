"""Steps 5 and 6 of one block, on a worker: decide, score, write, and return a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.decision.calibration import Calibration, not_calibrated
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.decision.labelling import REASONS, SOURCES, Decided, decide_block
from ssl_dask.decision.review_queue import ReviewQueue, review_block
from ssl_dask.evaluation.block_scores import BlockScore, score_block
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.seed_labels import truth_codes
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import ResultSchema
from ssl_dask.storage.runs.manifest import PartRecord


@dataclass(frozen=True)
class BlockOutput:
    """What every task needs to turn a block of F into a part of the result; sent once a worker.

    Parameters
    ----------
    reader, columns, row_numbers
        Read the block's id and kept columns; see `ColumnReader.read_table`.
    stage, run_id, schema
        Where and how a part is written.
    labels
        The seeds.
    calibration, decision, source, no_evidence, islands
        See `decide_block` and `review_block`.
    truth
        Column of the true classes, or None.
    sampled
        int64, sorted: global rows whose codes the report's picture wants.
    """

    reader: ColumnReader
    columns: tuple[str, ...]
    row_numbers: str | None
    stage: Path
    run_id: str
    schema: ResultSchema
    labels: Labels
    calibration: Calibration
    decision: DecisionSpec
    source: str
    no_evidence: str
    islands: Mapping[int, int]
    truth: str | None
    sampled: npt.NDArray[np.int64]


@dataclass(frozen=True)
class BlockResult:
    """What comes back from a block: the record of its part, counts, and a few rows.

    Parameters
    ----------
    part
        The written part.
    score
        Counts of labels, sources, reasons, and against the truth.
    baseline
        The same for the supervised baseline's labels; None without truth or baseline.
    review
        The block's rows for the review queue; None if none is asked for.
    sampled_codes
        int32: codes decided for the sampled rows of this block.
    """

    part: PartRecord
    score: BlockScore
    baseline: BlockScore | None
    review: ReviewQueue | None
    sampled_codes: npt.NDArray[np.int32]


def write_blocks(
    output: BlockOutput,
    F: da.Array,
    starts: npt.NDArray[np.int64],
    execution: Execution,
    *,
    has_seed: Sequence[Any] | None = None,
    baseline_F: Sequence[Any] | None = None,
) -> list[BlockResult]:
    """Run `write_block` for every block of F, on the workers.

    Parameters
    ----------
    starts
        int64 (P,): number of the first row of each block.
    has_seed, baseline_F
        One for each block; None: none.
    """
    blocks = F.to_delayed().ravel()
    nothing = [None] * len(blocks)
    shared = delayed(output, pure=False, traverse=False)
    write = delayed(write_block, pure=False)
    tasks = [
        write(shared, block, int(starts[block]), *of_block)
        for block, of_block in enumerate(
            zip(blocks, has_seed or nothing, baseline_F or nothing, strict=True)
        )
    ]
    return execution.compute(tasks, "write")


def write_block(
    output: BlockOutput,
    block: int,
    start: int,
    F: npt.NDArray[np.float32],
    has_seed: npt.NDArray[np.bool_] | None,
    baseline_F: npt.NDArray[np.float32] | None,
) -> BlockResult:
    """Decide the rows of one block, count them, and write its part. Runs on a worker.

    Parameters
    ----------
    output
        What all blocks share.
    block, start
        Number of the block and of its first row.
    F, has_seed
        The block's distributions float32 (n, C), and whether paths lead to seeds, bool (n,).
    baseline_F
        The supervised baseline's distributions float32 (n, C), or None.
    """
    stop = start + len(F)
    positions, codes = output.labels.in_rows(start, stop)
    names = output.schema.probability_names
    decided = decide_block(
        F,
        positions,
        codes,
        has_seed,
        output.calibration,
        output.decision,
        source=output.source,
        no_evidence=output.no_evidence,
        keep_probabilities=bool(names),
    )
    truth = None
    if output.truth is not None:
        truth = truth_codes(output.reader, block, output.truth, output.labels.classes)
    baseline = None
    if baseline_F is not None:
        plain = decide_block(
            baseline_F, positions, codes, None, not_calibrated("baseline"), DecisionSpec()
        )
        baseline = _score(plain, positions, output, truth)
    review = None
    if output.decision.review_budget is not None:
        review = review_block(decided, start, output.decision.review_budget, output.islands)
    p = () if decided.probabilities is None else decided.probabilities.T
    part = write_part(
        output.stage,
        output.run_id,
        block,
        output.reader.read_table(block, output.columns, row_numbers=output.row_numbers),
        {
            "label": decided.label,
            "probability": decided.probability,
            "source": decided.source,
            "reason": decided.reason,
            "margin": decided.margin,
            **dict(zip(names, p, strict=True)),
        },
        output.schema,
    )
    first, last = np.searchsorted(output.sampled, [start, stop])
    sampled = decided.label[output.sampled[first:last] - start]
    return BlockResult(part, _score(decided, positions, output, truth), baseline, review, sampled)


def _score(
    decided: Decided,
    positions: npt.NDArray[np.int64],
    output: BlockOutput,
    truth: npt.NDArray[np.int32] | None,
) -> BlockScore:
    return score_block(
        decided,
        positions,
        n_classes=output.labels.n_classes,
        n_sources=len(SOURCES),
        n_reasons=len(REASONS),
        truth=truth,
    )
