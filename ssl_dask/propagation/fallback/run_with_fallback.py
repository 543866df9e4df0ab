"""Runs a method, and others in its place where its classes collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ssl_dask.errors import QualityError
from ssl_dask.labels import Labels
from ssl_dask.method import Method
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.class_shares import expected_rows
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.fallback.class_collapse import Collapse, find_collapse
from ssl_dask.spec_model import SpecModel

OnCollapse = Literal["switch", "warn", "error"]


@dataclass(frozen=True)
class Answer:
    """What labelled."""

    found: Propagated
    """What the method found."""
    spec: SpecModel
    """The method and its parameters: that which was asked for, or another in its place."""
    collapsed: tuple[tuple[SpecModel, Collapse], ...] = ()
    """The methods before it whose classes collapsed, with their collapse, in the order of tries."""
    collapse: Collapse | None = None
    """Of the answer itself: with "warn", or contradicted by hidden seeds; else None."""

    @property
    def switched(self) -> bool:
        """Whether another method labelled."""
        return bool(self.collapsed)


def run_with_fallback(
    spec: SpecModel,
    labels: Labels,
    run: Callable[[Method, SpecModel, int], Propagated],
    *,
    policy: OnCollapse,
    judge: Callable[[Collapse, Propagated], Collapse] = lambda collapse, found: collapse,
    on_collapse: Callable[[SpecModel, Collapse], None] = lambda spec, collapse: None,
    hint: str = "label more rows, or take other features or another method",
) -> Answer:
    """Run a method; where its classes collapse, do what `policy` says.

    Parameters
    ----------
    spec, labels
        The method that is asked for, and the seeds.
    run
        Called as `run(method, spec, number)`, number 0 for the method that is asked for, then 1, 2.
    policy
        "switch": the first of the record's `fallbacks` whose classes do not collapse labels;
        "warn": the answer is taken as it is; "error", whose hint is `hint`.
    judge
        Looks at hidden seeds: a collapse that they contradict is none, the classes are rare.
    on_collapse
        Called for each collapse that is not contradicted.

    Raises
    ------
    QualityError
        Classes collapsed: with "error", or in every method that "switch" may take.
    """
    collapsed: list[tuple[SpecModel, Collapse]] = []
    others = METHODS[_name(spec)].fallbacks(spec) if policy == "switch" else ()
    specs = (METHODS[name].spec(**parameters) for name, parameters in others)
    for number, one in enumerate((spec, *specs)):
        method = METHODS[_name(one)]
        found = run(method, one, number)
        collapse = None
        # Where all rows are seeds there is none whose class could be missed.
        if found.class_rows is not None and labels.n_seeds < labels.n_rows:
            expected = expected_rows(method.class_shares(one), labels)
            collapse = find_collapse(found.class_rows, expected)
        if collapse is not None:
            collapse = judge(collapse, found)
        if collapse is None or collapse.contradicted:
            return Answer(found, one, tuple(collapsed), collapse)
        on_collapse(one, collapse)
        if policy == "warn":
            return Answer(found, one, (), collapse)
        collapsed.append((one, collapse))
    tried = " ".join(did_not_label(one, collapse) for one, collapse in collapsed)
    raise QualityError(f"the classes have collapsed into few: {tried}", hint=hint)


def did_not_label(spec: SpecModel, collapse: Collapse) -> str:
    """Return a sentence on a method whose classes collapsed."""
    return f"{method_words(spec)} did not label: {collapse.sentence()}."


def method_words(spec: SpecModel) -> str:
    """Return the name of a method for people."""
    words = _name(spec).replace("_", " ").capitalize()
    mass = getattr(spec, "class_mass", "none")
    return words if mass == "none" else f"{words} with its class mass normalised"


def _name(spec: SpecModel) -> str:
    return str(spec.model_dump(include={"name"})["name"])
