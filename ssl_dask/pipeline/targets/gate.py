"""The gate: what hidden seeds call worse than a supervised baseline is not published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ssl_dask.array_types import Float32
from ssl_dask.errors import QualityError
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.contest import Contest, compare_classes, compare_numbers
from ssl_dask.evaluation.rivals import MAJORITY, Rival, class_rivals, number_rivals
from ssl_dask.evaluation.value_baselines import RidgeBaseline
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.method import MethodResult
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.job_shares import JobShares, written_F
from ssl_dask.propagation.fallback.run_with_fallback import method_words

Gated = tuple[Inferred, Contest | None]
"""What is published, and what was compared; None where no seed could be hidden."""


def gate_classes(
    run: RunContext,
    folds: HiddenSeeds,
    inferred: Inferred,
    shares: JobShares,
    logistic: SupervisedBaseline | None,
) -> Gated:
    """Compare a method's classes with the baselines', and return what is published.

    Parameters
    ----------
    shares
        Of the classes among all rows: labels are compared as they would be written.
    logistic
        Logistic regression on the same folds; None: it is the method itself.

    Raises
    ------
    QualityError
        The method is worse, and the job says `on_worse: error`.
    """
    labels, used = run.data.labels, shares.judged
    if not used.any():
        return inferred, None
    of_rows, truth = shares.of_rows(labels), labels.codes[used]
    rivals = class_rivals(inferred.rows.seeds, labels, folds, of_rows, run.execution, logistic)
    answers, titles = _contenders(inferred, rivals)

    # The largest class is that of the rows already.
    known: dict[str, tuple[float, ...]] = {MAJORITY: (), next(iter(answers)): shares.ratios}

    def written(name: str, F: Float32) -> Float32:
        ratios = known.get(name, shares.of_baselines)
        return written_F(F, truth, folds.fold[used], ratios, shares.weights)

    contest = compare_classes(
        {name: written(name, F[used]) for name, F in answers.items()},
        titles,
        truth,
        of_rows,
        labels.class_names,
        {one.name: one.note for one in rivals},
        shares.weights,
    )
    return _publish(run, inferred, rivals, contest)


def gate_numbers(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred, ridge: RidgeBaseline
) -> Gated:
    """Compare a method's numbers with the baselines', and return what is published.

    Raises
    ------
    QualityError
        The method is worse, and the job says `on_worse: error`.
    """
    values, was_hidden = NumberLabels.of(run.data.labels).values, folds.fold >= 0
    rivals = number_rivals(values, folds, ridge)
    answers, titles = _contenders(inferred, rivals)
    hidden = {name: found[was_hidden] for name, found in answers.items()}
    contest = compare_numbers(hidden, titles, values[was_hidden])
    return (inferred, None) if contest is None else _publish(run, inferred, rivals, contest)


def _contenders(
    inferred: Inferred, rivals: Sequence[Rival]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return hidden answers and titles by name, the method first."""
    name = str(inferred.spec.model_dump()["name"])
    # A method of the user's may bear the name of a baseline: it stands for it.
    others = [one for one in rivals if one.name != name]
    words = method_words(inferred.spec)
    return (
        {name: inferred.hidden_F, **{one.name: one.hidden for one in others}},
        {name: words[:1].lower() + words[1:], **{one.name: one.title for one in others}},
    )


def _publish(
    run: RunContext, inferred: Inferred, rivals: Sequence[Rival], contest: Contest
) -> Gated:
    """Do what the job says where the method is worse than the best baseline."""
    policy = run.spec.decision.policy_if_worse
    if contest.worse and policy == "error":
        raise QualityError(
            f"the method is worse than a supervised baseline: {contest.sentence()}",
            hint="take other features or another method, or label more rows;"
            " decision.on_worse: baseline publishes the baseline's labels",
        )
    if not contest.worse or policy == "publish":
        return inferred, contest.with_published(None)
    best = next(one for one in rivals if one.name == contest.best)
    return _answer_of(run, inferred, best), contest.with_published(best.name)


def _answer_of(run: RunContext, inferred: Inferred, rival: Rival) -> Inferred:
    """Return a baseline's answer in the method's place; it knows no graph."""
    F: Any = rival.all_rows(inferred.rows.X).rechunk({0: tuple(run.data.layout.row_chunks)})
    found = MethodResult(F=F, fold_F=[], source="supervised", lasting=True)
    return replace(
        inferred,
        found=found,
        F=F,
        hidden_F=rival.hidden,
        has_seed=None,
        baseline=rival.name,
    )
