"""One budget of lost workers, and controls that go on from the newest checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_dask.errors import BlocksLostError, ComputeError, QualityError, WorkersChangedError
from ssl_dask.run_control import LastKept, Losses, RunControl, retried


def test_a_step_is_tried_again_until_the_budget_is_used_up() -> None:
    losses, errors = Losses(3), [WorkersChangedError("one"), BlocksLostError("two")]

    def find() -> str:
        if errors:
            raise errors.pop()
        return "found"

    assert retried(find, losses) == "found"
    assert losses.count == 2
    errors += [WorkersChangedError("three"), WorkersChangedError("four")]
    # The budget is one for all steps of a run.
    with pytest.raises(ComputeError, match="lost 4 times") as error:
        retried(find, losses)
    assert not isinstance(error.value, WorkersChangedError)
    assert error.value.problems[0].hint


def test_other_errors_are_not_tried_again() -> None:
    calls = []

    def find() -> None:
        calls.append(1)
        raise QualityError("no labelled rows")

    with pytest.raises(QualityError):
        retried(find, Losses())
    assert calls == [1]


def test_each_run_has_a_budget_of_its_own() -> None:
    first, second = RunControl(), RunControl()
    first.losses.add(WorkersChangedError("lost"))
    assert (first.losses.count, second.losses.count) == (1, 0)


def test_the_next_use_goes_on_from_the_newest_checkpoint() -> None:
    begun = (1, [], {"round": 1})
    without = LastKept(RunControl(resume=begun))
    assert without.control.resume == begun
    assert without.control.checkpoint is None
    stored: list[Any] = []

    def store(number: int, state: Any, meta: dict[str, Any]) -> Any:
        stored.append((number, state, {**meta, "stored": True}))
        return stored[-1]

    last = LastKept(RunControl(resume=begun, checkpoint=store))
    assert last.control.resume == begun
    assert last.control.checkpoint(2, [], {"round": 2}) == stored[0]
    assert last.control.resume == stored[0]
