"""Step 5 of classes: how good the labels are, on hidden seeds, beside a supervised baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.decision.calibration import Calibration, fit_calibration
from ssl_dask.decision.labelling import DecisionRule, decide_block
from ssl_dask.errors import QualityError
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.block_scores import BlockScore
from ssl_dask.evaluation.contest import Contest
from ssl_dask.evaluation.floors import require_floors
from ssl_dask.evaluation.metrics import PairedComparison, Scores, compare_paired, score_predictions
from ssl_dask.evaluation.share_scores import JudgedRows, ScoresAtShares, score_at_shares
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.distributions.label_distributions import predicted_codes
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.gate import gate_classes
from ssl_dask.pipeline.targets.job_shares import JobShares, job_shares, written_F
from ssl_dask.propagation.engine.class_shares import expected_rows
from ssl_dask.propagation.fallback.class_collapse import MISSING_SHARE, find_collapse


@dataclass(frozen=True)
class ClassesJudged:
    """How the method, and the baseline, did on the hidden seeds."""

    calibration: Calibration
    """Makes chances of being right from class distributions."""
    shares: JobShares
    """Shares of the classes among the rows."""
    hidden: Scores | None
    """Scores of the method; None if no seed could be hidden."""
    baseline: SupervisedBaseline | None = None
    """Logistic regression on the same seeds and folds; None if the job does not want it or it is
    the method itself."""
    baseline_hidden: Scores | None = None
    """Scores of the baseline on the same hidden seeds."""
    comparison: PairedComparison | None = None
    """The method against it, seed by seed; None if another answer is published."""
    contest: Contest | None = None
    """The method asked for against all baselines; None without baselines or hidden seeds."""


def judge_classes(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred
) -> tuple[Inferred, ClassesJudged]:
    """Score the method, and the baselines, on hidden seeds; return what is published.

    Raises
    ------
    QualityError
        The method is worse than a baseline, and the job does not take that; or a figure is below
        its floor.
    """
    labels, evaluation = run.data.labels, run.spec.evaluation
    shares, inferred = job_shares(run, folds, inferred)
    logistic = contest = None
    if evaluation.baseline:
        if not run.method.is_baseline:
            X_seeds, codes = inferred.rows.seeds, labels.codes
            logistic = SupervisedBaseline.fit(X_seeds, codes, folds, labels.n_classes)
        inferred, contest = gate_classes(run, folds, inferred, shares, logistic)
        if inferred.baseline is not None:
            # Better scores tell the shares better.
            shares, inferred = job_shares(run, folds, inferred)
    names, confidence = labels.class_names, evaluation.confidence
    used = shares.judged
    truth, F = labels.codes[used], inferred.hidden_F[used]
    calibration = fit_calibration(F, truth, folds.fold[used], shares.ratios, shares.weights)
    judged = ClassesJudged(calibration, shares, None, logistic, contest=contest)
    if floors := run.spec.decision.floors:
        _, written = decided(F, decision_rule(run, inferred, judged))
        require_floors(floors, labels, shares.of_rows(labels), truth, F, written, shares.weights)
    if not len(truth):
        return inferred, judged
    given = predicted_codes(calibration.apply(F) if shares.ratios else F)
    judged = replace(judged, hidden=score_predictions(truth, given, names, confidence))
    if logistic is None:
        return inferred, judged
    theirs = logistic.hidden_F[used], truth, folds.fold[used], shares.of_baselines, shares.weights
    named = predicted_codes(written_F(*theirs))
    return inferred, replace(
        judged,
        baseline_hidden=score_predictions(truth, named, names, confidence),
        comparison=None
        if inferred.baseline is not None
        # Among the seeds, at their shares: labels that are moved to other shares lose there.
        else compare_paired(
            truth, predicted_codes(F), predicted_codes(logistic.hidden_F[used]), confidence
        ),
    )


def decision_rule(run: RunContext, inferred: Inferred, judged: ClassesJudged) -> DecisionRule:
    """Return how rows become labels."""
    source, no_evidence = inferred.found.source, inferred.method.no_evidence
    return DecisionRule(judged.calibration, run.spec.decision, source, no_evidence)


def decided(F: Float32, rule: DecisionRule) -> tuple[Float32, Int32]:
    """Return probabilities and labels of distributions (n, C) that are no seeds'."""
    none = np.empty(0, dtype=np.int64)
    found = decide_block(F, none, none.astype(np.int32), None, rule, keep_probabilities=True)
    assert found.probabilities is not None
    return found.probabilities, found.label


def score_classes_at_shares(
    run: RunContext, inferred: Inferred, judged: ClassesJudged, score: BlockScore
) -> ScoresAtShares | None:
    """Return what the labels of the rows are worth; None if no seed could be hidden."""
    labels, shares, rule = run.data.labels, judged.shares, decision_rule(run, inferred, judged)
    used, chosen = shares.judged, shares.chosen
    if not used.any():
        return None
    scores = score_at_shares(
        JudgedRows(
            *decided(inferred.hidden_F[used], rule),
            labels.codes[used],
            *decided(shares.row_F, rule),
            *decided(inferred.hidden_F[chosen], rule),
            labels.codes[chosen],
            shares.weights,
        ),
        np.append(score.labels - labels.class_counts(), score.n_abstained),
        shares.shares,
        labels.class_names,
        run.spec.evaluation.confidence,
        seeds_differ=shares.differ,
        corrected=bool(shares.ratios),
    )
    return replace(scores, other_estimates=shares.others)


def warn_of_classes_gone(
    run: RunContext,
    folds: HiddenSeeds,
    inferred: Inferred,
    shares: JobShares,
    class_rows: Int64,
) -> tuple[str, ...]:
    """Return a warning where classes have got next to no row, and hidden seeds do not contradict.

    Methods with fallbacks were judged, and switched, before.

    Parameters
    ----------
    shares
        Of the classes, which those of the rows are compared with.
    class_rows
        int64 (C,): rows that were decided, by class, seeds included.

    Raises
    ------
    QualityError
        The job says `on_collapse: error`.
    """
    method, labels = run.method, run.data.labels
    if inferred.baseline is None and method.fallbacks(run.spec.method):
        return ()
    own = method.class_shares(run.spec.method)
    expected = shares.of_rows(labels) if own == "seeds" else expected_rows(own, labels)
    collapse = find_collapse(class_rows - labels.class_counts(), expected, labels.class_names)
    # Where the seeds have other shares than the rows, a rare class may rightly get no label.
    if collapse is None or (shares.ratios and collapse.expected < MISSING_SHARE):
        return ()
    collapse = collapse.judged(labels, folds.masks, inferred.hidden_F)
    if collapse.contradicted:
        return ()
    if run.spec.decision.on_collapse == "error":
        raise QualityError(
            f"the classes have collapsed into few: {collapse.sentence()}",
            hint="label more rows of the classes that are gone, or take other features or another"
            " method; decision.on_collapse: warn writes the labels as they are",
        )
    return (f"{collapse.sentence()}.",)
