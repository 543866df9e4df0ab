"""Whether new rows, and what the models say of them, are of the same kind as the run's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.errors import Caution, Problem, QualityError
from ssl_dask.features.column_profiles import (
    FEWEST_ROWS,
    GroupCounts,
    GroupProfile,
    compare_group,
    differ,
    has_moved,
)
from ssl_dask.spec_model import SpecModel

TIMES = 3.0
"""A class whose share of the labels changed by more than so many times has drifted."""
HINT = (
    "compare unit, format and source of the columns with the run's input, or run the job again on"
    " such rows; with decision.on_drift: warn in the job they are labelled all the same"
)


class AnswerCounts(SpecModel):
    """What the run answered, in rows: labels and given labels by class, rows that abstained."""

    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    abstained: int


@dataclass(frozen=True)
class Drift:
    """How new rows differ from the run's."""

    problems: tuple[Problem, ...]
    """What differs, columns first."""
    news: tuple[Problem, ...]
    """The same without unknown categories, which are told before rows are compared."""
    figures: Mapping[str, Any]
    """Numbers of columns and classes, beside the run's, as they go to `prediction.json`."""

    @property
    def warnings(self) -> list[Caution]:
        """What differs and was not told before, a sentence each."""
        return [
            Caution(f"{'' if one.column is None else f'Column {one.column!r} '}{one.message}.")
            for one in self.news
        ]

    def refuse(self) -> None:
        """Raise `QualityError` if anything differs."""
        if self.problems:
            raise QualityError(list(self.problems))


def judge_drift(
    profiles: Mapping[str, GroupProfile],
    counts: Mapping[str, GroupCounts],
    answered: AnswerCounts,
    labels: Int64,
    n_abstained: int,
    classes: Sequence[str],
) -> Drift:
    """Compare new rows with the run's.

    Columns differ as `features.column_profiles` says. A class has drifted if its share of the
    labels is more than 3 times larger or smaller than in the run, with all rows and without those
    whose label was given alike, and by more than chance; abstentions if their share moved by more
    than 10 points and by more than chance.

    Parameters
    ----------
    profiles, counts
        Of the run's rows and of the new ones, by group.
    answered, labels, n_abstained
        What the run answered; new rows of each class, int64 (C,), and those that abstained.
    classes
        Names of the classes.
    """
    columns = [
        one for name in profiles for one in compare_group(name, profiles[name], counts[name])
    ]
    problems = _told((one.column, one.differs) for one in columns)
    news = _told((one.column, one.news) for one in columns)
    given, m = np.array(answered.labels), int(labels.sum())
    share = labels / max(m, 1)
    in_run = given / max(int(given.sum()), 1)
    answers = [
        Problem(
            f"{share[code]:.2%} of the labels are {classes[code]!r}, of the run's"
            f" {in_run[code]:.2%}",
            hint=HINT,
        )
        for code in _drifted(answered, labels)
    ]
    rows, rows_in_run = m + n_abstained, int(given.sum()) + answered.abstained
    abstained, then = n_abstained / max(rows, 1), answered.abstained / max(rows_in_run, 1)
    if rows >= FEWEST_ROWS and has_moved(abstained, then, rows, rows_in_run):
        answers.append(
            Problem(f"{abstained:.1%} of the rows abstained, of the run's {then:.1%}", hint=HINT)
        )
    figures = {
        "columns": [one.as_dict() for one in columns],
        "classes": [
            {"class": name, "share": float(share[i]), "share_in_run": float(in_run[i])}
            for i, name in enumerate(classes)
        ],
        "abstained": {"share": abstained, "share_in_run": then},
    }
    return Drift((*problems, *answers), (*news, *answers), figures)


def _told(found: Iterable[tuple[str, Sequence[str]]]) -> list[Problem]:
    """Return a problem for each column of which there are words."""
    return [
        Problem(f"is not as in the run: {', '.join(words)}", column=column, hint=HINT)
        for column, words in found
        if words
    ]


def _drifted(answered: AnswerCounts, labels: Int64) -> list[int]:
    """Return the codes of the classes whose share has drifted."""
    given, seeds, m = np.array(answered.labels), np.array(answered.seeds), int(labels.sum())
    references = [(one, n) for one in (given, given - seeds) if (n := int(one.sum()))]
    share = labels / max(m, 1)
    drifted = np.full(len(labels), m >= FEWEST_ROWS and bool(references))
    for counted, n in references:
        before = counted / n
        far = (share > TIMES * before) | (TIMES * share < before)
        drifted &= far & differ(share, before, max(m, 1), n)
    return np.flatnonzero(drifted).tolist()
