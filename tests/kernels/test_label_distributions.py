"""Rows of scores: distributions, most likely class, ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ssl_dask.kernels.distributions.label_distributions import (
    TIE_MARGIN,
    normalise_rows,
    row_mass,
    summarise_rows,
)

scores = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 6)),
    elements=st.floats(-1.0, 1e10, width=32),
)


@given(scores)
def test_rows_sum_to_one_or_zero(F: np.ndarray) -> None:
    before = F.copy()
    normal = normalise_rows(F)
    np.testing.assert_array_equal(F, before)
    assert normal.dtype == np.float32
    assert (normal >= 0).all()
    has_evidence = (F > 0).any(axis=1)
    np.testing.assert_allclose(normal.sum(axis=1), has_evidence, atol=1e-6)
    np.testing.assert_allclose(row_mass(F), np.maximum(F, 0).astype(float).sum(axis=1), rtol=1e-12)


@given(scores, st.data())
def test_a_row_does_not_depend_on_its_block(F: np.ndarray, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(F) - 1))
    normal = normalise_rows(F)
    alone = normalise_rows(np.asfortranarray(F[row : row + 1]))
    assert alone.tobytes() == normal[row].tobytes()
    whole, single = summarise_rows(normal), summarise_rows(alone)
    for in_block, by_itself in zip(whole, single, strict=True):
        assert in_block[row] == by_itself[0]


def test_normalising_survives_the_whole_range_of_float32() -> None:
    F = np.array([[1e-45, 3e-45], [3e38, 1e38], [1e-30, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(normalise_rows(F), [[0.5, 0.5], [0.75, 0.25], [1, 0]], atol=0.26)
    assert normalise_rows(F)[0].sum() == pytest.approx(1.0)


def test_summary_of_plain_tied_and_empty_rows() -> None:
    close = 0.5 + TIE_MARGIN / 4
    F = np.array(
        [[0.2, 0.7, 0.1], [0.5, 0.0, 0.5], [0, 0, 0], [1 - close, close, 0]], dtype=np.float32
    )
    codes, margin, tied = summarise_rows(F)
    np.testing.assert_array_equal(codes, [1, 0, -1, 1])
    np.testing.assert_array_equal(tied, [False, True, False, True])
    np.testing.assert_allclose(margin[:3], [0.5, 0.0, 0.0], atol=1e-7)
    assert codes.dtype == np.int32


def test_one_class_has_no_runner_up() -> None:
    codes, margin, tied = summarise_rows(np.array([[1.0], [0.0]], dtype=np.float32))
    np.testing.assert_array_equal(codes, [0, -1])
    np.testing.assert_array_equal(margin, [1.0, 0.0])
    assert not tied.any()
