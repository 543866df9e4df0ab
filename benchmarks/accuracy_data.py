"""The data sets of `accuracy.py`, prepared in the usual way, without a look at their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

SETS = (
    *("digits", "usps", "letter", "satimage6", "dry_bean", "newsgroups20", "trec6", "mnist"),
)  # fmt: skip
GRAPH_SETS = ("cora", "citeseer", "minesweeper")
COMPONENTS = 100
NO_FEATURES = ("row_id", "class_name", "label")


@dataclass(frozen=True)
class DataSet:
    """Rows and their true classes.

    Parameters
    ----------
    name
        Its name.
    X
        Features for a classifier, dense float32 or CSR (N, d).
    dense
        Features for the search of neighbours, float32 (N, e).
    y
        int64 (N,): classes from 0.
    """

    name: str
    X: Any
    dense: np.ndarray
    y: np.ndarray

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1


@dataclass(frozen=True)
class GraphSet:
    """Nodes with features, edges, and the published split.

    Parameters
    ----------
    X
        float32 (N, d), 0 or 1.
    W
        CSR (N, N), symmetric, 0 or 1.
    y
        int64 (N,): classes from 0, -1 unknown.
    split
        (N,): train, val, test or none.
    """

    X: np.ndarray
    W: Any
    y: np.ndarray
    split: np.ndarray

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1


def read_set(folder: Path | None, name: str) -> DataSet:
    """Return a set: pixels as they are, columns standardised, texts as TF-IDF of words."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        return DataSet(name, X, X, y)
    assert folder is not None
    table = pq.read_table(folder / name / "data.parquet")
    y = np.unique(table["label"].to_numpy(), return_inverse=True)[1]
    if "features" in table.column_names:
        X = _vectors(table["features"])
        X /= X.max()
        return DataSet(name, _fewer(X), X, y)
    if name in ("newsgroups20", "trec6"):
        return _texts(name, table, y)
    columns = [c for c in table.column_names if c not in NO_FEATURES]
    X = np.stack([table[c].to_numpy() for c in columns], axis=1).astype(np.float64)
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    return DataSet(name, X, X, y)


def read_graph(folder: Path, name: str) -> GraphSet:
    """Return a set of nodes and edges."""
    nodes = pq.read_table(folder / name / "nodes.parquet")
    edges = pq.read_table(folder / name / "edges.parquet")
    y = nodes["label"].fill_null(-1).to_numpy().astype(np.int64)
    ends = (edges["source"].to_numpy(), edges["target"].to_numpy())
    W = sp.coo_array((np.ones(edges.num_rows, np.float32), ends), shape=(len(y), len(y))).tocsr()
    W = ((W + W.T) > 0).astype(np.float32)
    rows = nodes["features"].to_pylist()
    width = max(max(row, default=0) for row in rows) + 1
    if width == 2:
        X = np.array(rows, dtype=np.float32)
    else:
        X = np.zeros((len(rows), width), np.float32)
        for row, present in zip(X, rows, strict=True):
            row[present] = 1.0
    return GraphSet(X, W, y, np.array(nodes["split"].to_pylist()))


def _vectors(column: pa.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1).astype(np.float32)


def _fewer(X: np.ndarray) -> np.ndarray:
    """Return 64 principal components of many rows, for the classifiers; few rows as they are."""
    if len(X) < 20_000:
        return X
    centred = X - X.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(centred @ axes[:, -64:])


def _texts(name: str, table: pa.Table, y: np.ndarray) -> DataSet:
    if name == "trec6":
        texts = table["text"].to_pylist()
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32)
    else:
        pairs = zip(table["subject"].to_pylist(), table["body"].to_pylist(), strict=True)
        texts = [f"{subject}\n{body}" for subject, body in pairs]
        words = TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english", dtype=np.float32)
    X = sp.csr_array(words.fit_transform(texts))
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    latent = TruncatedSVD(COMPONENTS, random_state=0).fit_transform(X)
    return DataSet(name, X, normalize(latent).astype(np.float32), y)
