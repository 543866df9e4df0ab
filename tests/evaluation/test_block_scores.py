"""Counts of blocks add up to the counts of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.decision.labelling import REASONS, SOURCES, Decided
from ssl_dask.evaluation.block_scores import N_BINS, BlockScore, score_block, truth_scores
from ssl_dask.features.block_reader import add_all

C = 3


def some_rows(n: int, seed: int) -> tuple[Decided, np.ndarray, np.ndarray]:
    """Return decided rows, the seeds' rows, and a truth with gaps."""
    random = np.random.default_rng(seed)
    label = random.integers(-1, C, n).astype(np.int32)
    probability = np.where(label < 0, 0.0, random.random(n)).astype(np.float32)
    source = np.where(label < 0, 0, 2).astype(np.uint8)
    reason = np.where(label < 0, random.integers(1, len(REASONS), n), 0).astype(np.uint8)
    seeds = np.flatnonzero((random.random(n) < 0.15) & (label >= 0))
    source[seeds], probability[seeds] = 1, 1.0
    truth = np.where(random.random(n) < 0.5, label, random.integers(-2, C, n)).astype(np.int32)
    return Decided(label, probability, probability, source, reason), seeds, truth


def scored(
    rows: Decided, seeds: np.ndarray, truth: np.ndarray | None, a: int, b: int, n_classes: int = C
) -> BlockScore:
    part = Decided(*(getattr(rows, f)[a:b] for f in list(Decided.__dataclass_fields__)[:5]))
    mine = seeds[(seeds >= a) & (seeds < b)] - a
    return score_block(
        part,
        mine,
        n_classes=n_classes,
        n_sources=len(SOURCES),
        n_reasons=len(REASONS),
        truth=None if truth is None else truth[a:b],
    )


def flat(score: BlockScore) -> list[np.ndarray]:
    parts = [score.n_rows, score.n_abstained, score.labels, score.sources, score.reasons]
    parts += [score.probability, *vars(score.reliability).values(), *vars(score.truth).values()]
    return [np.asarray(part) for part in parts]


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6), seed=st.integers(0, 200))
def test_merged_blocks_equal_the_whole(cuts: list[int], seed: int) -> None:
    rows, seeds, truth = some_rows(200, seed)
    whole = scored(rows, seeds, truth, 0, 200)
    blocks = [scored(rows, seeds, truth, a, b) for a, b in pairwise([0, *sorted(cuts), 200])]
    np.random.default_rng(seed).shuffle(blocks)  # type: ignore[arg-type]
    for merged, wanted in zip(flat(add_all(blocks)), flat(whole), strict=True):
        np.testing.assert_array_equal(merged, wanted)
        assert merged.dtype.kind == "i"
    assert add_all(blocks).n_rows == 200


def test_counts_equal_a_count_row_by_row() -> None:
    rows, seeds, truth = some_rows(500, 4)
    score = scored(rows, seeds, truth, 0, 500)
    seed = np.isin(np.arange(500), seeds)
    assert seed.sum() > 20
    for c in range(C):
        assert score.labels[c] == sum(rows.label == c)
        for given_code in range(C):
            both = (truth == c) & (rows.label == given_code)
            assert score.truth.seeds[c, given_code] == (both & seed).sum()
            assert score.truth.unlabelled[c, given_code] == (both & ~seed).sum()
        refused = (truth == c) & (rows.label < 0)
        assert score.truth.unlabelled[c, C] == refused.sum()
    for given_code in range(-1, C):
        both = (truth == -2) & (rows.label == given_code)
        assert score.truth.seeds_other[given_code] == (both & seed).sum()
        assert score.truth.unlabelled_other[given_code] == (both & ~seed).sum() > 0
    assert score.truth.seeds_other.sum() > 0
    assert score.truth.unlabelled_unknown == ((truth == -1) & ~seed).sum() > 0
    assert score.truth.seeds_unknown == ((truth == -1) & seed).sum() > 0
    judged = (rows.label >= 0) & ~seed & (truth != -1)
    assert score.reliability.count.sum() == judged.sum()
    assert score.reliability.right.sum() == (judged & (rows.label == truth)).sum()
    stated = (rows.probability >= 0.3) & (rows.probability < 0.35) & judged
    at = int(0.3 * N_BINS)
    assert score.reliability.stated()[at] == pytest.approx(rows.probability[stated].mean())
    wanted = (rows.label == truth)[stated].mean()
    observed = score.reliability.right[at] / score.reliability.count[at]
    assert observed == pytest.approx(wanted)
    given_rows = (rows.label >= 0) & ~seed
    histogram, _ = np.histogram(rows.probability[given_rows], bins=N_BINS, range=(0, 1))
    np.testing.assert_array_equal(score.probability, histogram)


def test_seeds_never_mix_with_the_unlabelled() -> None:
    rows, seeds, truth = some_rows(400, 9)
    score = scored(rows, seeds, truth, 0, 400)
    names = ["a", "b", "c"]
    three = truth_scores(score.truth, names)
    assert three.overall.n == three.seeds.n + three.unlabelled.n
    assert three.overall.n + three.unknown == 400
    assert three.seeds.n <= len(seeds)
    assert three.other_class == (truth == -2).sum() > 0
    assert three.overall.n_other == three.other_class
    assert three.seeds.n_other + three.unlabelled.n_other == three.other_class
    right = three.seeds.accuracy_all.right + three.unlabelled.accuracy_all.right
    assert three.overall.accuracy_all.right == right == (rows.label == truth)[truth >= 0].sum()


def test_a_class_without_seeds_counts_as_wrong() -> None:
    # Three equal classes, seeds of two of them: no label of the third's rows can be right.
    n = 300
    truth = (np.arange(n) % 3).astype(np.int32)
    label = np.where(truth == 2, 0, truth).astype(np.int32)
    label[2:30:3] = -1
    known = np.where(truth == 2, -2, truth).astype(np.int32)
    source, reason = np.where(label < 0, 0, 2), np.where(label < 0, 1, 0)
    probability = np.where(label < 0, 0, 0.99).astype(np.float32)
    rows = Decided(
        label, probability, probability, source.astype(np.uint8), reason.astype(np.uint8)
    )
    score = scored(rows, np.array([0, 1]), known, 0, n, n_classes=2)
    found = truth_scores(score.truth, ["a", "b"])
    assert (found.unknown, found.other_class) == (0, 100)
    assert found.overall.accuracy_all.value == pytest.approx(2 / 3)
    assert (found.unlabelled.accuracy.right, found.unlabelled.accuracy.n) == (198, 288)
    assert found.unlabelled.classes[0].precision.value == pytest.approx(99 / 189)
    assert (score.reliability.count.sum(), score.reliability.right.sum()) == (288, 198)


def test_with_and_without_truth_do_not_add() -> None:
    rows, seeds, truth = some_rows(20, 1)
    without = scored(rows, seeds, None, 0, 10)
    assert without.truth is None
    assert (without + without).n_rows == 20
    with pytest.raises(ValueError, match="truth"):
        without + scored(rows, seeds, truth, 10, 20)
