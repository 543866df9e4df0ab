"""Labels and refusals of one block."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.decision.calibration import Calibration, not_calibrated
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.decision.labelling import REASONS, SOURCES, Decided, DecisionRule, decide_block

RAW = not_calibrated("a test")
F = np.array(
    [
        [0.7, 0.2, 0.1],  # clear
        [0.1, 0.2, 0.7],  # seed of class 0, against the graph
        [0.0, 0.0, 0.0],  # connected, no mass
        [0.0, 0.0, 0.0],  # no path
        [0.4, 0.4, 0.2],  # tie
        [0.3, 0.45, 0.25],  # weak
        [0.0, 0.0, 0.0],  # seed without neighbours
    ],
    dtype=np.float32,
)
REACHED = np.array([True, True, True, False, True, True, True])
SEEDS = np.array([1, 6], dtype=np.int64)
CODES = np.array([0, 2], dtype=np.int32)


def decide(spec: DecisionSpec, *, keep_probabilities: bool = False) -> Decided:
    rule = DecisionRule(RAW, spec)
    return decide_block(F, SEEDS, CODES, REACHED, rule, keep_probabilities=keep_probabilities)


def names(decided: Decided) -> tuple[list[str], list[str]]:
    return [SOURCES[s] for s in decided.source], [REASONS[r] for r in decided.reason]


def test_each_row_has_its_label_or_its_cause() -> None:
    decided = decide(DecisionSpec(min_probability=0.5), keep_probabilities=True)
    assert decided.label.tolist() == [0, 0, -1, -1, -1, -1, 2]
    sources, reasons = names(decided)
    assert sources == ["propagated", "seed", "none", "none", "none", "none", "seed"]
    assert reasons == [
        "none", "none", "low_mass", "no_path_to_seed", "tie", "below_threshold", "none",
    ]  # fmt: skip
    np.testing.assert_allclose(decided.probability, [0.7, 1, 0, 0, 0.4, 0.45, 1], rtol=1e-6)
    np.testing.assert_allclose(decided.margin, [0.5, 1, 0, 0, 0, 0.15, 1], rtol=1e-6)
    np.testing.assert_array_equal(decided.probabilities[[1, 6]], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(decided.probabilities[[0, 4]], F[[0, 4]])
    assert decide(DecisionSpec()).probabilities is None


def test_never_abstain_labels_what_has_evidence_and_nothing_else() -> None:
    decided = decide(DecisionSpec(abstain="never"))
    assert decided.label.tolist() == [0, 0, -1, -1, 0, 1, 2]
    sources, reasons = names(decided)
    assert sources[4] == "propagated"
    assert reasons == ["none", "none", "low_mass", "no_path_to_seed", "tie", "none", "none"]


def test_never_contradicts_a_threshold() -> None:
    with pytest.raises(ValueError, match="remove one of the two"):
        DecisionSpec(abstain="never", min_probability=0.9)


def test_no_path_outranks_what_the_row_says() -> None:
    rule = DecisionRule(RAW, DecisionSpec(abstain="never"))
    decided = decide_block(F, SEEDS, CODES, np.zeros(7, bool), rule)
    assert decided.label.tolist() == [-1, 0, -1, -1, -1, -1, 2]
    assert {REASONS[r] for r in decided.reason[decided.label < 0]} == {"no_path_to_seed"}


def test_without_a_graph_zero_rows_have_low_mass() -> None:
    rule = DecisionRule(RAW, DecisionSpec(), source="supervised")
    decided = decide_block(F, SEEDS, CODES, None, rule)
    assert [REASONS[decided.reason[i]] for i in (2, 3)] == ["low_mass", "low_mass"]
    assert SOURCES[decided.source[0]] == "supervised"


def test_threshold_is_on_the_calibrated_probability() -> None:
    sharp = Calibration(temperature=8.0, floor=0.0, calibrated=True)
    spec = DecisionSpec(min_probability=0.8)
    assert decide(spec).label[0] == -1
    decided = decide_block(F, SEEDS, CODES, REACHED, DecisionRule(sharp, spec))
    assert decided.label[0] == 0
    assert decided.probability[0] > 0.99
    exact = DecisionSpec(min_probability=float(np.float32(0.7)))
    assert decide(exact).label[0] == 0


def test_arguments_stay_and_the_answer_travels() -> None:
    before = F.copy()
    decided = decide(DecisionSpec(min_probability=0.5), keep_probabilities=True)
    np.testing.assert_array_equal(F, before)
    again = pickle.loads(pickle.dumps(decided))  # noqa: S301
    np.testing.assert_array_equal(again.label, decided.label)


def test_one_class_and_no_rows() -> None:
    rule = DecisionRule(RAW, DecisionSpec())
    sure = np.array([[1.0], [0.0]], np.float32)
    one = decide_block(sure, SEEDS[:0], CODES[:0], None, rule)
    assert one.label.tolist() == [0, -1]
    none = decide_block(F[:0], SEEDS[:0], CODES[:0], None, rule)
    assert none.n_rows == 0


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 120), max_size=5),
    threshold=st.one_of(st.none(), st.floats(0.1, 0.99)),
    seed=st.integers(0, 50),
)
def test_blocks_do_not_matter(cuts: list[int], threshold: float | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.dirichlet([0.5] * 3, 120).astype(np.float32)
    rows[random.random(120) < 0.2] = 0.0
    rows[random.random(120) < 0.1] = [0.5, 0.5, 0.0]
    reached = random.random(120) < 0.8
    seeds = np.flatnonzero(random.random(120) < 0.1)
    codes = random.integers(0, 3, len(seeds)).astype(np.int32)
    calibration = Calibration(temperature=1.3, floor=0.02, calibrated=True)
    rule = DecisionRule(calibration, DecisionSpec(min_probability=threshold))
    whole = decide_block(rows, seeds, codes, reached, rule, keep_probabilities=True)
    edges = [0, *sorted(cuts), 120]
    parts = []
    for a, b in itertools.pairwise(edges):
        mine = (seeds >= a) & (seeds < b)
        parts.append(
            decide_block(
                rows[a:b], seeds[mine] - a, codes[mine], reached[a:b], rule, keep_probabilities=True
            )
        )  # fmt: skip
    for field in Decided.__dataclass_fields__:
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field))
    assert ((whole.label >= 0) == (whole.source > 0)).all()
    assert ((whole.label >= 0) == (whole.reason == 0)).all()
    assert (whole.label[seeds] == codes).all()


def test_a_method_names_why_rows_have_no_evidence() -> None:
    rule = DecisionRule(RAW, DecisionSpec(), no_evidence="dummy_label")
    _, reasons = names(decide_block(F, SEEDS, CODES, REACHED, rule))
    assert reasons[2:5] == ["dummy_label", "no_path_to_seed", "tie"]
