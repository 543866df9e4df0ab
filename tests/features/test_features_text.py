"""Hashed words and runs of characters against scikit-learn, for any blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.pipeline import make_pipeline

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.feature_groups import TextGroup
from ssl_dask.features.views import FeatureView
from ssl_dask.kernels.features.hashed_ngrams import HashedNgrams
from tests.memory_reader import cuts_of, one_group

PROSE = "select union from where id 1 7 or drop table users <script> alert naïve ünï admin"
WORDS = PROSE.split()
N_ROWS = 25


def some_texts(n_rows: int = N_ROWS, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    texts: list[Any] = [
        "' ".join(rng.choice(WORDS, rng.integers(1, 9))).title() for _ in range(n_rows)
    ]
    texts[3] = ""
    return texts


TEXTS = some_texts()


def view_of(columns: dict[str, list[Any]], cuts: Sequence[int] = (), **group: Any) -> FeatureView:
    return one_group(columns, cuts, "payload", text=list(columns), **group)


def matrix(view: FeatureView) -> sp.csr_array:
    blocks = Execution(threads=1).compute(view.blocks())
    for block in blocks:
        assert block.dtype == np.float32
        assert block.indices.dtype == block.indptr.dtype == np.int32
        assert block.has_sorted_indices
        assert block.has_canonical_format
    return sp.vstack(blocks, format="csr")


def bits(X: sp.csr_array) -> tuple[bytes, bytes, bytes]:
    return X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()


@pytest.mark.parametrize("analyzer", ["word", "char", "char_wb"])
@pytest.mark.parametrize("sublinear", [True, False])
def test_rows_are_those_of_scikit_learn_with_hashing(analyzer: str, sublinear: bool) -> None:
    words = analyzer == "word"
    ngrams = (1, 2) if words else (1, 3)
    peer = make_pipeline(
        HashingVectorizer(
            analyzer=analyzer, ngram_range=ngrams, n_features=2**12, norm=None,
            alternate_sign=False, token_pattern=r"\w+" if words else None,
        ),
        TfidfTransformer(sublinear_tf=sublinear),
    )  # fmt: skip
    expected = peer.fit_transform(TEXTS)
    X = matrix(
        view_of({"t": TEXTS}, [4, 9], analyzer=analyzer, sublinear_tf=sublinear, n_features=2**12)
    )
    assert X.nnz > 200
    assert abs(X - expected).max() < 1e-6


def test_inner_products_are_those_without_hashing() -> None:
    # Independent of the hash: words told apart by a vocabulary give the same cosines.
    peer = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
    V = peer.fit_transform(TEXTS)
    X = matrix(view_of({"t": TEXTS}, [4], analyzer="word"))
    assert X.nnz == V.nnz
    assert (X @ X.T).toarray() == pytest.approx((V @ V.T).toarray(), abs=1e-6)


def test_words_and_characters_weigh_the_same() -> None:
    X = matrix(view_of({"t": TEXTS}))
    halves = [(X[:, : 2**17]), (X[:, 2**17 :])]
    for half in halves:
        lengths = np.sqrt((half.toarray().astype(np.float64) ** 2).sum(axis=1))
        filled = np.arange(N_ROWS) != 3
        assert lengths[filled] == pytest.approx(np.sqrt(0.5), rel=1e-6)
        assert lengths[3] == 0


@settings(deadline=None, max_examples=15)
@given(
    cuts_of(N_ROWS), st.sampled_from(["word", "char_wb", "word_char"]), st.booleans(), st.booleans()
)
def test_same_bits_for_any_blocks(
    cuts: list[int], analyzer: str, tfidf: bool, two_columns: bool
) -> None:
    columns = {"t": TEXTS}
    if two_columns:
        columns["u"] = some_texts(seed=1)
    group = {"analyzer": analyzer, "tfidf": tfidf, "n_features": 2**10}
    whole, cut = view_of(columns, **group), view_of(columns, cuts, **group)
    assert bits(matrix(cut)) == bits(matrix(whole))
    assert cut.notes == whole.notes


def test_counts_of_two_columns_stay_apart() -> None:
    ngrams = HashedNgrams("word", (1, 1), (1, 1), 2**16, True)
    one = np.array(["get", "post"], dtype=object)
    other = one[::-1]
    counts = ngrams.count([one, other])
    assert counts.sum(axis=1).tolist() == [2, 2]
    assert (counts[[0]] != counts[[1]]).nnz == 4
    same = ngrams.count([one, one])
    assert same[[0]].nnz == 2


def test_counts_and_case() -> None:
    texts = np.array(["Id id ID", "a  a b", ""], dtype=object)
    lower = HashedNgrams("word", (1, 1), (1, 1), 2**16, True).count([texts])
    assert lower[[0]].data.tolist() == [3]
    assert sorted(lower[[1]].data.tolist()) == [1, 2]
    kept = HashedNgrams("word", (1, 1), (1, 1), 2**16, False).count([texts])
    assert kept[[0]].data.tolist() == [1, 1, 1]
    vocabulary = CountVectorizer(analyzer="char", ngram_range=(2, 3)).fit_transform(texts)
    hashed = HashedNgrams("char", (1, 1), (2, 3), 2**20, True).count([texts])
    assert (hashed @ hashed.T).toarray().tolist() == (vocabulary @ vocabulary.T).toarray().tolist()


def test_empty_rows_are_counted_and_zero() -> None:
    columns = {"t": ["a b", "", "  ", None, "c"]}
    view = view_of(columns, [2], analyzer="word", missing="empty")
    X = matrix(view)
    assert np.diff(X.indptr).tolist() == [3, 0, 0, 0, 1]
    assert "3 rows have no text" in " ".join(view.notes)
    assert "1 missing values became empty texts" in " ".join(view.notes)


def test_nulls_are_an_error_by_default() -> None:
    with pytest.raises(InputDataError) as caught:
        view_of({"t": ["a", None, "b", None]}, [1])
    assert [(p.column, p.rows) for p in caught.value.problems] == [("t", 2)]
    view = view_of({"t": ["a", "b"]})
    with pytest.raises(InputDataError, match="1 missing"):
        view.transform({"t": np.array([None], dtype=object)})


def test_no_text_at_all() -> None:
    with pytest.raises(InputDataError, match="no row has any text"):
        view_of({"t": ["", "  ", ""]}, [1], analyzer="word")


def test_new_rows() -> None:
    view = view_of({"t": TEXTS}, [9])
    rows = view.transform({"t": np.array(TEXTS[5:9], dtype=object)})
    assert bits(sp.csr_array(rows)) == bits(sp.csr_array(matrix(view)[5:9]))
    unseen = view.transform({"t": np.array(["zzz qqq"], dtype=object)})
    assert np.linalg.norm(unseen.data) == pytest.approx(1, abs=1e-6)


def test_spec() -> None:
    for wrong in (
        {"word_ngrams": (2, 1)},
        {"char_ngrams": (0, 2)},
        {"n_features": 2**18 + 1},
        {"analyzer": "word", "char_ngrams": (2, 3)},
        {"analyzer": "char", "word_ngrams": (1, 1)},
    ):
        with pytest.raises(ValidationError):
            TextGroup.model_validate({"text": "t", **wrong})
    resolved = TextGroup(text=("t",), analyzer="char")
    assert TextGroup.model_validate(resolved.model_dump(mode="json")) == resolved
    assert resolved.needs() == {"t": ("string", False)}
