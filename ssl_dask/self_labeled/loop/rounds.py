"""The loop of self-labelling, for all methods: score, select, assign, fit.

Before the first round models are fitted on the seeds alone: the supervised baseline. In a round the
workers score their rows by the models there are, summed histograms say which rows are labelled,
and models are fitted on the labels that there are now. Seeds that are hidden from tracks of their
own judge the models of every round; where the labels have made them worse, the answer is that of a
round before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import Checkpoint, Resume, RunControl
from ssl_dask.self_labeled.loop.hidden_loss import HiddenLoss
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled, verdict
from ssl_dask.self_labeled.loop.round_checkpoint import Run, restored_labels, run_of, state_of
from ssl_dask.self_labeled.loop.round_fits import FIT, RoundFits, default_fit_rows
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection
from ssl_dask.self_labeled.loop.track import counted, make_tracks
from ssl_dask.self_labeled.rows.block_rows import RoundCounts

POOL_ROWS = 50_000
MAX_SURVEYS = 40
SCORE, ASSIGN = "score", "assign"


@dataclass(frozen=True)
class RoundLimits:
    """When rounds end, and how many rows their models learn from."""

    max_iter: int | None = 10
    """Most rounds; None: no limit."""
    patience: int | None = None
    """Rounds without a lower loss of the hidden seeds after which the rounds end; the answer is
    that of the round of least loss, which may be the baseline. None, or no hidden seeds: the answer
    is that of the last round."""
    max_fit_rows: int | None = None
    """Rows that a fit may take: the seeds, and of the others a pseudo-random choice, the same in
    each round; a learner with `partial_fit` takes all, in pieces of so many rows. None: as many as
    fill 256 MiB, and 20,000 at least. Records of rounds with more labels note it."""
    random_state: int = 0
    """Seed of all that is random."""
    pool_rows: int = POOL_ROWS
    """The tracks of folds see the seeds and at most about so many of the other rows, in one block;
    with more than `max_fit_rows` seeds they see all rows where they lie."""

    @classmethod
    def of(cls, spec: Any) -> Self:
        """Return the limits that a method's parameters set."""
        return cls(spec.max_iter, spec.patience, spec.max_fit_rows, spec.random_state)


def run_rounds(
    method: RoundMethod, inputs: MethodInputs, limits: RoundLimits, control: RunControl
) -> SelfLabeled:
    """Run rounds of a method until nothing changes, all rows are labelled, or `limits` are met.

    Parameters
    ----------
    method
        What is fitted, and how rows are chosen.
    inputs
        Seeds, views and hidden seeds. Views are dense or CSR, all in the same blocks of rows; they
        are read in every round: persist them before.
    control
        `checkpoint` is called in each round, when its labels are given.

    Raises
    ------
    ValueError
        Views differ in their blocks of rows, or have other rows than the labels.
    QualityError
        There is no seed; a learner cannot be fitted on the labels there are, or gives what are no
        probabilities.
    ResumeMismatchError
        The state to resume is of another method or of other blocks.
    ComputeError
        Workers were lost again and again, or lack memory.

    Notes
    -----
    A round costs (4 + L) B + L tasks for B blocks and L learners, 5 B + L for learners of the same
    features, and B more for each further survey; a fold's track, which has one block, as many. Each
    block is read twice. Only histograms, counts and the distributions of hidden seeds come to the
    client, however many the rows. A worker that fits holds `max_fit_rows` rows twice; for learners
    of the same features two times as many once more, which come to it once for all of them. A fit
    in P pieces costs at most 2 P + 33 B tasks more for each pass over them, and reads a block at
    most 33 times in it.
    """
    rounds = _Rounds(method, inputs, limits, control.execution)
    run = rounds.begin() if control.resume is None else rounds.resumed(control.resume)
    reason = rounds.loop(run, limits.max_iter, control)
    return rounds.answer(run, reason, inputs.labels)


class _Rounds:
    """Runs the rounds of all tracks side by side."""

    def __init__(
        self, method: RoundMethod, inputs: MethodInputs, limits: RoundLimits, execution: Execution
    ) -> None:
        most = limits.max_fit_rows or default_fit_rows(inputs.views)
        random_state = limits.random_state
        self.method, self.execution = method, execution
        self.tracks = make_tracks(
            inputs,
            pool_rows=limits.pool_rows,
            max_fit_rows=most,
            random_state=random_state,
            execution=execution,
        )
        hidden = [np.asarray(mask) for mask in inputs.hidden]
        self.loss = HiddenLoss(inputs.labels.codes, hidden, method.leeway)
        self.patience = limits.patience if hidden else None
        self._sent = delayed(method, pure=False, traverse=False)
        self._fits = RoundFits(method, self._sent, execution, random_state, most)

    def begin(self) -> Run:
        """Fit the baseline: models of the seeds alone."""
        assigned = [track.begin(self._sent) for track in self.tracks]
        run = Run(self._assigned(assigned), [])
        self._fit(run)
        run.kept_assigned, run.kept_models = run.assigned[0], run.models[0]
        if self.method.compares_learners and len(self.tracks) > 1:
            run.notes = self._compare_learners(run)
        return run

    def _compare_learners(self, run: Run) -> tuple[str, ...]:
        """Return what the method finds in the answers of learners that know some seeds alone."""
        judges = zip(self.tracks[1:], run.models[1:], strict=True)
        tasks = [track.opinions(self._sent, models) for track, models in judges]
        said = np.concatenate(self.execution.compute(tasks, FIT))
        truth = np.concatenate([self.loss.codes[mask] for mask in self.loss.hidden])
        return self.method.findings(said, truth)

    def loop(self, run: Run, max_iter: int | None, control: RunControl) -> str:
        """Run rounds until one of the reasons to end, which is returned."""
        while True:
            if run.selection is None:
                reason = self._ended(run, max_iter)
                if reason is not None:
                    return reason
                self._relabel(run)
                if control.checkpoint is not None:
                    self._keep(run, control.checkpoint)
            # A run that is resumed goes on here.
            record = self._refit(run)
            if control.on_round is not None:
                control.on_round(record)

    def _ended(self, run: Run, max_iter: int | None) -> str | None:
        state = self.tracks[0].state
        assert state.counts is not None
        if not self.method.rescores and state.counts.unlabelled == 0:
            return "all_labeled"
        if state.n_unlabelled == 0:
            return "all_labeled"
        if max_iter is not None and run.round >= max_iter:
            return "max_iter"
        if run.round == 0:
            return None
        if state.counts.changed == 0 and not self.method.soft:
            return "no_change"
        if self.patience is not None and self.loss.rounds_without_gain >= self.patience:
            return "hidden_loss"
        return self.method.stop(state)

    def _relabel(self, run: Run) -> None:
        """Score the rows, choose among them, and label them: the first half of a round."""
        run.began = time.perf_counter()
        run.round += 1
        for track in self.tracks:
            track.state.round = run.round
        scores, selections = self._select(run)
        assigned = [
            track.assign(self._sent, one, before, selection)
            for track, one, before, selection in zip(
                self.tracks, scores, run.assigned, selections, strict=True
            )
        ]
        run.assigned = self._assigned(assigned)
        run.selection = selections[0]

    def _refit(self, run: Run) -> RoundRecord:
        """Fit models on the labels that there are now, and judge them: the second half."""
        assert run.selection is not None
        counts = self.tracks[0].state.counts
        assert counts is not None
        if counts.changed or self.method.soft:
            self._fit(run)
            if self.patience is None or self.loss.kept_round == run.round:
                run.kept_assigned, run.kept_models = run.assigned[0], run.models[0]
                run.kept_fit, run.kept_elsewhere = run.round, False
        else:
            # The same labels are learned from already, and the rounds end here: what is kept stays,
            # also after a resume, where there are no other models.
            self.loss.repeat()
        record = self._record(run, run.selection, counts)
        run.records.append(record)
        run.selection = None
        return record

    def _select(self, run: Run) -> tuple[list[list[Delayed]], list[Selection]]:
        """Score all blocks, and survey the scores until every track knows what to choose."""
        scores = [
            track.score(
                delayed(self.method.prepared(track.state), pure=False, traverse=False),
                models,
                assigned,
            )
            for track, models, assigned in zip(self.tracks, run.models, run.assigned, strict=True)
        ]
        roots = [
            track.survey(self._sent, one, assigned, None)
            for track, one, assigned in zip(self.tracks, scores, run.assigned, strict=True)
        ]
        # In one go, so that scores are surveyed as they are made.
        *scores, held = self._persist([*scores, roots], SCORE)
        surveys = dict(enumerate(self.execution.compute(held, SCORE)))
        chosen: dict[int, Selection] = {}
        for _ in range(MAX_SURVEYS):
            queries: dict[int, Query] = {}
            for number, survey in surveys.items():
                answer = self.method.select(survey, self.tracks[number].state)
                if isinstance(answer, Selection):
                    chosen[number] = answer
                else:
                    queries[number] = answer
            if not queries:
                return scores, [chosen[number] for number in range(len(self.tracks))]
            tasks = [
                self.tracks[number].survey(self._sent, scores[number], run.assigned[number], query)
                for number, query in queries.items()
            ]
            surveys = dict(zip(queries, self.execution.compute(tasks, SCORE), strict=True))
        raise AssertionError(f"{type(self.method).__name__} asks for ever more surveys")

    def _fit(self, run: Run) -> None:
        """Fit the models of all tracks on the labels there are, and judge them."""
        counts = [track.state.counts for track in self.tracks]
        models = self._fits.models(self.tracks, run.assigned, counts, run.round)
        run.models = self._persist(models, FIT)
        tasks = [
            track.judge(self._sent, own)
            for track, own in zip(self.tracks[1:], run.models[1:], strict=True)
        ]
        self.loss.add(self.execution.compute(tasks, FIT))
        if tasks:
            for track in self.tracks:
                # A fold's own seeds must not speak for it.
                without = track.state.track - 1 if track.state.track else None
                track.state.temperature = self.loss.temperature(without)

    def _assigned(self, groups: Sequence[Sequence[Delayed]]) -> list[list[Delayed]]:
        """Persist the labels of all tracks, and count them."""
        totals = [counted(assigned) for assigned in groups]
        # In one go, so that labels are counted as they are made.
        *kept, held = self._persist([*groups, totals], ASSIGN)
        for track, counts in zip(self.tracks, self.execution.compute(held, ASSIGN), strict=True):
            track.state.counts = counts
        return kept

    def _record(self, run: Run, selection: Selection, counts: RoundCounts) -> RoundRecord:
        mass = counts.total.sum(axis=0) / (len(counts.total) * max(counts.rows, 1))
        notes = {**selection.notes, **self._fits.notes(counts)}
        return RoundRecord(
            iteration=run.round,
            labels_changed=counts.changed,
            residual=counts.changed / max(counts.rows * len(counts.total), 1),
            class_mass=tuple(mass.tolist()),
            seconds=time.perf_counter() - run.began,
            labeled=tuple(counts.labelled.tolist()),
            taken_back=tuple(counts.taken_back.tolist()),
            thresholds=selection.thresholds or None,
            hidden_accuracy=self.loss.accuracy(self.loss.last),
            hidden_loss=self.loss.mean(self.loss.last),
            notes=notes or None,
        )

    def _persist(self, groups: Sequence[Sequence[Delayed]], what: str) -> list[list[Delayed]]:
        """Persist lists of tasks together, and return them as lists again."""
        kept = iter(self.execution.persist([one for group in groups for one in group], what))
        return [[next(kept) for _ in group] for group in groups]

    def answer(self, run: Run, reason: str, labels: Labels) -> SelfLabeled:
        """Return what was found, by the models of the kept round."""
        kept = run.round if self.patience is None else self.loss.kept_round
        if run.kept_elsewhere:
            # If workers are lost the models are made again, from labels that must still be there.
            self._fit_kept(run)
        track = self.tracks[0]
        blocks = track.distributions(self._sent, run.kept_models)
        F = array_of_blocks(blocks, track.row_chunks, (labels.n_classes,), np.float32)
        judged = verdict(kept, len(run.records), n_folds=len(self.loss.hidden))
        return SelfLabeled(
            F=F,
            fold_F=self.loss.fold_F(kept),
            records=run.records,
            reason=reason,
            source="self_trained" if kept else "supervised",
            warnings=(*run.notes, *judged),
            findings=run.notes,
            baseline_accuracy=self.loss.accuracy(0),
            baseline_loss=self.loss.mean(0),
            assignment=run.assigned[0],
            models=run.kept_models,
            method=self.method,
            kept_round=kept,
        )

    def _keep(self, run: Run, checkpoint: Checkpoint) -> None:
        """Store the labels; they are then read from there, and have no past to compute again."""
        parts, meta = state_of(run, self.method, self.tracks, self.loss)
        self._restore(run, checkpoint(run.round, parts, meta))

    def _restore(self, run: Run, stored: Resume) -> None:
        """Read the labels from where they are stored."""
        held = self._persist(restored_labels(stored, self.tracks), ASSIGN)
        run.assigned = held[: len(self.tracks)]
        if len(held) > len(self.tracks):
            run.kept_assigned, run.kept_elsewhere = held[-1], True
            # What they were fitted on may go, and they are never asked for again.
            run.kept_models = []

    def resumed(self, resume: Resume) -> Run:
        """Return the state in the middle of a round that `checkpoint` stored."""
        run = run_of(resume, self.method, self.tracks, self.loss)
        self._restore(run, resume)
        if not run.kept_fit:
            (run.kept_assigned,) = self._persist([self.tracks[0].begin(self._sent)], ASSIGN)
        self._fit_kept(run)
        return run

    def _fit_kept(self, run: Run) -> None:
        """Fit the models of the kept round; they are not stored: the same labels give the same."""
        counts = self.execution.compute([counted(run.kept_assigned)], ASSIGN)
        models = self._fits.models(self.tracks[:1], [run.kept_assigned], counts, run.kept_fit)
        (run.kept_models,) = self._persist(models, FIT)
        run.kept_elsewhere = False
