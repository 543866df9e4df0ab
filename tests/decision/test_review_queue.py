"""The rows to label next."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.decision.labelling import REASONS, SOURCES, Decided
from ssl_dask.decision.review_queue import MIN_ISLAND_ROWS, merge_review, review_block

NONE, SEED, PROPAGATED = (SOURCES.index(name) for name in ("none", "seed", "propagated"))


def decided(margin: list[float], probability: list[float], source: list[int]) -> Decided:
    labels = [0 if code else -1 for code in source]
    reasons = [0 if code else REASONS.index("no_path_to_seed") for code in source]
    return Decided(
        np.array(labels, np.int32),
        np.array(probability, np.float32),
        np.array(margin, np.float32),
        np.array(source, np.uint8),
        np.array(reasons, np.uint8),
    )


def test_islands_then_unsure_then_rows_that_help_only_themselves() -> None:
    block = decided(
        [0.3, 1.0, 0.1, 0.0, 0.1, 0.0, 0.0],
        [0.6, 1.0, 0.5, 0.0, 0.5, 0.0, 0.0],
        [PROPAGATED, SEED, PROPAGATED, NONE, PROPAGATED, NONE, NONE],
    )
    islands = {103: 50, 105: 80, 106: MIN_ISLAND_ROWS - 1, 999: 70}
    queue = review_block(block, 100, 10, islands)
    assert queue.row.tolist() == [105, 103, 102, 104, 100, 106]
    assert queue.releases.tolist() == [80, 50, 1, 1, 1, 1]
    assert queue.group.tolist() == [0, 0, 1, 1, 1, 2]
    assert review_block(block, 100, 3, islands).row.tolist() == [105, 103, 102]
    assert review_block(block, 100, 10).row.tolist() == [102, 104, 100, 103, 105, 106]


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 80), max_size=6),
    budget=st.integers(1, 90),
    seed=st.integers(0, 40),
)
def test_any_blocks_in_any_order_give_the_brute_force_queue(
    cuts: list[int], budget: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    source = random.choice([NONE, SEED, PROPAGATED], 80, p=[0.2, 0.1, 0.7])
    margin = np.where(source == NONE, 0.0, random.integers(0, 4, 80) / 4)
    probability = np.where(source == NONE, 0.0, 0.5 + margin / 2)
    islands = {int(row): 10 + int(row) % 3 for row in np.flatnonzero(source == NONE)[:4]}
    whole = decided(margin.tolist(), probability.tolist(), source.tolist())
    edges = [0, *sorted(cuts), 80]
    queues = [
        review_block(
            Decided(*(getattr(whole, f)[a:b] for f in list(Decided.__dataclass_fields__)[:5])),
            a,
            budget,
            islands,
        )
        for a, b in itertools.pairwise(edges)
    ]
    random.shuffle(queues)  # type: ignore[arg-type]
    merged = merge_review(queues, budget)
    wanted = sorted(
        (row for row in range(80) if source[row] != SEED),
        key=lambda row: (
            (0, -islands[row], 0.0, row)
            if row in islands
            else (1 if probability[row] > 0 else 2, 0, margin[row], row)
        ),
    )
    assert merged.row.tolist() == wanted[:budget]
    np.testing.assert_array_equal(merged.margin, margin[merged.row].astype(np.float32))
    assert len(merged) == min(budget, len(wanted))
    assert len(wanted) > 40


def test_an_empty_block_adds_nothing() -> None:
    queue = review_block(decided([], [], []), 0, 5, {0: 100})
    assert len(queue) == 0
    assert len(merge_review([queue, queue], 5)) == 0


def test_take_keeps_fields_together() -> None:
    queue = review_block(decided([0.2, 0.1], [0.6, 0.55], [PROPAGATED] * 2), 7, 5)
    assert queue.row.tolist() == [8, 7]
    assert queue.probability.tolist() == pytest.approx([0.55, 0.6])
