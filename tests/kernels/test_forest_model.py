"""The forest against scikit-learn's, in blocks, sparse, and where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier

from ssl_dask.kernels.learners.forest_model import ForestModel


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    seeds = np.random.default_rng(0).choice(len(y), 150, replace=False)
    return X.astype(np.float32), y.astype(np.int32), seeds


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_it_is_scikit_learns_on_the_features_that_vary(digits: tuple, kind: object) -> None:
    X, y, seeds = digits
    varying = np.flatnonzero(np.ptp(X[seeds], axis=0) > 0)
    assert len(varying) < X.shape[1]
    wanted = ExtraTreesClassifier(random_state=0).fit(X[seeds][:, varying], y[seeds])
    model = ForestModel(10).fit(kind(X[seeds]), y[seeds])
    found = model.predict_proba(kind(X))
    np.testing.assert_allclose(found, wanted.predict_proba(X[:, varying]), atol=1e-6)
    assert found.dtype == np.float32
    assert (model.predict(kind(X)) == y).mean() > 0.85


def test_a_row_has_the_same_bits_in_any_block(digits: tuple) -> None:
    X, y, seeds = digits
    model = ForestModel(10).fit(X[seeds], y[seeds])
    whole = model.predict_proba(X)
    parts = [model.predict_proba(X[a : a + 7]) for a in range(0, len(X), 7)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert model.predict_proba(X[:0]).shape == (0, 10)


def test_wide_indices_are_taken() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60).astype(np.int32)
    noise = sparse.random(60, 400, 0.05, random_state=0, dtype=np.float32)
    X = sparse.csr_array(sparse.hstack([noise, y[:, None].astype(np.float32)]))
    wide = sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    model = ForestModel(2).fit(wide, y)
    assert model.predict_proba(wide).tobytes() == model.predict_proba(X).tobytes()
    assert (model.predict(wide) == y).all()


def test_classes_without_seeds_get_nothing_and_one_class_gets_all() -> None:
    X = np.arange(8, dtype=np.float32)[:, None]
    model = ForestModel(3).fit(X, np.array([0, 0, 0, 0, 2, 2, 2, 2], np.int32))
    assert model.predict_proba(X)[:, 1].max() == 0.0
    assert model.predict(X).tolist() == [0] * 4 + [2] * 4
    alone = ForestModel(3).fit(X, np.full(8, 1, np.int32))
    assert alone.predict_proba(X).tolist() == [[0.0, 1.0, 0.0]] * 8
    alike = ForestModel(2).fit(np.zeros((4, 2), np.float32), np.array([0, 0, 0, 1], np.int32))
    assert alike.predict_proba(np.ones((1, 2), np.float32)).tolist() == [[0.75, 0.25]]
