"""Rows for the benchmarks of the neighbour graph, made or read, and kept in files.

Made rows come in blocks of `BLOCK_ROWS`, each from a seed of its own: N rows are the first N of an
endless set, whoever makes which block. No two rows of a set are the same, so that every library
has the same question to answer: which of several copies is a neighbour is a matter of taste.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numba
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

BLOCK_ROWS = 100_000
HASHED_COLUMNS = 2**18
DIGIT_SIDE = 8

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowFile:
    """Rows in a folder that every process of the benchmark reads.

    Parameters
    ----------
    folder
        Holds rows.npy, or data.npy, indices.npy and indptr.npy of a CSR matrix.
    name
        Of the set.
    n_rows, n_columns
        N and d.
    metric
        "euclidean" for dense rows, "cosine" for sparse ones.
    left_out
        Rows of the source that were empty or copies of others.
    """

    folder: str
    name: str
    n_rows: int
    n_columns: int
    metric: str
    left_out: int = 0

    @property
    def sparse(self) -> bool:
        """Whether rows are CSR."""
        return self.metric == "cosine"

    def about(self) -> dict[str, Any]:
        """Return what a reader of the results should know, in JSON types."""
        return {key: value for key, value in asdict(self).items() if key != "folder"}

    def read(self, first: int = 0, stop: int | None = None) -> Any:
        """Return rows [first, stop) in memory: float32 array, or csr_matrix of float32."""
        return read_rows(self.folder, self.n_columns, first, self.n_rows if stop is None else stop)

    def take(self, rows: npt.NDArray[np.int64]) -> Any:
        """Return a few rows, in the order asked for."""
        folder = Path(self.folder)
        if not self.sparse:
            return np.load(folder / "rows.npy", mmap_mode="r")[rows]
        return self.read()[rows]

    def as_dask(self, n_rows: int | None = None, block_rows: int = BLOCK_ROWS) -> da.Array:
        """Return the first rows as a Dask array whose blocks are read where they are used."""
        n_rows = self.n_rows if n_rows is None else n_rows
        meta: Any = np.empty((0, self.n_columns), np.float32)
        if self.sparse:
            meta = sp.csr_matrix((0, self.n_columns), dtype=np.float32)
        blocks = []
        for first in range(0, n_rows, block_rows):
            stop = min(first + block_rows, n_rows)
            block = dask.delayed(read_rows)(self.folder, self.n_columns, first, stop)
            blocks.append(da.from_delayed(block, (stop - first, self.n_columns), meta=meta))
        return da.concatenate(blocks)


def read_rows(folder: str, n_columns: int, first: int, stop: int) -> Any:
    """Return rows [first, stop) of a `RowFile` in memory; no other rows are read."""
    place = Path(folder)
    if (place / "rows.npy").exists():
        return np.array(np.load(place / "rows.npy", mmap_mode="r")[first:stop])
    ends = np.array(np.load(place / "indptr.npy", mmap_mode="r")[first : stop + 1])
    part = slice(int(ends[0]), int(ends[-1]))
    data = np.array(np.load(place / "data.npy", mmap_mode="r")[part])
    indices = np.array(np.load(place / "indices.npy", mmap_mode="r")[part])
    shape = (stop - first, n_columns)
    return sp.csr_matrix((data, indices, (ends - ends[0]).astype(np.int32)), shape=shape)


def digits_block(block: int, side: int) -> Rows:
    """Return a block of handwritten digits: mixed within a class, bent by an affine map, noisy.

    Drawn from scikit-learn's 1,797 digits of 8 x 8 pixels and sampled at side x side; values are
    about 0 to 1.
    """
    images, classes = load_digits(return_X_y=True)
    sources = (images / 16).astype(np.float32).reshape(-1, DIGIT_SIDE, DIGIT_SIDE)
    rng = np.random.default_rng([1, side, block])
    by_class = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[by_class], np.arange(11))
    one = rng.integers(0, len(sources), BLOCK_ROWS)
    low, high = starts[classes[one]], starts[classes[one] + 1]
    other = by_class[low + (rng.random(BLOCK_ROWS) * (high - low)).astype(np.int64)]
    share = rng.uniform(0.6, 1.0, BLOCK_ROWS).astype(np.float32)
    angle = rng.normal(0, 0.15, BLOCK_ROWS)
    zoom = np.exp(rng.normal(0, 0.1, (2, BLOCK_ROWS)))
    shear = rng.normal(0, 0.12, BLOCK_ROWS)
    shift = rng.normal(0, 0.04, (2, BLOCK_ROWS))
    maps = np.stack(
        [
            *(np.cos(angle) * zoom[0], shear - np.sin(angle), shift[0]),
            *(np.sin(angle), np.cos(angle) * zoom[1], shift[1]),
        ],
        axis=1,
    ).astype(np.float32)
    out = rng.standard_normal((BLOCK_ROWS, side * side), dtype=np.float32)
    out *= np.float32(0.02)
    _add_bent(sources, one, other, share, maps, side, out)
    return out


@numba.njit(nogil=True, cache=True)
def _add_bent(
    sources: Any, one: Any, other: Any, share: Any, maps: Any, side: int, out: Any
) -> None:
    """Add each row's mixed source image, seen through its affine map, by bilinear sampling."""
    size = sources.shape[1]
    padded = np.zeros((size + 2, size + 2), np.float32)  # a frame of zeros around the image
    for row in range(out.shape[0]):
        for y in range(size):
            for x in range(size):
                a, b = sources[one[row], y, x], sources[other[row], y, x]
                padded[y + 1, x + 1] = b + share[row] * (a - b)
        m = maps[row]
        for y in range(side):
            v = (y + np.float32(0.5)) / side - np.float32(0.5)
            for x in range(side):
                u = (x + np.float32(0.5)) / side - np.float32(0.5)
                right = (m[0] * u + m[1] * v + m[2] + np.float32(0.5)) * size + np.float32(0.5)
                down = (m[3] * u + m[4] * v + m[5] + np.float32(0.5)) * size + np.float32(0.5)
                if right < 0 or down < 0 or right >= size + 1 or down >= size + 1:
                    continue
                x0, y0 = int(right), int(down)
                fx, fy = right - x0, down - y0
                top = padded[y0, x0] + fx * (padded[y0, x0 + 1] - padded[y0, x0])
                low = padded[y0 + 1, x0] + fx * (padded[y0 + 1, x0 + 1] - padded[y0 + 1, x0])
                out[row, y * side + x] += top + fy * (low - top)


def sheets_block(block: int, n_columns: int = 64, intrinsic: int = 10, n_sheets: int = 50) -> Rows:
    """Return a block of rows on curved sheets of `intrinsic` dimensions, a few sheets large."""
    shapes = np.random.default_rng([2, n_columns, intrinsic, n_sheets])
    centres = 1.2 * shapes.standard_normal((n_sheets, n_columns))
    planes, waves = shapes.standard_normal((2, n_sheets, intrinsic, n_columns)) / math.sqrt(
        intrinsic
    )
    rng = np.random.default_rng([3, n_columns, block])
    sizes = np.arange(1, n_sheets + 1) ** -0.7
    sheet = rng.choice(n_sheets, BLOCK_ROWS, p=sizes / sizes.sum())
    out = 0.05 * rng.standard_normal((BLOCK_ROWS, n_columns), dtype=np.float32)
    for number in range(n_sheets):
        rows = np.flatnonzero(sheet == number)
        z = rng.standard_normal((len(rows), intrinsic))
        out[rows] += centres[number] + z @ planes[number] + 0.5 * np.sin(z @ waves[number])
    return out


def template_rows(n_rows: int, n_templates: int = 300) -> sp.csr_matrix:
    """Return rows as of hashed log lines, (n, 2**18), tf-idf, unit length, about 17 entries each.

    A template has 8 to 24 fixed words and four places to fill, half of them from 500 words and
    half from all. Made at once, not in blocks: the weights depend on how often a column occurs.
    """
    rng = np.random.default_rng(4)
    fixed_words, few_words = 20_000, 500
    lengths = rng.integers(8, 25, n_templates)
    words = rng.zipf(1.3, (n_templates, 24)) * 7919 % fixed_words
    template = (rng.zipf(1.3, n_rows) - 1) % n_templates
    is_word = np.arange(24) < lengths[template][:, None]
    filled = rng.integers(fixed_words, HASHED_COLUMNS, (n_rows, 4))
    from_few = rng.random((n_rows, 4)) < 0.5
    filled[from_few] = fixed_words + filled[from_few] % few_words
    columns = np.concatenate([words[template], filled], axis=1)
    present = np.concatenate([is_word, np.ones((n_rows, 4), bool)], axis=1)
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    counts = sp.csr_matrix(
        (np.ones(ends[-1], np.float32), columns[present], ends), shape=(n_rows, HASHED_COLUMNS)
    )
    counts.sum_duplicates()
    return TfidfTransformer().fit_transform(counts)


def newsgroup_rows(data: Path) -> sp.csr_matrix:
    """Return hashed words of the posts of newsgroups20, (18,846, 2**18), tf-idf, unit length."""
    table = pq.read_table(data / "newsgroups20" / "data.parquet", columns=["subject", "body"])
    pairs = zip(table["subject"].to_pylist(), table["body"].to_pylist(), strict=True)
    hashed = HashingVectorizer(
        n_features=HASHED_COLUMNS, alternate_sign=False, norm=None, stop_words="english"
    )
    counts = hashed.transform(f"{subject or ''}\n{body or ''}" for subject, body in pairs)
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts)


def mnist_rows(data: Path) -> Rows:
    """Return MNIST, (70,000, 784), values 0 to 1."""
    table = pq.read_table(data / "mnist" / "data.parquet", columns=["features"])
    pixels = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return pixels.reshape(len(table), -1).astype(np.float32) / np.float32(255)


MADE: dict[str, tuple[int, Callable[[int], Rows]]] = {
    "digits64": (64, partial(digits_block, side=8)),
    "digits784": (784, partial(digits_block, side=28)),
    "sheets": (64, sheets_block),
}
"""Dense sets of any size: columns, and the function that makes a block."""


def write_rows(
    name: str, n_rows: int, folder: Path, *, data: Path | None = None, threads: int = 2
) -> RowFile:
    """Make or read a set of rows, write it into `folder`, and return it.

    Parameters
    ----------
    name
        One of `MADE`, "sparse", "mnist" or "newsgroups".
    n_rows
        At most so many rows; the last two have no more than they have.
    folder
        Is made.
    data
        The folder with mnist/data.parquet and newsgroups20/data.parquet.
    threads
        Blocks made at a time.
    """
    folder.mkdir(parents=True)
    if name in MADE:
        n_columns, block = MADE[name]
        _write_blocks(folder, n_rows, n_columns, block, threads)
        return RowFile(str(folder), name, n_rows, n_columns, "euclidean")
    if name == "sparse":
        return _write_sparse(folder, name, template_rows(n_rows + n_rows // 10), n_rows)
    if data is None:
        raise ValueError(f"{name} is read from a folder; none is given")
    if name == "newsgroups":
        return _write_sparse(folder, name, newsgroup_rows(data), n_rows)
    if name == "mnist":
        X = mnist_rows(data)
        _, first = np.unique(X.view(np.dtype((np.void, 4 * X.shape[1]))).ravel(), return_index=True)
        kept = X[np.sort(first)][:n_rows]
        np.save(folder / "rows.npy", kept)
        return RowFile(str(folder), name, *kept.shape, "euclidean", len(X) - len(first))
    raise ValueError(f"no set of rows is called {name!r}")


def _write_blocks(
    folder: Path, n_rows: int, n_columns: int, block: Callable[[int], Rows], threads: int
) -> None:
    shape = (n_rows, n_columns)
    out = np.lib.format.open_memmap(folder / "rows.npy", "w+", dtype=np.float32, shape=shape)

    def write(number: int) -> None:
        part = out[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
        part[:] = block(number)[: len(part)]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(-(-n_rows // BLOCK_ROWS))))
    out.flush()


def _write_sparse(folder: Path, name: str, X: sp.csr_matrix, n_rows: int) -> RowFile:
    """Write the first rows of `X` that are not empty and no copies of rows before them."""
    X.sort_indices()
    seen: dict[bytes, int] = {}
    for row in range(X.shape[0]):
        part = slice(X.indptr[row], X.indptr[row + 1])
        if part.start < part.stop:
            seen.setdefault(X.indices[part].tobytes() + X.data[part].tobytes(), row)
    kept = X[np.fromiter(seen.values(), np.int64)][:n_rows].astype(np.float32)
    for key in ("data", "indices", "indptr"):
        np.save(folder / f"{key}.npy", getattr(kept, key))
    return RowFile(str(folder), name, *kept.shape, "cosine", X.shape[0] - len(seen))


def describe(rows: RowFile) -> str:
    """Return a line that says what a set is."""
    extra = f", {rows.left_out} empty rows and copies left out" if rows.left_out else ""
    kind = "sparse, cosine" if rows.sparse else "dense, euclidean"
    return f"{rows.name}: {rows.n_rows:,} rows x {rows.n_columns:,}, {kind}{extra}"
