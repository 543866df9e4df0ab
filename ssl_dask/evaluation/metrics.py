"""Accuracy, recall and precision with exact intervals, from counts.

Everything starts from a confusion matrix with one column more than classes: rows are the true
classes, columns the labels that were given, the last column the rows that got none. Seeds and
unlabelled rows are never counted in the same matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, betaincinv

from ssl_dask.array_types import Float64, Int32, Int64
from ssl_dask.kernels.distributions.class_votes import paired_difference_interval
from ssl_dask.labels import UNLABELLED

MAX_CONFUSION_CLASSES = 100

HIDDEN_SEEDS_NOTE = (
    "Judged on seeds that were hidden in turn. The interval covers the chance of which seeds were"
    " drawn; it speaks for all rows only if the seeds were picked at random within their class. The"
    " share of each class among the seeds counts, not its share among the rows."
)


@dataclass(frozen=True)
class Interval:
    """A share with its exact binomial (Clopper-Pearson) interval."""

    right: int
    n: int
    """`right` of `n` trials succeeded."""
    value: float | None
    """right / n; None when n is 0."""
    low: float
    high: float
    """Bounds; 0 and 1 when n is 0."""
    confidence: float
    """At least this share of such intervals covers the true value."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; None where rows are too few, or too far off, to say."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of_draws(cls, draws: Float64, confidence: float) -> Estimate:
        """Return the median of draws (D,) and the interval that holds so many of them."""
        tail = 50.0 * (1.0 - confidence)
        low, middle, high = np.percentile(draws, [tail, 50.0, 100.0 - tail])
        return cls(float(middle), float(low), float(high))


@dataclass(frozen=True)
class ClassScore:
    """How one class fared."""

    name: str
    """The class as text."""
    support: int
    """Rows that truly are of this class."""
    given: int
    """Rows that were given this label."""
    recall: Interval
    """Right labels among `support`; rows without a label count as missed."""
    precision: Interval
    """Right labels among `given`."""
    f1: float | None
    """Harmonic mean of the two; 0 when nothing is right, None when the class neither occurs nor was
    given."""


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says."""

    n: int
    """Rows judged, `n_other` of them included."""
    accuracy: Interval
    """Right labels among the rows that got a label."""
    accuracy_all: Interval
    """Right labels among all rows: a row without a label counts as wrong."""
    coverage: float | None
    """Share of rows that got a label."""
    macro_f1: float | None
    """Mean of the classes' F1, over classes that occur or were given; None when there is none."""
    classes: tuple[ClassScore, ...]
    """One entry a class."""
    confusion: tuple[tuple[int, ...], ...] | None
    """(C, C + 1) counts: true class x given label, last column no label; None for more than
    `MAX_CONFUSION_CLASSES` classes. Rows of another class are not in it."""
    n_other: int = 0
    """Rows whose true class is none of the C: whatever label they got is wrong."""


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on the same rows; a row without a label counts as not right."""

    n: int
    """Rows compared."""
    both: int
    first_only: int
    second_only: int
    neither: int
    """Rows that both, one or none got right."""
    difference: float
    """Accuracy of the first less that of the second."""
    low: float
    high: float
    """Interval of the difference for matched pairs."""
    p_value: float
    """Exact McNemar test, two-sided: the chance of so lopsided a split between `first_only` and
    `second_only` if the methods were equally good."""
    confidence: float
    """Of the interval."""

    def verdict(self, first: str, second: str) -> str:
        """Return one sentence on which is ahead, naming the two as `first` and `second`."""
        gap = f"{abs(self.difference) * 100:.1f} points on {self.n} hidden seeds"
        if self.difference == 0:
            return f"{_capital(first)} and {second} are level on {self.n} hidden seeds."
        ahead, behind = (first, second) if self.difference > 0 else (second, first)
        if self.low > 0 or self.high < 0:
            return f"{_capital(ahead)} is ahead of {behind} by {gap}."
        return f"{_capital(ahead)} is ahead of {behind} by {gap}, which may be chance."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def clopper_pearson(right: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the share `right` / `n` with its exact interval.

    References
    ----------
    C. Clopper, E. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", 1934.
    """
    if n == 0:
        return Interval(0, 0, None, 0.0, 1.0, confidence)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if right == 0 else float(betaincinv(right, n - right + 1, tail))
    high = 1.0 if right == n else float(betaincinv(right + 1, n - right, 1.0 - tail))
    return Interval(int(right), int(n), right / n, low, high, confidence)


def confusion_counts(truth: Int32, label: Int32, n_classes: int) -> Int64:
    """Return int64 (C, C + 1): true class x label, last column for label -1.

    Parameters
    ----------
    truth
        int32 (n,): true classes; rows with -1 (truth unknown) or -2 (another class) are left out.
    label
        int32 (n,): given labels, -1 for none.
    """
    known = truth >= 0
    column = np.where(label == UNLABELLED, n_classes, label).astype(np.int64)
    cell = truth[known].astype(np.int64) * (n_classes + 1) + column[known]
    counts = np.bincount(cell, minlength=n_classes * (n_classes + 1))
    return counts.reshape(n_classes, n_classes + 1).astype(np.int64)


def score_confusion(
    confusion: Int64,
    class_names: Sequence[str],
    confidence: float = 0.95,
    *,
    other: Int64 | None = None,
) -> Scores:
    """Return everything that a confusion matrix (C, C + 1) says.

    Parameters
    ----------
    confusion
        int64 (C, C + 1), as `confusion_counts`.
    class_names
        The C classes as text.
    confidence
        Of the intervals.
    other
        int64 (C + 1,): rows whose true class is none of the C, by the label given, last none. They
        count as wrong; None for no such rows.
    """
    n_classes = len(class_names)
    if other is None:
        other = np.zeros(n_classes + 1, dtype=np.int64)
    n = int(confusion.sum() + other.sum())
    covered = int(confusion[:, :n_classes].sum() + other[:n_classes].sum())
    right = int(np.trace(confusion[:, :n_classes]))
    classes = tuple(
        _class_score(confusion, other, code, name, confidence)
        for code, name in enumerate(class_names)
    )
    f1 = [score.f1 for score in classes if score.f1 is not None]
    return Scores(
        n=n,
        accuracy=clopper_pearson(right, covered, confidence),
        accuracy_all=clopper_pearson(right, n, confidence),
        coverage=covered / n if n else None,
        macro_f1=float(np.mean(f1)) if f1 else None,
        classes=classes,
        confusion=tuple(tuple(row) for row in confusion.tolist())
        if n_classes <= MAX_CONFUSION_CLASSES
        else None,
        n_other=int(other.sum()),
    )


def _class_score(
    confusion: Int64, other: Int64, code: int, name: str, confidence: float
) -> ClassScore:
    right = int(confusion[code, code])
    support = int(confusion[code].sum())
    given = int(confusion[:, code].sum() + other[code])
    f1 = 2.0 * right / (support + given) if support + given else None
    return ClassScore(
        name,
        support,
        given,
        clopper_pearson(right, support, confidence),
        clopper_pearson(right, given, confidence),
        f1,
    )


def score_predictions(
    truth: Int32, label: Int32, class_names: Sequence[str], confidence: float = 0.95
) -> Scores:
    """Return the scores of labels int32 (n,), -1 for none, against `truth`, -1 for unknown."""
    return score_confusion(
        confusion_counts(truth, label, len(class_names)), class_names, confidence
    )


def compare_paired(
    truth: Int32, first: Int32, second: Int32, confidence: float = 0.95
) -> PairedComparison:
    """Compare two methods' labels (n,) on the same rows, n at least 1.

    The interval is that of `paired_difference_interval`; the p-value is exact.

    References
    ----------
    Q. McNemar, 1947 (the exact, binomial form).
    """
    first_right, second_right = first == truth, second == truth
    n = len(truth)
    first_only = int((first_right & ~second_right).sum())
    second_only = int((second_right & ~first_right).sum())
    both = int((first_right & second_right).sum())
    low, high = paired_difference_interval(first_only, second_only, n, confidence)
    disagree = first_only + second_only
    return PairedComparison(
        n=n,
        both=both,
        first_only=first_only,
        second_only=second_only,
        neither=n - both - disagree,
        difference=(first_only - second_only) / n,
        low=low,
        high=high,
        p_value=_sign_test(first_only, disagree),
        confidence=confidence,
    )


def _sign_test(hits: int, n: int) -> float:
    """Return the exact two-sided p-value of `hits` of n, where one half is expected."""
    # The density is symmetric: both tails are the same.
    return min(1.0, 2.0 * float(bdtr(min(hits, n - hits), n, 0.5))) if n else 1.0
