"""Fits without warnings, in several threads at once.

Python keeps the filters of warnings for all threads of a process, and `catch_warnings` puts back
what it found when it was entered: two threads that overlap leave the filters of the one to the
other. Here the first thread that enters takes them, and the last that leaves puts them back.
scikit-learn itself empties the filters for a moment wherever it runs jobs of its own, as forests
do for each tree; where two threads do so at once it warns of every job, and filters are lost for
good.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sklearn.exceptions import ConvergenceWarning

_state = threading.Lock()
_jobs = threading.RLock()
_inside = 0
_taken: warnings.catch_warnings[Any] | None = None


@contextmanager
def quiet_fits() -> Iterator[None]:
    """Ignore `ConvergenceWarning` in this process until the last thread has left."""
    global _inside, _taken
    with _state:
        if _inside == 0:
            _taken = warnings.catch_warnings()
            _taken.__enter__()
            warnings.simplefilter("ignore", ConvergenceWarning)
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
    """Return a context that one thread of this process is in: what runs jobs of scikit-learn's."""
    return _alone() if needed else nullcontext()


@contextmanager
def _alone() -> Iterator[None]:
    # Within quiet fits, so that nobody puts the filters back while a job has its own.
    with _jobs, quiet_fits():
        yield
