"""Counts of hashed n-grams beside scikit-learn's HashingVectorizer."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer

from ssl_dask.kernels.features.ngram_counts import count_ngrams

TEXTS = [
    "",
    " ",
    "\n\n",
    "a  b\t\tc \u2003\u2003 d",
    "Straße ΣΑΣ İx 日本語 テスト ñandú",
    "\u00a0x\u00a0\u00a0y\x1c\x1dz\x85\x85\u2028",
    "_a-b_c d1 ½ ² Ⅷ ٣",
    "𝒳𝒴 \U0001f600 z",
    "é" * 50,
    "word " * 300,
]
ALPHABET = st.sampled_from("aB1_ -\n\t.\u00a0éΣ日𝒳\u2003İ")


def oracle(texts: list[str], analyzer: str, ngrams: tuple[int, int], n: int, lower: bool) -> object:
    found = HashingVectorizer(
        analyzer=analyzer,
        ngram_range=ngrams,
        token_pattern=r"(?u)\w+" if analyzer == "word" else None,
        n_features=n,
        lowercase=lower,
        alternate_sign=False,
        norm=None,
    ).transform(texts)
    found.sort_indices()
    return found.indptr.tolist(), found.indices.tolist(), found.data.tolist()


def counted(
    texts: list[str], analyzer: str, ngrams: tuple[int, int], n: int, lower: bool
) -> object:
    found = count_ngrams(texts, analyzer, ngrams, n, lowercase=lower)
    assert found.shape == (len(texts), n)
    assert found.dtype == np.float64
    return found.indptr.tolist(), found.indices.tolist(), found.data.tolist()


@pytest.mark.parametrize("analyzer", ["word", "char", "char_wb"])
@pytest.mark.parametrize("ngrams", [(1, 1), (1, 3), (2, 2), (2, 5), (9, 10)])
@pytest.mark.parametrize("n_features", [2, 1_000, 2**17])
def test_counts_are_those_of_scikit_learn(
    analyzer: str, ngrams: tuple[int, int], n_features: int
) -> None:
    for lower in (True, False):
        case = (TEXTS, analyzer, ngrams, n_features, lower)
        assert counted(*case) == oracle(*case)


@given(
    st.lists(
        st.one_of(st.text(ALPHABET, max_size=30), st.text(max_size=20)), min_size=1, max_size=5
    ),
    st.sampled_from(["word", "char", "char_wb"]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.booleans(),
)
def test_any_text_is_counted_alike(
    texts: list[str], analyzer: str, least: int, more: int, lower: bool
) -> None:
    case = (texts, analyzer, (least, least + more), 512, lower)
    assert counted(*case) == oracle(*case)


def test_every_character_is_of_the_kind_that_regular_expressions_say() -> None:
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 20_000):
        text = "".join(
            f"a{chr(code)}b{chr(code)}{chr(code)}" for code in codes[start : start + 20_000]
        )
        for analyzer in ("word", "char_wb"):
            case = ([text], analyzer, (1, 1), 2**20, False)
            assert counted(*case) == oracle(*case)


def test_no_text_is_an_empty_one() -> None:
    found = count_ngrams([None, "a"], "char", (1, 2), 16, lowercase=True)
    assert found.sum(axis=1).tolist() == [0.0, 1.0]


def test_a_row_has_its_counts_in_any_block() -> None:
    whole = count_ngrams(TEXTS, "char", (1, 3), 4_096, lowercase=True).toarray()
    alone = [
        count_ngrams([one], "char", (1, 3), 4_096, lowercase=True).toarray()[0] for one in TEXTS
    ]
    assert (whole == np.array(alone)).all()
