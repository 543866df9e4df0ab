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
        f"The {what} are those of {contest.published.title}, not of the method asked for:"
        f" {contest.sentence()}.",
    )


def contest_rows(contest: Contest | None) -> list[dict[str, str]]:
    """Return the rows of the table of all that was compared, the method asked for first."""
    if contest is None:
        return []
    return [
        {
            "title": one.title,
            "role": "asked for" if one is contest.asked_for else "baseline",
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
    best, sure = contest.best_baseline.title, f"{contest.confidence:.0%}"
    return {
        "measure": f"{contest.measure}{of}".capitalize(),
        "below": (
            f"On {contest.n:,} hidden seeds, each class at its share of the rows. The method asked"
            f" for less the best baseline, {best}: {contest.difference:+.3g}, between"
            f" {contest.low:+.3g} and {contest.high:+.3g} at {sure}, seed by seed."
            if contest.measure != "mean absolute error"
            else f"On {contest.n:,} hidden seeds, smaller is better. The method asked for less the"
            f" best baseline, {best}: {contest.difference:+.3g}, between {contest.low:+.3g} and"
            f" {contest.high:+.3g} at {sure}, seed by seed."
        ),
    }
