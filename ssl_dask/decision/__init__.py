"""From class distributions to labels or refusals: calibration, thresholds, review queue."""

from ssl_dask.decision.decision_spec import DecisionSpec

__all__ = ["DecisionSpec"]
