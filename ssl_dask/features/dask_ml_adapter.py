"""Which parts of dask-ml are used, and the one place that imports it.

Used: `dask_ml.wrappers.ParallelPostFit`, which lets a fitted scikit-learn model score a Dask array
block by block; it takes dense and CSR blocks.

Not used, each for a reason:

- `StandardScaler`, `MinMaxScaler`, `RobustScaler`: their float sums differ in the last bits with
  the blocks, while features here are the same bits for any blocks; they take no CSR blocks.
- `OneHotEncoder`, `Categorizer`, `DummyEncoder`: work on whole Dask arrays and frames; here one
  pass over the Parquet blocks gathers the statistics of all columns, nulls included.
- `HashingVectorizer`, `FeatureHasher`: wrap the scikit-learn classes of the same names, which are
  used here on each block directly, where the number of rows is known.
- `PCA`, `TruncatedSVD`: a tree of QR factorisations, whose bits depend on the blocks.
- `Incremental`: gives all blocks the same keywords, hence no weights of rows, and its pieces are
  the blocks, on which the model would then depend; `self_labeled/loop/fit_tasks.py` says what is
  used.
- `train_test_split`: works; no step needs it yet.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask_ml.wrappers import ParallelPostFit
from sklearn.utils.validation import check_is_fitted


def predict_proba_blocks(estimator: Any, X: da.Array) -> da.Array:
    """Return the class probabilities of a fitted classifier for every row, lazily.

    Costs one task a block, and a copy of the model in the graph.

    Parameters
    ----------
    estimator
        Fitted scikit-learn classifier with `predict_proba`.
    X
        Dask array (N, d) in blocks of rows, dense or CSR.

    Returns
    -------
    dask.array.Array
        (N, C), dense float32, chunked as X; columns in the order of the model's classes.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        The estimator is not fitted.
    ValueError
        X is chunked by columns.
    """
    _check(estimator, X)
    n_classes = len(estimator.classes_)
    # The shape of one row of the answer cannot be found out with an empty block, so it is told.
    meta = np.empty((0, n_classes), dtype=np.float32)
    probabilities = ParallelPostFit(estimator, predict_proba_meta=meta).predict_proba(X)
    return probabilities.map_blocks(
        np.ndarray.astype,
        np.float32,
        dtype=np.float32,
        chunks=(X.chunks[0], (n_classes,)),
        meta=meta,
    )


def predict_blocks(estimator: Any, X: da.Array) -> da.Array:
    """Return the numbers of a fitted regressor for every row, lazily.

    Parameters, errors and costs as `predict_proba_blocks`; the estimator has `predict`.

    Returns
    -------
    dask.array.Array
        (N,), float64, chunked as X.
    """
    _check(estimator, X)
    return ParallelPostFit(estimator, predict_meta=np.empty(0)).predict(X)


def _check(estimator: Any, X: da.Array) -> None:
    check_is_fitted(estimator)
    if X.numblocks[1] != 1:
        raise ValueError(f"X is cut into {X.numblocks[1]} blocks of columns; rechunk to rows only")
