"""Views together against the best of them alone and side by side; EM naive Bayes against plain.

    python benchmarks/multi_view.py --data FOLDER                       # all, 20 draws
    python benchmarks/multi_view.py --data FOLDER --sets http_params --draws 5 --json out.json

FOLDER has a folder a set with `data.parquet`: newsgroups20 (columns `subject`, `body`), http_params
(`payload`, whose counts of characters are the second view), trec6, sms_spam (`text`), each with a
column `label`.

All methods get the same draws of labels, 5 and 10 a class, and the same learner: logistic
regression, for newsgroups20 naive Bayes. Of a larger set 6,000 rows are taken at random (`--rows`),
so that 20 draws take minutes. A view that is missing is taken from
30 % of the rows at random, seeds among them: the stronger one. Rows that lack a view are, for a
single view, told the most frequent class, and side by side zeros. Everything is chosen by hidden
seeds, as in a job with 5 folds. Accuracy is that of unlabelled rows: mean and standard deviation
over the draws, and the paired difference.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from ssl_dask.execution import Execution
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.methods.multi_view import MultiViewSpec, multi_view
from ssl_dask.self_labeled.methods.semi_supervised_nb import (
    SemiSupervisedNBSpec,
    semi_supervised_nb,
)
from ssl_dask.self_labeled.rows.block_rows import Piece

VIEW_SETS, TEXT_SETS = ("http_params", "newsgroups20"), ("sms_spam", "trec6", "newsgroups20")
MISSING = {"newsgroups20": "body", "http_params": "shape"}
SHARE_MISSING = 0.3
LEARNERS = {
    "newsgroups20": LearnerSpec(name="multinomial_nb", parameters={"alpha": 0.01}),
    "http_params": LearnerSpec(),
}
FOLDS = 5
Rows = Any


def tfidf(texts: list[str], **settings: Any) -> sp.csr_array:
    made = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **settings).fit_transform(texts)
    return sp.csr_array(made)


def shapes(texts: list[str]) -> np.ndarray:
    """Return what the characters of each text are like, standardised, (n, 7)."""
    kinds = [str.isdigit, str.isalpha, str.isspace, lambda c: not (c.isalnum() or c.isspace())]
    found = [
        [
            np.log1p(len(text)),
            len(set(text)),
            len(text.split()),
            *(sum(map(kind, text)) / max(len(text), 1) for kind in kinds),
        ]
        for text in texts
    ]
    X = np.array(found)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)


def read(folder: Path, name: str, n_rows: int) -> tuple[dict[str, Rows], np.ndarray]:
    table = pq.read_table(folder / name / "data.parquet")
    if len(table) > n_rows:
        table = table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:n_rows]))
    y = np.unique(table["label"].to_numpy(), return_inverse=True)[1]
    if name == "http_params":
        texts = table["payload"].to_pylist()
        words = tfidf(texts, analyzer="char", ngram_range=(1, 3), min_df=5)
        return {"payload": words, "shape": shapes(texts)}, y
    columns = ("subject", "body") if name == "newsgroups20" else ("text",)
    return {c: tfidf(table[c].to_pylist(), min_df=2, token_pattern=r"\w+") for c in columns}, y


def side_by_side(views: Mapping[str, Rows]) -> sp.csr_array:
    """Return the views as one, each of mean squared length 1."""
    parts = []
    for X in views.values():
        squares = X.power(2).sum() if sp.issparse(X) else (X**2).sum()
        parts.append(sp.csr_array(X * np.float32(np.sqrt(X.shape[0] / squares))))
    return sp.csr_array(sp.hstack(parts, format="csr"))


def draw_labels(name: str, y: np.ndarray, per_class: int, draw: int) -> Labels:
    key = [zlib.crc32(name.encode()), per_class, draw]
    order = np.random.default_rng(key).permutation(len(y))
    rows = np.concatenate([order[y[order] == c][:per_class] for c in np.unique(y)])
    codes = np.full(len(y), -1)
    codes[rows] = y[rows]
    return Labels.from_codes(codes, np.unique(y))


def supervised(name: str, X: Rows, labels: Labels, has: np.ndarray) -> np.ndarray:
    """Return the class of every row by the learner, fitted on the seeds that have the view."""
    there = has[labels.rows]
    rows, codes = labels.rows[there], labels.codes[there]
    usual = np.bincount(labels.codes).argmax()
    if not len(rows):
        return np.full(len(has), usual)
    every = np.ones(len(rows))
    piece = Piece(rows, X[rows], codes, every.astype(np.float32), every.astype(bool))
    model = learner_of(LEARNERS[name]).fit([piece], labels.n_classes, (0, 0, 0, 0))
    return np.where(has, model.probabilities(X).argmax(axis=1), usual)


def blocks(X: Rows) -> da.Array:
    return da.from_array(X, chunks=X.shape, asarray=False)


def joint(
    name: str, views: Mapping[str, Rows], labels: Labels, has: Mapping[str, np.ndarray], **more: Any
):
    folds = hide_seeds(labels, FOLDS, 0)
    inputs = MethodInputs(
        labels,
        hidden=[folds.hidden(f) for f in range(folds.n_folds)],
        views={name: blocks(X) for name, X in views.items()},
        present={name: blocks(mask) for name, mask in has.items()},
    )
    # A job has one round at least; here the models before the first round are compared too.
    spec = MultiViewSpec(learner=LEARNERS[name]).model_copy(update=more)
    found = multi_view(inputs, spec, RunControl(Execution(threads=1)))
    return found.F.compute(scheduler="sync").argmax(axis=1), found


def views_once(
    name: str, views: Mapping[str, Rows], y: np.ndarray, labels: Labels, draw: int, missing: bool
) -> dict[str, float]:
    has = {v: np.ones(len(y), bool) for v in views}
    if missing:
        gone = np.random.default_rng(draw).random(len(y)) < SHARE_MISSING
        has[MISSING[name]] = ~gone
    left = {}
    for v, X in views.items():
        keep = has[v].astype(np.float32)
        left[v] = sp.csr_array(X * keep[:, None]) if sp.issparse(X) else X * keep[:, None]
    rest = np.setdiff1d(np.arange(len(y)), labels.rows)

    def right(said: np.ndarray) -> float:
        return float((said[rest] == y[rest]).mean())

    found = {v: right(supervised(name, X, labels, has[v])) for v, X in left.items()}
    everywhere = np.ones(len(y), bool)
    found["side by side"] = right(supervised(name, side_by_side(left), labels, everywhere))
    found["fused, no rounds"] = right(joint(name, left, labels, has, max_iter=0)[0])
    said, run = joint(name, left, labels, has)
    found["multi_view"] = right(said)
    found["(kept round)"] = float(run.kept_round)
    return found


def texts_once(X: Rows, y: np.ndarray, labels: Labels) -> dict[str, float]:
    rest = np.setdiff1d(np.arange(len(y)), labels.rows)
    folds = hide_seeds(labels, FOLDS, 0)
    hidden = [folds.hidden(f) for f in range(folds.n_folds)]
    scores = {}
    for title, settings in {
        "naive Bayes": {"max_iter": 0},
        "EM naive Bayes": {},
        "EM, last round": {"patience": None},
    }.items():
        spec = SemiSupervisedNBSpec().model_copy(update=settings)
        inputs = MethodInputs(labels, hidden=() if settings else hidden, views={"X": blocks(X)})
        found = semi_supervised_nb(inputs, spec, RunControl(Execution(threads=1)))
        said = found.F.compute(scheduler="sync").argmax(axis=1)
        scores[title] = float((said[rest] == y[rest]).mean())
    return scores


def summary(title: str, scores: list[dict[str, float]], ours: str) -> dict[str, Any]:
    """Print means and deviations, and how far `ours` is ahead of each other one, draw by draw."""
    names = list(scores[0])
    table = {n: np.array([one[n] for one in scores]) for n in names}
    print(title)
    out = {}
    for n, values in table.items():
        line = f"  {n:18} {values.mean():.4f} ({values.std():.4f})"
        if n != ours and not n.startswith("("):
            gain = table[ours] - values
            error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
            line += f"   {ours} ahead by {gain.mean():+.4f} ± {error:.4f}"
        print(line, flush=True)
        out[n] = values.tolist()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=sorted({*VIEW_SETS, *TEXT_SETS}))
    parser.add_argument("--what", nargs="+", default=["views", "bayes"])
    parser.add_argument("--per-class", nargs="+", type=int, default=[5, 10])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--rows", type=int, default=6000, help="at most; default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    args = parser.parse_args()
    results: dict[str, Any] = {}

    def keep(title: str, scores: list[dict[str, float]], ours: str) -> None:
        results[title] = summary(title, scores, ours)
        if args.json is not None:
            args.json.write_text(json.dumps(results, indent=1))

    for name in args.sets:
        views, y = read(args.data, name, args.rows)
        for n in args.per_class:
            began = time.perf_counter()
            drawn = [draw_labels(name, y, n, draw) for draw in range(args.draws)]
            if name in TEXT_SETS and "bayes" in args.what:
                X = side_by_side(views) if len(views) > 1 else views["text"]
                title = f"{name}, {n} a class, naive Bayes"
                keep(title, [texts_once(X, y, labels) for labels in drawn], "EM naive Bayes")
            if name in VIEW_SETS and "views" in args.what:
                for missing in (False, True):
                    title = f"{name}, {n} a class" + (", 30 % lack a view" if missing else "")
                    scores = [
                        views_once(name, views, y, labels, draw, missing)
                        for draw, labels in enumerate(drawn)
                    ]
                    keep(title, scores, "multi_view")
            print(f"  ({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
