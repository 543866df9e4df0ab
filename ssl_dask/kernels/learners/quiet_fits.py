"""Suppress warnings of scikit-learn in fits of several threads.

Warning filters belong to the process, and `catch_warnings` restores what it found: overlapping
threads would restore each other's filters. Here the first thread that enters saves the filters and
the last that leaves restores them. scikit-learn itself resets filters while it runs joblib jobs, as
forests do for each tree; two threads that do so at once lose them for good (`one_at_a_time`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_state = threading.Lock()
_jobs = threading.RLock()
_inside = 0
_taken: warnings.catch_warnings[Any] | None = None


@contextmanager
def quiet_fits() -> Iterator[None]:
    """Ignore what scikit-learn warns of in fits, in this process, until the last thread has left.

    That a solver did not converge is told by who asked it. That most classes have few rows is no
    news where a few rows are labelled.
    """
    from sklearn.exceptions import ConvergenceWarning

    global _inside, _taken
    with _state:
        if _inside == 0:
            _taken = warnings.catch_warnings()
            _taken.__enter__()
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        _inside += 1
    try:
        yield
    finally:
        with _state:
            _inside -= 1
            if _inside == 0 and _taken is not None:
                _taken.__exit__(None, None, None)
                _taken = None


def one_at_a_time(needed: bool) -> AbstractContextManager[Any]:
    """Return a context that only one thread at a time enters if `needed`: fits with joblib jobs."""
    return _alone() if needed else nullcontext()


@contextmanager
def _alone() -> Iterator[None]:
    # Within quiet fits, so that no thread restores the filters while a job has its own.
    with _jobs, quiet_fits():
        yield
