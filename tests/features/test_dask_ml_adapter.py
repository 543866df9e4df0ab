"""Canary for dask-ml and Dask: what is used of them gives the models' own bits, block by block."""

from __future__ import annotations

from itertools import pairwise

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from dask import delayed
from dask_ml.preprocessing import StandardScaler as DaskStandardScaler
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge

from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_blocks, predict_proba_blocks
from ssl_dask.features.views import features_of_blocks

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((50, 8)) < 0.5, RNG.normal(size=(50, 8)), 0).astype(np.float32)
CODES = np.digitize(DENSE[:, 0], [-0.3, 0.3])
MODEL = LogisticRegression(max_iter=1000).fit(DENSE, CODES)
BOUNDS = [0, 1, 20, 50]


def blocks_of(sparse: bool) -> da.Array:
    rows = [DENSE[a:b] for a, b in pairwise(BOUNDS)]
    tasks = [delayed(sp.csr_array(part) if sparse else part) for part in rows]
    return features_of_blocks(tasks, (1, 19, 30), 8, sparse)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("regression", [False, True])
def test_every_block_has_the_bits_of_the_model(sparse: bool, regression: bool) -> None:
    X = blocks_of(sparse)
    if regression:
        model = Ridge().fit(DENSE.astype(np.float64), DENSE[:, 1] - DENSE[:, 2])
        found, by_model = predict_blocks(model, X), model.predict
        assert (found.chunks, found.dtype) == (((1, 19, 30),), np.float64)
    else:
        found = predict_proba_blocks(MODEL, X)
        by_model = MODEL.predict_proba
        assert (found.chunks, found.dtype) == (((1, 19, 30), (3,)), np.float32)
    assert isinstance(found._meta, np.ndarray)
    # Blockwise: once optimised, a task reads a block and scores it.
    (optimised,) = dask.optimize(found)
    assert len(dict(optimised.__dask_graph__())) <= len(dict(X.__dask_graph__())) + 3 * 3 + 2
    tasks = [*found.to_delayed().ravel(), *X.to_delayed().ravel()]
    computed = Execution(threads=1).compute(tasks)
    for block, rows in zip(computed[:3], computed[3:], strict=True):
        assert type(block) is np.ndarray
        expected = np.asarray(by_model(rows), dtype=found.dtype)
        assert block.tobytes() == expected.tobytes()
    assert np.ptp(np.concatenate(computed[:3]), axis=0).min() > 0.5


def test_refusals() -> None:
    with pytest.raises(NotFittedError):
        predict_blocks(Ridge(), blocks_of(False))
    with pytest.raises(NotFittedError):
        predict_proba_blocks(LogisticRegression(), blocks_of(False))
    with pytest.raises(ValueError, match="2 blocks of columns"):
        predict_proba_blocks(MODEL, da.from_array(DENSE, chunks=(10, 4)))


def test_why_its_scaler_is_not_used() -> None:
    # Should this fail one day, its bits no longer depend on the blocks and it can be used.
    X = np.random.default_rng(1).lognormal(sigma=3, size=(1000, 4))
    means = {
        DaskStandardScaler().fit(da.from_array(X, chunks=(rows, 4))).mean_.tobytes()
        for rows in (1000, 137, 10)
    }
    assert len(means) > 1
