"""Classes or numbers: which labels are sound, and how they are counted in words."""

from __future__ import annotations

from typing import Protocol

from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels, NumberLabels
from ssl_dask.storage.labels.label_rules import ClassRule, LabelRule, NumberRule
from ssl_dask.storage.labels.seed_labels import SeedTable, require_numbers
from ssl_dask.storage.result.result_schema import LABELS, NUMBERS, REVIEW, refuse_names

MOST_CLASSES_TOLD = 30


class LabelKind(Protocol):
    """What a job asks of its labels."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return which values are labels."""

    def check_names(self, spec: JobSpec) -> None:
        """Raise JobSpecError where names of the input are names of the result."""

    def require(self, seeds: SeedTable) -> None:
        """Raise QualityError where the labels are too few to learn from."""

    def seed_words(self, labels: Labels) -> str:
        """Return how many labels there are, and of what kind, in a line."""


class ClassLabels:
    """Labels are classes."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return the rule of the job's classes."""
        return ClassRule(spec.input.classes, spec.input.unlabelled)

    def check_names(self, spec: JobSpec) -> None:
        """Raise JobSpecError where names of the input are names of the result."""
        refuse_names(spec.input.id, spec.output.columns, LABELS, REVIEW)

    def require(self, seeds: SeedTable) -> None:
        """Raise QualityError unless two classes have labels."""
        seeds.require_classes()

    def seed_words(self, labels: Labels) -> str:
        """Return the number of seeds, and of each class."""
        counts = zip(labels.class_names, labels.class_counts(), strict=True)
        shown = [f"{name}: {n:,}" for name, n in counts]
        return f"{labels.n_seeds:,} ({', '.join(shown[:MOST_CLASSES_TOLD])})"


class NumericLabels:
    """Labels are numbers."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return the rule of finite numbers."""
        return NumberRule(spec.input.unlabelled)

    def check_names(self, spec: JobSpec) -> None:
        """Raise JobSpecError where names of the input are names of the result."""
        refuse_names(spec.input.id, spec.output.columns, NUMBERS)

    def require(self, seeds: SeedTable) -> None:
        """Raise QualityError unless there are two different numbers."""
        require_numbers(seeds)

    def seed_words(self, labels: Labels) -> str:
        """Return the number of seeds, their mean and standard deviation."""
        values = NumberLabels.of(labels).values
        return f"{labels.n_seeds:,} (mean {values.mean():.6g}, deviation {values.std():.3g})"


LABEL_KINDS: dict[str, LabelKind] = {"classes": ClassLabels(), "numbers": NumericLabels()}


def label_kind(spec: JobSpec) -> LabelKind:
    """Return what the labels of a job are."""
    return LABEL_KINDS[spec.target]
