"""Rows far from zero get the labels, predictions and warnings that they get near zero."""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ssl_dask import estimators as ours
from ssl_dask.graphs import knn_graph

Clouds = tuple[np.ndarray, np.ndarray, np.ndarray]

FAR = 1e9
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("LabelSpreading", {"n_neighbors": 6}),
    ("LabelPropagation", {"gamma": 0.5}),
    ("AnchorGraph", {"n_anchors": 20}),
    ("TriTrainingClassifier", {"n_folds": 0}),
    ("SelfTrainingClassifier", {"n_folds": 0, "max_iter": 2}),
]


@pytest.fixture(scope="module")
def clouds() -> Clouds:
    """160 rows in quarters of numbers, exact at 1e9 too; y with 5 labels a class; the truth."""
    rng, truth = np.random.default_rng(0), np.arange(160) % 2
    X = np.round(4 * (rng.normal(size=(160, 2)) + 6.0 * truth[:, None])) / 4
    return X, np.where(np.arange(160) < 10, truth, -1), truth


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize(
    "offset",
    # No float64 holds the integers beyond 2^53.
    [np.float64(FAR), np.int64(1_700_000_000_000_000_001), np.uint64(2**64 - 1000)],
    ids=lambda offset: offset.dtype.name,
)
def test_an_offset_changes_no_label(
    clouds: Clouds, name: str, settings: dict[str, Any], offset: Any
) -> None:
    X, y, truth = clouds
    small = X if offset.dtype == float else (4 * (X - X.min())).astype(offset.dtype)
    given, make = small + offset, getattr(ours, name)
    new = small[::5] + offset.dtype.type(0.25 if offset.dtype == float else 1)
    near = make(**settings).fit(small, y)
    assert (near.transduction_ == truth).mean() > 0.9
    said = near.predict(new)
    assert (said == truth[::5]).mean() > 0.95
    for form in (given, da.from_array(given, chunks=(70, 2)), pd.DataFrame(given), given.tolist()):
        far = make(**settings).fit(form, y)
        np.testing.assert_array_equal(np.asarray(far.transduction_), near.transduction_)
        np.testing.assert_array_equal(far.predict(new + offset), said)


def test_an_offset_changes_no_edge(clouds: Clouds) -> None:
    X, _, _ = clouds
    near = knn_graph(X, 5).to_scipy()
    for given in (X + FAR, da.from_array((4 * (X + FAR)).astype(np.int64), chunks=(70, 2))):
        far = knn_graph(given, 5).to_scipy()
        np.testing.assert_array_equal(far.toarray(), near.toarray())
    # Cosines are of the rows as they stand.
    assert knn_graph(X + FAR, 5, metric="cosine").settings["n_equal_by_rounding"] > 0
    assert knn_graph(sp.csr_array(X), 5).n_rows == 160


@pytest.mark.parametrize("chunked", [False, True])
def test_rows_that_rounding_makes_equal_are_told(clouds: Clouds, chunked: bool) -> None:
    X, y, _ = clouds
    X = X + np.where(np.arange(160)[:, None] < 80, 0.0, 1e12)
    given = da.from_array(X, chunks=(70, 2)) if chunked else X
    with pytest.warns(UserWarning, match=r"\d+ of \d+ rows .* became equal .* rounding"):
        model = ours.LabelSpreading(n_neighbors=3).fit(given, y)
    # A few of the 80 rows have a true copy.
    assert 70 < model.graph_.settings["n_equal_by_rounding"] <= 80
    copies = np.repeat(X[:20], 6, axis=0)
    settings = knn_graph(copies, 3).settings
    assert settings["n_copies"] == 120 - len(np.unique(X[:20], axis=0))
    assert "n_equal_by_rounding" not in settings


@pytest.mark.parametrize("chunked", [False, True])
def test_the_classifier_beside_a_graph_sees_integers_beyond_2_53(chunked: bool) -> None:
    X = np.random.default_rng(0).integers(0, 100_000, (200, 2))
    truth = (X.sum(axis=1) > 100_000).astype(np.int64)
    y, far = np.where(np.arange(200) < 40, truth, -1), X + np.int64(1_700_000_000_000_000_001)
    near = ours.GraphEnsemble(n_neighbors=6).fit(X, y)
    weight = near.details_["weights"]["classifier"]
    assert weight > 0.1
    given = da.from_array(far, chunks=(70, 2)) if chunked else far
    model = ours.GraphEnsemble(n_neighbors=6).fit(given, y)
    assert model.details_["weights"]["classifier"] == pytest.approx(weight, rel=1e-3)
    np.testing.assert_array_equal(np.asarray(model.transduction_), near.transduction_)


def test_integers_that_become_floats_beside_others_are_told() -> None:
    rng, y = np.random.default_rng(0), np.arange(60) % 2
    frame = pd.DataFrame({"at": rng.integers(0, 5000, 60), "size": rng.normal(size=60) + y})
    far = frame.assign(at=frame["at"] + 1_700_000_000_000_000_000)
    n_rounded = sum(int(float(one)) != one for one in far["at"].tolist())
    match = f"column 'at': {n_rounded} of 60 rows .* subtract the column's smallest value"
    with pytest.warns(UserWarning, match=match):
        ours.LabelSpreading(n_neighbors=3).fit(far, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.LabelSpreading(n_neighbors=3).fit(frame, y)
        # Nanoseconds over days: float32 features drop more digits than float64 does.
        days = frame.assign(at=frame["at"] * 10**12 + 1_700_000_000_000_000_001)
        ours.LabelSpreading(n_neighbors=3).fit(days, y)


def test_times_are_refused_by_name() -> None:
    y, times = np.arange(8) % 2, np.arange(8).astype("datetime64[s]")
    frame = pd.DataFrame({"size": np.arange(8.0), "bought": times.astype("datetime64[ns]")})
    for X, match in (
        (frame, r"^'bought' \(datetime64\[ns\]\) holds times.*turn them into numbers"),
        (times[:, None], r"^X \(datetime64\[s\]\) holds times"),
        (da.from_array(times[:, None], chunks=(4, 1)), r"^X \(datetime64\[s\]\) holds times"),
    ):
        with pytest.raises(ValueError, match=match):
            ours.LabelSpreading(n_neighbors=3).fit(X, y)
