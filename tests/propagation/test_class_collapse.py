"""Classes that collapse: when it is noticed, and what estimators and jobs do about it."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from distributed import Client

from ssl_dask.errors import QualityError
from ssl_dask.estimators import LabelPropagation, LabelSpreading, PoissonLearning
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.propagation.engine.class_shares import expected_rows
from ssl_dask.propagation.fallback.class_collapse import CollapseWarning, find_collapse
from ssl_dask.propagation.fallback.run_with_fallback import (
    Answer,
    HiddenJudge,
    collapse_sentences,
    run_with_fallback,
)
from ssl_dask.propagation.methods.label_propagation import LabelPropagationSpec
from tests.by_keywords import by_keywords, label_propagation
from tests.known_methods import GRAPH_CLASSIFIERS
from tests.made_job import Heard, made_job, made_rows, read_parts, write_rows

SIDE = 220


def two_sides(*, seed: int = 0) -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    """Return (W, truth, codes): two noisy communities, one seed each; the first sits on a hub.

    The harmonic function is flat far from the seeds, and a seed with many edges wins all rows.
    """
    rng = np.random.default_rng(seed)
    n = 2 * SIDE
    truth = np.repeat([0, 1], SIDE)
    A = rng.random((n, n)) < np.where(truth[:, None] == truth, 0.05, 0.012)
    A = np.triu(A, 1)
    # The seed of class 1 hangs on a single row.
    A[SIDE, :] = A[:, SIDE] = False
    A[SIDE, SIDE + 1] = True
    A[0, 1:SIDE:3] = True
    A[0, 0] = False
    A = np.maximum(np.triu(A, 1), np.triu(A.T, 1))
    codes = np.full(n, -1)
    codes[[0, SIDE]] = 0, 1
    return sp.csr_array((A | A.T).astype(np.float32)), truth, codes


def right(labels: np.ndarray, truth: np.ndarray, codes: np.ndarray) -> float:
    return float((labels == truth)[codes < 0].mean())


def test_a_collapse_is_noticed() -> None:
    prior = np.array([0.25, 0.25, 0.5])
    for rows in ((30, 20, 50), (0, 6, 90), (0, 0, 0)):
        assert find_collapse(rows, prior, "abc") is None
    assert find_collapse((0, 0, 1), np.array([0.0, 0.0, 1.0]), "abc") is None
    found = find_collapse((72, 1, 1), prior, "abc")
    assert (found.gone, found.n_classes, found.expected) == ((1, 2), 3, 0.75)
    assert found.share == pytest.approx(2 / 74)
    # One of two, however rare; half of ten, but not a small class among them.
    assert find_collapse((995, 5), np.array([0.9, 0.1]), "ab") is not None
    ten = np.full(10, 0.1)
    assert find_collapse([100] * 5 + [1] * 5, ten, "abcdefghij") is not None
    assert find_collapse([100] * 9 + [0], ten, "abcdefghij") is None


def test_hidden_seeds_contradict() -> None:
    labels = Labels(100, np.arange(6), np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([0, 1]))
    found = find_collapse((99, 1), np.array([0.5, 0.5]), "ab")
    assert not found.contradicted
    F = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 0]]
    hidden = [np.array([True, False, False, True, True, True])]
    judged = found.judged(labels, hidden, F)
    assert (judged.kept, judged.lost, judged.contradicted) == (2, 1, True)
    assert "2 of 3 of their seeds" in judged.sentence()
    judged = found.judged(labels, hidden, F * (np.arange(6) < 4)[:, None])
    assert (judged.kept, judged.lost, judged.contradicted) == (1, 2, False)


@dataclass
class Found:
    """What a made method found."""

    class_rows: tuple[int, int]


def fallback_of(
    rows: list[tuple[int, int]],
    figures: list[float | None],
    chance: float = 0.5,
    accuracies: list[float] | None = None,
) -> Answer:
    """Return the answer where methods find `rows`, and hidden seeds say `figures` of them.

    `accuracies` of their labels; None: the figures.
    """
    labels = Labels(100, np.arange(4), np.array([0, 0, 1, 1], np.int32), np.array(["a", "b"]))
    answers = [Found(one) for one in rows]

    def said(method: object, spec: object, found: Found) -> tuple[float, float] | None:
        at = answers.index(found)
        figure = figures[at]
        return None if figure is None else (figure, (accuracies or figures)[at] or 0.0)

    judge = HiddenJudge(figures=said, chance=chance)
    return run_with_fallback(
        LabelPropagationSpec(),
        labels,
        lambda method, spec, number: answers[number],
        policy="switch",
        judge=judge,
    )


def test_nothing_is_swapped_for_what_hidden_seeds_call_worse() -> None:
    gone, fine, other = (99, 0), (60, 36), (50, 46)
    # As before where no seed could be hidden: the first whose classes have rows.
    assert fallback_of([gone, fine, other], [None, None, None]).found.class_rows == fine
    # All are tried, and the best of them labels.
    answer = fallback_of([gone, fine, other], [0.6, 0.7, 0.8])
    assert answer.found.class_rows == other
    assert len(answer.tried) == 3
    assert answer.figures == (
        "Label propagation 0.600, Label propagation with its class mass normalised 0.700,"
        " Poisson 0.800"
    )
    first, last = collapse_sentences(answer)
    assert "Label propagation did not label: 1 of 2 classes" in first
    assert "b (expected 50.0%, found 0.0%)" in first
    assert last.startswith("Taken in its place: Poisson. Hidden seeds say: Label propagation")
    # The one that is asked for stays if it is the best, and this is said.
    answer = fallback_of([gone, fine, other], [0.885, 0.55, 0.6])
    assert (answer.found.class_rows, answer.switched) == (gone, False)
    (told,) = collapse_sentences(answer)
    assert "does better, with labels as good. Hidden seeds say: Label propagation 0.885" in told
    # A better ranking does not make up for labels that are worse.
    worse_labels = fallback_of([gone, fine, other], [0.6, 0.7, 0.8], 0.5, [0.9, 0.9, 0.4])
    assert worse_labels.found.class_rows == fine
    # Of equals one whose classes have rows.
    assert fallback_of([gone, fine, other], [0.7, 0.6, 0.7]).found.class_rows == other


def test_where_all_collapse_hidden_seeds_must_speak_for_one() -> None:
    with pytest.raises(QualityError, match="Poisson: 1 of 2 classes"):
        fallback_of([(99, 0)] * 3, [0.5, 0.5, 0.5])
    with pytest.raises(QualityError, match="collapsed into few"):
        fallback_of([(99, 0)] * 3, [None, None, None])
    assert fallback_of([(99, 0), (98, 1), (99, 0)], [0.5, 0.6, 0.5]).found.class_rows == (98, 1)


def test_an_estimator_asks_hidden_seeds_before_it_switches() -> None:
    # The seeds of class 1 are leaves: no other seed tells their class, and the hub has all rows.
    W, truth, codes = two_sides()
    codes = np.where(np.isin(np.arange(len(codes)), [3, 6, 9, SIDE + 5, SIDE + 9]), truth, codes)
    graph = BlockGraph.from_scipy(W)
    models = [LabelPropagation(), LabelPropagation(class_mass="seeds"), PoissonLearning()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        alone = [model.fit(graph, codes) for model in models]
    with pytest.warns(CollapseWarning, match="hidden seeds say: Label propagation 0") as told:
        found = LabelPropagation(on_collapse="switch").fit(graph, codes)
    figures = [
        float(one)
        for one in re.findall(r"(?:propagation|normalised|Poisson) (\d\.\d+)", str(told[0].message))
    ]
    assert len(figures) == 3
    best = alone[int(np.argmax(figures))]
    assert found.method_ == best.method_
    np.testing.assert_array_equal(found.transduction_, best.transduction_)


def test_names_of_classes_that_are_gone_are_five_at_most() -> None:
    names = [f"c{i}" for i in range(8)]
    found = find_collapse([100, 0, 0, 0, 0, 0, 0, 0], np.full(8, 0.125), names)
    sentence = found.sentence()
    assert "c1 (expected 12.5%, found 0.0%), " in sentence
    assert sentence.endswith("c5 (expected 12.5%, found 0.0%) and 2 more")


def test_expected_shares_are_those_given_with_the_method() -> None:
    labels = Labels(100, np.arange(4), np.array([0, 0, 0, 1], np.int32), np.array([0, 1]))

    def expected(name: str, **parameters: object) -> list[float]:
        spec = GRAPH_CLASSIFIERS[name].spec(**parameters)
        return expected_rows(GRAPH_CLASSIFIERS[name].class_shares(spec), labels).tolist()

    assert expected("label_propagation") == [0.75, 0.25]
    assert expected("label_propagation", class_mass={0: 0.99, 1: 0.01}) == [0.99, 0.01]
    assert expected("poisson", class_shares={0: 0.9, 1: 0.1}) == [0.9, 0.1]
    for method in GRAPH_CLASSIFIERS.values():
        answers = [GRAPH_CLASSIFIERS[n].spec(**more) for n, more in method.fallbacks(method.spec())]
        assert answers
        assert method.spec() not in answers
    fallbacks = GRAPH_CLASSIFIERS["label_propagation"].fallbacks
    asked = GRAPH_CLASSIFIERS["label_propagation"].spec(tol=0.5)
    assert [(n, more.get("class_mass"), more.get("tol")) for n, more in fallbacks(asked)] == [
        ("label_propagation", "seeds", 0.5),
        ("poisson", None, None),
    ]
    asked = GRAPH_CLASSIFIERS["label_propagation"].spec(class_mass="seeds")
    assert [name for name, _ in fallbacks(asked)] == ["poisson"]


def test_estimators_warn_switch_or_fail() -> None:
    W, truth, codes = two_sides()
    graph = BlockGraph.from_scipy(W)
    found = label_propagation(graph, Labels.from_codes(codes, np.arange(2)))
    assert found.class_rows.sum() == len(codes)
    assert found.class_rows[1] <= 0.05 * len(codes)
    with pytest.warns(CollapseWarning, match="1 of 2 classes.* collapsed into the others") as told:
        plain = LabelPropagation().fit(graph, codes)
    assert [warning.filename for warning in told] == [__file__]
    assert plain.method_["class_mass"] == "none"
    assert right(plain.transduction_, truth, codes) < 0.55
    with pytest.warns(CollapseWarning, match="the labels are those of"):
        switched = LabelPropagation(on_collapse="switch").fit(graph, codes)
    assert switched.method_["class_mass"] == "seeds"
    assert right(switched.transduction_, truth, codes) > 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = LabelPropagation(class_mass="seeds").fit(graph, codes)
    np.testing.assert_array_equal(asked.label_distributions_, switched.label_distributions_)
    with pytest.raises(QualityError, match="1 of 2 classes"):
        LabelPropagation(on_collapse="error").fit(graph, codes)


def test_label_spreading_switches_to_balanced_spreading() -> None:
    W, truth, codes = two_sides()
    # The seed of class 1 has one edge: its class starts with a small part of the mass.
    graph = BlockGraph.from_scipy(W)
    with pytest.warns(CollapseWarning):
        plain = LabelSpreading(alpha=0.99).fit(graph, codes)
    with pytest.warns(CollapseWarning, match="balanced_spreading"):
        switched = LabelSpreading(alpha=0.99, on_collapse="switch").fit(graph, codes)
    assert switched.method_ == {**switched.method_, "name": "balanced_spreading", "alpha": 0.99}
    mine, theirs = (right(m.transduction_, truth, codes) for m in (switched, plain))
    assert mine > theirs + 0.1
    assert PoissonLearning().fit(graph, codes).method_["name"] == "poisson"


@pytest.fixture(scope="module")
def collapsing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """Rows and edges of `two_sides` as files."""
    folder = tmp_path_factory.mktemp("collapse")
    W, truth, codes = two_sides()
    names = np.array(["a", "b"], dtype=object)
    table = pa.table(
        {
            "id": np.arange(len(codes)),
            "x": np.zeros(len(codes)) + np.arange(len(codes)) % 7,
            "seed": pa.array(names[codes], mask=codes < 0),
            "truth": pa.array(names[truth]),
        }
    )
    rows = write_rows(folder / "rows", table)
    pairs = sp.coo_array(sp.triu(W))
    edges = pa.table({"from": pairs.row.astype(np.int64), "to": pairs.col.astype(np.int64)})
    return rows, write_rows(folder / "edges", edges, files=1), truth


def job_of(collapsing: tuple[Path, Path, np.ndarray], out: Path, **more: object) -> dict:
    rows, edges, _ = collapsing
    graph = {"edges": {"path": str(edges), "source": "from", "target": "to"}}
    more = {"method": {"name": "label_propagation"}, **more}
    return made_job(rows, out, features={"x": {"numeric": ["x"]}}, graph=graph, **more)


def test_a_job_is_switched_and_says_so(
    collapsing: tuple[Path, Path, np.ndarray], tmp_path: Path, cluster_client: Client
) -> None:
    heard = Heard()
    result = run_job(job_of(collapsing, tmp_path / "out"), client=cluster_client, listener=heard)
    report = result.report
    assert report.method.name == report.method.asked_for == "label_propagation"
    assert report.method.parameters["class_mass"] == "seeds"
    assert "Label propagation did not label: 1 of 2 classes" in report.warnings[0]
    assert "Label propagation with its class mass normalised" in report.warnings[1]
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert manifest["warnings"] == list(report.warnings)
    assert len(heard.named("classes_collapsed")) == 1
    name, last = heard.events[-1]
    assert (name, last["warnings"]) == ("run_done", list(report.warnings))
    assert "in the place of" in (result.path / "report.html").read_text()
    labels = np.array(read_parts(result.path)["label"].to_pylist())
    truth = np.array(["a", "b"])[collapsing[2]]
    assert (labels == truth).mean() > 0.7
    again = run_job(job_of(collapsing, tmp_path / "out"), client=cluster_client, listener=heard)
    assert again.already_done
    assert heard.events[-1][1]["already_done"]


def test_a_job_may_take_it_or_fail(
    collapsing: tuple[Path, Path, np.ndarray], tmp_path: Path, cluster_client: Client
) -> None:
    out = tmp_path / "out"
    result = run_job(
        job_of(collapsing, out, decision={"on_collapse": "warn"}), client=cluster_client
    )
    assert result.report.method.asked_for is None
    assert "they have collapsed into the others" in result.report.warnings[0]
    labels = read_parts(result.path)["label"].to_pylist()
    assert labels.count("b") < 0.05 * len(labels)
    with pytest.raises(QualityError, match="on_collapse: switch"):
        run_job(job_of(collapsing, out, decision={"on_collapse": "error"}), client=cluster_client)
    assert (out / "latest").resolve() == result.path.resolve()


@pytest.mark.parametrize("policy", ["switch", "error"])
def test_a_classifier_that_names_one_class(
    tmp_path: Path, cluster_client: Client, policy: str
) -> None:
    # Six seeds to two, and a feature that tells nothing.
    table, kept = made_rows(), {"ant": 6, "bee": 2}
    kinds = table["seed"].to_pylist()
    names = [k if k in kept and kinds[:i].count(k) < kept[k] else None for i, k in enumerate(kinds)]
    columns = {"id": table["id"], "x": pa.array(np.arange(len(table)) % 2), "seed": pa.array(names)}
    rows = write_rows(tmp_path / "rows", pa.table(columns))
    job = made_job(
        rows,
        tmp_path / "out",
        features={"x": {"numeric": ["x"]}},
        method={"name": "supervised"},
        graph=None,
        decision={"on_collapse": policy},
    )
    del job["input"]["truth"]
    if policy == "error":
        with pytest.raises(QualityError, match="1 of 2 classes"):
            run_job(job, client=cluster_client)
        assert not (tmp_path / "out" / "latest").exists()
    else:
        assert "1 of 2 classes" in run_job(job, client=cluster_client).report.warnings[0]


@pytest.mark.parametrize("name", sorted(GRAPH_CLASSIFIERS))
def test_no_method_leans_on_its_cap_or_swings_between_two_sides(name: str) -> None:
    # Every edge joins the two sides: a plain walk would swing between them for ever.
    rng = np.random.default_rng(3)
    half, n_classes = 60, 3
    kind = rng.integers(0, n_classes, 2 * half)
    kind[:n_classes] = kind[half : half + n_classes] = np.arange(n_classes)
    B = rng.random((half, half)) < np.where(kind[:half, None] == kind[half:], 0.6, 0.04)
    W = sp.block_array([[None, B], [B.T, None]]).astype(np.float32)
    codes = np.where(np.arange(2 * half) % half < n_classes, kind, -1)
    labels = Labels.from_codes(codes, np.arange(n_classes))
    graph = BlockGraph.from_scipy(sp.csr_array(W))
    run = by_keywords(GRAPH_CLASSIFIERS[name])
    parameters = GRAPH_CLASSIFIERS[name].spec().model_dump(exclude={"name"})
    found = run(graph, labels, **parameters)
    assert found.converged
    answer = found.F.compute()
    assert right(answer.argmax(axis=1), kind, codes) > 0.9
    if "max_iter" in parameters:
        parameters["max_iter"] *= 2
        again = run(graph, labels, **parameters)
        assert (again.n_iter, again.F.compute().tobytes()) == (found.n_iter, answer.tobytes())
