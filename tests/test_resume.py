"""A run that goes on from any of its checkpoints ends with the same bits: all methods."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ssl_dask.execution import Execution
from ssl_dask.methods import METHODS
from ssl_dask.run_control import Resume, RunControl
from tests.made_graphs import delay
from tests.made_methods import VARIANTS, run, told

WITHOUT = {"anchor_graph", "correct_and_smooth", "propagated_features", "supervised"}
"""Methods that store no checkpoints."""


def cut_anew(blocks: list[np.ndarray], name: str) -> list[Any]:
    """Return a part of a state as tasks; that of a solve may come back cut in another way."""
    solve = METHODS[name].needs == "graph"
    return [delay(one) for one in (np.array_split(np.concatenate(blocks), 4) if solve else blocks)]


# Every variant in this process; states of solves are held by workers on a cluster.
CASES = [
    pytest.param(name, parameters, on_cluster, id=f"{variant}{' on a cluster' * on_cluster}")
    for variant, name, parameters in VARIANTS
    for on_cluster in (False, True)
    if name not in WITHOUT and (not on_cluster or METHODS[name].needs == "graph")
]


@pytest.mark.parametrize(("name", "parameters", "on_cluster"), CASES)
def test_a_run_goes_on_from_any_checkpoint(
    name: str, parameters: dict[str, Any], on_cluster: bool, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue("cluster_client") if on_cluster else None
    execution = Execution(client)
    saved: list[Resume] = []

    def keep(iteration: int, state: Any, meta: dict[str, Any]) -> Resume:
        stored = [cut_anew(execution.compute(list(part)), name) for part in state]
        # What is written to a file comes back in JSON types.
        saved.append((iteration, stored, json.loads(json.dumps(meta, allow_nan=False))))
        return iteration, state, meta

    control = RunControl(execution, checkpoint=keep, checkpoint_seconds=0.0)
    whole = run(name, parameters, 3, control)
    assert saved
    expected = told(whole, execution)
    n_blocks = 2 if METHODS[name].needs == "graph" else 3
    for resume in saved[:: 1 + len(saved) // 3]:
        again = run(name, parameters, n_blocks, RunControl(execution, resume=resume))
        found = told(again, execution)
        assert again.warnings == whole.warnings
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_equal(one, other)
