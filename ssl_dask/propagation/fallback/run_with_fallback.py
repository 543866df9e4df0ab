"""Runs a method, and others beside it where its classes collapse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ssl_dask.array_types import Float64
from ssl_dask.errors import QualityError
from ssl_dask.labels import Labels
from ssl_dask.method import Method
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.class_shares import expected_rows
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.fallback.class_collapse import Collapse, find_collapse
from ssl_dask.spec_model import SpecModel

OnCollapse = Literal["switch", "warn", "error"]
Figures = tuple[float, float] | None


@dataclass(frozen=True)
class Tried:
    """What a method found, and whether its classes collapsed."""

    spec: SpecModel
    """The method and its parameters."""
    found: Propagated
    """What it found."""
    collapse: Collapse | None
    """None: its classes have rows."""
    figure: float | None = None
    accuracy: float | None = None
    """What hidden seeds say of it, the larger the better, and of its labels; None where they were
    not asked."""

    @property
    def collapsed(self) -> bool:
        """Whether classes are gone, and hidden seeds do not contradict."""
        return self.collapse is not None and not self.collapse.contradicted


@dataclass(frozen=True)
class Answer:
    """What labelled."""

    found: Propagated
    """What the method found."""
    spec: SpecModel
    """The method and its parameters: that which was asked for, or another in its place."""
    collapse: Collapse | None
    """Of the answer itself; None: its classes have rows."""
    tried: tuple[Tried, ...] = ()
    """All methods that were tried, in their order, where the first one's classes collapsed."""

    @property
    def switched(self) -> bool:
        """Whether another method labelled than the one asked for."""
        return bool(self.tried) and self.spec is not self.tried[0].spec

    @property
    def figures(self) -> str:
        """What hidden seeds say of all that were tried, in words; empty where they do not."""
        if any(one.figure is None for one in self.tried):
            return ""
        return ", ".join(f"{method_words(one.spec)} {one.figure:.3f}" for one in self.tried)


@dataclass(frozen=True)
class HiddenJudge:
    """What hidden seeds say of answers; the default asks none."""

    collapse: Callable[[Collapse, Propagated], Collapse] = lambda collapse, found: collapse
    """Counts the hidden seeds: a collapse that they contradict is none, the classes are rare."""
    figures: Callable[[Method, SpecModel, Propagated], Figures] = lambda *tried: None
    """Called as `figures(method, spec, found)`: what answers are compared by, the larger the
    better, and the accuracy of the labels; None: nothing is known."""
    chance: float = 0.0
    """The figure of an answer that names the largest class for every row."""


def run_with_fallback(
    spec: SpecModel,
    labels: Labels,
    run: Callable[[Method, SpecModel, int], Propagated],
    *,
    policy: OnCollapse,
    shares: Float64 | None = None,
    judge: HiddenJudge = HiddenJudge(),
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
    shares
        float64 (C,): of the classes, where the method has none of its own; None: of the seeds.
    policy
        "switch": all of the record's `fallbacks` are tried, and of them and the method itself the
        one labels that hidden seeds call best, of equals one whose classes have not collapsed;
        without hidden seeds the first whose classes do not. "warn": the answer is taken as it is;
        "error", whose hint is `hint`.
    judge, on_collapse
        What hidden seeds say; what is called for each collapse that they do not contradict.

    Raises
    ------
    QualityError
        Classes collapsed: with "error", or in every method that "switch" may take and hidden seeds
        do not call one of them better than chance.
    """

    def attempt(one: SpecModel, number: int) -> Tried:
        method = METHODS[_name(one)]
        found = run(method, one, number)
        collapse = None
        # Where all rows are seeds there is none whose class could be missed.
        if found.class_rows is not None and labels.n_seeds < labels.n_rows:
            own = method.class_shares(one)
            known = shares if own == "seeds" else None
            expected = expected_rows(own, labels) if known is None else known
            collapse = find_collapse(found.class_rows, expected, labels.class_names)
        if collapse is not None:
            collapse = judge.collapse(collapse, found)
        tried = Tried(one, found, collapse)
        if collapse is not None and tried.collapsed:
            on_collapse(one, collapse)
        return tried

    first = attempt(spec, 0)
    if not first.collapsed or policy == "warn":
        return Answer(first.found, spec, first.collapse)
    if policy == "error":
        raise _all_collapsed([first], hint)
    return _best(_all_tried(first, attempt, judge), judge.chance, hint)


def _all_tried(
    first: Tried, attempt: Callable[[SpecModel, int], Tried], judge: HiddenJudge
) -> list[Tried]:
    """Return a method that collapsed and those in its place, with what hidden seeds say."""

    def with_figure(one: Tried) -> Tried:
        said = judge.figures(METHODS[_name(one.spec)], one.spec, one.found) or (None, None)
        return Tried(one.spec, one.found, one.collapse, *said)

    tried = [with_figure(first)]
    others = METHODS[_name(first.spec)].fallbacks(first.spec)
    for number, (name, parameters) in enumerate(others, start=1):
        tried.append(with_figure(attempt(METHODS[name].spec(**parameters), number)))
        if tried[-1].figure is None and not tried[-1].collapsed:
            break
    return tried


def _best(tried: Sequence[Tried], chance: float, hint: str) -> Answer:
    """Return the answer that hidden seeds call best, or the first that has not collapsed."""
    # A ranking that is better does not make up for labels that are worse.
    least = tried[0].accuracy or 0.0
    fit = [one for one in tried if one.accuracy is None or one.accuracy >= least]
    # Of equals the one whose classes have rows, then the earlier one.
    best = max(fit, key=lambda one: (one.figure or 0.0, not one.collapsed))
    if best.collapsed and not (best.figure or 0.0) > chance:
        raise _all_collapsed(tried, hint)
    return Answer(best.found, best.spec, best.collapse, tuple(tried))


def _all_collapsed(tried: Sequence[Tried], hint: str) -> QualityError:
    words = " ".join(
        f"{method_words(one.spec)}: {one.collapse.sentence()}."
        for one in tried
        if one.collapse is not None
    )
    return QualityError(f"the classes have collapsed into few: {words}", hint=hint)


def collapse_sentences(answer: Answer) -> tuple[str, ...]:
    """Return what a person should know of classes that collapsed, a sentence each."""
    figures = f" Hidden seeds say: {answer.figures}." if answer.figures else ""
    name, own = method_words(answer.spec), answer.collapse
    if answer.switched:
        found = [
            f"{method_words(one.spec)} did not label: {one.collapse.sentence()}."
            for one in answer.tried
            if one.spec is not answer.spec and one.collapse is not None and one.collapsed
        ]
        found.append(f"Taken in its place: {name}.{figures}")
    elif answer.tried and own is not None:
        return (
            f"{name}: {own.sentence()}: they have collapsed into the others, and no method in its"
            f" place does better, with labels as good.{figures}",
        )
    else:
        found = []
    if own is None:
        return tuple(found)
    if own.contradicted:
        return (*found, f"{own.sentence()}: they are taken as rare.")
    return (*found, f"{name}: {own.sentence()}: they have collapsed into the others.")


def method_words(spec: SpecModel) -> str:
    """Return the name of a method for people."""
    words = _name(spec).replace("_", " ").capitalize()
    mass = getattr(spec, "class_mass", "none")
    return words if mass == "none" else f"{words} with its class mass normalised"


def _name(spec: SpecModel) -> str:
    return str(spec.model_dump(include={"name"})["name"])
