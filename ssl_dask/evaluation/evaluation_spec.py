"""The `evaluation` part of a job file."""

from __future__ import annotations

from pydantic import Field, field_validator

from ssl_dask.spec_model import SpecModel


class EvaluationSpec(SpecModel):
    """How the labels are judged."""

    folds: int = Field(default=5, ge=0, le=50)
    """Seeds are hidden in so many turns, a fold at a time, and labelled by the others; 0 hides
    none, and then neither accuracy nor calibrated probabilities are known. Each fold adds as many
    columns to the propagation as there are classes."""

    random_state: int = Field(default=0, ge=0, lt=2**63)
    """Which seeds are hidden together."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1.0)
    """Confidence of every interval."""

    baseline: bool = True
    """Whether to train logistic regression and a forest (ridge regression where labels are numbers)
    on the same seeds and put them beside the labels. With false `decision.on_worse` compares
    nothing."""

    @field_validator("folds")
    @classmethod
    def _one_fold_hides_all(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("1 fold would hide every seed at once; use 0 (off) or at least 2")
        return folds
