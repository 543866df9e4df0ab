"""Fits in several threads leave the filters of warnings as they were, and nothing is warned of."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ssl_dask.kernels.learners.quiet_fits import quiet_fits
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.rows.block_rows import Piece

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(200, 6)) * [1, 10, 100, 1, 1, 1]).astype(np.float32)
Y = RNG.integers(0, 3, 200).astype(np.int32)
PIECE = Piece(np.arange(200), X, Y, np.ones(200, np.float32), np.ones(200, bool))
SPECS = [
    LearnerSpec(name="random_forest", parameters={"n_estimators": 8}),
    LearnerSpec(name="logistic_regression", parameters={"max_iter": 2}),
    LearnerSpec(name="knn", parameters={"n_neighbors": 3, "algorithm": "kd_tree"}),
    LearnerSpec(name="sgd", parameters={"max_iter": 3}),
]


def test_filters_are_as_before_and_no_warning_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the learners import may change the filters, once.
    apart = [learner_of(spec).fit([PIECE], 3, (0,)).probabilities(X) for spec in SPECS]
    seen: Counter[str] = Counter()
    monkeypatch.setattr(
        warnings, "showwarning", lambda message, *rest, **more: seen.update([str(message)[:60]])
    )
    warnings.simplefilter("always", UserWarning)
    before = list(warnings.filters)
    found: list[tuple[int, np.ndarray]] = []

    def work(first: int) -> None:
        for number in range(2 * len(SPECS)):
            at = (first + number) % len(SPECS)
            found.append((at, learner_of(SPECS[at]).fit([PIECE], 3, (0,)).probabilities(X)))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert warnings.filters == before
    assert not [text for text in seen if "delayed" in text]
    assert len(found) == 4 * 2 * len(SPECS)
    for at, said in found:
        np.testing.assert_array_equal(said, apart[at])


def test_the_last_thread_that_leaves_puts_the_filters_back() -> None:
    before = list(warnings.filters)
    first, second = quiet_fits(), quiet_fits()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert warnings.filters != before
    second.__exit__(None, None, None)
    assert warnings.filters == before


def test_forests_say_what_scikit_learn_makes_of_their_trees() -> None:
    model: Any = learner_of(SPECS[0]).fit([PIECE], 3, (0,))
    assert isinstance(model, FittedLearner)
    np.testing.assert_array_equal(model.probabilities(X), model.model.predict_proba(X))
