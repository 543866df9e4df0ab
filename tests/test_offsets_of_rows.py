"""Rows far from zero get the labels, predictions and warnings that they get near zero."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask import estimators as ours
from ssl_dask.graphs import knn_graph

FAR = 1e9
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("LabelSpreading", {"n_neighbors": 6}),
    ("LabelPropagation", {"gamma": 0.5}),
    ("AnchorGraph", {"n_anchors": 20}),
    ("TriTrainingClassifier", {"n_folds": 0}),
    ("SelfTrainingClassifier", {"n_folds": 0, "max_iter": 2}),
]


@pytest.fixture(scope="module")
def clouds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """160 rows in quarters of numbers, exact at 1e9 too; y with 5 labels a class; the truth."""
    rng, truth = np.random.default_rng(0), np.arange(160) % 2
    X = np.round(4 * (rng.normal(size=(160, 2)) + 6.0 * truth[:, None])) / 4
    return X, np.where(np.arange(160) < 10, truth, -1), truth


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_offset_changes_no_label(
    clouds: tuple[np.ndarray, np.ndarray, np.ndarray],
    name: str,
    settings: dict[str, Any],
    chunked: bool,
) -> None:
    X, y, truth = clouds
    make = getattr(ours, name)
    near = make(**settings).fit(X, y)
    given = da.from_array(X + FAR, chunks=(70, 2)) if chunked else X + FAR
    far = make(**settings).fit(given, y)
    np.testing.assert_array_equal(np.asarray(far.transduction_), near.transduction_)
    new = X[::5] + 0.25
    np.testing.assert_array_equal(far.predict(new + FAR), near.predict(new))
    assert (near.predict(new) == truth[::5]).mean() > 0.95


def test_an_offset_changes_no_edge(clouds: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, _, _ = clouds
    near = knn_graph(X, 5).to_scipy()
    for given in (X + FAR, da.from_array((4 * (X + FAR)).astype(np.int64), chunks=(70, 2))):
        far = knn_graph(given, 5).to_scipy()
        np.testing.assert_array_equal(far.toarray(), near.toarray())
    # Cosines are of the rows as they stand.
    assert knn_graph(X + FAR, 5, metric="cosine").settings["n_among_copies"] > 0
    assert knn_graph(sp.csr_array(X), 5).n_rows == 160


@pytest.mark.parametrize("chunked", [False, True])
def test_rows_that_rounding_makes_equal_are_told(
    clouds: tuple[np.ndarray, np.ndarray, np.ndarray], chunked: bool
) -> None:
    X, y, _ = clouds
    X = X + np.where(np.arange(160)[:, None] < 80, 0.0, 1e12)
    given = da.from_array(X, chunks=(70, 2)) if chunked else X
    with pytest.warns(UserWarning, match=r"\d+ of \d+ rows .* became equal .* rounding"):
        model = ours.LabelSpreading(n_neighbors=3).fit(given, y)
    # A few of the 80 rows have a true copy.
    assert 70 < model.graph_.settings["n_equal_by_rounding"] <= 80
    copies = np.repeat(X[:20], 6, axis=0)
    settings = knn_graph(copies, 3).settings
    assert settings["n_among_copies"] == 120
    assert "n_equal_by_rounding" not in settings
