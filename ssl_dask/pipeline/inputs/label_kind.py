"""Classes or numbers: which labels are sound, and how they are counted in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels, NumberLabels
from ssl_dask.storage.labels.label_rules import ClassRule, LabelRule
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.seed_labels import SeedTable
from ssl_dask.storage.result.result_schema import LABELS, NUMBERS, RANK, REVIEW, refuse_names

MOST_CLASSES_TOLD = 30


@dataclass(frozen=True)
class LabelKind:
    """What a job asks of its labels."""

    rule: Callable[[JobSpec], LabelRule]
    """Returns which values are labels."""
    check_names: Callable[[JobSpec], None]
    """Raises JobSpecError where names of the input are names of the result."""
    require: Callable[[SeedTable], None]
    """Raises QualityError where the labels are too few to learn from."""
    seed_words: Callable[[Labels], str]
    """Returns how many labels there are, and of what kind, in a line."""


def _class_words(labels: Labels) -> str:
    counts = zip(labels.class_names, labels.class_counts(), strict=True)
    shown = [f"{name}: {n:,}" for name, n in counts]
    return f"{labels.n_seeds:,} ({', '.join(shown[:MOST_CLASSES_TOLD])})"


def _number_words(labels: Labels) -> str:
    values = NumberLabels.of(labels).values
    return f"{labels.n_seeds:,} (mean {values.mean():.6g}, deviation {values.std():.3g})"


LABEL_KINDS = {
    "classes": LabelKind(
        lambda spec: ClassRule(spec.input.classes, spec.input.unlabelled),
        lambda spec: refuse_names(
            spec.input.id,
            spec.output.columns,
            LABELS if spec.output.rank is None else (*LABELS, RANK),
            REVIEW if spec.decision.review_list is not None else (),
        ),
        SeedTable.require_classes,
        _class_words,
    ),
    "numbers": LabelKind(
        lambda spec: NumberRule(spec.input.unlabelled),
        lambda spec: refuse_names(spec.input.id, spec.output.columns, NUMBERS),
        SeedTable.require_numbers,
        _number_words,
    ),
}


def label_kind(spec: JobSpec) -> LabelKind:
    """Return what the labels of a job are."""
    return LABEL_KINDS[spec.target]
