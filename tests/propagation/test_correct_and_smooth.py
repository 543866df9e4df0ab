"""Correct & Smooth on given probabilities: closed form, folds, nodes that rows share."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.pipeline.commands.run import run_job
from tests.by_keywords import correct_and_smooth
from tests.made_graphs import N_CLASSES, cut, labels_of, random_weights, some_codes
from tests.made_job import assert_useful, made_job, rows_that_share, some_edges, write_rows
from tests.oracles import method_closed_forms as closed_forms

ALPHAS = (0.8, 0.9)


def some_probabilities(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(N_CLASSES, 0.5), n).astype(np.float32)


def test_closed_form_and_folds() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 2)
    labels, fold = labels_of(codes), np.arange(12) % 3 == 0
    Z = [some_probabilities(150, 3), some_probabilities(150, 4)]
    z = np.stack([some_probabilities(12, 5), some_probabilities(12, 6)])
    dense = W.toarray().astype(float)
    exact = closed_forms.corrected_and_smoothed(dense, Z[0], z[0], codes, ALPHAS)
    kept = codes.copy()
    kept[labels.rows[fold]] = -1
    without = closed_forms.corrected_and_smoothed(dense, Z[1], z[1][~fold], kept, ALPHAS)
    answers = []
    for n_strips in (1, 3, 8):
        found = correct_and_smooth(
            BlockGraph.from_scipy(W, n_strips=n_strips),
            labels,
            Z if n_strips < 8 else [da.from_array(one, chunks=(40, -1)) for one in Z],
            z,
            correct_alpha=ALPHAS[0],
            smooth_alpha=ALPHAS[1],
            tol=1e-5,
            hidden=[fold],
        )
        assert found.converged
        answers.append((found.F.compute(), found.fold_F[0]))
    np.testing.assert_allclose(answers[0][0], exact, atol=1e-4)
    np.testing.assert_allclose(answers[0][1], without[labels.rows[fold]], atol=1e-4)
    assert len({F.tobytes() for F, _ in answers}) == 1
    assert len({hidden.tobytes() for _, hidden in answers}) == 1
    assert (exact.argmax(axis=1) != Z[0].argmax(axis=1)).mean() > 0.1


def test_rows_that_share_a_node() -> None:
    W, codes = random_weights(60, 5, density=0.15), some_codes(60, 2)
    nodes = np.random.default_rng(3).permutation(60)
    Z, z = some_probabilities(60, 3), some_probabilities(12, 5)[None]
    plain = BlockGraph.from_scipy(W, n_strips=3)
    chunks = (20, 40)
    order = NodeOrder(cut(nodes, chunks), chunks, 60)
    graph = BlockGraph(plain.strips, plain.node_chunks, plain.n_edges, plain.settings, order)
    labels = labels_of(codes)
    found = correct_and_smooth(graph, labels, [Z], z, correct_alpha=0.8, tol=1e-6).F.compute()
    by_row = W.toarray().astype(float)[np.ix_(nodes, nodes)]
    exact = closed_forms.corrected_and_smoothed(by_row, Z, z[0], codes, ALPHAS)
    np.testing.assert_allclose(found, exact, atol=1e-4)
    with pytest.raises(ValueError, match="probabilities must be 1 arrays"):
        correct_and_smooth(graph, labels, [Z[:50]], z)


def test_a_job(tmp_path: Path, cluster_client: Client) -> None:
    rows = rows_that_share()
    write_rows(tmp_path / "rows", rows)
    write_rows(tmp_path / "edges", some_edges(rows))
    edges = {"path": str(tmp_path / "edges"), "source": "from", "target": "to", "weight": "w"}
    labels = []
    for name, block_rows in (("out", 1000), ("again", 47)):
        job = made_job(tmp_path / "rows", tmp_path / name, graph={"edges": edges})
        job["method"] = {"name": "correct_and_smooth", "correct_alpha": 0.8}
        job["input"]["block_rows"] = block_rows
        table = assert_useful(run_job(job, client=cluster_client).path)
        labels.append((table["label"].to_pylist(), table["probability"].to_pylist()))
    assert labels[0] == labels[1]
