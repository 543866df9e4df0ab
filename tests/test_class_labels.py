"""y as scikit-learn's users write it."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest

from ssl_dask.class_labels import decode_labels, decoded_dtype, encode_seeds, encode_targets
from ssl_dask.execution import Execution

HERE = Execution()

GOOD: list[tuple[Any, list[int], list[Any]]] = [
    (np.array([2, -1, 0, 2]), [0, 2, 3], [0, 2]),
    ([2, -1, 0, 2], [0, 2, 3], [0, 2]),
    (np.array([2.0, -1.0, 0.0, 2.0], dtype=np.float32), [0, 2, 3], [0, 2]),
    (np.array([2, 0, 0, 2], dtype=np.uint8), [0, 1, 2, 3], [0, 2]),
    (np.array([True, False, False, True]), [0, 1, 2, 3], [False, True]),
    (np.array(["b", "a", "a", "b"]), [0, 1, 2, 3], ["a", "b"]),
    (np.array(["b", None, "long one", "b"], dtype=object), [0, 2, 3], ["b", "long one"]),
    (np.array([True, None, False, True], dtype=object), [0, 2, 3], [False, True]),
    (np.array([7, -1, 5, 7], dtype=object), [0, 2, 3], [5, 7]),
    (np.array([7, np.nan, 5, 7], dtype=object), [0, 2, 3], [5, 7]),
    (np.array([255, -1, 5, 255]), [0, 2, 3], [5, 255]),
    (np.array([255, 5, 5, 255], dtype=np.uint16), [0, 1, 2, 3], [5, 255]),
    (pd.Series([7, -1, 5, 7], index=list("wxyz")), [0, 2, 3], [5, 7]),
    (pd.Series(["b", None, "a", "b"], dtype="string"), [0, 2, 3], ["a", "b"]),
    (pd.Series([7, None, 5, 7], dtype="Int64"), [0, 2, 3], [5, 7]),
    (pd.Series(["b", None, "a", "b"], dtype="category"), [0, 2, 3], ["a", "b"]),
]


@pytest.mark.parametrize(("y", "rows", "classes"), GOOD, ids=lambda value: str(value)[:30])
def test_labelled_rows_are_found(y: Any, rows: list[int], classes: list[Any]) -> None:
    labels = encode_targets(y, 4, HERE)
    np.testing.assert_array_equal(labels.rows, rows)
    np.testing.assert_array_equal(labels.classes, classes)
    given = np.asarray(y, dtype=object)[rows]
    np.testing.assert_array_equal(labels.classes[labels.codes], given)


@pytest.mark.parametrize("chunks", [1, 2, (1, 3), 4])
def test_dask_gives_the_same(chunks: Any) -> None:
    for y in (np.array([2, -1, 0, 2]), np.array([None, "bbb", None, "a"], dtype=object)):
        here = encode_targets(y, 4, HERE)
        there = encode_targets(da.from_array(y, chunks=chunks), 4, HERE)
        np.testing.assert_array_equal(there.rows, here.rows)
        np.testing.assert_array_equal(there.codes, here.codes)
        np.testing.assert_array_equal(there.classes, here.classes)


BAD = [
    (np.array([-1, -1, -1, -1]), "no labelled rows"),
    (np.array([None] * 4, dtype=object), "no labelled rows"),
    (np.array([0.5, 1.25, 3.75, 9.5]), "Unknown label type"),
    (np.array([0.0, np.nan, 1.0, 1.0]), "contains NaN. Write -1 for unlabelled rows"),
    (np.array(["a", "-1", "b", "-1"]), "'-1' in 2 rows.* write None"),
    (np.array(["a", "NaN", "b", "None"]), "'NaN', 'None' in 2 rows"),
    (np.array(["a", "-1", "b", "-1"], dtype=object), "'-1' in 2 rows"),
    (np.array(["a", 3, "b", None], dtype=object), "mixes"),
    (np.array([1, 255, 0, 1], dtype=np.uint8), "uint8 and holds 255 in 1 rows.*np.int64"),
    (np.array([1, 2**64 - 1, 0, 1], dtype=np.uint64), "uint64 and holds 18446744073709551615"),
    (np.array([0, 1, 0]), "inconsistent numbers of samples"),
    (np.zeros((4, 2)), "1d array"),
]


@pytest.mark.parametrize(("y", "message"), BAD, ids=lambda value: str(value)[:20])
def test_what_cannot_be_learned_from_is_refused(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_targets(y, 4, HERE)
    with pytest.raises(ValueError, match=message):
        encode_targets(da.from_array(y, chunks=2), 4, HERE)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (np.array([3, 5]), np.array([5, -1, 3])),
        (np.array([3, 5], dtype=np.int8), np.array([5, -1, 3], dtype=np.int8)),
        (np.array([0.0, 1.0]), np.array([1.0, -1.0, 0.0])),
        (np.array([3, 5], dtype=np.uint8), np.array([5, -1, 3])),
        (np.array([False, True]), np.array([True, None, False], dtype=object)),
        (np.array(["a", "bb"]), np.array(["bb", None, "a"], dtype=object)),
        (np.array(["a", "bb"], dtype=object), np.array(["bb", None, "a"], dtype=object)),
    ],
    ids=str,
)
def test_abstained_rows_are_minus_one_or_none(classes: np.ndarray, expected: np.ndarray) -> None:
    decoded = decode_labels(np.array([1, -1, 0]), classes)
    assert decoded.dtype == expected.dtype == decoded_dtype(classes, abstained=True)
    np.testing.assert_array_equal(decoded, expected)
    whole = decode_labels(np.array([1, 0]), classes)
    assert whole.dtype == classes.dtype
    np.testing.assert_array_equal(whole, classes[[1, 0]])


def test_few_rows_a_class_are_no_news() -> None:
    # Warnings are errors here, and scikit-learn warns of as many classes as labels.
    labels = encode_targets([*range(30), -1, -1], 32, Execution())
    assert labels.n_classes == 30


@pytest.mark.parametrize("chunks", [1, 3, 4])
def test_weights_of_a_dask_array_are_those_of_numpy(chunks: int) -> None:
    y, weights = np.array([2, -1, 0, 2]), np.array([0.5, 9.0, 2.0, 0.0])
    labels, kept = encode_seeds(y, 4, da.from_array(weights, chunks=chunks), HERE)
    assert labels.rows.tolist() == [0, 2]
    assert kept.tolist() == [0.5, 2.0]


def test_weights_of_labelled_rows_alone_come_to_this_process() -> None:
    y = np.full(1000, -1)
    y[[3, 500, 501]] = [0, 1, 1]
    seen: list[int] = []

    def look(block: np.ndarray) -> np.ndarray:
        seen.append(len(block))
        return block

    weights = da.from_array(np.arange(1000.0), chunks=100).map_blocks(look, dtype=float, meta=y[:0])
    _, kept = encode_seeds(y, 1000, weights, HERE)
    assert kept is not None
    assert kept.tolist() == [3.0, 500.0, 501.0]
    assert seen == [100, 100]
    with pytest.raises(ValueError, match="sample_weight has 999 values and X 1000 rows"):
        encode_seeds(y, 1000, weights[:-1], HERE)
    with pytest.raises(ValueError, match="sample_weight's chunks are not known"):
        encode_seeds(y, 1000, weights[weights > 4], HERE)
