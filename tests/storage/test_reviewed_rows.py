"""What an output remembers of its review lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_dask.storage.runs.reviewed_rows import remember_reviewed, reviewed_rows


def test_rows_are_remembered_by_how_they_were_proposed(tmp_path: Path) -> None:
    assert [len(one) for one in reviewed_rows(tmp_path)] == [0, 0]
    remember_reviewed(tmp_path, np.array([7, 3, 5]), np.array([True, False, True]))
    remember_reviewed(tmp_path, np.array([5, 9, 3]), np.array([False, True, True]))
    remember_reviewed(tmp_path, np.empty(0, np.int64), np.empty(0, bool))
    found = reviewed_rows(tmp_path)
    # What was ever chosen for its score is no random row.
    assert found.chosen.tolist() == [3, 5]
    assert found.random.tolist() == [7, 9]
