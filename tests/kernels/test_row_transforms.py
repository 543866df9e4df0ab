"""What becomes of a row depends on that row alone, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.kernels.features.row_transforms import (
    project_rows,
    scale_rows,
    unit_rows,
    unit_sparse_rows,
)

RNG = np.random.default_rng(0)
X = RNG.lognormal(sigma=2, size=(103, 61)).astype(np.float32)
X[7] = 0
MEAN, FACTOR = X.mean(axis=0, dtype=np.float64), 1 / X.std(axis=0, dtype=np.float64)
COMPONENTS = np.linalg.qr(RNG.normal(size=(61, 13)))[0]

KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "scale": lambda rows: scale_rows(rows, MEAN, FACTOR),
    "unit": lambda rows: unit_rows(rows)[0],
    "project": lambda rows: project_rows(rows, MEAN, COMPONENTS),
}


@pytest.mark.parametrize("name", KERNELS)
def test_same_bits_for_any_block(name: str) -> None:
    kernel = KERNELS[name]
    whole = kernel(X)
    assert whole.dtype == np.float32
    assert len(np.unique(whole)) > 1000
    for size in (1, 2, 3, 5, 64, 102):
        blocks = [kernel(X[i : i + size]) for i in range(0, len(X), size)]
        assert np.concatenate(blocks).tobytes() == whole.tobytes(), size
    assert kernel(np.asfortranarray(X)).tobytes() == whole.tobytes()
    assert kernel(np.repeat(X, 2, axis=0)[::2]).tobytes() == whole.tobytes()
    assert kernel(X[:0]).shape == (0, whole.shape[1])


def test_sums_that_cancel_have_the_same_bits_too() -> None:
    # Here another order of the terms shows in float32, as it does with BLAS.
    rows = np.ones((9, 256), dtype=np.float32)
    components = RNG.normal(size=(256, 8)) * 10.0 ** RNG.integers(0, 12, (256, 8))
    components[128:] = -components[:128] * (1 + 1e-14 * RNG.normal(size=(128, 8)))
    centre = np.zeros(256)
    whole = project_rows(rows, centre, components)
    in_order = np.zeros(8)
    for term in components:
        in_order += term
    assert (whole == in_order.astype(np.float32)).all()
    backwards = project_rows(rows, centre, components[::-1])
    assert (backwards != whole).any()


def test_values_are_those_of_numpy() -> None:
    assert scale_rows(X, MEAN, FACTOR) == pytest.approx((X - MEAN) * FACTOR, rel=1e-6, abs=1e-6)
    expected = (X - MEAN) @ COMPONENTS
    assert project_rows(X, MEAN, COMPONENTS) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    unit, n_zero = unit_rows(X)
    assert n_zero == 1
    assert not unit[7].any()
    lengths = np.linalg.norm(np.delete(unit, 7, axis=0).astype(np.float64), axis=1)
    assert lengths == pytest.approx(1.0, abs=1e-6)
    assert np.delete(unit, 7, axis=0)[3] == pytest.approx(X[3] / np.linalg.norm(X[3]), rel=1e-5)


def test_more_rows_than_a_slice() -> None:
    many = np.tile(X, (90, 1))
    assert scale_rows(many, MEAN, FACTOR).tobytes() == scale_rows(X, MEAN, FACTOR).tobytes() * 90


def test_sparse_rows() -> None:
    rows = sp.csr_array(np.where(X > 1.5, X, 0))
    assert 0 < rows.nnz < X.size
    unit = unit_sparse_rows(rows)
    assert unit.dtype == np.float32
    lengths = np.sqrt((unit.toarray().astype(np.float64) ** 2).sum(axis=1))
    filled = np.diff(rows.indptr) > 0
    assert lengths[filled] == pytest.approx(1.0, abs=1e-6)
    assert (lengths[~filled] == 0).all()
    assert not filled.all()
    one_by_one = [unit_sparse_rows(sp.csr_array(rows[[i]])).data for i in range(len(X))]
    assert np.concatenate(one_by_one).tobytes() == unit.data.tobytes()
