"""What a job predicts, classes or numbers: all that the steps of a run do differently for the two.

A target says which labels are sound, runs the steps from the graph to the report, and sums a
finished run up. Everything else (reading, features, graph, checkpoints, commit) is one code for
both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels, NumberLabels
from ssl_dask.storage.labels.label_rules import ClassRule, LabelRule, NumberRule
from ssl_dask.storage.labels.seed_labels import SeedTable, require_numbers
from ssl_dask.storage.result.result_schema import LABELS, NUMBERS, REVIEW, refuse_names
from ssl_dask.storage.runs.manifest import PartRecord

if TYPE_CHECKING:
    from ssl_dask.pipeline.inputs.run_context import RunContext
    from ssl_dask.report.pages import AnyReport

MOST_CLASSES_TOLD = 30


@dataclass(frozen=True)
class Answer:
    """What the steps after the features have made.

    Parameters
    ----------
    parts
        What was written.
    report
        Everything that is said of it.
    """

    parts: list[PartRecord]
    report: AnyReport


class Target(Protocol):
    """What a job predicts; see `ClassTarget` and `NumberTarget`."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return which values are labels."""

    def check_names(self, spec: JobSpec) -> None:
        """Raise JobSpecError where names of the input are names of the result."""

    def require(self, seeds: SeedTable) -> None:
        """Raise QualityError where the labels are too few to tell anything."""

    def seed_words(self, labels: Labels) -> str:
        """Return how many labels there are, and of what kind, in a line."""

    def answer(self, context: RunContext) -> Answer:
        """Infer, judge, decide and write."""

    def summary_rows(self, report: AnyReport) -> list[tuple[str, str]]:
        """Return what the command prints about the answer: (name, value) pairs."""


# Steps and reports are loaded where they are used: plan and validate need none of them, and they
# themselves need what is above.


class ClassTarget:
    """Labels are classes: each row gets one of them, or a refusal, with a probability."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return the rule of the job's classes."""
        return ClassRule(spec.input.classes)

    def check_names(self, spec: JobSpec) -> None:
        """Raise JobSpecError where names of the input are names of the result."""
        refuse_names(spec.input.id, spec.output.columns, LABELS, REVIEW)

    def require(self, seeds: SeedTable) -> None:
        """Raise QualityError unless two classes have labels."""
        seeds.require_classes()

    def seed_words(self, labels: Labels) -> str:
        """Return the number of seeds, and of each class."""
        names = [str(value) for value in labels.classes.tolist()]
        counts = labels.class_counts()
        shown = [f"{name}: {n:,}" for name, n in zip(names, counts, strict=True)]
        return f"{labels.n_seeds:,} ({', '.join(shown[:MOST_CLASSES_TOLD])})"

    def answer(self, context: RunContext) -> Answer:
        """Infer, judge, decide and write."""
        from ssl_dask.pipeline.targets.classes import label_rows

        return label_rows(context)

    def summary_rows(self, report: AnyReport) -> list[tuple[str, str]]:
        """Return what the command prints about the labels."""
        from ssl_dask.pipeline.targets.class_report import class_rows
        from ssl_dask.report.run_report import RunReport

        assert isinstance(report, RunReport)
        return class_rows(report)


class NumberTarget:
    """Labels are numbers: each row gets one with an interval around it, or a refusal."""

    def rule(self, spec: JobSpec) -> LabelRule:
        """Return the rule of finite numbers."""
        return NumberRule()

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

    def answer(self, context: RunContext) -> Answer:
        """Infer, judge, decide and write."""
        from ssl_dask.pipeline.targets.numbers import give_values

        return give_values(context)

    def summary_rows(self, report: AnyReport) -> list[tuple[str, str]]:
        """Return what the command prints about the numbers."""
        from ssl_dask.pipeline.targets.number_report import value_rows
        from ssl_dask.report.value_report import ValueReport

        assert isinstance(report, ValueReport)
        return value_rows(report)


TARGETS: dict[str, Target] = {"classes": ClassTarget(), "numbers": NumberTarget()}


def target_of(spec: JobSpec) -> Target:
    """Return what the job predicts."""
    return TARGETS[spec.target]
