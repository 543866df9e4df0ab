"""The report as JSON, and the warnings that a reader must not miss."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ssl_dask.decision.calibration import not_calibrated
from ssl_dask.evaluation.metrics import compare_paired
from ssl_dask.report.run_report import (
    DecisionSummary,
    EvaluationSummary,
    MethodSummary,
    RunReport,
    quality_warnings,
)
from ssl_dask.round_record import RoundRecord
from tests.example_report import digits_report

CONVERGED = MethodSummary(name="label_spreading", parameters={}, converged=True, stopped="settled")
DECISION = DecisionSummary(
    labels=(60, 40),
    sources={"seed": 10, "propagated": 90},
    reasons={},
    n_abstained=0,
    probability=(0,) * 20,
    min_probability=None,
)


@pytest.mark.parametrize("with_truth", [True, False])
def test_json_round_trip(with_truth: bool) -> None:
    report = digits_report(with_truth=with_truth)
    text = report.to_json()
    assert RunReport.from_json(text) == report
    assert RunReport.from_json(text).to_json() == text
    plain = json.loads(text)
    assert plain["schema_version"] == 1
    assert plain["evaluation"]["hidden"]["accuracy"]["n"] == 50
    assert len(text) < 400_000


def test_infinite_residuals_survive_as_strict_json() -> None:
    report = digits_report()
    endless = RoundRecord(1, 5, float("inf"), (0.5, 0.5), 0.1)
    method = report.method.model_copy(update={"rounds": (endless,)})
    changed = report.model_copy(update={"method": method})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(changed.to_json(), parse_constant=refuse)
    assert RunReport.from_json(changed.to_json()) == changed


def test_other_versions_and_unknown_keys_are_refused() -> None:
    plain = json.loads(digits_report().to_json())
    for change in ({"schema_version": 2}, {"extra": 1}):
        with pytest.raises(ValueError):
            RunReport.from_json(json.dumps(plain | change))


def test_decision_counts_add_up() -> None:
    report = digits_report()
    decision = report.decision
    assert sum(decision.labels) + decision.n_abstained == report.input.rows
    assert sum(decision.sources.values()) == sum(decision.labels)
    assert sum(decision.reasons.values()) == decision.n_abstained > 0
    assert {"no_path_to_seed", "below_threshold"} <= set(decision.reasons)
    assert "none" not in decision.reasons | decision.sources
    assert sum(decision.probability) == decision.sources["propagated"]


def warned(**parts: object) -> tuple[str, ...]:
    given = {
        "method": CONVERGED,
        "calibration": digits_report().calibration,
        "decision": DECISION,
        "evaluation": EvaluationSummary(),
    }
    return quality_warnings(**(given | parts))  # type: ignore[arg-type]


def test_nothing_wrong_says_nothing() -> None:
    assert warned() == ()
    assert digits_report().warnings == ()


def test_each_trouble_is_named() -> None:
    stuck = MethodSummary(
        name="label_propagation", parameters={}, converged=False, stopped="1,000 iterations done"
    )
    (line,) = warned(method=stuck)
    assert line == "The method, label propagation, did not converge: 1,000 iterations done."
    (line,) = warned(calibration=not_calibrated("no seed was hidden"))
    assert "not calibrated" in line
    assert "no seed was hidden" in line
    (line,) = warned(evaluation=EvaluationSummary(never_hidden=tuple("ABCDEFG")))
    assert "class E and 2 more" in line
    (line,) = warned(evaluation=EvaluationSummary(baseline_converged=False))
    assert "baseline did not converge" in line
    (line,) = warned(
        method=CONVERGED.model_copy(update={"name": "supervised"}),
        evaluation=EvaluationSummary(n_folds=5, folds_not_converged=2),
    )
    assert line.startswith("Supervised did not converge in 2 of the 5 turns")
    refused = DECISION.model_copy(update={"n_abstained": 101, "reasons": {"tie": 101}})
    (line,) = warned(decision=refused)
    assert "101 of 201" in line


def test_true_classes_that_no_seed_shows_are_said() -> None:
    real = digits_report().evaluation.truth
    assert real is not None
    truth = dataclasses.replace(real, other_class=1_234)
    (line,) = warned(evaluation=EvaluationSummary(truth=truth))
    assert "1,234 rows are of a class that no seed shows" in line


def test_the_baseline_being_ahead_is_said() -> None:
    truth = np.zeros(100, np.int32)
    worse = (np.arange(100) < 30).astype(np.int32)
    behind = EvaluationSummary(comparison=compare_paired(truth, worse, truth))
    (line,) = warned(evaluation=behind)
    assert line.startswith("The supervised baseline is ahead of label spreading by 30.0 points")
    assert (
        warned(evaluation=EvaluationSummary(comparison=compare_paired(truth, truth, worse))) == ()
    )


def test_the_baseline_being_ahead_by_the_truth_is_said() -> None:
    real = digits_report().evaluation
    swapped = EvaluationSummary(truth=real.baseline_truth, baseline_truth=real.truth)
    (line,) = warned(evaluation=swapped)
    assert "By the truth column the supervised baseline is ahead" in line
