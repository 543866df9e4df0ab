"""Whether one recording agrees with itself: for any blocks, and here as on workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tests.goldens.content import Items

ANSWERS = ("labels/", "review/", "in memory/")
OF_BLOCKS = ("/rows", "/files")
"""Items of parts that say how the rows were cut, not what they got."""


def sameness(found: Mapping[str, Items]) -> dict[str, Items]:
    """Return, for each job or estimator that was run in several ways, which agree with the first.

    The first is one block in this process, or dense rows.
    """
    groups: dict[str, dict[str, Items]] = defaultdict(dict)
    for name, items in found.items():
        kind, _, rest = name.partition("/")
        if kind == "job":
            job, blocks, place = rest.rsplit("/", 2)
            groups[f"same/{job}"][f"{blocks}, {place}"] = answer(items)
        elif kind == "estimator":
            estimator, form = rest.split("/")
            if form != "csr":
                groups[f"same/{estimator}"][form] = fitted(items)
    return {
        name: {way: answers[way] == next(iter(answers.values())) for way in list(answers)[1:]}
        for name, answers in groups.items()
        if len(answers) > 1
    }


def answer(items: Items) -> Items:
    return {
        key: value
        for key, value in items.items()
        if key.startswith(ANSWERS) and not key.endswith(OF_BLOCKS)
    } or {"error": items.get("error")}


def fitted(items: Items) -> Items:
    keys = ("transduction_", "label_distributions_", "n_iter_")
    return {key: first(items.get(key)) for key in keys}


def first(value: object) -> object:
    """Return the digest of an item, without how a Dask array was cut."""
    return value[0] if isinstance(value, list) else value
