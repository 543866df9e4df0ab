"""A real small run for the tests of the report: digits, propagated by scikit-learn."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from functools import cache

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.semi_supervised import LabelSpreading

from ssl_dask.decision.calibration import fit_calibration
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.decision.labelling import REASONS, SOURCES, DecisionRule, decide_block
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.block_scores import score_block, truth_scores
from ssl_dask.evaluation.metrics import compare_paired, score_predictions
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.distributions.label_distributions import normalise_rows, predicted_codes
from ssl_dask.labels import Labels
from ssl_dask.report.picture import picture_rows, project_2d
from ssl_dask.report.run_report import (
    DecisionSummary,
    EvaluationSummary,
    FeatureSummary,
    InputSummary,
    MethodSummary,
    OutputSummary,
    Picture,
    RunReport,
    SeedSummary,
    StageTime,
    quality_warnings,
    reliability_bins,
)
from ssl_dask.round_record import RoundRecord


def _spread(X: npt.NDArray[np.float32], labels: Labels) -> npt.NDArray[np.float32]:
    model = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.8, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, labels.to_codes())
    scores = np.zeros((len(X), labels.n_classes))
    scores[:, model.classes_] = np.nan_to_num(model.label_distributions_)
    return normalise_rows(scores)


@cache
def digits_report(*, with_truth: bool = True) -> RunReport:
    """Return the report of 50 seeds on 1,797 digits."""
    X, y = load_digits(return_X_y=True)
    X, y = X.astype(np.float32), y.astype(np.int32)
    names = tuple(str(digit) for digit in range(10))
    random = np.random.default_rng(3)
    seeds = np.sort(
        np.concatenate([random.choice(np.flatnonzero(y == c), 5, False) for c in range(10)])
    )
    labels = Labels(len(y), seeds, y[seeds], np.arange(10))
    folds = hide_seeds(labels, 5, 0)
    hidden_F = np.zeros((50, 10), dtype=np.float32)
    for fold in range(folds.n_folds):
        hidden_F[folds.hidden(fold)] = _spread(X, labels.subset(~folds.hidden(fold)))[
            seeds[folds.hidden(fold)]
        ]
    calibration = fit_calibration(hidden_F, labels.codes, folds.fold)
    F = _spread(X, labels)
    F[[400, 800]] = 0.0
    reached = np.ones(len(y), dtype=bool)
    reached[400] = False
    spec = DecisionSpec(min_probability=0.5, review_budget=20)
    decided = decide_block(F, seeds, labels.codes, reached, DecisionRule(calibration, spec))
    score = score_block(
        decided, seeds, n_classes=10, n_sources=len(SOURCES), n_reasons=len(REASONS), truth=y
    )
    baseline = SupervisedBaseline.fit(X[seeds], labels.codes, folds, 10)
    hidden_codes = predicted_codes(hidden_F)
    rule = DecisionRule(calibration, DecisionSpec())
    by_lr = decide_block(baseline.model.predict_proba(X), seeds, labels.codes, None, rule)
    lr_score = score_block(
        by_lr, seeds, n_classes=10, n_sources=len(SOURCES), n_reasons=len(REASONS), truth=y
    )
    rows = picture_rows(len(y), seeds)
    points = project_2d(X[rows])
    rounds = tuple(
        RoundRecord(i + 1, int(1800 * 0.5**i), 0.6**i, (0.1,) * 10, 0.01) for i in range(14)
    )
    method = MethodSummary(
        name="label_spreading",
        parameters={"alpha": 0.8, "max_iter": 200},
        converged=True,
        stopped="fewer than 0.1 % of labels changed in two checks, residual 8e-04",
        rounds=rounds,
    )
    seed_summary = SeedSummary(classes=names, counts=tuple(labels.class_counts().tolist()))
    decision = DecisionSummary.from_score(score, min_probability=0.5, review_rows=20)
    assert score.truth is not None
    assert score.reliability is not None
    assert lr_score.truth is not None
    evaluation = EvaluationSummary(
        n_folds=folds.n_folds,
        hidden=score_predictions(labels.codes, hidden_codes, names),
        baseline_hidden=score_predictions(labels.codes, baseline.hidden_codes, names),
        comparison=compare_paired(labels.codes, hidden_codes, baseline.hidden_codes),
        truth=truth_scores(score.truth, names) if with_truth else None,
        baseline_truth=truth_scores(lr_score.truth, names) if with_truth else None,
        reliability=reliability_bins(score.reliability) if with_truth else (),
    )
    return RunReport(
        job_name="digits",
        run_id="20260102T030405Z-0123abcd",
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=64.2,
        stages=(StageTime(name="read", seconds=0.8), StageTime(name="graph", seconds=41.5)),
        job={"name": "digits", "graph": {"n_neighbors": 7}, "output": {"path": "out/digits"}},
        versions={"ssl_dask": "0.1.0", "numpy": np.__version__},
        input=InputSummary(
            path="data/digits.parquet", files=1, rows=len(y), columns=66, size=931_000
        ),
        seeds=seed_summary,
        features=(FeatureSummary(name="pixels", kind="vector", n_features=64, sparse=False),),
        graph={"n_edges": 17_004, "components": 3, "isolated rows": 1},
        method=method,
        calibration=calibration,
        decision=decision,
        evaluation=evaluation,
        picture=Picture(
            points=tuple((round(float(a), 4), round(float(b), 4)) for a, b in points),
            labels=tuple(int(code) for code in decided.label[rows]),
            seeds=tuple(bool(flag) for flag in np.isin(rows, seeds)),
        ),
        warnings=quality_warnings(method, calibration, decision, evaluation),
        output=OutputSummary(
            path="out/digits/runs/20260102T030405Z-0123abcd", parts=2, rows=len(y)
        ),
    )
