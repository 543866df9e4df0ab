"""Predictions over blocks by dask-ml's `ParallelPostFit`; the only module that imports dask-ml.

`ParallelPostFit` applies a fitted scikit-learn model to each block of a Dask array, dense or CSR.
The other parts of dask-ml are not used:

- `StandardScaler`, `MinMaxScaler`, `RobustScaler`: their float sums depend on the blocks in the
  last bits, while features here do not; they take no CSR blocks.
- `OneHotEncoder`, `Categorizer`, `DummyEncoder`: need whole Dask arrays and frames; here one pass
  over the Parquet blocks gathers the statistics of all columns, nulls included.
- `HashingVectorizer`, `FeatureHasher`: wrap the scikit-learn classes that are used here on each
  block directly, where the number of rows is known.
- `PCA`, `TruncatedSVD`: a tree of QR factorisations, whose bits depend on the blocks.
- `Incremental`: passes no weights of rows, and the model depends on the blocks
  (`self_labeled/loop/fit_tasks.py` fits piece by piece instead).
- `train_test_split`, `metrics`: splits depend on the blocks, and metrics here are exact counts.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np


def predict_proba_blocks(estimator: Any, X: da.Array) -> da.Array:
    """Return the class probabilities of every row by a fitted classifier, lazily.

    One task a block, and one copy of the model in the graph.

    Parameters
    ----------
    estimator
        Fitted scikit-learn classifier with `predict_proba`.
    X
        Dask array (N, d) in blocks of rows, dense or CSR.

    Returns
    -------
    dask.array.Array
        (N, C), dense float32, chunked as X; columns in the order of `estimator.classes_`.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        The estimator is not fitted.
    ValueError
        X is chunked by columns.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> model = GaussianNB().fit(rows, ["low", "low", "high", "high"])
    >>> predict_proba_blocks(model, da.from_array(rows, chunks=(2, 1))).compute().tolist()
    [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    """
    model = _wrapped(estimator, X)
    n_classes = len(estimator.classes_)
    # Without a meta array dask-ml would call the model on a block without rows.
    model.predict_proba_meta = np.empty((0, n_classes), dtype=np.float32)
    return model.predict_proba(X).map_blocks(
        np.ndarray.astype,
        np.float32,
        dtype=np.float32,
        chunks=(X.chunks[0], (n_classes,)),
        meta=model.predict_proba_meta,
    )


def predict_blocks(estimator: Any, X: da.Array) -> da.Array:
    """Return the predictions (N,), float64, of every row by a fitted regressor, lazily.

    As `predict_proba_blocks`, for an estimator whose `predict` returns float64 (n,).
    """
    model = _wrapped(estimator, X)
    model.predict_meta = np.empty(0)
    return model.predict(X)


def _wrapped(estimator: Any, X: da.Array) -> Any:
    from dask_ml.wrappers import ParallelPostFit
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    if X.numblocks[1] != 1:
        raise ValueError(f"X is cut into {X.numblocks[1]} blocks of columns; rechunk to rows only")
    return ParallelPostFit(estimator)
