"""The report as one self-contained HTML page: no script, no outside address, prints as it looks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from ssl_dask.evaluation.metrics import HIDDEN_SEEDS_NOTE, Scores
from ssl_dask.report import charts, share_words
from ssl_dask.report.compared import contest_rows, contest_words
from ssl_dask.report.graph_words import Rows, graph_rows
from ssl_dask.report.palette import class_colours
from ssl_dask.report.run_report import ReportBase, RunReport
from ssl_dask.report.svg_figure import short_name
from ssl_dask.report.value_report import ValueReport
from ssl_dask.report.words import byte_size, duration, interval_text, percent, plural

REASON_WORDS = {
    "no_path_to_seed": "no path to a seed",
    "low_mass": "too far from any seed",
    "tie": "tie between classes",
    "below_threshold": "probability too low",
    "dummy_label": "too little evidence: the dummy label outweighs every class",
}
SOURCE_WORDS = {
    "seed": "given",
    "propagated": "propagated",
    "supervised": "supervised",
    "self_trained": "self-trained",
}
MOST_CLASSES_IN_ROUNDS = 12
BASELINE = "the supervised baseline"


@dataclass(frozen=True)
class Tile:
    """One answer of the first screen; its tone is "good", "bad" or "plain"."""

    heading: str
    figure: str
    lines: tuple[str, ...]
    tone: str = "plain"


def render_page(report: RunReport) -> str:
    """Return the page of a run, a few hundred kilobytes of HTML."""
    return filled_page(
        "report.html.jinja",
        report,
        _figures(report),
        tiles=first_screen(report),
        legend=_legend(report),
        accuracy_rows=_accuracy_rows(report),
        per_class=_per_class(report),
        confusion=_confusion(report),
        rounds=_rounds(report),
        hidden_note=HIDDEN_SEEDS_NOTE,
        worth=_worth(report),
    )


def _worth(report: RunReport) -> dict[str, Any] | None:
    """Return what the labels are worth at the shares of the rows; None where that is not known."""
    scores = report.evaluation.at_shares
    if scores is None or scores.origin == "unknown":
        return None
    return {
        "origin": share_words.ORIGINS[scores.origin],
        "rare": [(one.name, share_words.class_words(one)) for one in scores.rare()],
        "rows": share_words.share_table(scores, report.seeds.counts),
        "accuracy": share_words.estimate_text(scores.accuracy_all),
        "scores": scores,
        "rankings": share_words.ranking_tables(scores),
    }


def filled_page(
    template: str, report: RunReport | ValueReport, figures: Mapping[str, str], **more: Any
) -> str:
    """Return a template of this package, filled with a report, its figures as SVG, and `more`."""
    job = json.dumps(report.job, indent=2, ensure_ascii=False, default=str)
    svg = {name: Markup(text) for name, text in figures.items()}
    contest = report.contest
    return _template(template).render(
        report=report,
        figures=svg,
        facts=facts(report),
        job=job,
        contest_rows=contest_rows(contest),
        contest_words=contest_words(contest),
        **more,
    )


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "plural": plural,
        "seconds": duration,
        "size": byte_size,
    }
    return environment.get_template(name)


def _source(name: str) -> str:
    return files("ssl_dask.report").joinpath(name).read_text(encoding="utf-8")


def first_screen(report: RunReport) -> tuple[Tile, ...]:
    """Return the answers a reader wants first: how many, how good, against what, what not."""
    return (
        given_tile(report, sum(report.decision.labels), report.decision.sources, "Rows labelled"),
        _accuracy_tile(report),
        _baseline_tile(report),
        abstained_tile(report.decision.n_abstained, report.decision.reasons, "label"),
        _probability_tile(report),
    )


def given_tile(report: ReportBase, given: int, sources: Mapping[str, int], heading: str) -> Tile:
    """Return how many rows were `given` a label or a number, and where it comes from."""
    named = [f"{rows:,} {SOURCE_WORDS.get(name, name)}" for name, rows in sources.items()]
    share = f"{percent(given / max(report.input.rows, 1))} of {report.input.rows:,} rows"
    return Tile(heading, f"{given:,}", tuple(line for line in (share, ", ".join(named)) if line))


def _accuracy_tile(report: RunReport) -> Tile:
    evaluation = report.evaluation
    if evaluation.truth is not None:
        scores = evaluation.truth.unlabelled
        lines = [f"of {scores.accuracy.n:,} unlabelled rows that got a label, by the truth column"]
        if evaluation.hidden is not None:
            lines.append(f"on hidden seeds {interval_text(evaluation.hidden.accuracy)}")
        return Tile("Right", percent(scores.accuracy.value), tuple(lines))
    if evaluation.hidden is None:
        return Tile("Right", "not known", ("no seed was hidden to judge by",), "bad")
    worth = evaluation.at_shares
    if worth is not None and worth.seeds_differ and worth.accuracy.value is not None:
        lines = [f"at the shares of the rows, by {worth.n_hidden:,} hidden seeds"]
        lines.append(
            f"{share_words.range_text(worth.accuracy)} with {worth.confidence:.0%} confidence"
        )
        return Tile("Right", percent(worth.accuracy.value), tuple(lines))
    accuracy = evaluation.hidden.accuracy
    bounds = f"between {percent(accuracy.low)} and {percent(accuracy.high)}"
    sure = f"{bounds} with {accuracy.confidence * 100:.0f} % confidence"
    lines = [f"{accuracy.right} of {accuracy.n} hidden seeds", sure]
    return Tile("Right", percent(accuracy.value), tuple(lines))


def _baseline_tile(report: RunReport) -> Tile:
    heading = "Against the supervised baseline"
    comparison = report.evaluation.comparison
    if report.gate_words:
        return Tile(heading, "behind", report.gate_words, "bad")
    if comparison is None:
        return Tile(heading, "not compared", ("there are no two answers on the same hidden seeds",))
    points = f"{comparison.difference * 100:+.1f} points"
    bounds = f"{comparison.low * 100:+.1f} to {comparison.high * 100:+.1f} points"
    lines: tuple[str, ...] = (
        comparison.verdict(report.method.title, BASELINE),
        f"{comparison.confidence * 100:.0f} % interval {bounds}",
    )
    ahead = comparison.difference < 0
    truth, baseline = report.evaluation.truth, report.evaluation.baseline_truth
    if truth is not None and baseline is not None:
        ours, theirs = truth.unlabelled.accuracy_all.value, baseline.unlabelled.accuracy_all.value
        lines += (f"by the truth column {percent(ours)} against {percent(theirs)}",)
        ahead = ahead or (ours or 0.0) < (theirs or 0.0)
    tone = "bad" if ahead else "good" if comparison.low > 0 else "plain"
    return Tile(heading, points, lines, tone)


def abstained_tile(n_abstained: int, reasons: Mapping[str, int], what: str) -> Tile:
    """Return how many rows abstained and why; `what` the others got, "label" or "number"."""
    by_size = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{rows:,}: {REASON_WORDS.get(name, name)}" for name, rows in by_size]
    if not n_abstained:
        lines = [f"every row got a {what}", *(f"({line})" for line in lines)]
    return Tile("Abstained", f"{n_abstained:,}", tuple(lines))


def _probability_tile(report: RunReport) -> Tile:
    calibration = report.calibration
    if not calibration.calibrated:
        return Tile("Probabilities", "not calibrated", (calibration.reason or "",), "bad")
    lines = [f"on {calibration.n_hidden} hidden seeds"]
    if calibration.quality is not None:
        error = calibration.quality.expected_calibration_error * 100
        how = "on seeds not fitted on" if calibration.cross_fitted else "in-sample, so flattering"
        lines.append(f"off by {error:.1f} points on average ({how})")
    return Tile("Probabilities", "calibrated", tuple(lines))


def _figures(report: RunReport) -> dict[str, str]:
    """Return the figures that the report has the numbers for, by name."""
    names, decision, evaluation = report.seeds.classes, report.decision, report.evaluation
    drawn = {"classes": charts.class_counts_chart(names, report.seeds.counts, decision.labels)}
    picture = report.picture
    if picture is not None and picture.points:
        drawn["before"], drawn["after"] = charts.before_and_after(
            np.array(picture.points),
            np.array(picture.labels),
            np.array(picture.seeds),
            class_colours(len(names)),
            "label",
            names,
        )
    chosen = report.method.self_labeled
    if report.method.rounds and chosen is not None:
        drawn["rounds"] = charts.rounds_chart(
            report.method.rounds, chosen.baseline_accuracy, chosen.kept_round
        )
    elif report.method.rounds:
        drawn["convergence"] = charts.convergence_chart(report.method.rounds)
    if decision.reasons:
        drawn["abstentions"] = charts.abstentions_chart(decision.reasons, REASON_WORDS)
    shares = [
        (name, 100 * share.value, 100 * share.low, 100 * share.high)
        for name, share in ((name, scores.accuracy_all) for name, scores in _judged(report))
        if share.value is not None
    ]
    if shares:
        drawn["accuracy"] = charts.interval_chart(
            shares,
            (max(0.0, min(share[2] for share in shares) - 6), 102),
            "right, %",
            name="accuracy",
            title="Share of right labels with intervals",
        )
    bins = evaluation.reliability or report.calibration.bins
    if bins:
        drawn["reliability"] = charts.reliability_chart(bins)
    if sum(decision.probability):
        drawn["probability"] = charts.probability_chart(
            decision.probability, decision.min_probability
        )
    return drawn


def _judged(report: RunReport) -> list[tuple[str, Scores]]:
    """Return every set of rows that was judged, with its name, in the order of the tables."""
    evaluation = report.evaluation
    truth, baseline = evaluation.truth, evaluation.baseline_truth
    found = [
        ("hidden seeds", evaluation.hidden),
        ("hidden seeds, baseline", evaluation.baseline_hidden),
        ("unlabelled rows", None if truth is None else truth.unlabelled),
        ("unlabelled rows, baseline", None if baseline is None else baseline.unlabelled),
        ("seeds", None if truth is None else truth.seeds),
        ("overall", None if truth is None else truth.overall),
        ("overall, baseline", None if baseline is None else baseline.overall),
    ]
    return [(name, scores) for name, scores in found if scores is not None]


def _accuracy_rows(report: RunReport) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "n": scores.n,
            "coverage": percent(scores.coverage),
            "accuracy": interval_text(scores.accuracy),
            "accuracy_all": interval_text(scores.accuracy_all),
            "macro_f1": "–" if scores.macro_f1 is None else f"{scores.macro_f1:.3f}",
        }
        for name, scores in _judged(report)
    ]


def _best_scores(report: RunReport) -> tuple[str, Scores] | None:
    evaluation = report.evaluation
    if evaluation.truth is not None:
        return "unlabelled rows, by the truth column", evaluation.truth.unlabelled
    return None if evaluation.hidden is None else ("hidden seeds", evaluation.hidden)


def _per_class(report: RunReport) -> dict[str, Any]:
    judged = _best_scores(report)
    rows = []
    for code, name in enumerate(report.seeds.classes):
        score = judged[1].classes[code] if judged else None
        rows.append(
            {
                "name": short_name(name, 40),
                "seeds": report.seeds.counts[code],
                "labels": report.decision.labels[code],
                "recall": interval_text(score.recall, count=False) if score else "–",
                "precision": interval_text(score.precision, count=False) if score else "–",
            }
        )
    by_truth = report.evaluation.truth is not None
    if not by_truth and _worth(report) is not None:
        # The table of what labels are worth has them, at the shares of the rows.
        return {"judged_on": None, "rows": rows, "scored": False}
    return {"judged_on": judged[0] if judged else None, "rows": rows, "scored": True}


def _confusion(report: RunReport) -> dict[str, Any] | None:
    """Return the confusion matrix for up to `MOST_CLASSES_DRAWN` classes, with shades 0 to 1."""
    judged = _best_scores(report)
    if judged is None or judged[1].confusion is None:
        return None
    if len(judged[1].confusion) > charts.MOST_CLASSES_DRAWN:
        return None
    rows = []
    for name, counts in zip(report.seeds.classes, judged[1].confusion, strict=True):
        total = max(sum(counts), 1)
        cells = [{"count": count, "shade": round(count / total, 3)} for count in counts]
        rows.append({"name": short_name(name, 16), "cells": cells})
    return {"judged_on": judged[0], "rows": rows}


def _rounds(report: RunReport) -> dict[str, Any] | None:
    """Return the table of the rounds of self-labelling: what each did to which class."""
    chosen = report.method.self_labeled
    if chosen is None or not report.method.rounds:
        return None
    names = report.seeds.classes
    shown = range(min(len(names), MOST_CLASSES_IN_ROUNDS))
    rows = []
    for record in report.method.rounds:
        gained, lost = record.labeled or (), record.taken_back or ()
        thresholds = record.thresholds or ()
        rows.append(
            {
                "number": record.iteration,
                "kept": record.iteration == chosen.kept_round,
                "labelled": sum(gained),
                "taken_back": sum(lost),
                "classes": [f"+{gained[c]:,} −{lost[c]:,}" if gained else "–" for c in shown],
                "thresholds": _range_of(thresholds),
                "accuracy": percent(record.hidden_accuracy),
                "notes": ", ".join(f"{k} {_plain(v)}" for k, v in (record.notes or {}).items()),
            }
        )
    return {
        "names": [short_name(names[c], 16) for c in shown],
        "more": len(names) - len(shown),
        "baseline": percent(chosen.baseline_accuracy),
        "kept": chosen.kept_round,
        "rows": rows,
    }


def _range_of(values: Sequence[float | None]) -> str:
    """Return the least and the largest of the thresholds that there are."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = min(known), max(known)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def _legend(report: RunReport) -> list[dict[str, str]]:
    colours = class_colours(len(report.seeds.classes))
    pairs = zip(report.seeds.classes, colours, strict=True)
    return [{"name": short_name(name), "colour": colour} for name, colour in pairs]


def facts(report: ReportBase) -> list[tuple[str, Rows, Rows]]:
    """Return the small tables at the end of the page: title, rows (name, value), rows to fold."""
    features = [
        (view.name, f"{view.kind}, {view.n_features:,} {'sparse ' if view.sparse else ''}columns")
        for view in report.features
    ]
    parameters = [(name, _plain(value)) for name, value in report.method.parameters.items()]
    if report.method.asked_for is not None:
        parameters.append(("in the place of", report.method.asked_for))
    graph, rest = graph_rows(report.graph or {})
    folded = [(name, _plain(value)) for name, value in rest.items()]
    stages = [(stage.name, duration(stage.seconds)) for stage in report.stages]
    tables = [
        ("Features", features, []),
        (f"Method: {report.method.name}", [*parameters, ("stopped", report.method.stopped)], []),
        ("Graph", graph, folded),
        ("Time", [*stages, ("all", duration(report.seconds))], []),
        ("Versions", sorted(report.versions.items()), []),
    ]
    return [table for table in tables if table[1]]


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and set(value) == {"name", "parameters"}:
        # A learner: its name is enough where nothing more is said of it.
        given = value["parameters"]
        return f"{value['name']} ({_plain(given)})" if given else str(value["name"])
    if isinstance(value, (dict, Sequence)) and not value:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(inner) for inner in value)
    return str(value)
