"""How parts of a graph reach each other, within a process or across several."""

from __future__ import annotations

import threading
from typing import Any, Protocol

NO_MESSAGE_SECONDS = 600.0

Key = tuple[Any, ...]


class Aborted(Exception):
    """The superstep was told to stop: another worker is gone."""


class Links(Protocol):
    """How a part reaches the others."""

    def send(self, part: int, key: Key, value: Any) -> None:
        """Give `value` to part `part` under `key`; may return before it is there."""

    def take(self, key: Key) -> Any:
        """Return what another part gave under `key`; waits for it."""

    def flush(self) -> None:
        """Wait until all that was sent has arrived."""


class Mailbox:
    """What parts gave to each other, by key; the first element of a key is the superstep."""

    def __init__(self) -> None:
        self._held: dict[Key, Any] = {}
        self._stopped: set[str] = set()
        self._changed = threading.Condition()

    def put(self, key: Key, value: Any) -> None:
        """Keep `value` until it is taken; what a stopped superstep sends is dropped."""
        with self._changed:
            if key[0] not in self._stopped:
                self._held[key] = value
                self._changed.notify_all()

    def take(self, key: Key, seconds: float = NO_MESSAGE_SECONDS) -> Any:
        """Return and forget what is kept under `key`, as soon as it is there.

        Raises
        ------
        Aborted
            The superstep was stopped, or nothing came for `seconds`.
        """
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: key in self._held or key[0] in self._stopped, seconds
            )
            if key[0] in self._stopped or not arrived:
                raise Aborted("a message of another part did not come")
            return self._held.pop(key)

    def stop(self, superstep: str) -> None:
        """Wake all that wait for messages of `superstep`, and forget what it has sent."""
        with self._changed:
            self._stopped.add(superstep)
            self._held = {key: held for key, held in self._held.items() if key[0] != superstep}
            self._changed.notify_all()


class NoLinks:
    """The links of a part that is alone."""

    def send(self, part: int, key: Key, value: Any) -> None:
        """Refuse: there is no other part."""
        raise ValueError(f"there is no part {part}")

    def take(self, key: Key) -> Any:
        """Refuse: there is no other part."""
        raise ValueError("there is no other part")

    def flush(self) -> None:
        """Return: nothing is on its way."""


class ThreadLinks:
    """Links between parts whose threads share this process."""

    def __init__(self, superstep: str) -> None:
        self._superstep, self._mailbox = superstep, Mailbox()

    def send(self, part: int, key: Key, value: Any) -> None:
        """Give `value` to part `part` under `key`."""
        self._mailbox.put((self._superstep, *key), value)

    def take(self, key: Key) -> Any:
        """Return what another part gave under `key`."""
        return self._mailbox.take((self._superstep, *key))

    def flush(self) -> None:
        """Return: nothing is on its way."""
