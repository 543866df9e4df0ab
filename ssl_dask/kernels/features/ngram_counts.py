"""Counts of hashed n-grams: the tokens, hashes and columns of scikit-learn's `HashingVectorizer`.

One pass over the UTF-8 bytes of a text. Words, or characters with runs of white space made one
space, are put side by side in a buffer in which every n-gram is a run of bytes; its hash is a
column, and a column's count is raised in a dense vector that is emptied after each text.

References
----------
A. Appleby, MurmurHash3_x86_32 (public domain). K. Weinberger et al., "Feature hashing for large
scale multitask learning", 2009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import UInt8

OTHER, WORD, SPACE = 1, 2, 3
"""Kinds of characters; 0: not looked at yet."""
ANALYZERS = {"word": 0, "char": 1, "char_wb": 2}

_KINDS: UInt8 = np.zeros(0x110000, dtype=np.uint8)
"""Kind of each code point that was met in this process."""


def count_ngrams(
    texts: Sequence[str | None] | npt.NDArray[np.object_],
    analyzer: str,
    ngram_range: tuple[int, int],
    n_features: int,
    *,
    lowercase: bool,
) -> sp.csr_array:
    """Return the counts of each text, float64 CSR (n, n_features), indices sorted.

    Parameters
    ----------
    texts
        None is an empty text.
    analyzer
        "word" (runs of letters, digits and underscores), "char", or "char_wb" (inside words, with a
        space at either end).
    ngram_range
        Least and largest n.
    n_features
        Number of columns.
    lowercase
        Whether texts are lower-cased first.

    Notes
    -----
    About 25 ns an n-gram; 4 `n_features` bytes, and 12 bytes for each entry.

    Examples
    --------
    >>> count_ngrams(["a bb a", None], "word", (1, 1), 8, lowercase=True).toarray().sum(axis=1)
    array([3., 0.])
    """
    filled = ["" if text is None else text for text in texts]
    if lowercase:
        filled = [text.lower() for text in filled]
    data = [text.encode("utf-8") for text in filled]
    _look_at(text for text in filled if not text.isascii())
    ends = np.cumsum([0, *map(len, data)], dtype=np.int64)
    joined = np.frombuffer(b"".join(data), dtype=np.uint8)
    kind = ANALYZERS[analyzer]
    indptr, indices, counts = _count_all(joined, ends, _KINDS, kind, *ngram_range, n_features)
    return sp.csr_array((counts, indices, indptr), shape=(len(filled), n_features))


def _look_at(texts: Any) -> None:
    """Enter the kinds of the characters of texts."""
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    for one in seen:
        if not _KINDS[ord(one)]:
            _KINDS[ord(one)] = _kind(one)


def _kind(one: str) -> int:
    if re.match(r"\w", one):
        return WORD
    return SPACE if re.match(r"\s", one) else OTHER


for _code in range(128):
    _KINDS[_code] = _kind(chr(_code))


@numba.njit(nogil=True, cache=True)
def _count_all(
    data: Any, ends: Any, kinds: Any, analyzer: int, least: int, most: int, n_features: int
) -> Any:
    n_texts = len(ends) - 1
    longest = 0
    for i in range(n_texts):
        longest = max(longest, ends[i + 1] - ends[i])
    # A text of n bytes has at most n characters; of words of one letter each two bytes and more.
    buffer = np.empty(2 * longest + 4, np.uint8)
    starts = np.empty(longest + 4, np.int64)
    stops = np.empty(longest + 4, np.int64)
    tally = np.zeros(n_features, np.int32)
    touched = np.empty(1024, np.int32)
    indptr = np.zeros(n_texts + 1, np.int64)
    indices = np.empty(max(1024, len(data)), np.int32)
    counts = np.empty(len(indices), np.float64)
    filled = 0
    for i in range(n_texts):
        text = data[ends[i] : ends[i + 1]]
        if analyzer == 2:
            touched, n_touched = _count_inside_words(
                text, kinds, buffer, starts, stops, least, most, tally, touched
            )
        else:
            if analyzer == 0:
                n = _words(text, kinds, buffer, starts, stops)
            else:
                n = _characters(text, kinds, buffer, starts, stops)
            touched, n_touched = _count_runs(
                buffer, starts, stops, n, least, min(most, n), tally, touched, 0
            )
        found = np.sort(touched[:n_touched])
        if filled + n_touched > len(indices):
            indices = _longer(indices, filled + n_touched)
            counts = _longer(counts, filled + n_touched)
        for column in found:
            indices[filled] = column
            counts[filled] = tally[column]
            tally[column] = 0
            filled += 1
        indptr[i + 1] = filled
    return indptr, indices[:filled].copy(), counts[:filled].copy()


@numba.njit(nogil=True, cache=True)
def _longer(array: Any, least: int) -> Any:
    grown = np.empty(max(2 * len(array), least), array.dtype)
    grown[: len(array)] = array
    return grown


@numba.njit(nogil=True, cache=True)
def _code_point(text: Any, at: int) -> Any:
    """Return the character that begins at a byte, and how many bytes it has."""
    first = np.int64(text[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (text[at + 1] & 0x3F), 2
    if first < 0xF0:
        middle = np.int64(text[at + 1] & 0x3F) << 6
        return ((first & 0x0F) << 12) | middle | (text[at + 2] & 0x3F), 3
    high = np.int64(text[at + 1] & 0x3F) << 12
    low = np.int64(text[at + 2] & 0x3F) << 6
    return ((first & 0x07) << 18) | high | low | (text[at + 3] & 0x3F), 4


@numba.njit(nogil=True, cache=True)
def _words(text: Any, kinds: Any, buffer: Any, starts: Any, stops: Any) -> int:
    """Put the words with a space between them into the buffer; return how many there are."""
    n = place = at = 0
    inside = False
    while at < len(text):
        code, size = _code_point(text, at)
        if kinds[code] == WORD:
            if not inside:
                if n:
                    buffer[place] = 32
                    place += 1
                starts[n] = place
                inside = True
            for k in range(size):
                buffer[place + k] = text[at + k]
            place += size
        elif inside:
            stops[n] = place
            n += 1
            inside = False
        at += size
    if inside:
        stops[n] = place
        n += 1
    return n


@numba.njit(nogil=True, cache=True)
def _characters(text: Any, kinds: Any, buffer: Any, starts: Any, stops: Any) -> int:
    """Put the characters into the buffer, of more than one white space one space."""
    n = place = at = 0
    run = 0
    while at < len(text):
        code, size = _code_point(text, at)
        if kinds[code] == SPACE:
            run += 1
            if run > 1:
                if run == 2:
                    # The first of the run may be of several bytes, or no space.
                    place = starts[n - 1]
                    buffer[place] = 32
                    place += 1
                    stops[n - 1] = place
                at += size
                continue
        else:
            run = 0
        starts[n] = place
        for k in range(size):
            buffer[place + k] = text[at + k]
        place += size
        stops[n] = place
        n += 1
        at += size
    return n


@numba.njit(nogil=True, cache=True)
def _count_inside_words(
    text: Any, kinds: Any, buffer: Any, starts: Any, stops: Any, least: int, most: int, tally: Any,
    touched: Any,
) -> Any:  # fmt: skip
    """Count the runs of characters of each word with a space at either end."""
    n_touched = at = 0
    while at < len(text):
        code, size = _code_point(text, at)
        if kinds[code] == SPACE:
            at += size
            continue
        buffer[0], starts[0], stops[0] = 32, 0, 1
        n = place = 1
        while at < len(text):
            code, size = _code_point(text, at)
            if kinds[code] == SPACE:
                break
            starts[n] = place
            for k in range(size):
                buffer[place + k] = text[at + k]
            place += size
            stops[n] = place
            n += 1
            at += size
        buffer[place], starts[n], stops[n] = 32, place, place + 1
        n += 1
        touched, n_touched = _count_runs(
            buffer, starts, stops, n, least, min(most, n), tally, touched, n_touched
        )
        if n < least:
            # A word that is too short counts once.
            stops[0] = place + 1
            touched, n_touched = _count_runs(
                buffer, starts, stops, 1, 1, 1, tally, touched, n_touched
            )
    return touched, n_touched


@numba.njit(nogil=True, cache=True)
def _count_runs(
    buffer: Any, starts: Any, stops: Any, n: int, least: int, most: int, tally: Any, touched: Any,
    n_touched: int,
) -> Any:  # fmt: skip
    """Count all runs of `least` to `most` of n pieces."""
    n_features = len(tally)
    for length in range(least, most + 1):
        if n_touched + n > len(touched):
            touched = _longer(touched, n_touched + n)
        for i in range(n - length + 1):
            column = _column(buffer, starts[i], stops[i + length - 1], n_features)
            if tally[column] == 0:
                touched[n_touched] = column
                n_touched += 1
            tally[column] += 1
    return touched, n_touched


@numba.njit(nogil=True, cache=True)
def _column(buffer: Any, begin: int, end: int, n_features: int) -> int:
    """Return the column of a run of bytes: |MurmurHash3| modulo their number."""
    m = np.uint32(0xFFFFFFFF)
    c1, c2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
    h = np.uint32(0)
    at = begin
    while at + 4 <= end:
        k = np.uint32(
            np.uint32(buffer[at])
            | (np.uint32(buffer[at + 1]) << np.uint32(8))
            | (np.uint32(buffer[at + 2]) << np.uint32(16))
            | (np.uint32(buffer[at + 3]) << np.uint32(24))
        )
        k = np.uint32(k * c1)
        k = np.uint32((k << np.uint32(15)) | (k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * c2))
        h = np.uint32((h << np.uint32(13)) | (h >> np.uint32(19)))
        h = np.uint32(h * np.uint32(5) + np.uint32(0xE6546B64))
        at += 4
    if at < end:
        k = np.uint32(buffer[at])
        if at + 1 < end:
            k = np.uint32(k | (np.uint32(buffer[at + 1]) << np.uint32(8)))
        if at + 2 < end:
            k = np.uint32(k | (np.uint32(buffer[at + 2]) << np.uint32(16)))
        k = np.uint32(k * c1)
        k = np.uint32((k << np.uint32(15)) | (k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * c2))
    h = np.uint32(h ^ np.uint32(end - begin))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    h = np.uint32((h ^ (h >> np.uint32(16))) & m)
    signed = np.int64(h) - (np.int64(1) << 32 if h >= np.uint32(1 << 31) else np.int64(0))
    # As scikit-learn, whose absolute value of the least int32 would overflow.
    if signed == -(1 << 31):
        return (2147483647 - (n_features - 1)) % n_features
    return int(abs(signed) % n_features)
