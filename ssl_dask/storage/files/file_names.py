"""What the names of files and folders say: order, what is hidden, columns as Hive writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from ssl_dask.errors import InputDataError

GLOB_CHARACTERS = re.compile(r"[*?\[]")
SIDE_FILES = re.compile(
    r"(^|/)(readme|licen[cs]e)[^/]*$|\.(crc|md5|sha1|sha256|md|rst|ya?ml|html?|pdf|png|svg|py|log)$",
    re.IGNORECASE,
)
"""Names of what lies beside rows and holds none."""
HIDDEN_BY_NAME = re.compile(r"[_.]|\[(?!!)[^\]]*[_.]")
"""How a part of a glob begins that asks for what is hidden."""
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def natural_key(name: str) -> tuple[Any, ...]:
    """Return a sort key in which part-2 comes before part-10."""
    parts = [
        tuple(int(piece) if i % 2 else piece for i, piece in enumerate(re.split("([0-9]+)", part)))
        for part in name.split("/")
    ]
    return tuple(parts), name


def is_hidden(part: str) -> bool:
    """Return whether a part of a name says that it holds no data: `_` or `.` in front."""
    # A hive folder may be named after a column that starts with an underscore.
    return part.startswith(".") or (part.startswith("_") and "=" not in part)


def hidden_part(name: str, named: Sequence[str] = ()) -> bool:
    """Return whether a part of a name, a folder or the file, is hidden.

    `named`: from `parts_by_name`; what one of them means is not hidden.
    """
    return any(
        is_hidden(part) and not any(fnmatchcase(part, one) for one in named)
        for part in name.split("/")
    )


def parts_by_name(pattern: str) -> tuple[str, ...]:
    """Return the parts of a glob that ask for names with `_` or `.` in front.

    >>> parts_by_name("day=*/_x*/[._]y"), parts_by_name("**/*.parquet")
    (('_x*', '[._]y'), ())
    """
    return tuple(part for part in pattern.split("/") if HIDDEN_BY_NAME.match(part))


def may_hold_rows(name: str, size: int | None) -> bool:
    """Return whether a file that is no Parquet may hold rows all the same."""
    return bool(size) and not hidden_part(name) and not SIDE_FILES.search(name)


def hive_values(name: str) -> tuple[tuple[str, str | None], ...]:
    """Return the (key, value) pairs in the folders of a name such as `day=3/a.parquet`.

    Raises
    ------
    InputDataError
        A key or value is not UTF-8.
    """
    pairs = []
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            key, text = _unquoted(key, part), _unquoted(value, part)
            pairs.append((key, None if text == NULL_PARTITION else text))
    return tuple(pairs)


def _unquoted(text: str, folder: str) -> str:
    try:
        read = unquote(text, errors="strict")
        read.encode()
    except UnicodeError:
        raise InputDataError(
            "the name of this folder is not UTF-8",
            file=ascii(folder)[1:-1],
            hint="rename it, with the bytes of UTF-8: label=%C3%A4 and not label=%E4",
        ) from None
    return read


def folder_above_glob(path: str) -> str:
    """Return the folder of a path or URL above the first part that holds a glob."""
    parts = path.split("/")
    # The password in front of a host may hold any character.
    start = 3 if "://" in path else 0
    first = next(i for i in range(start, len(parts)) if GLOB_CHARACTERS.search(parts[i]))
    return "/".join(parts[:first]) or ("/" if path.startswith("/") else ".")


def not_found(what: str, shown: str) -> InputDataError:
    """Return the error that there is nothing at a path or URL."""
    hint = "correct the path"
    if "{" in shown:
        hint += "; braces stand for themselves in it, and *, ? and [ab] for other names"
    return InputDataError(f"not found: {what}", file=shown, hint=hint)
