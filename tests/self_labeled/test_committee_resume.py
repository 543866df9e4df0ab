"""Committees that are killed between rounds go on to the same answer."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.committee_case import codes_of, labels_of, made_rows, views_of
from tests.rounds_by_keywords import co_forest, co_training, democratic_co_learning, tri_training

SHALLOW = {"name": "decision_tree", "parameters": {"max_depth": 2}}
CASES: list[tuple[partial, dict[str, Any], int]] = [
    (tri_training, {"learner": SHALLOW}, 3),
    (democratic_co_learning, {"learners": [SHALLOW, {"name": "gaussian_nb"}, SHALLOW]}, 3),
    (co_forest, {"n_estimators": 5}, 5),
    (co_training, {"learner": {"name": "gaussian_nb"}, "max_iter": 4}, 2),
]


@pytest.mark.parametrize(
    ("run", "parameters", "n_columns"),
    CASES,
    ids=[run.args[0] for run, _, _ in CASES],
)
def test_rounds_go_on_where_they_were_stored(
    run: partial, parameters: dict[str, Any], n_columns: int
) -> None:
    X, _, seeds = made_rows(seed=4)
    labels = labels_of(seeds)
    hidden = [np.arange(labels.n_seeds) % 2 == fold for fold in range(2)]
    stored: dict[int, Any] = {}

    def checkpoint(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        # What is written to a file comes back in JSON types.
        stored[iteration] = (iteration, state, json.loads(json.dumps(meta)))
        return stored[iteration]

    views = views_of(X, 3)
    whole = run(views, labels, **parameters, hidden=hidden, checkpoint=checkpoint)
    assert whole.n_iter >= 2
    for iteration in (1, 2):
        again = run(views, labels, **parameters, hidden=hidden, resume=stored[iteration])
        np.testing.assert_array_equal(codes_of(again, n_columns), codes_of(whole, n_columns))
        np.testing.assert_array_equal(again.F.compute(), whole.F.compute())
        assert again.warnings == whole.warnings
        assert (again.n_iter, again.kept_round) == (whole.n_iter, whole.kept_round)
