"""Parts of a graph: the same bits for any number, sums that know no parts, and what they hold."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.arithmetic.pairwise_sums import LEAF_ROWS, joined_products, weighted_products
from ssl_dask.kernels.propagation.graph_parts import even_cuts, leaf_entries, part_of_strips
from ssl_dask.propagation.engine.propagated import Solved
from ssl_dask.propagation.engine.recurrence import Recurrence, chebyshev_steps
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from tests.made_graphs import cut, labels_of, random_weights, some_codes

N = 1_000


@pytest.fixture(scope="module")
def W() -> sp.csr_array:
    return random_weights(N, 3, density=0.006)


SPREADING = Recurrence("spreading", (0.9, 0.1), chebyshev_steps(0.9), {})
HARMONIC = Recurrence(
    "harmonic", (1.0, 0.0), None, {}, powers=(0.0, 0.0), clamp_seeds=True, dtype="float64"
)


def solve(graph: BlockGraph, recurrence: Recurrence, n_parts: int, **changes: object) -> Solved:
    execution = Execution(threads=2)
    folds = [np.arange(12) < 4]
    sources = SeedSources.from_folds(labels_of(some_codes(N, 2)), folds)
    at_nodes = sources.at_nodes(graph, execution)
    arguments = {"sources": at_nodes, "max_iter": 23, "tol": 0.0, **changes}
    with PropagationSession(graph, execution, n_columns=8, n_parts=n_parts) as session:
        assert session.parts.n_parts == n_parts
        return session.solve(recurrence, **arguments)  # type: ignore[arg-type]


def rows_of(solved: Solved) -> np.ndarray:
    return np.concatenate([block.compute() for block in solved.blocks])


@pytest.mark.parametrize("recurrence", [SPREADING, HARMONIC], ids=["spreading", "harmonic"])
def test_any_number_of_parts_gives_the_same_bits(W: sp.csr_array, recurrence: Recurrence) -> None:
    dense = np.random.default_rng(5).random((N, 8)).astype(np.float32)
    answers = []
    for n_parts, n_strips in ((1, 1), (2, 5), (3, 2), (8, 3), (1, 7)):
        graph = BlockGraph.from_scipy(W, n_strips=n_strips)
        blocks = DenseSources(list(cut(dense, graph.node_chunks)), 8)
        answers.append(solve(graph, recurrence, n_parts, dense=blocks))
    first = answers[0]
    assert np.unique(rows_of(first)).size > 4 * N
    for other in answers[1:]:
        assert rows_of(other).tobytes() == rows_of(first).tobytes()
        for ours, theirs in zip(other.records, first.records, strict=True):
            assert {**ours.as_dict(), "seconds": 0} == {**theirs.as_dict(), "seconds": 0}


@pytest.mark.parametrize(
    ("powers", "target"),
    [((0.5, 0.5), (0.9, 0.1)), ((1.0, 0.0), (0.95, 1.0)), ((0.0, 0.0), (0.5, 2.0))],
)
def test_any_right_hand_side(
    W: sp.csr_array, powers: tuple[float, float], target: tuple[float, float]
) -> None:
    """Z = p D^-1 W Z + q D^-s B by both solvers, against a dense solve."""
    p, q = target
    enters, _ = powers
    B = np.random.default_rng(1).normal(size=(N, 3))
    dense = W.toarray().astype(float)
    degree = np.where(dense.sum(axis=1) > 0, dense.sum(axis=1), 1.0)
    Z = np.linalg.solve(np.eye(N) - p * dense / degree[:, None], q * B * (degree**-enters)[:, None])
    graph = BlockGraph.from_scipy(W, n_strips=2)
    blocks = list(cut(B.astype(np.float32), graph.node_chunks))
    chebyshev = chebyshev_steps(p)

    def steps(t: int) -> tuple[float, float, float, float]:
        a, b, c, _ = chebyshev(t)
        return a, b, c, q * a / p

    for recurrence in (
        Recurrence("dense", target, steps, {}, powers=powers),
        Recurrence("dense", target, None, {}, powers=powers, dtype="float64"),
    ):
        with PropagationSession(graph, Execution(), n_columns=3) as session:
            solved = session.solve(
                recurrence, dense=DenseSources(blocks, 3), max_iter=2_000, tol=1e-6, scale=4.0
            )
        assert solved.converged
        np.testing.assert_allclose(rows_of(solved) / 4.0, Z, atol=2e-5 * np.abs(Z).max())
    assert np.unique(Z.argmax(axis=1)).size == 3


def test_powers_of_the_walk(W: sp.csr_array) -> None:
    """S^k X, the features of SGC, with no stop rule; several solves in one session."""
    X = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    graph = BlockGraph.from_scipy(W, n_strips=3)
    blocks = list(cut(X, graph.node_chunks))
    recurrence = Recurrence("powers", (1.0, 0.0), lambda _: (1.0, 0.0, 0.0, 0.0), {}, first=1.0)
    dense = W.toarray().astype(float)
    degree = np.where(dense.sum(axis=1) > 0, dense.sum(axis=1), 1.0)
    S = dense / np.sqrt(np.outer(degree, degree))
    with PropagationSession(graph, Execution(), n_columns=5) as session:
        for power in (1, 2, 7):
            solved = session.solve(
                recurrence, dense=DenseSources(blocks, 5), max_iter=power, tol=None, scale=1.0
            )
            assert solved.n_iter == power
            assert solved.records == []
            F = rows_of(solved) * np.sqrt(degree)[:, None]
            expected = np.linalg.matrix_power(S, power) @ X
            np.testing.assert_allclose(F, expected, atol=1e-5)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_sums_do_not_depend_on_the_parts(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20 * LEAF_ROWS))
    leaves = -(-n // LEAF_ROWS)
    inner = data.draw(st.sets(st.integers(1, max(leaves - 1, 1)), max_size=6))
    cuts = sorted({0, n, *(LEAF_ROWS * leaf for leaf in inner if LEAF_ROWS * leaf < n)})
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    left, right = rng.normal(size=(2, n, 2)) * 10.0 ** rng.integers(-8, 8, size=(2, n, 2))
    weights = rng.random(n)
    whole = joined_products([weighted_products(left, right, weights, 0)], 2)
    parts = [
        weighted_products(left[a:b], right[a:b], weights[a:b], a)
        for a, b in itertools.pairwise(cuts)
    ]
    order = data.draw(st.permutations(parts))
    assert joined_products(order, 2).tobytes() == whole.tobytes()
    for column in range(2):
        terms = [
            Fraction(w) * Fraction(x) * Fraction(y)
            for w, x, y in zip(weights, left[:, column], right[:, column], strict=True)
        ]
        size = float(sum(abs(term) for term in terms))
        assert abs(whole[column] - float(sum(terms))) <= 1e-13 * size


def test_parts_hold_the_graph_and_ask_for_their_halos(W: sp.csr_array) -> None:
    strips = [W[:300], W[300:301], W[301:]]
    starts = [0, 300, 301]
    entries = np.zeros(-(-N // LEAF_ROWS), dtype=np.int64)
    for strip, first in zip(strips, starts, strict=True):
        counts = leaf_entries(strip, first)
        entries[first // LEAF_ROWS :][: len(counts)] += counts
    assert entries.sum() == W.nnz
    cuts = even_cuts(entries, N, 4)
    assert len(cuts) == 5
    sizes = []
    for number in range(4):
        part = part_of_strips(strips, starts, cuts, number)
        sizes.append(part.n_entries)
        names = np.concatenate([np.arange(part.start, part.stop), part.halo])
        dense = np.zeros((part.n_own, N))
        for first, rows in part.pieces:
            for i in range(rows.n_rows):
                at = slice(rows.indptr[i], rows.indptr[i + 1])
                columns = names[rows.indices[at]]
                # Neighbours are summed in the order of their numbers.
                assert (np.diff(columns) > 0).all()
                dense[first + i, columns] = rows.weights[at] * rows.inverse_sum[i]
        rows_of_W = W.toarray()[part.start : part.stop].astype(float)
        expected = rows_of_W / np.maximum(rows_of_W.sum(axis=1), 1e-300)[:, None]
        np.testing.assert_allclose(dense, expected, rtol=1e-6)
        asked = np.concatenate([part.asked_of(other) for other in range(4)])
        np.testing.assert_array_equal(asked, part.halo)
        assert len(part.asked_of(number)) == 0
    assert max(sizes) < 1.3 * W.nnz / 4
