"""The parts of dask-ml that are used still work, for dense and CSR blocks."""

from __future__ import annotations

from itertools import pairwise

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
from ssl_dask.features.views import array_of_blocks

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((50, 8)) < 0.5, RNG.normal(size=(50, 8)), 0).astype(np.float32)
CODES = np.digitize(DENSE[:, 0], [-0.3, 0.3])
MODEL = LogisticRegression(max_iter=1000).fit(DENSE, CODES)
BOUNDS = [0, 1, 20, 50]


def blocks_of(sparse: bool) -> da.Array:
    rows = [DENSE[a:b] for a, b in pairwise(BOUNDS)]
    tasks = [delayed(sp.csr_array(part) if sparse else part) for part in rows]
    return array_of_blocks(tasks, (1, 19, 30), 8, sparse)


@pytest.mark.parametrize("sparse", [False, True])
def test_probabilities_of_every_row(sparse: bool) -> None:
    P = predict_proba_blocks(MODEL, blocks_of(sparse))
    assert P.chunks == ((1, 19, 30), (3,))
    assert P.dtype == np.float32
    assert isinstance(P._meta, np.ndarray)
    blocks = Execution(threads=1).compute(P.to_delayed().ravel())
    assert all(type(block) is np.ndarray and block.dtype == np.float32 for block in blocks)
    expected = MODEL.predict_proba(DENSE)
    assert np.vstack(blocks) == pytest.approx(expected, abs=1e-6)
    assert len(np.unique(expected.argmax(axis=1))) == 3


@pytest.mark.parametrize("sparse", [False, True])
def test_numbers_of_every_row(sparse: bool) -> None:
    model = Ridge().fit(DENSE, DENSE[:, 1] - DENSE[:, 2])
    found = predict_blocks(model, blocks_of(sparse))
    assert found.chunks == ((1, 19, 30),)
    blocks = Execution(threads=1).compute(found.to_delayed().ravel())
    expected = model.predict(DENSE)
    assert np.concatenate(blocks) == pytest.approx(expected, abs=1e-5)
    assert expected.std() > 0.5


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
