"""The method that is asked for against the supervised baselines, on the same hidden seeds.

Classes are compared by accuracy at the shares of all rows; where the rarer of two classes has at
most half of an even share, by average precision of that class. Numbers are compared by absolute
error. The best baseline is the one of the best figure; the method is worse if the interval of the
paired difference says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Int32
from ssl_dask.evaluation.value_scores import compare_errors
from ssl_dask.kernels.distributions.label_distributions import predicted_codes
from ssl_dask.kernels.distributions.weighted_figures import (
    Figure,
    average_precision,
    drawn_weights,
    measured_class,
    percentile_interval,
    seed_weights,
    weighted_difference,
    weighted_share,
)

CONFIDENCE = 0.9
"""Of the intervals. Of a method that is as good as two baselines one in ten is called worse, by the
better of the two: a switch that costs nothing. At 95 % more that are worse would stay, each of them
a night of worse labels."""


@dataclass(frozen=True)
class Contender:
    """An answer that was compared."""

    name: str
    """Of the method or the baseline."""
    title: str
    """The same in words."""
    figure: float
    low: float
    high: float
    """What it reached on the hidden seeds, with its interval."""
    published: bool = False
    """Whether its labels are those of the run."""
    note: str = ""
    """What is to be known of it."""


@dataclass(frozen=True)
class Contest:
    """What the comparison said."""

    measure: str
    """"accuracy", "average precision" or "mean absolute error"."""
    rare: str | None
    """The class of the average precision."""
    n: int
    """Hidden seeds that were compared."""
    asked_for: Contender
    """The method."""
    baselines: tuple[Contender, ...]
    """The others, in a fixed order."""
    best: str
    """Name of the baseline with the best figure."""
    difference: float
    low: float
    high: float
    """The method's figure less that of the best baseline, with the interval for matched pairs."""
    confidence: float
    """Of the intervals."""
    labels: tuple[float, float, float] | None = None
    """Where rankings are compared: accuracy of the method's labels less that of the best
    baseline's, with the ends of its interval."""

    @property
    def worse(self) -> bool:
        """Whether the method is worse than the best baseline beyond the interval.

        With labels that are worse it is too, unless its ranking is better.
        """
        if self.measure == "mean absolute error":
            return self.low > 0.0
        return self.high < 0.0 or self._labels_are_worse

    @property
    def _labels_are_worse(self) -> bool:
        return self.labels is not None and self.labels[2] < 0.0 and not self.low > 0.0

    @property
    def best_baseline(self) -> Contender:
        """The baseline with the best figure."""
        return next(one for one in self.baselines if one.name == self.best)

    @property
    def published(self) -> Contender:
        """Whose labels are those of the run."""
        return next(one for one in (self.asked_for, *self.baselines) if one.published)

    def with_published(self, name: str | None) -> Contest:
        """Return the same with what is published, a baseline's name; None: the method's labels."""
        return replace(
            self,
            asked_for=replace(self.asked_for, published=name is None),
            baselines=tuple(replace(one, published=one.name == name) for one in self.baselines),
        )

    def sentence(self) -> str:
        """Return that the method is worse, with the figures."""
        theirs = self.best_baseline
        if self.labels is not None and not self.high < 0.0:
            gap, low, high = (100.0 * end for end in self.labels)
            return (
                f"on {self.n:,} hidden seeds {self.asked_for.title} gives {-gap:.1f} points fewer"
                f" right labels than {theirs.title} (between {-high:.1f} and {-low:.1f} at"
                f" {self.confidence:.0%})"
            )
        of = f" of class {self.rare}" if self.rare is not None else ""
        return (
            f"on {self.n:,} hidden seeds the {self.measure}{of} of {self.asked_for.title} is"
            f" {self.asked_for.figure:.3g}, that of {theirs.title}"
            f" {theirs.figure:.3g} (difference {self.difference:.3g}, between {self.low:.3g} and"
            f" {self.high:.3g} at {self.confidence:.0%})"
        )


def compare_classes(
    answers: Mapping[str, Float32],
    titles: Mapping[str, str],
    truth: Int32,
    shares: Float64,
    names: list[str],
    notes: Mapping[str, str] | None = None,
    own_weights: Float64 | None = None,
) -> Contest:
    """Compare answers on the same hidden seeds, the first of which is the method asked for.

    Parameters
    ----------
    answers
        Name -> float32 (n, C): distributions of the hidden seeds, at least two answers.
    titles, notes
        Name -> what it is called, and what is to be known of it.
    truth, shares
        int32 (n,), n at least 1, and float64 (C,): shares of the classes among all rows.
    names
        The classes as text.
    own_weights
        float64 (n,): how much each hidden seed counts among those of its class; None: 1.

    Notes
    -----
    Average precision costs 500 n a contender.
    """
    weights, rare = seed_weights(truth, shares, own_weights), measured_class(truth, shares)
    right = {name: predicted_codes(F) == truth for name, F in answers.items()}
    if rare is None:
        figures = {
            name: weighted_share(one, weights, CONFIDENCE) or Figure(0.0, 0.0, 1.0)
            for name, one in right.items()
        }
        asked_for, best = _first_and_best(figures)
    else:
        positive = truth == rare
        scores = {name: F[:, rare] for name, F in answers.items()}
        figures, draws = _average_precisions(scores, positive, truth, weights)
        asked_for, best = _first_and_best(figures)
        ends = percentile_interval(draws[asked_for] - draws[best], CONFIDENCE)
        gap = Figure(figures[asked_for].value - figures[best].value, *ends)
    labels = weighted_difference(right[asked_for], right[best], weights, CONFIDENCE)
    told = len(truth), figures, titles, notes or {}, best
    if rare is None:
        return _contest("accuracy", None, *told, labels)
    found = _contest("average precision", names[rare], *told, gap)
    return replace(found, labels=(labels.value, labels.low, labels.high))


def compare_numbers(
    answers: Mapping[str, Float64],
    titles: Mapping[str, str],
    truth: Float64,
) -> Contest | None:
    """Compare numbers of the same hidden seeds, the first of which are the method's.

    Parameters
    ----------
    answers
        Name -> float64 (n,): NaN for none. Seeds to which the method gave none are left out.
    titles
        Name -> what it is called.
    truth
        float64 (n,).

    Returns
    -------
    None where fewer than two seeds got a number.
    """
    asked_for = next(iter(answers))
    reached = ~np.isnan(answers[asked_for])
    if np.count_nonzero(reached) < 2:
        return None
    zero = truth[reached]
    figures = {}
    for name, values in answers.items():
        errors = compare_errors(zero, values[reached], zero, CONFIDENCE)
        assert errors is not None
        figures[name] = Figure(errors.difference, max(errors.low, 0.0), errors.high)
    best = min(list(figures)[1:], key=lambda name: figures[name].value)
    found = compare_errors(zero, answers[asked_for][reached], answers[best][reached], CONFIDENCE)
    assert found is not None
    gap = Figure(found.difference, found.low, found.high)
    measure = "mean absolute error"
    return _contest(measure, None, len(zero), figures, titles, {}, best, gap)


def _first_and_best(figures: Mapping[str, Figure]) -> tuple[str, str]:
    """Return the name of the first, and of the best of the others, the earlier of equals."""
    first, *others = figures
    return first, max(others, key=lambda name: figures[name].value)


def _average_precisions(
    scores: Mapping[str, Float32], positive: Bool, truth: Int32, weights: Float64
) -> tuple[dict[str, Figure], dict[str, Float64]]:
    """Return the average precision of each with its interval, and that of the same draws."""
    batches: dict[str, list[Float64]] = {name: [] for name in scores}
    for drawn in drawn_weights(truth, weights):
        for name, given in scores.items():
            batches[name].append(average_precision(given, positive, drawn))
    draws = {name: np.concatenate(found) for name, found in batches.items()}
    figures = {
        name: Figure(
            float(average_precision(given, positive, weights[None])[0]),
            *percentile_interval(draws[name], CONFIDENCE),
        )
        for name, given in scores.items()
    }
    return figures, draws


def _contest(
    measure: str,
    rare: str | None,
    n: int,
    figures: Mapping[str, Figure],
    titles: Mapping[str, str],
    notes: Mapping[str, str],
    best: str,
    gap: Figure,
) -> Contest:
    first, *others = (
        Contender(name, titles[name], *figure, note=notes.get(name, ""))
        for name, figure in figures.items()
    )
    return Contest(measure, rare, n, first, tuple(others), best, *gap, CONFIDENCE)
