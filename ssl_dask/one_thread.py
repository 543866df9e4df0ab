"""One thread for BLAS and OpenMP, cheaply: finding their libraries takes milliseconds."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which linear algebra and OpenMP run in one thread.

    As `threadpool_limits(1)`, but libraries are looked for anew only if modules were imported since
    the last call: 20 microseconds in place of 3 milliseconds, which counts where a fit takes one.
    A library that another thread is just importing is found at the next import after it.
    """
    return _found_with(len(sys.modules)).limit(limits=1)


@lru_cache(maxsize=1)
def _found_with(n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()
