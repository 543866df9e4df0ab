"""How good the labels are, judged from few: hidden seeds, intervals, baselines, truth."""

from ssl_dask.evaluation.evaluation_spec import EvaluationSpec, SupervisedSpec

__all__ = ["EvaluationSpec", "SupervisedSpec"]
