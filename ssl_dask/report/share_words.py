"""What labels are worth among the rows, in words: for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_dask.evaluation.metrics import Estimate
from ssl_dask.evaluation.ranking import Budget
from ssl_dask.evaluation.share_scores import ClassAtShares, ScoresAtShares
from ssl_dask.report.words import percent

ORIGINS = {
    "given": "as the job gives them, without the seeds",
    "seeds": "by the seeds as a random sample of them",
    "estimated": "told from the scores of rows and of hidden seeds",
}


def share_lines(scores: ScoresAtShares, seed_counts: Sequence[int]) -> list[tuple[str, str]]:
    """Return (name, value) of what the terminal says of the shares of the classes."""
    if scores.origin == "unknown":
        return []
    named = {one.name: n for one, n in zip(scores.classes, seed_counts, strict=True)}
    rare = scores.rare()
    found = []
    for one in rare:
        among = percent(named[one.name] / sum(seed_counts))
        words = f"{range_text(one.share)} of the rows, {ORIGINS[scores.origin]}"
        found.append((f"share of {one.name}", f"{words}; {among} of the seeds"))
    found += [(f"labels {one.name}", class_words(one)) for one in rare]
    for ranking in scores.rankings:
        if ranking.budgets:
            found.append((f"likeliest {ranking.name}", budget_words(ranking.budgets[0])))
    if scores.seeds_differ:
        words = f"{estimate_text(scores.accuracy_all)} of all rows, at these shares"
        found.append(("right labels", words))
    return found


def class_words(one: ClassAtShares) -> str:
    """Return how many rows of a class's label are of the class, and how many of it are found."""
    low, high = one.precision.low, one.precision.high
    if not one.called:
        return "no row got this label: none is more likely of this class than of another"
    if low is None or high is None:
        return f"{one.called:,} rows got this label; how many are right is not known"
    if one.labels_to_settle is not None:
        return (
            f"{one.called:,} rows got this label; how many are right is not known"
            f" ({range_text(one.precision)}): label {one.labels_to_settle:,} of them, drawn at"
            " random, to know"
        )
    chance = one.called * (one.share.value or 0.0)
    return (
        f"{one.called:,} rows got this label, {one.called * low:,.0f} to {one.called * high:,.0f}"
        f" are right ({range_text(one.precision)}; {chance:,.0f} by chance);"
        f" {range_text(one.recall)} of all are found; by {one.n_hidden:,} hidden seeds"
    )


def finds(one: Budget) -> str:
    """Return how many of the first rows of a ranking are right."""
    low, high = (round(one.rows * (end or 0.0)) for end in (one.precision.low, one.precision.high))
    return f"{low:,} to {high:,}"


def budget_words(one: Budget) -> str:
    """Return what the first rows of a ranking hold."""
    return (
        f"of the first {one.rows:,} rows {finds(one)} are right, {one.lift.low:,.0f} to"
        f" {one.lift.high:,.0f} times as many as by chance; {range_text(one.recall)} of all"
    )


def ranking_tables(scores: ScoresAtShares) -> list[dict[str, Any]]:
    """Return for each rare class what its likeliest rows hold, by budget."""
    return [
        {
            "name": ranking.name,
            "average_precision": f"{ranking.average_precision:.3f}",
            "rows": [
                {
                    "rows": one.rows,
                    "right": finds(one),
                    "precision": estimate_text(one.precision),
                    "recall": estimate_text(one.recall),
                    "lift": f"{one.lift.value:,.1f} ({one.lift.low:,.1f} to {one.lift.high:,.1f})",
                }
                for one in ranking.budgets
            ],
        }
        for ranking in scores.rankings
        if ranking.budgets
    ]


def share_table(scores: ScoresAtShares, seed_counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return a row for each class: its share, the rows of its label, precision and recall."""
    total = max(sum(seed_counts), 1)
    return [
        {
            "name": one.name,
            "share": range_text(one.share),
            "among_seeds": percent(count / total),
            "called": one.called,
            "precision": estimate_text(one.precision),
            "recall": estimate_text(one.recall),
            "f1": estimate_text(one.f1),
            "settle": one.labels_to_settle,
        }
        for one, count in zip(scores.classes, seed_counts, strict=True)
    ]


def range_text(share: Estimate) -> str:
    """Return the ends of an interval, such as `20.1 to 26.4 %`; one number where they are equal."""
    if share.low is None or share.high is None:
        return "–"
    if share.low == share.high:
        return percent(share.low)
    digits = 2 if share.high < 0.02 else 1
    return f"{share.low * 100:.{digits}f} to {share.high * 100:.{digits}f} %"


def estimate_text(share: Estimate) -> str:
    """Return a figure with its interval, such as `23.0 % (20.1 to 26.4)`."""
    if share.value is None or share.low is None or share.high is None:
        return "–"
    return f"{percent(share.value)} ({share.low * 100:.1f} to {share.high * 100:.1f})"
