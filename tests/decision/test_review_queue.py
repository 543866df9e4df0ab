"""The rows to label next."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.decision.decision_spec import DecisionSpec, ReviewSpec
from ssl_dask.decision.labelling import REASONS, SOURCES, Decided
from ssl_dask.decision.review_queue import (
    KINDS,
    MIN_ISLAND_ROWS,
    ReviewQueue,
    choose_rows,
    kind_quotas,
    looked_for,
    merge_review,
    review_block,
)
from ssl_dask.errors import JobSpecError
from ssl_dask.labels import Labels

NONE, SEED, PROPAGATED = (SOURCES.index(name) for name in ("none", "seed", "propagated"))
ALL = dict.fromkeys(KINDS, 1_000)


def decided(p: Any, source: Any) -> Decided:
    """Two classes; p (n,) is the chance of class 1."""
    p, source = np.asarray(p, np.float32), np.asarray(source, np.uint8)
    both = np.stack([1 - p, p], axis=1) * (source != NONE)[:, None]
    return Decided(
        np.where(source == NONE, -1, both.argmax(axis=1)).astype(np.int32),
        both.max(axis=1),
        np.abs(both[:, 1] - both[:, 0]),
        source,
        np.where(source == NONE, REASONS.index("no_path_to_seed"), 0).astype(np.uint8),
        both,
    )


def rows_of(queue: ReviewQueue, kind: str) -> list[int]:
    return queue.row[queue.kind == KINDS.index(kind)].tolist()


def test_each_kind_has_its_order() -> None:
    block = decided(
        [0.9, 1.0, 0.55, 0.0, 0.4, 0.0], [PROPAGATED, SEED, PROPAGATED, NONE, PROPAGATED, NONE]
    )
    islands = {103: 50, 105: 80, 102: MIN_ISLAND_ROWS - 1, 999: 70}
    far = np.array([0.0, 0.0, 4.0, 9.0, 1.0, 9.0])
    queue = review_block(block, 100, ALL, positive=1, islands=islands, distances=far)
    assert rows_of(queue, "positive") == [100, 102, 104]
    assert rows_of(queue, "uncertain") == [102, 104, 100]
    assert rows_of(queue, "far")[:2] == [105, 103]
    assert sorted(rows_of(queue, "far")[2:]) == [102, 104]
    assert sorted(rows_of(queue, "random")) == [100, 102, 103, 104, 105]
    without = review_block(block, 100, ALL)
    assert rows_of(without, "positive") == rows_of(without, "far") == []


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 80), max_size=6), seed=st.integers(0, 40))
def test_any_blocks_in_any_order_give_the_queue_of_one_block(cuts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.choice([NONE, SEED, PROPAGATED], 80, p=[0.2, 0.1, 0.7])
    whole = decided(random.integers(0, 5, 80) / 4, source)
    far = random.integers(0, 3, 80).astype(np.float64)
    islands = {int(row): 10 + int(row) % 3 for row in np.flatnonzero(source == NONE)[:4]}
    wanted = {"random": 5, "positive": 7, "uncertain": 9, "far": 6}
    tags = random.permutation(80)

    def part(a: int, b: int) -> ReviewQueue:
        cut = Decided(*(getattr(whole, one.name)[a:b] for one in fields(Decided)))
        more = {"islands": islands, "distances": far[a:b], "tags": tags[a:b]}
        return review_block(cut, a, wanted, positive=1, **more)

    queues = [part(a, b) for a, b in itertools.pairwise([0, *sorted(cuts), 80])]
    random.shuffle(queues)  # type: ignore[arg-type]
    merged, one = merge_review(queues, wanted), merge_review([part(0, 80)], wanted)
    for field in fields(ReviewQueue):
        np.testing.assert_array_equal(getattr(merged, field.name), getattr(one, field.name))
    assert {kind: len(rows_of(one, kind)) for kind in KINDS} == wanted


def test_random_rows_are_a_fair_sample_and_far_rows_go_by_squared_distance() -> None:
    n = 20_000
    block = decided(np.full(n, 0.3), np.full(n, PROPAGATED))
    far = np.where(np.arange(n) % 2, 4.0, 1.0)
    queue = review_block(block, 0, {**ALL, "random": 4_000}, distances=far)
    odd = np.array(rows_of(queue, "random")) % 2
    assert abs(odd.mean() - 0.5) < 0.03
    odd = np.array(rows_of(queue, "far")) % 2
    assert abs(odd.mean() - 0.8) < 0.05


def test_rows_are_chosen_once_without_copies_and_each_beginning_is_mixed() -> None:
    n = 400
    block = decided(np.linspace(0.99, 0.01, n), np.full(n, PROPAGATED))
    # Four rows each are copies; the 40 likeliest rows are ten different ones.
    X = np.repeat(np.arange(n // 4, dtype=np.float32), 4)[:, None]
    quotas = {"random": 10, "positive": 10, "uncertain": 20, "far": 0}
    found = merge_review([review_block(block, 0, ALL, positive=1)], ALL)
    queue = found.take(choose_rows(found, quotas, X[found.row], copy_distance=0.25))
    assert len(set(queue.row.tolist())) == len(queue) == 40
    kinds = [KINDS[code] for code in queue.kind]
    assert {kind: kinds.count(kind) for kind in KINDS} == quotas
    assert 2 <= kinds[:8].count("random") <= 3 < kinds[:8].count("uncertain") <= 5
    directed = X[queue.row[queue.kind != KINDS.index("random")], 0]
    assert len(set(directed.tolist())) == 30
    assert sorted(directed[:3].tolist())[0] < 3


def test_what_a_kind_lacks_goes_to_the_next() -> None:
    block = decided([0.9, 0.8, 0.3, 0.2], np.full(4, PROPAGATED))
    found = merge_review([review_block(block, 0, ALL, positive=1)], ALL)
    X = found.row[:, None].astype(np.float32)
    quotas = {"random": 0, "positive": 1, "uncertain": 1, "far": 2}
    assert found.row[choose_rows(found, quotas, X, 0.0)].tolist() == [0, 2]
    quotas = {"random": 3, "positive": 2, "uncertain": 0, "far": 0}
    chosen = choose_rows(found, quotas, X, 0.0)
    assert sorted(found.row[chosen].tolist()) == [0, 1, 2, 3]


def test_an_empty_block_adds_nothing() -> None:
    queue = review_block(decided([], []), 0, ALL, islands={0: 100})
    assert len(merge_review([queue, queue], ALL)) == 0


def test_quotas_are_the_budget_by_the_mix() -> None:
    spec = ReviewSpec(budget=7)
    assert kind_quotas(spec, with_positive=True) == dict(zip(KINDS, [1, 4, 1, 1], strict=True))
    assert kind_quotas(spec, with_positive=False) == dict(zip(KINDS, [3, 0, 3, 1], strict=True))
    only = ReviewSpec(budget=7, mix={"positive": 2})
    assert kind_quotas(only, with_positive=False)["uncertain"] == 7


@pytest.mark.parametrize(
    ("codes", "positive", "wanted"),
    [
        ([0, 0, 0, 1], None, 1),
        ([0, 0, 1, 1], None, None),
        ([0, 0, 1, 1], "a", 0),
    ],
)
def test_the_rare_class_is_looked_for(codes: list[int], positive: Any, wanted: Any) -> None:
    spec = ReviewSpec(budget=1, positive=positive)
    assert looked_for(spec, Labels.from_codes(codes, ["a", "b"])) == wanted


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(JobSpecError, match="none of the classes") as caught:
        looked_for(ReviewSpec(budget=1, positive=1), Labels.from_codes([0, 1], [False, True]))
    assert "False, True" in str(caught.value)
    for wrong in (
        {"review_budget": 3, "review": {"budget": 3}},
        {"review": {"budget": 3, "mix": {"far": 0}}},
        {"review": {"budget": 3, "mix": {"near": 1}}},
    ):
        with pytest.raises(ValueError):
            DecisionSpec.model_validate(wrong)
