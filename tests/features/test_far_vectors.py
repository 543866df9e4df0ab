"""Vectors far from zero are scaled in double precision; others keep their bits."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.features.feature_groups import VectorGroup
from ssl_dask.features.vector_columns import fit_vector, survey_vector


def described(X: np.ndarray, scale: str, size: int = 40) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the features of X, surveyed in blocks of `size` rows, and the notes."""
    group = VectorGroup(vector="v", scale=scale)
    blocks = [X[start : start + size] for start in range(0, len(X), size)]
    survey = survey_vector(group, {"v": blocks[0]})
    for block in blocks[1:]:
        survey = survey + survey_vector(group, {"v": block})
    fitted = fit_vector("x", group, survey)
    return fitted.transform({"v": X}), fitted.notes


@pytest.mark.parametrize("scale", ["standard", "none"])
@pytest.mark.parametrize("size", [1, 40, 100])
def test_an_offset_changes_no_difference(scale: str, size: int) -> None:
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(100, 3)) * 64) / 64
    near, notes = described(X, scale)
    assert not notes
    far, notes = described(X + np.array([1e9, 0.0, -1e10]), scale, size)
    np.testing.assert_allclose(far - far[0], near - near[0], atol=1e-5)
    np.testing.assert_array_equal(far[:, 1], near[:, 1])
    assert notes == (
        "column 'v': 2 of 3 positions are far from zero against how they vary, and lost that offset"
        " before they became float32",
    )


@pytest.mark.parametrize("scale", ["standard", "none", "l2"])
def test_doubles_near_zero_have_the_bits_of_float32(scale: str) -> None:
    X = np.random.default_rng(1).normal(size=(100, 3)) + 5.0
    double, _ = described(X, scale)
    single, _ = described(X.astype(np.float32), scale)
    assert double.dtype == np.float32
    assert double.tobytes() == single.tobytes()
