"""What reports say of the method asked for beside the supervised baselines."""

from __future__ import annotations

from ssl_dask.evaluation.contest import Contest


def gate_warnings(contest: Contest | None, what: str) -> tuple[str, ...]:
    """Return a sentence where the method asked for is worse than a baseline, else none.

    Parameters
    ----------
    what
        What rows are given: "labels" or "numbers".
    """
    if contest is None or not contest.worse:
        return ()
    if contest.asked_for.published:
        return (
            f"The {what} are worse than those of a supervised baseline, and published since"
            f" decision.on_worse is publish: {contest.sentence()}.",
        )
    return (
        f"The {what} are those of {contest.published.title}, not of {contest.asked_for.title}:"
        f" {contest.sentence()}.",
    )


def contest_rows(contest: Contest | None) -> list[dict[str, str]]:
    """Return the rows of the table of all that was compared, the method asked for first."""
    if contest is None:
        return []
    return [
        {
            "title": one.title,
            "role": "method" if one is contest.asked_for else "baseline",
            "figure": f"{one.figure:.3g} ({one.low:.3g} to {one.high:.3g})",
            "published": "published" if one.published else "",
            "note": one.note,
        }
        for one in (contest.asked_for, *contest.baselines)
    ]


def contest_words(contest: Contest | None) -> dict[str, str]:
    """Return the heading of the figures, and the sentence below the table."""
    if contest is None:
        return {}
    of = f" of class {contest.rare}" if contest.rare is not None else ""
    labels = ""
    if contest.labels is not None:
        gap, low, high = (100.0 * end for end in contest.labels)
        labels = f" Right labels: {gap:+.1f} points, between {low:+.1f} and {high:+.1f}."
    numbers = contest.measure == "mean absolute error"
    how = "smaller is better" if numbers else "each class at its share of the rows"
    return {
        "measure": f"{contest.measure[:1].upper()}{contest.measure[1:]}{of}",
        "below": (
            f"On {contest.n:,} hidden seeds, {how}. The method less the best baseline,"
            f" {contest.best_baseline.title}: {contest.difference:+.3g}, between {contest.low:+.3g}"
            f" and {contest.high:+.3g} at {contest.confidence:.0%}, seed by seed.{labels}"
        ),
    }
