"""Routing is trained on samples of any size, dense and sparse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.kernels.knn import routing


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_a_sample_larger_than_that_of_the_centre_is_thinned_out(cosine: bool, sparse: bool) -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(4, 12, dtype=np.float32)
    n = 3 * routing.CENTRE_SAMPLE
    kinds = rng.integers(0, 4, n)
    sample = directions[kinds] + rng.normal(0, 0.01, (n, 12)).astype(np.float32)
    given = sp.csr_array(sample) if sparse else sample
    found = routing.train_routing(given, cosine=cosine, n_cells=4, n_shards=2, seed=0)
    assert len(found.centres) == 4
    assert np.isfinite(found.centres).all()
    # The centre is the median of every third row, which has the median of all within the noise.
    if not sparse:
        lengths = np.linalg.norm(sample, axis=1, keepdims=True) if cosine else 1.0
        np.testing.assert_allclose(found.centre, np.median(sample / lengths, axis=0), atol=0.05)
