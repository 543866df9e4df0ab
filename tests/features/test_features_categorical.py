"""Categories against scikit-learn, for any blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.preprocessing import OneHotEncoder

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features import categorical_columns as module
from ssl_dask.features.feature_groups import CategoricalGroup
from ssl_dask.features.views import FeatureView
from tests.memory_reader import cuts_of, one_group

N_ROWS = 30
RNG = np.random.default_rng(0)
COLUMNS: dict[str, list[Any]] = {
    "method": RNG.choice(["GET", "POST", "", "ünïcode", None], N_ROWS).tolist(),
    "code": RNG.choice([200, 404, 500], N_ROWS).tolist(),
}


def view_of(columns: dict[str, list[Any]], cuts: Sequence[int] = (), **group: Any) -> FeatureView:
    return one_group(columns, cuts, "kind", categorical=list(columns), **group)


def dense(view: FeatureView) -> np.ndarray:
    blocks = Execution(threads=1).compute(view.blocks())
    for block in blocks:
        assert block.dtype == np.float32
        assert sp.issparse(block) == view.sparse
        if view.sparse:
            assert block.has_sorted_indices
            assert block.indices.dtype == np.int32
    return np.vstack([b.toarray() if view.sparse else b for b in blocks])


def test_one_hot_as_by_scikit_learn() -> None:
    view = view_of(COLUMNS, [4, 5])
    text = [["(none)" if v is None else str(v) for v in column] for column in COLUMNS.values()]
    encoder = OneHotEncoder(sparse_output=False)
    expected = encoder.fit_transform(np.array(text, dtype=object).T)
    X = dense(view)
    assert not view.sparse
    names = [
        f"{column}_{'(none)' if value is None else value}"
        for column, values in zip(view.state.columns, view.state.categories, strict=True)
        for value in values
    ]
    order = [names.index(name) for name in encoder.get_feature_names_out(["method", "code"])]
    assert sorted(order) == list(range(X.shape[1]))
    assert (X[:, order] == expected).all()
    assert (X.sum(axis=1) == 2).all()
    assert view.state.spread == pytest.approx(np.sqrt(2))
    assert any("a category of their own" in note for note in view.notes)


@settings(deadline=None, max_examples=20)
@given(cuts_of(N_ROWS), st.sampled_from(["onehot", "hash"]), st.booleans())
def test_same_bits_for_any_blocks(cuts: list[int], encoding: str, wide: bool) -> None:
    columns = dict(COLUMNS)
    if wide:
        columns["id"] = [f"user {i}" for i in range(N_ROWS)]
    whole, cut = view_of(columns, encoding=encoding), view_of(columns, cuts, encoding=encoding)
    assert dense(cut).tobytes() == dense(whole).tobytes()
    assert cut.notes == whole.notes


def test_many_categories_are_sparse() -> None:
    columns = {"a": [str(i % 70) for i in range(200)], "b": [str(i % 71) for i in range(200)]}
    view = view_of(columns, [50])
    assert view.sparse
    X = dense(view)
    assert X.shape == (200, 141)
    assert (X.sum(axis=1) == 2).all()
    assert len(np.unique(X, axis=0)) == 200


def test_too_many_categories_name_the_count() -> None:
    columns = {"user": [str(i) for i in range(20)], "method": ["GET"] * 20}
    with pytest.raises(InputDataError, match="20 distinct values; max_categories is 19") as caught:
        view_of(columns, [7], max_categories=19)
    assert [problem.column for problem in caught.value.problems] == ["user"]
    assert "encoding: hash" in (caught.value.problems[0].hint or "")
    assert "'7'" not in str(caught.value)
    assert dense(view_of(columns, max_categories=20)).shape == (20, 21)


def test_values_are_not_collected_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_LIMIT", 10)
    columns = {"user": [str(i) for i in range(40)]}
    with pytest.raises(InputDataError, match="more than 10 distinct"):
        view_of(columns, [8, 16, 24])


def test_nulls_as_an_error() -> None:
    with pytest.raises(InputDataError) as caught:
        view_of(COLUMNS, [3], missing="error")
    n_missing = sum(value is None for value in COLUMNS["method"])
    assert n_missing
    assert [(p.column, p.rows) for p in caught.value.problems] == [("method", n_missing)]


def test_new_rows() -> None:
    view = view_of(COLUMNS)
    rows = {"method": np.array(["GET", "PUT", None], dtype=object),
            "code": np.array(["404", "404", "200"], dtype=object)}  # fmt: skip
    X = view.transform(rows)
    assert X.sum(axis=1).tolist() == [2, 1, 2]
    strict = view_of({"code": COLUMNS["code"]}, missing="error")
    with pytest.raises(InputDataError, match="1 missing"):
        strict.transform({"code": np.array([None], dtype=object)})


def test_hashed_categories() -> None:
    columns = {"a": ["x", "y", None, "", "x"], "b": ["x", "x", "x", "x", "x"]}
    view = view_of(columns, [2], encoding="hash", n_features=512)
    X = dense(view)
    assert X.shape == (5, 512)
    assert (X.sum(axis=1) == 2).all()
    assert (X[0] == X[4]).all()
    # The same text in another column, a null and an empty text are other categories.
    assert len(np.unique(X, axis=0)) == 4
    assert X.any(axis=0).sum() == 5


def test_one_value_tells_nothing() -> None:
    view = view_of({"a": ["x"] * 4, "b": ["p", "q", "p", "q"]})
    assert [note for note in view.notes if "tells nothing" in note] == [
        "column 'a' holds one value and tells nothing"
    ]


def test_spec_refuses_what_it_would_ignore() -> None:
    with pytest.raises(ValidationError, match="n_features"):
        CategoricalGroup(categorical=("a",), n_features=8)
    with pytest.raises(ValidationError, match="max_categories"):
        CategoricalGroup(categorical=("a",), encoding="hash", max_categories=8)
    resolved = CategoricalGroup(categorical=("a",), encoding="hash", n_features=64)
    assert CategoricalGroup.model_validate(resolved.model_dump()) == resolved
    assert resolved.needs() == {"a": ("string", True)}
