"""Groups that rows may lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.features.views import FeatureView, join
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, vector_values
from tests.memory_reader import GROUP, MemoryReader, dense, one_group

N = 40
RNG = np.random.default_rng(1)
LACKING = np.zeros(N, bool)
LACKING[[0, 1, 2, 3, 4, 17, 30, 39]] = True
AMOUNT, LENGTH = RNG.normal(5, 2, N), RNG.normal(-1, 1, N)
WORDS = [" ".join(RNG.choice(["get", "put", "or", "1"], 4)) for _ in range(N)]
PIXELS = RNG.normal(100, 30, (N, 6)).astype(np.float32)
SPECS: dict[str, Any] = {
    "shape": {"numeric": ["amount", "length"]},
    "payload": {"text": "words", "n_features": 256},
    "image": {"vector": "pixels", "n_components": 3},
    "kind": {"categorical": ["kind"]},
}


def columns(lacking: np.ndarray) -> dict[str, Any]:
    return {
        "amount": np.where(lacking, np.nan, AMOUNT),
        "length": np.where(lacking, np.nan, LENGTH),
        "words": [None if gone else text for text, gone in zip(WORDS, lacking, strict=True)],
        "pixels": np.where(lacking[:, None], np.nan, PIXELS),
        "kind": [None if gone else text[0] for text, gone in zip(WORDS, lacking, strict=True)],
    }


def described(data: dict[str, Any], cuts: list[int], **more: Any) -> dict[str, FeatureView]:
    groups = {name: GROUP.validate_python({**spec, **more}) for name, spec in SPECS.items()}
    return describe(MemoryReader(data, cuts), groups, Execution(threads=1))


def test_features_are_those_of_the_rows_that_have_the_group() -> None:
    rows = np.flatnonzero(~LACKING)
    there = {name: np.asarray(v, dtype=object if isinstance(v, list) else None)[rows]
             for name, v in columns(LACKING).items()}  # fmt: skip
    alone = described(there, [])
    for cuts in ([], [5, 20], [1, 2, 3, 38]):
        views = described(columns(LACKING), cuts, optional=True)
        for name, view in views.items():
            X = dense(view)
            np.testing.assert_array_equal(X[rows], dense(alone[name]))
            assert not X[LACKING].any()
            present = np.concatenate(Execution(threads=1).compute(view.present))
            np.testing.assert_array_equal(present, ~LACKING)
            assert f"features.{name}: 8 rows lack it" in view.notes
            assert view.sparse == alone[name].sparse
        kept = views["payload"].persist(Execution(threads=1))
        assert len(kept.present) == len(cuts) + 1
        assert join(views).present is None


def test_a_row_with_a_part_of_the_group_is_what_missing_says() -> None:
    data = columns(LACKING)
    data["amount"] = np.where(np.arange(N) == 10, np.nan, data["amount"])
    with pytest.raises(InputDataError, match=r"features\.shape: 1 missing values"):
        described(data, [7], optional=True)
    X = dense(one_group(data, [7], optional=True, missing="mean", **SPECS["shape"]))
    assert X[10, 0] == pytest.approx(0.0, abs=1e-6)
    assert X[10, 1] != 0
    assert not X[0].any()


def test_nulls_of_groups_that_are_not_optional_stay_errors() -> None:
    with pytest.raises(InputDataError) as caught:
        described(columns(LACKING), [9])
    told = {problem.column for problem in caught.value.problems}
    assert told == {"amount", "length", "words", "pixels"}
    assert described(columns(np.zeros(N, bool)), [9])["shape"].present is None


def test_a_group_that_every_row_lacks_is_refused() -> None:
    with pytest.raises(InputDataError, match="every row lacks it"):
        described(columns(np.ones(N, bool)), [9], optional=True)


def test_a_block_without_any_vector_has_no_width() -> None:
    nothing = pa.chunked_array([pa.array([None, None], pa.list_(pa.float32()))])
    assert vector_values(nothing, only_null_allowed=True).shape == (2, 0)
    with pytest.raises(ColumnValueError, match="no lists"):
        vector_values(nothing)
