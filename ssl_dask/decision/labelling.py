"""Each row's label or abstention, with its probability, margin, source and reason.

Order of precedence, first match wins:

1. a seed keeps the label that was given: source `seed`, probability 1 and margin 1 by definition,
   because the given label is taken as right;
2. `no_path_to_seed`: the row's component of the graph holds no seed;
3. `low_mass`: connected to a seed, yet its row of F is all zeros; `dummy_label` where the method
   says so by a dummy label that outweighs every class;
4. `tie`: the two largest values of its row of F are equal within `TIE_MARGIN`;
5. `below_threshold`: the probability is under `min_probability`;
6. otherwise the most likely class.

With `abstain: never`, a tie is labelled with its first class and keeps the reason `tie`; rows
without evidence (2 and 3) stay unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.decision.calibration import Calibration
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.kernels.distributions.label_distributions import summarise_rows
from ssl_dask.labels import UNLABELLED

SOURCES: tuple[str, ...] = ("none", "seed", "propagated", "supervised", "self_trained", "model")
"""Where a label comes from; the position is the code. `none`: the row has no label."""

REASONS: tuple[str, ...] = (
    "none",
    "no_path_to_seed",
    "low_mass",
    "tie",
    "below_threshold",
    "dummy_label",
)
"""Why a row abstained; the position is the code. `none`: nothing to report."""

_SOURCE = {name: np.uint8(code) for code, name in enumerate(SOURCES)}
_REASON = {name: np.uint8(code) for code, name in enumerate(REASONS)}


@dataclass(frozen=True)
class Decided:
    """What was decided for n consecutive rows."""

    label: Int32
    """int32 (n,): class code, -1 where the row abstained."""
    probability: Float32
    """float32 (n,): chance that the most likely class is right; 1 for seeds. Given for ties and
    rows below the threshold too, so that a reader can see it. 0 where there is no evidence: unlike
    NaN, 0 is on the right side of every `probability > x`."""
    margin: Float32
    """float32 (n,): probability of the most likely class less that of the second; 1 for seeds."""
    source: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]
    """uint8 (n,): positions in `SOURCES` and `REASONS`."""
    probabilities: Float32 | None = None
    """float32 (n, C) of all classes, or None if not asked for. Seeds are one-hot, rows without
    evidence zero."""

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.label)


@dataclass(frozen=True)
class DecisionRule:
    """How rows become labels, the same for all blocks of a run."""

    calibration: Calibration
    """Turns rows of F into probabilities."""
    spec: DecisionSpec
    """Threshold and abstention."""
    source: str = "propagated"
    """Source of labels that are not the seeds', one of `SOURCES`."""
    no_evidence: str = "low_mass"
    """Reason of rows of zeros that a path joins with a seed, one of `REASONS`."""


def decide_block(
    F: Float32,
    seed_positions: Int64,
    seed_codes: Int32,
    component_has_seed: Bool | None,
    rule: DecisionRule,
    *,
    keep_probabilities: bool = False,
) -> Decided:
    """Decide the rows of one block; a row's answer depends on that row alone.

    Parameters
    ----------
    F
        float32 (n, C): class distributions, rows summing to 1, or to 0 without evidence.
    seed_positions, seed_codes
        int64 (s,) and int32 (s,): the block's seeds, counted from its first row.
    component_has_seed
        bool (n,): whether a path leads from the row to a seed. None where there is no graph; rows
        of zeros are then `low_mass`.
    rule
        Calibration, threshold and abstention.
    keep_probabilities
        Whether to return the probabilities of all classes, 4 n C bytes more.
    """
    probabilities = rule.calibration.apply(F)
    # Other shares move the most likely class; temperature and floor do not.
    best, _, tie = summarise_rows(probabilities if rule.calibration.share_ratios else F)
    evidence = best != UNLABELLED
    probability, margin = _probability_and_margin(probabilities, best)

    reason = np.zeros(len(F), dtype=np.uint8)
    if rule.spec.min_probability is not None:
        # Compared in float32, the precision that is written: a reader who filters by the same
        # number finds the same rows.
        reason[probability < np.float32(rule.spec.min_probability)] = _REASON["below_threshold"]
    reason[tie] = _REASON["tie"]
    reason[~evidence] = _REASON[rule.no_evidence]
    if component_has_seed is not None:
        reason[~component_has_seed] = _REASON["no_path_to_seed"]
        evidence = evidence & component_has_seed

    labelled = evidence if rule.spec.abstain == "never" else reason == _REASON["none"]
    label = np.where(labelled, best, UNLABELLED).astype(np.int32)
    sources = np.where(labelled, _SOURCE[rule.source], _SOURCE["none"]).astype(np.uint8)
    probability[~evidence] = 0.0
    margin[~evidence] = 0.0
    probabilities[~evidence] = 0.0

    label[seed_positions] = seed_codes
    sources[seed_positions] = _SOURCE["seed"]
    reason[seed_positions] = _REASON["none"]
    probability[seed_positions] = 1.0
    margin[seed_positions] = 1.0
    probabilities[seed_positions] = 0.0
    probabilities[seed_positions, seed_codes] = 1.0
    return Decided(
        label, probability, margin, sources, reason, probabilities if keep_probabilities else None
    )


def _probability_and_margin(probabilities: Float32, best: Int32) -> tuple[Float32, Float32]:
    """Return the probability of class `best` and its lead over the best other, float32 (n,).

    Rows whose `best` is -1 get the values of the last class; the caller overwrites them.
    """
    rows = np.arange(len(best))
    others = probabilities.copy()
    others[rows, best] = 0.0
    probability = probabilities[rows, best]
    return probability, probability - others.max(axis=1, initial=0.0)
