"""Tests of reports draw their charts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.undrawn_charts import drawn


@pytest.fixture(scope="package", autouse=True)
def _pages_with_charts() -> Iterator[None]:
    with drawn():
        yield
