"""One step of a recurrence on a run of rows, against dense arithmetic, and how it is counted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation import sweep as walk_sweep
from ssl_dask.kernels.propagation.step import (
    SparseSources,
    SweepCounts,
    add_sources,
    count_changes,
    plain_rows,
    step_with_residual,
)
from ssl_dask.kernels.propagation.sweep import SMALLEST, row_degrees, sweep, walk_rows
from ssl_dask.propagation.engine.partition_solver import PartRun
from ssl_dask.propagation.engine.partitions import LocalParts, ThreadLinks
from ssl_dask.propagation.engine.recurrence import LinearSystem, RecurrenceSteps
from tests.made_graphs import random_weights

NUMBERS = (0.7, 0.2, -0.3, 0.4)


def made_weights(seed: int, n: int, density: float = 0.4) -> sp.csr_array:
    W = random_weights(n, seed, density=density)
    W.sort_indices()
    return W


def walk_of(W: sp.csr_array) -> walk_sweep.WalkRows:
    return walk_rows(W.indptr, W.indices, W.data)


@pytest.fixture
def compiled_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_sweep, "MIN_COMPILED_WORK", 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_source", [False, True])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 10, 31, 300])
def test_a_sweep_is_the_recurrence(
    dtype: type, with_source: bool, n_columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, start, stop = 40, 3, 36
    W, rng = made_weights(5, n), np.random.default_rng(1)
    Z, before, source = rng.normal(size=(3, n, n_columns)).astype(dtype)
    walk = walk_of(W)
    answers = []
    for least in (0, 2**60):
        monkeypatch.setattr(walk_sweep, "MIN_COMPILED_WORK", least)
        out = before[start:stop].copy()
        sweep(walk, start, stop, 0, Z, out, 0, NUMBERS, source if with_source else None)
        answers.append(out)
    # The code for a constant number of columns gives the same bits as that for any.
    assert answers[0].tobytes() == answers[1].tobytes()
    dense = W.toarray().astype(np.float64)
    expected = 0.7 * (dense / dense.sum(axis=1)[:, None]) @ Z + 0.2 * Z - 0.3 * before
    if with_source:
        expected += 0.4 * source
    np.testing.assert_allclose(answers[0], expected[start:stop], atol=3e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_source", [False, True])
def test_a_step_with_its_residual_is_two_sweeps(dtype: type, with_source: bool) -> None:
    n, start, stop, first = 40, 3, 36, 2
    W, rng = made_weights(5, n), np.random.default_rng(1)
    Z, before, source = rng.normal(size=(3, n + 5, 4)).astype(dtype)
    walk, given = walk_of(W), source if with_source else None
    out, expected = before[: stop - start].copy(), before[: stop - start].copy()
    left, residual = np.full_like(out, 9.0), np.zeros_like(out)
    step_with_residual(
        walk, plain_rows(walk), start, stop, first, Z, out, left, NUMBERS, (0.9, 0.1), given
    )
    sweep(walk, start, stop, first, Z, expected, 0, NUMBERS, given)
    sweep(walk, start, stop, first, Z, residual, 0, (0.9, -1.0, 0.0, 0.1), given)
    assert out.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(left, residual)
    assert np.unique(out).size == out.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("least_work", [0, 2**60])
def test_a_step_with_its_residual_is_a_sweep_where_scores_are_tiny(
    dtype: type, least_work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_sweep, "MIN_COMPILED_WORK", least_work)
    n, numbers = 300, (1.9, 0.1, -0.9, 0.0)
    walk, rng = walk_of(made_weights(5, n, density=0.01)), np.random.default_rng(1)
    Z = (rng.random((n, 4)) * 10.0 ** rng.integers(-40, -34, (n, 1))).astype(dtype)
    Z[SMALLEST > Z] = 0.0
    out, expected, left = Z[::-1].copy(), Z[::-1].copy(), np.zeros_like(Z)
    step_with_residual(walk, plain_rows(walk), 0, n, 0, Z, out, left, numbers, (0.9, 0.1))
    sweep(walk, 0, n, 0, Z, expected, 0, numbers)
    assert 50 < (expected != 0.0).sum() < expected.size
    assert out.tobytes() == expected.tobytes()


@given(
    seed=st.integers(0, 10_000), n=st.integers(2, 30), n_columns=st.integers(1, 9), data=st.data()
)
@settings(max_examples=60, deadline=None)
def test_a_row_has_the_same_bits_in_any_run_and_beside_any_columns(
    seed: int, n: int, n_columns: int, data: st.DataObject
) -> None:
    W, rng = made_weights(seed, n), np.random.default_rng(seed)
    Z, before = rng.normal(size=(2, n, n_columns)).astype(np.float32)
    whole = before.copy()
    sweep(walk_of(W), 0, n, 0, Z, whole, 0, NUMBERS)
    cut = data.draw(st.integers(1, n - 1))
    out = before.copy()
    for first, last in ((0, cut), (cut, n)):
        sweep(walk_of(W[first:last]), 0, last - first, first, Z, out, first, NUMBERS)
    assert out.tobytes() == whole.tobytes()
    column = data.draw(st.integers(0, n_columns - 1))
    alone = np.ascontiguousarray(before[:, [column]])
    sweep(walk_of(W), 0, n, 0, np.ascontiguousarray(Z[:, [column]]), alone, 0, NUMBERS)
    assert alone.tobytes() == whole[:, [column]].tobytes()


def test_tiny_scores_become_zero(compiled_always: None) -> None:
    W = sp.csr_array(np.array([[0, 1], [1, 0]], dtype=np.float32))
    for dtype in (np.float32, np.float64):
        Z = np.array([[SMALLEST, -SMALLEST, 1.0]] * 2, dtype=dtype)
        out = np.zeros_like(Z)
        sweep(walk_of(W), 0, 2, 0, Z, out, 0, (0.5, 0.0, 0.0, 0.0))
        np.testing.assert_array_equal(out, [[0, 0, 0.5]] * 2)


def test_weights_are_scaled_by_powers_of_two_alone() -> None:
    W = made_weights(3, 20)
    walk = walk_of(W)
    sums = np.add.reduceat(walk.weights.astype(float), walk.indptr[:-1])
    assert ((sums >= 1) & (sums < 2)).all()
    np.testing.assert_array_equal(np.frexp(walk.weights)[0], np.frexp(W.data)[0])
    np.testing.assert_allclose(walk.degree, W.toarray().astype(float).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(row_degrees(W.indptr, W.data), walk.degree)
    far = walk_of(sp.csr_array(W * np.float32(2.0**-90)))
    assert far.weights.tobytes() == walk.weights.tobytes()
    assert far.inverse_sum.tobytes() == walk.inverse_sum.tobytes()


def test_isolated_rows_keep_what_they_have() -> None:
    walk = walk_of(sp.csr_array((2, 2), dtype=np.float32))
    np.testing.assert_array_equal(walk.inverse_sum, [0, 0])
    np.testing.assert_array_equal(walk.degree, [1, 1])
    Z = np.ones((2, 3), dtype=np.float32)
    out = np.zeros_like(Z)
    sweep(walk, 0, 2, 0, Z, out, 0, (0.9, 1.0, 0.0, 0.0))
    np.testing.assert_array_equal(out, Z)


def test_read_only_arrays_are_welcome() -> None:
    W = made_weights(2, 12)
    walk = walk_of(W)
    Z = np.random.default_rng(0).random((12, 2), dtype=np.float32)
    for array in (Z, W.data, W.indices, W.indptr, *walk):
        array.flags.writeable = False
    out = np.zeros((12, 2), dtype=np.float32)
    sweep(walk_of(W), 0, 12, 0, Z, out, 0, NUMBERS, Z)
    sweep(walk, 0, 12, 0, Z, out, 0, NUMBERS, Z)
    assert out.all()


@pytest.mark.parametrize("hold", [True, False])
def test_sources_are_added_and_clamped_rows_held(hold: bool) -> None:
    positions = np.array([1, 4, 6])
    values = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
    clamped = np.array([[True, False], [False, False], [False, True]])
    sources = SparseSources(positions, values, clamped)
    scaled = sources.scaled(np.full(8, 2.0), np.float32)
    np.testing.assert_array_equal(scaled, 2 * values)
    out = np.full((4, 4), 100.0, dtype=np.float32)
    # Rows 3 to 7 of the run; row 1 is not among them.
    add_sources(out, 0, sources, scaled, 0.5, 3, 7, hold=hold)
    expected = np.full((4, 4), 100.0)
    expected[1] += values[1]
    expected[3, :2] += values[2, :2]
    expected[3, 2:] = 2 * values[2, 2:] if hold else 0.0
    np.testing.assert_array_equal(out, expected)


def test_counts_are_those_of_dense_arithmetic() -> None:
    n, G, C = 200, 3, 4
    rng = np.random.default_rng(7)
    old = rng.random((n, G * C), dtype=np.float32)
    new = np.where(rng.random((n, 1)) < 0.5, old * np.float32(1.5), rng.random((n, G * C)))
    new = new.astype(np.float32)
    old[:20], new[180:] = 0, 0
    residual = rng.normal(size=(n, G * C)).astype(np.float32)
    scale = rng.random(n) + 0.5
    counts = SweepCounts.none(G, C)
    for rows in (slice(0, 70), slice(70, n)):
        count_changes(new[rows], old[rows], residual[rows], scale[rows], counts)
    F_new, F_old = (x.reshape(n, G, C).astype(float) * scale[:, None, None] for x in (new, old))
    left = np.abs(residual.reshape(n, G, C)) * scale[:, None, None]
    np.testing.assert_allclose(counts.residual, left.max(axis=(0, 2)))
    np.testing.assert_allclose(counts.step, np.abs(F_new - F_old).max(axis=(0, 2)))
    np.testing.assert_allclose(counts.largest, F_new.max(axis=(0, 2)))
    had, has = F_old.max(2) > 0, F_new.max(2) > 0
    np.testing.assert_array_equal(counts.reached, (~had & has).sum(axis=0))
    moved = had & has & (F_old.argmax(2) != F_new.argmax(2))
    np.testing.assert_array_equal(counts.changed, (moved | (had != has)).sum(axis=0))
    both = had & has
    with np.errstate(invalid="ignore"):
        shares = [F / F.sum(axis=2, keepdims=True) for F in (F_new, F_old)]
    restless = np.abs(shares[0] - shares[1]).max(axis=2) > 1e-3
    np.testing.assert_array_equal(counts.unsettled, (both & restless).sum(axis=0))
    assert 0 < counts.unsettled[0] < both[:, 0].sum()
    expected = np.bincount(F_new[:180, 0].argmax(1), minlength=C)
    np.testing.assert_array_equal(counts.class_rows, expected)


def test_rounding_alone_does_not_change_a_label() -> None:
    # The order of two classes is turned round by the last bit.
    above = np.nextafter(np.float32(0.5), np.float32(1))
    old = np.array([[above, 0.5], [0.0, 0.0]], dtype=np.float32)
    new = np.array([[0.5, above], [0.0, 1.0]], dtype=np.float32)
    counts = SweepCounts.none(1, 2)
    count_changes(new, old, None, np.ones(2), counts)
    assert counts.changed[0] == 1
    assert counts.reached[0] == 1
    assert counts.residual[0] == 0.0


def test_the_code_is_chosen_by_all_rows_that_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph in many strips must not fall back to the slow code strip by strip."""
    asked: list[int] = []
    made = walk_sweep.compiled_sweep

    def noted(n_columns: int) -> object:
        asked.append(n_columns)
        return made(n_columns)

    monkeypatch.setattr(walk_sweep, "compiled_sweep", noted)
    W = made_weights(4, 30)
    Z, out = np.ones((30, 3), dtype=np.float32), np.zeros((30, 3), dtype=np.float32)
    sweep(walk_of(W), 0, 30, 0, Z, out, 0, NUMBERS)
    assert asked == []
    sweep(walk_of(W), 0, 30, 0, Z, out, 0, NUMBERS, None, walk_sweep.MIN_COMPILED_WORK // 3 + 1)
    assert asked == [3]
    graph = BlockGraph.from_scipy(W, n_strips=5)
    part = LocalParts(graph, Execution(threads=2)).parts[0]
    monkeypatch.setattr(walk_sweep, "MIN_COMPILED_WORK", W.nnz * 3)
    system = LinearSystem("float32", 1, 3, (0.0, 0.0), (1.0, 0.0))
    nothing = SparseSources(
        np.zeros(0, dtype=np.int64), np.zeros((0, 3), np.float32), np.zeros((0, 1), np.bool_)
    )
    run = PartRun(part, 1, system, nothing, Z, 1.0)
    run.start(1.0, conjugate=False)
    run.advance(RecurrenceSteps((NUMBERS,)), ThreadLinks("alone"))
    assert len(part.pieces) == 5
    assert len(asked) > 5
