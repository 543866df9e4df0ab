"""Shares that a job gives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ssl_dask.evaluation.given_shares import GivenShares, share_ranges
from ssl_dask.labels import Labels

READ = TypeAdapter(GivenShares)
LABELS = Labels.from_codes([0, 0, 0, 1, 2], ["a", "b", "c"])


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
    ],
)
def test_shares_that_do_not_fit_the_classes_are_refused(shares: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        share_ranges(shares, LABELS)


def test_true_is_not_1() -> None:
    labels = Labels.from_codes([0, 1], [False, True])
    with pytest.raises(ValueError, match="none of the classes"):
        share_ranges({1: 0.1}, labels)
    assert share_ranges({True: 0.1}, labels)[0].tolist() == pytest.approx([0.9, 0.1])
