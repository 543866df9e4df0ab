"""Listeners that stop a run where a test wants it."""

from __future__ import annotations

from typing import Any

from tests.made_job import Heard


class Stopped(Exception):
    """Raised by a listener in the middle of a run."""


class StopsAfter(Heard):
    """Fails the run some iterations after the last checkpoint that it waits for."""

    def __init__(self, checkpoint: str, iterations: int) -> None:
        super().__init__()
        self.checkpoint, self.left = checkpoint, iterations

    def round(self, record: Any) -> None:
        super().round(record)
        if any(one["name"] == self.checkpoint for one in self.named("checkpoint_written")):
            self.left -= 1
            if self.left < 0:
                raise Stopped
