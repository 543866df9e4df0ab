"""Vectors and principal components against NumPy and scikit-learn, for any blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features import vector_columns as module
from ssl_dask.features.describe import describe
from ssl_dask.features.feature_groups import VectorGroup
from ssl_dask.features.views import FeatureView
from tests.memory_reader import MemoryReader, cuts_of, one_group

N_ROWS, WIDTH = 60, 9
RNG = np.random.default_rng(0)
VECTORS = (
    RNG.normal(size=(N_ROWS, WIDTH)) @ RNG.normal(size=(WIDTH, WIDTH)) + RNG.normal(size=WIDTH) * 20
).astype(np.float32)
VECTORS[11] = 0


def view_of(vectors: np.ndarray, cuts: Sequence[int] = (), **group: Any) -> FeatureView:
    return one_group({"pixels": vectors}, cuts, "image", vector="pixels", **group)


def test_as_they_are() -> None:
    view = view_of(VECTORS, [5])
    assert (view.X.compute(scheduler="sync") == VECTORS).all()
    assert view.X.chunks == ((5, 55), (9,))
    assert view.state.spread == pytest.approx(np.sqrt(VECTORS.var(axis=0).sum()), rel=1e-5)


def test_scaled() -> None:
    standard = view_of(VECTORS, [5], scale="standard").X.compute(scheduler="sync")
    expected = StandardScaler().fit_transform(VECTORS.astype(np.float64))
    assert standard == pytest.approx(expected, rel=1e-4, abs=1e-5)
    view = view_of(VECTORS, [5], scale="l2")
    assert view.X.compute(scheduler="sync") == pytest.approx(normalize(VECTORS), rel=1e-5, abs=1e-6)
    assert "1 vectors are zero" in " ".join(view.notes)


@settings(deadline=None, max_examples=25)
@given(
    cuts_of(N_ROWS), st.sampled_from(["none", "standard", "l2"]), st.sampled_from([None, 1, 4, 9])
)
def test_same_bits_for_any_blocks(cuts: list[int], scale: str, n_components: int | None) -> None:
    whole = view_of(VECTORS, scale=scale, n_components=n_components)
    cut = view_of(VECTORS, cuts, scale=scale, n_components=n_components)
    assert cut.X.compute(scheduler="sync").tobytes() == whole.X.compute(scheduler="sync").tobytes()
    assert cut.notes == whole.notes


@pytest.mark.parametrize("scale", ["none", "standard", "l2"])
def test_components_are_those_of_scikit_learn(scale: str) -> None:
    features = view_of(VECTORS, scale=scale).X.compute(scheduler="sync").astype(np.float64)
    view = view_of(VECTORS, [17, 40], scale=scale, n_components=4)
    X = view.X.compute(scheduler="sync")
    peer = PCA(4, svd_solver="full").fit(features)
    expected = peer.transform(features)
    signs = np.sign((X * expected).sum(axis=0))
    assert np.abs(X * signs - expected).max() < 1e-4 * np.abs(expected).max()
    assert view.state.explained_variance == pytest.approx(peer.explained_variance_, rel=1e-4)
    components = view.state.components
    assert (components[np.abs(components).argmax(axis=0), np.arange(4)] > 0).all()
    assert np.abs(X).max() > 0.1


def test_components_of_very_unlike_columns() -> None:
    factors = 10.0 ** np.arange(-4, 5)
    vectors = (RNG.lognormal(sigma=2, size=(500, WIDTH)) * factors).astype(np.float32)
    X = view_of(vectors, [100], scale="none", n_components=3).X.compute(scheduler="sync")
    expected = PCA(3, svd_solver="full").fit_transform(vectors.astype(np.float64))
    for k in range(3):
        sign = np.sign(X[:, k] @ expected[:, k])
        off = np.abs(X[:, k] * sign - expected[:, k])
        assert off.max() < 1e-3 * expected[:, k].std()


def test_components_that_vary_nowhere_are_zero() -> None:
    plane = (RNG.normal(size=(N_ROWS, 2)) @ RNG.normal(size=(2, WIDTH))).astype(np.float32)
    plane[:, 3] = 5.0
    plane[:, 4] = plane[:, 5]
    flat = np.zeros((N_ROWS, WIDTH), dtype=np.float32)
    flat[:, :2] = plane[:, :2]
    view = view_of(flat, [20], n_components=4)
    X = view.X.compute(scheduler="sync")
    assert X[:, :2].any(axis=0).all()
    assert not X[:, 2:].any()
    assert "2 components vary nowhere" in " ".join(view.notes)
    assert "7 of 9 positions hold one value" in " ".join(view.notes)
    constant = view_of(np.ones((5, 3)), n_components=2)
    assert not constant.X.compute(scheduler="sync").any()


def test_new_rows_and_wrong_lengths() -> None:
    view = view_of(VECTORS, [7], n_components=3)
    assert view.transform({"pixels": VECTORS[20:23]}).tobytes() == (
        view.X.compute(scheduler="sync")[20:23].tobytes()
    )
    with pytest.raises(InputDataError, match=r"shape \(5,\), not \(9,\)"):
        view.transform({"pixels": VECTORS[:, :5]})
    with pytest.raises(InputDataError, match="missing, infinite or beyond"):
        view.transform({"pixels": np.full((2, WIDTH), np.nan)})


class RaggedReader(MemoryReader):
    """Vectors that are longer in the second block."""

    def read(self, block: int, kinds: Any) -> dict[str, np.ndarray]:
        vectors = super().read(block, kinds)["pixels"]
        return {"pixels": vectors if block == 0 else np.hstack([vectors, vectors])}


def test_bad_vectors() -> None:
    spec = {"image": VectorGroup(vector="pixels")}
    with pytest.raises(InputDataError, match="vectors of 9 and of 18 numbers"):
        describe(RaggedReader({"pixels": VECTORS}, [30]), spec, Execution(threads=1))
    vectors = VECTORS.copy()
    vectors[4, 4], vectors[50, 2] = np.nan, np.inf
    with pytest.raises(InputDataError, match="hold 2 values that are missing, infinite"):
        view_of(vectors, [30])
    with pytest.raises(InputDataError, match="no row has a vector with numbers"):
        view_of(np.zeros((4, 0)))


def test_limits_of_components(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputDataError, match="10 components of 9 columns and 60 rows"):
        view_of(VECTORS, n_components=10)
    with pytest.raises(InputDataError, match="5 components of 9 columns and 4 rows"):
        view_of(VECTORS[:4], n_components=5)
    monkeypatch.setattr(module, "MAX_PCA_COLUMNS", 8)
    with pytest.raises(InputDataError, match="for 9 columns; at most 8"):
        view_of(VECTORS, n_components=2)
