"""Modified adsorption against the dense system, for any strips, parts and folds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from sklearn.datasets import load_digits

from ssl_dask.estimators import ModifiedAdsorption
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graphs import knn_graph
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.propagation.engine.session import PropagationSession
from tests.by_keywords import modified_adsorption
from tests.made_graphs import few_labels, labels_of, random_weights, some_codes
from tests.made_job import N_ISLAND, assert_useful, made_job, made_rows, write_rows

module = sys.modules["ssl_dask.propagation.methods.modified_adsorption"]


def run(graph: BlockGraph, codes: np.ndarray, **more):
    parameters = {"mu1": 1.0, "mu2": 0.5, "mu3": 0.014, "tol": 1e-8, **more}
    return modified_adsorption(graph, labels_of(codes), **parameters)


def test_a_larger_dummy_refuses_more() -> None:
    W, codes = random_weights(150, 3), some_codes(150, 4, n_seeds=10)
    graph = BlockGraph.from_scipy(W)
    refused = [run(graph, codes, mu3=mu3).n_without_evidence for mu3 in (1e-6, 1e-2, 0.1, 1.0)]
    assert refused == sorted(refused)
    assert refused[0] < 10
    assert refused[-1] > 75


@pytest.mark.parametrize("n_parts", [2, 3])
def test_parts_have_the_same_bits(n_parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The ground is in the halo of every part.
    W, codes = random_weights(2_500, 9, density=0.004), some_codes(2_500, 10, n_seeds=40)
    graph = BlockGraph.from_scipy(W, n_strips=4)
    whole = run(graph, codes, mu3=2.5e-3).F.compute()
    assert set(whole.any(axis=1)) == {True, False}
    used = []

    class InParts(PropagationSession):
        def __init__(self, graph: BlockGraph, execution: Execution, **arguments: Any) -> None:
            super().__init__(graph, execution, **arguments, n_parts=n_parts)
            used.append(self.parts.n_parts)

    monkeypatch.setattr(module, "PropagationSession", InParts)
    assert run(graph, codes, mu3=2.5e-3).F.compute().tobytes() == whole.tobytes()
    assert used == [n_parts]


def test_digits() -> None:
    X, truth = load_digits(return_X_y=True)
    graph = knn_graph(X, n_neighbors=10)
    y = few_labels(truth, 5, 0)
    model = ModifiedAdsorption().fit(graph, y)
    others = (y < 0) & ~model.abstained_
    accuracy = (model.transduction_ == truth)[others].mean()
    assert accuracy > 0.93
    assert model.abstained_.mean() < 0.1
    strict = ModifiedAdsorption(mu3=1e-2).fit(graph, y)
    kept = (y < 0) & ~strict.abstained_
    assert 0.05 < kept.mean() < 0.9
    # What is left is right more often.
    assert (strict.transduction_ == truth)[kept].mean() > accuracy


def test_a_job_says_why_it_refused(tmp_path: Path, cluster_client: Client) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    # Hidden seeds that it refuses count as wrong.
    job = made_job(
        rows,
        tmp_path / "out",
        method={"name": "modified_adsorption", "mu3": 3e-2},
        decision={"on_worse": "publish"},
    )
    result = run_job(job, client=cluster_client)
    table = assert_useful(result.path, least=0.2)
    reasons = table["reason"].to_pylist()
    assert reasons.count("no_path_to_seed") == N_ISLAND
    assert reasons.count("dummy_label") > 10
    assert "low_mass" not in reasons
    assert result.report.decision.reasons["dummy_label"] == reasons.count("dummy_label")
    assert "the dummy label outweighs every class" in (result.path / "report.html").read_text()
