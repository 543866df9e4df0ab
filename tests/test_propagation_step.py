"""One sweep over one strip, against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.kernels.propagation_step import (
    Coefficients,
    StripSeeds,
    initial_values,
    strip_scaling,
    sweep_strip,
)


def make_case(
    seed: int, n: int, n_groups: int, n_classes: int, *, clamp: bool
) -> tuple[sp.csr_array, np.ndarray, np.ndarray, StripSeeds]:
    rng = np.random.default_rng(seed)
    W = sp.random_array((n, n), density=0.4, rng=rng, format="csr", dtype=np.float32)
    W = sp.csr_array((W + W.T) * np.float32(0.5))
    W.setdiag(0)
    W.eliminate_zeros()
    W.sort_indices()
    K = n_groups * n_classes
    Z = rng.random((n, K), dtype=np.float32)
    Z[rng.random(n) < 0.2] = 0
    before = rng.random((n, K), dtype=np.float32)
    rows = np.flatnonzero(rng.random(n) < 0.3).astype(np.int64)
    values = rng.random((len(rows), K), dtype=np.float32)
    clamped = (rng.random((len(rows), n_groups)) < 0.7) & clamp
    return W, Z, before, StripSeeds(rows, values, clamped)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_sweep_is_the_recurrence(symmetric: bool) -> None:
    n, G, C = 40, 3, 4
    W, Z, before, seeds = make_case(5, n, G, C, clamp=True)
    assert seeds.clamped.any()
    assert not seeds.clamped.all()
    scaling = strip_scaling(W, symmetric=symmetric)
    numbers = Coefficients(0.7, 0.2, -0.3, 0.4, 0.9, 0.1)
    new, counts = sweep_strip(W, Z, 0, before, seeds, scaling, numbers)

    # The same in F = row_scale * Z, dense and in float64.
    dense = W.toarray().astype(np.float64)
    degree = dense.sum(axis=1)
    assert (degree > 0).all()
    root = np.sqrt(degree) if symmetric else np.ones(n)
    S = dense / np.outer(root, root) if symmetric else dense / degree[:, None]
    F, F_before = Z * root[:, None], before * root[:, None]
    B = np.zeros((n, G * C))
    B[seeds.positions] = seeds.values
    F_new = 0.7 * S @ F + 0.2 * F - 0.3 * F_before + 0.4 * B
    residual = np.abs(0.9 * S @ F + 0.1 * B - F)
    grouped = F_new.reshape(n, G, C)
    held = np.zeros((n, G), dtype=bool)
    held[seeds.positions] = seeds.clamped
    grouped = np.where(held[:, :, None], B.reshape(n, G, C), grouped)
    np.testing.assert_allclose(
        (new * root[:, None]).reshape(n, G, C), grouped, rtol=2e-5, atol=1e-6
    )

    old = F.reshape(n, G, C)
    free = residual.reshape(n, G, C) * ~held[:, :, None]
    np.testing.assert_allclose(counts.residual, free.max(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(counts.step, np.abs(grouped - old).max(axis=(0, 2)), rtol=1e-4)
    np.testing.assert_allclose(counts.largest, np.abs(grouped).max(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_array_equal(counts.reached, (~old.any(2) & grouped.any(2)).sum(axis=0))
    assert counts.reached.any()
    had, has = old.max(2) > 0, grouped.max(2) > 0
    moved = had & has & (old.argmax(2) != grouped.argmax(2))
    np.testing.assert_array_equal(counts.changed, (moved | (had != has)).sum(axis=0))
    first = grouped[:, 0]
    expected = np.bincount(first.argmax(1)[first.max(1) > 0], minlength=C)
    np.testing.assert_array_equal(counts.class_rows, expected)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 30),
    groups=st.integers(1, 3),
    classes=st.integers(1, 4),
    clamp=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_row_has_the_same_bits_in_any_strip(
    seed: int, n: int, groups: int, classes: int, clamp: bool, data: st.DataObject
) -> None:
    W, Z, before, seeds = make_case(seed, n, groups, classes, clamp=clamp)
    numbers = Coefficients(0.9, 0.0, 0.1, 0.1, 0.9, 0.1)
    cut = data.draw(st.integers(1, n - 1))
    whole, counts = sweep_strip(W, Z, 0, before, seeds, strip_scaling(W, symmetric=True), numbers)
    parts, joined = [], None
    for start, stop in ((0, cut), (cut, n)):
        strip = W[start:stop]
        inside = (seeds.positions >= start) & (seeds.positions < stop)
        part_seeds = StripSeeds(
            seeds.positions[inside] - start, seeds.values[inside], seeds.clamped[inside]
        )
        part, part_counts = sweep_strip(
            strip,
            Z,
            start,
            before[start:stop],
            part_seeds,
            strip_scaling(strip, symmetric=True),
            numbers,
        )
        parts.append(part)
        joined = part_counts if joined is None else joined.joined(part_counts)
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert joined is not None
    for ours, theirs in zip(joined, counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_groups_do_not_touch_each_other() -> None:
    W, Z, before, seeds = make_case(11, 25, 3, 2, clamp=True)
    numbers = Coefficients(1.1, 0.0, -0.1, 0.2, 0.9, 0.1)
    scaling = strip_scaling(W, symmetric=True)
    together, _ = sweep_strip(W, Z, 0, before, seeds, scaling, numbers)
    for group in range(3):
        columns = slice(2 * group, 2 * group + 2)
        alone = StripSeeds(
            seeds.positions,
            np.ascontiguousarray(seeds.values[:, columns]),
            np.ascontiguousarray(seeds.clamped[:, group : group + 1]),
        )
        separate, _ = sweep_strip(
            W,
            np.ascontiguousarray(Z[:, columns]),
            0,
            np.ascontiguousarray(before[:, columns]),
            alone,
            scaling,
            numbers,
        )
        assert separate.tobytes() == np.ascontiguousarray(together[:, columns]).tobytes()


def test_rounding_alone_does_not_change_a_label() -> None:
    # Row 0 sees two classes that are equal but for the last bit.
    W = sp.csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32))
    Z = np.array([[1, 1], [0.5, np.nextafter(np.float32(0.5), 1)], [0, 0]], dtype=np.float32)
    seeds = StripSeeds(np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros((0, 1), bool))
    numbers = Coefficients(1, 0, 0, 0, 1, 0)
    new, counts = sweep_strip(W, Z, 0, Z, seeds, strip_scaling(W, symmetric=False), numbers)
    assert new[0, 1] > new[0, 0]  # the order did change, by one bit
    # Row 1: (1, 1)/2 from a near tie, quiet too. Row 2 gets its first label.
    assert counts.changed[0] == 1
    assert counts.reached[0] == 1


def test_isolated_rows_keep_what_they_have() -> None:
    W = sp.csr_array((2, 2), dtype=np.float32)
    scaling = strip_scaling(W, symmetric=True)
    np.testing.assert_array_equal(scaling.inverse_degree, [0, 0])
    np.testing.assert_array_equal(scaling.row_scale, [1, 1])
    seeds = StripSeeds(np.array([1]), np.array([[0.0, 1.0]], np.float32), np.zeros((1, 1), bool))
    Z = initial_values(2, seeds, scaling, 0.1)
    np.testing.assert_allclose(Z, [[0, 0], [0, 0.1]])
    numbers = Coefficients(0.9, 0, 0, 0.1, 0.9, 0.1)
    new, counts = sweep_strip(W, Z, 0, Z, seeds, scaling, numbers)
    np.testing.assert_allclose(new, [[0, 0], [0, 0.1]])
    assert counts.residual[0] < 1e-7


def test_read_only_arrays_are_welcome() -> None:
    W, Z, before, seeds = make_case(2, 12, 1, 2, clamp=False)
    scaling = strip_scaling(W, symmetric=True)
    for array in (Z, before, W.data, W.indices, W.indptr, *seeds, *scaling):
        array.flags.writeable = False
    numbers = Coefficients(0.9, 0, 0, 0.1, 0.9, 0.1)
    new, _ = sweep_strip(W, Z, 0, before, seeds, scaling, numbers)
    assert new.any()
