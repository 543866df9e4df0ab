"""Categories that no row of the fit had: counted, told, and no evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.features.unknown_categories import (
    CategoryCounts,
    judge_categories,
    look_at_categories,
)
from tests.memory_reader import GROUP, MemoryReader

FITTED: dict[str, Any] = {
    "verb": ["GET", "POST", "GET", None],
    "code": [1, 2, 1, 2],
    "size": [0.5, None, 2.0, 1.0],
}
KINDS = {"categorical": ["verb"], "missing": "category"}
CODES = {"categorical": ["code"]}
SIZES = {"numeric": ["size"], "optional": True}


def look(specs: dict[str, Any], new: dict[str, Any]) -> tuple[CategoryCounts, list[bool]]:
    groups = {name: GROUP.validate_python(spec) for name, spec in specs.items()}
    views = describe(MemoryReader(FITTED), groups, Execution(threads=1))
    states = {name: view.state for name, view in views.items()}
    cuts = [1] if len(next(iter(new.values()))) > 1 else []
    reader = MemoryReader(new, cuts)
    found = [look_at_categories(reader, groups, states, b) for b in range(len(reader.row_counts))]
    counts = sum((counts for counts, _ in found), CategoryCounts())
    return counts, np.concatenate([blank for _, blank in found]).tolist()


def test_unknown_values_are_counted_and_rows_without_more_are_blank() -> None:
    new = {"verb": ["GET", "get", "put", None], "code": [1, 1, 3, 3], "size": [None] * 4}
    counts, blank = look({"k": KINDS, "c": CODES}, new)
    assert counts.filled == {"verb": 3, "code": 4}
    assert counts.unknown == {"verb": 2, "code": 2}
    assert blank == [False, False, True, False]
    verb, code, rows = judge_categories([counts])
    assert verb.startswith("Column 'verb': of 3 categories 2 are unknown")
    assert code.startswith("Column 'code': of 4")
    assert rows.startswith("1 rows abstained")
    # Each row has numbers too, unless it lacks them.
    new["size"] = [None, None, 1.0, 1.0]
    assert look({"k": KINDS, "s": SIZES}, new)[1] == [False, True, False, False]
    always = {"numeric": ["size"], "missing": "mean"}
    assert look({"k": KINDS, "s": always}, new)[1] == [False] * 4


def test_where_nothing_is_known_the_rows_are_refused() -> None:
    counts, blank = look({"k": KINDS, "c": CODES}, {"verb": ["get", None], "code": ["01", "1.0"]})
    assert blank == [True, False]
    with pytest.raises(InputDataError, match="none of the categories in 2 rows") as caught:
        judge_categories([counts])
    assert [problem.column for problem in caught.value.problems] == ["verb", "code"]
    assert all("spell the values as in the input" in str(one) for one in caught.value.problems)
    known, _ = look({"k": KINDS, "c": CODES}, {"verb": ["get"], "code": [1]})
    (said,) = judge_categories([known])
    assert "'verb'" in said
    assert judge_categories([look({"k": KINDS}, FITTED)[0]]) == []
    hashed = {"categorical": ["verb"], "missing": "category", "encoding": "hash"}
    assert look({"k": hashed}, {"verb": ["get"]})[0] == CategoryCounts()
