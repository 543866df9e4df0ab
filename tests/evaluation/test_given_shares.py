"""Shares that a job gives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ssl_dask.evaluation.given_shares import GivenShares, ranges_of_rest, share_ranges
from ssl_dask.labels import Labels

READ = TypeAdapter(GivenShares)
LABELS = Labels.from_codes([0, 0, 0, 1, 2, *[-1] * 95], ["a", "b", "c"])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"a": 0.0},
        {"a": 1.0},
        {"a": [0.2, 0.1]},
        {"a": [0.1]},
        {"a": float("nan")},
        {"a": 0.7, "b": 0.7},
        "guess",
    ],
)
def test_wrong_shares_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(wrong)


def test_classes_that_are_not_named_share_the_rest_as_their_seeds_do() -> None:
    low, high = share_ranges(READ.validate_python({"b": [0.1, 0.2]}), LABELS)
    assert low.tolist() == pytest.approx([0.8 * 0.75, 0.1, 0.8 * 0.25])
    assert high.tolist() == pytest.approx([0.9 * 0.75, 0.2, 0.9 * 0.25])


def test_shares_of_all_classes_are_taken_as_they_are() -> None:
    low, high = share_ranges({"a": 0.5, "b": 0.3, "c": (0.1, 0.3)}, LABELS)
    assert low.tolist() == [0.5, 0.3, 0.1]
    assert high.tolist() == [0.5, 0.3, 0.3]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"d": 0.1}, "'d' is none of the classes"),
        ({"a": 0.5, "b": 0.1, "c": 0.1}, "sum to 0.7"),
        ({"a": (0.1, 0.2), "b": 0.1, "c": 0.1}, "sum to 0.3 to 0.4"),
        ({"a": 0.5, "b": (0.1, 0.6)}, "nothing is left"),
        ({"a": 0.019}, "class a would have at most 0.019 of the 100 rows, which is 2, and 3 seeds"),
    ],
)
def test_shares_that_do_not_fit_the_classes_are_refused(shares: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        share_ranges(shares, LABELS)


def test_true_is_not_1() -> None:
    labels = Labels.from_codes([0, 1, *[-1] * 8], [False, True])
    with pytest.raises(ValueError, match="none of the classes"):
        share_ranges({1: 0.1}, labels)
    assert share_ranges({True: 0.1}, labels)[0].tolist() == pytest.approx([0.9, 0.1])


def test_shares_of_all_rows_are_others_among_the_rows_that_are_no_seeds() -> None:
    ranges = share_ranges({"b": (0.03, 0.05)}, LABELS)
    counts = LABELS.class_counts()
    low, high = ranges_of_rest(ranges, counts, LABELS.n_rows)
    # 3 to 5 rows of 100, one of which is a seed.
    assert (low[1], high[1]) == pytest.approx((2 / 95, 4 / 95))
    assert low[0] == pytest.approx((0.95 * 0.75 * 100 - 3) / 95)
    # A class whose rows are all seeds has half a row.
    low, _ = ranges_of_rest(share_ranges({"b": 0.01}, LABELS), counts, LABELS.n_rows)
    assert low[1] == pytest.approx(0.5 / 95)
    assert ranges_of_rest(ranges, counts, LABELS.n_seeds) is ranges
