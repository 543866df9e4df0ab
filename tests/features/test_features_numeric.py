"""Numeric columns against scikit-learn, for any blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ssl_dask.errors import InputDataError
from ssl_dask.features.feature_groups import NumericGroup
from ssl_dask.features.views import FeatureView
from tests.memory_reader import cuts_of, one_group

N_ROWS = 40
RNG = np.random.default_rng(0)
VALUES = np.column_stack(
    [RNG.lognormal(sigma=3, size=N_ROWS), RNG.normal(1e6, 1, N_ROWS), RNG.integers(0, 2, N_ROWS)]
)
NAMES = ["amount", "offset", "flag"]


def view_of(values: np.ndarray, cuts: Sequence[int] = (), **group: Any) -> FeatureView:
    columns = dict(zip(NAMES, values.T, strict=False))
    return one_group(columns, cuts, "shape", numeric=list(columns), **group)


def with_holes(seed: int = 0) -> np.ndarray:
    values = VALUES.copy()
    values[np.random.default_rng(seed).random(values.shape) < 0.2] = np.nan
    values[:, 1] = VALUES[:, 1]
    return values


@pytest.mark.parametrize(
    ("scale", "scaler"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())]
)
def test_scaled_as_by_scikit_learn(scale: str, scaler: Any) -> None:
    view = view_of(VALUES, [3, 20], scale=scale)
    X = view.X.compute(scheduler="sync")
    assert X.dtype == np.float32
    assert view.X.chunks == ((3, 17, 20), (3,))
    assert pytest.approx(scaler.fit_transform(VALUES), rel=1e-5, abs=1e-6) == X
    assert view.state.spread == pytest.approx(np.sqrt(X.var(axis=0).sum()), rel=1e-5)


def test_unscaled_values_are_as_they_were() -> None:
    X = view_of(VALUES, scale="none").X.compute(scheduler="sync")
    assert (VALUES.astype(np.float32) == X).all()


@settings(deadline=None, max_examples=25)
@given(
    cuts_of(N_ROWS),
    st.sampled_from(["standard", "minmax", "none"]),
    st.sampled_from(["mean", "zero", "indicator"]),
    st.sampled_from([None, 2]),
)
def test_same_bits_for_any_blocks(
    cuts: list[int], scale: str, missing: str, n_components: int | None
) -> None:
    group = {"scale": scale, "missing": missing, "n_components": n_components}
    whole = view_of(with_holes(), **group)
    cut = view_of(with_holes(), cuts, **group)
    assert cut.X.compute(scheduler="sync").tobytes() == whole.X.compute(scheduler="sync").tobytes()
    assert cut.notes == whole.notes
    assert cut.state.spread == whole.state.spread


def test_missing_becomes_the_mean() -> None:
    values = with_holes()
    X = view_of(values, [7], missing="mean").X.compute(scheduler="sync")
    holes = np.isnan(values)
    assert holes.any()
    assert X[holes] == pytest.approx(0.0, abs=1e-6)
    # Mean and deviation are those of the values there are, as in StandardScaler.
    expected = StandardScaler().fit_transform(values)
    assert X[~holes] == pytest.approx(expected[~holes], rel=1e-5, abs=1e-6)


def test_missing_becomes_zero_before_scaling() -> None:
    values = with_holes()
    X = view_of(values, [7], missing="zero").X.compute(scheduler="sync")
    assert (
        pytest.approx(StandardScaler().fit_transform(np.nan_to_num(values)), rel=1e-5, abs=1e-6)
        == X
    )


def test_missing_is_marked() -> None:
    values = with_holes()
    view = view_of(values, [7], missing="indicator")
    X = view.X.compute(scheduler="sync")
    assert view.state.indicated == (0, 2)
    assert (X[:, 3:] == np.isnan(values)[:, [0, 2]]).all()
    assert (X[:, :3] == view_of(values, missing="mean").X.compute(scheduler="sync")).all()
    assert view.state.spread == pytest.approx(np.sqrt(X.var(axis=0).sum()), rel=0.1)
    assert any("'amount'" in note and "missing values" in note for note in view.notes)


def test_missing_is_an_error_by_default() -> None:
    values = with_holes()
    with pytest.raises(InputDataError) as caught:
        view_of(values, [7])
    assert [problem.column for problem in caught.value.problems] == ["amount", "flag"]
    assert caught.value.problems[0].rows == np.isnan(values[:, 0]).sum()
    assert "missing" in (caught.value.problems[0].hint or "")


def test_new_values_that_no_feature_can_hold_name_their_column() -> None:
    state = view_of(VALUES).state
    new = dict(zip(NAMES, VALUES.T.copy(), strict=True))
    new["flag"][3] = -1e300
    with pytest.raises(InputDataError, match=r"'flag'.*shape: 1 values are beyond") as caught:
        state.transform(new)
    assert [(one.column, one.rows) for one in caught.value.problems] == [("flag", 1)]


def test_column_without_values_and_infinite_values() -> None:
    values = VALUES.copy()
    values[:, 0] = np.nan
    values[5, 1] = np.inf
    with pytest.raises(InputDataError) as caught:
        view_of(values, [7], missing="mean")
    text = str(caught.value)
    assert "no value at all" in text
    assert "1 infinite values" in text


def test_values_too_large() -> None:
    values = VALUES.copy()
    values[0, 0] = 1e39
    with pytest.raises(InputDataError, match=r"beyond 3\.4e\+38"):
        view_of(values, scale="none")
    assert np.isfinite(view_of(values).X.compute(scheduler="sync")).all()
    values[0, 0] = 1e301
    with pytest.raises(InputDataError, match=r"beyond 1e\+300"):
        view_of(values)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_constant_columns_are_zero_with_a_note(scale: str) -> None:
    values = VALUES.copy()
    values[:, 0] = 7.3
    values[:, 1] = 1e9 + np.random.default_rng(0).integers(0, 2, N_ROWS) * 1e-7
    view = view_of(values, [11], scale=scale)
    X = view.X.compute(scheduler="sync")
    assert not X[:, :2].any()
    assert X[:, 2].any()
    assert sum("holds one value" in note for note in view.notes) == 2


def test_digits_lost_in_float32_are_noted() -> None:
    notes = view_of(VALUES + np.array([0, 1e9, 0]), scale="none").notes
    assert [note for note in notes if "'offset'" in note and "float32" in note]


def test_components_are_those_of_scikit_learn() -> None:
    view = view_of(VALUES, [13], n_components=2)
    X = view.X.compute(scheduler="sync")
    expected = PCA(2, svd_solver="full").fit_transform(StandardScaler().fit_transform(VALUES))
    signs = np.sign((X * expected).sum(axis=0))
    assert X.shape == (N_ROWS, 2)
    assert X * signs == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert any("% of the variance" in note for note in view.notes)


def test_too_many_components() -> None:
    with pytest.raises(InputDataError, match="4 components of 3 columns") as caught:
        view_of(VALUES, n_components=4)
    assert caught.value.problems[0].hint == "n_components: 3 at most"


def test_new_rows_are_described_in_the_same_way() -> None:
    view = view_of(with_holes(), missing="indicator", n_components=3)
    rows = dict(zip(NAMES, with_holes()[4:9].T, strict=True))
    assert view.transform(rows).tobytes() == view.X.compute(scheduler="sync")[4:9].tobytes()
    strict = view_of(VALUES)
    with pytest.raises(InputDataError, match="1 values are missing or infinite"):
        strict.transform({**rows, "amount": np.array([1, np.nan, 3]), "offset": np.ones(3),
                          "flag": np.ones(3)})  # fmt: skip


def test_spec() -> None:
    assert NumericGroup(numeric="a").numeric == ("a",)
    for wrong in ({"numeric": []}, {"numeric": ["a", "a"]}, {"numeric": "a", "weight": 0}):
        with pytest.raises(ValidationError):
            NumericGroup.model_validate(wrong)
    needs = NumericGroup(numeric=("a",), missing="mean").needs()
    assert needs == {"a": ("numeric", True)}
