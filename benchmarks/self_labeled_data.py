"""The data sets of `self_labeled.py`: dense rows for every entrant, and the draws of labels."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from accuracy_data import NO_FEATURES, SETS, read_set
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

TEXT_SETS = {"sms_spam": "text", "http_params": "payload"}
RARE_SETS = (
    *("ad_annthyroid", "ad_cover", "ad_letter", "ad_mammography", "ad_pendigits"),
    *("ad_satimage2", "ad_shuttle", "ad_spambase"),
)  # fmt: skip
ALL_SETS = (*(name for name in SETS if name != "mnist"), *TEXT_SETS, *RARE_SETS)
COMPONENTS = 100


@dataclass(frozen=True)
class RowFiles:
    """A prepared set on disk, so that every measured process reads the same rows.

    Parameters
    ----------
    name
        Of the set.
    folder
        Holds X.npy, float32 (N, d), and y.npy, int64 (N,): classes from 0.
    """

    name: str
    folder: str

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X and y."""
        folder = Path(self.folder)
        return np.load(folder / "X.npy"), np.load(folder / "y.npy")


def prepare(data: Path | None, name: str, max_rows: int, scratch: Path) -> RowFiles:
    """Write a set as dense rows: columns standardised, texts as 100 latent components.

    Of more than `max_rows` rows a part is drawn, the same in every run.
    """
    X, y = _dense(data, name)
    if len(y) > max_rows:
        rng = np.random.default_rng([zlib.crc32(name.encode()), max_rows])
        keep = np.sort(rng.choice(len(y), max_rows, replace=False))
        X, y = X[keep], y[keep]
    y = np.unique(y, return_inverse=True)[1]
    folder = scratch / name
    folder.mkdir()
    np.save(folder / "X.npy", np.ascontiguousarray(X, dtype=np.float32))
    np.save(folder / "y.npy", y.astype(np.int64))
    return RowFiles(name, str(folder))


def draw_seeds(name: str, y: np.ndarray, per_class: int, draw: int) -> np.ndarray:
    """Return y with -1 but for `per_class` rows of each class, the same in every run."""
    key = [zlib.crc32(name.encode()), per_class, draw]
    order = np.random.default_rng(key).permutation(len(y))
    seeds = np.full(len(y), -1, dtype=np.int64)
    for c in range(int(y.max()) + 1):
        mine = order[y[order] == c][:per_class]
        seeds[mine] = c
    return seeds


def _dense(data: Path | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    if name in SETS:
        found = read_set(data, name)
        return found.dense, found.y
    assert data is not None
    table = pq.read_table(data / name / "data.parquet")
    y = table["label"].to_numpy()
    if name in TEXT_SETS:
        characters = name == "http_params"
        words = TfidfVectorizer(
            sublinear_tf=True,
            min_df=2,
            analyzer="char" if characters else "word",
            ngram_range=(1, 3) if characters else (1, 2),
            dtype=np.float32,
        )
        rows = words.fit_transform(table[TEXT_SETS[name]].to_pylist())
        return normalize(TruncatedSVD(COMPONENTS, random_state=0).fit_transform(rows)), y
    if "features" in table.column_names:
        flat = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        X = flat.reshape(len(y), -1).astype(np.float64)
    else:
        columns = [c for c in table.column_names if c not in NO_FEATURES and c != "id"]
        X = np.stack([table[c].to_numpy() for c in columns], axis=1).astype(np.float64)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0), y
