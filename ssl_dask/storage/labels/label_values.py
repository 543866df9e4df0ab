"""Which values are labels, and which only look like some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Problem
from ssl_dask.storage.input.column_types import label_type

LabelKind = Literal["integer", "boolean", "string", "number"]
LabelValue = int | bool | str | float

PLACEHOLDERS = frozenset({"-1", "nan", "NaN", "None", "null", "<NA>"})
"""Text that programs write for "no value"."""

REFUSALS: dict[str, tuple[str, str]] = {
    "outside": (
        "labels that are none of the classes of the job",
        "correct them, or list them in input.classes",
    ),
    "empty": ("labels that are empty text", "write null where a row is unlabelled"),
    "placeholder": (
        "labels such as '-1', 'nan' or 'None', written as text",
        "write null where a row is unlabelled, or list the value in input.classes if it is one",
    ),
    "negative": (
        "negative labels; scikit-learn's -1 for 'unlabelled' would become a class",
        "write null where a row is unlabelled, or list the value in input.classes if it is one",
    ),
    "utf8": ("labels that are not valid UTF-8", "write them again as UTF-8"),
    "nan": ("labels that are NaN", "write null where a row is unlabelled"),
    "huge": ("labels beyond 1e100", "correct them, or give them in another unit"),
    "infinite": ("labels that are infinite", "correct them, or write null where it is unknown"),
}


def kind_of_type(kind: pa.DataType) -> LabelKind:
    """Return what labels of an Arrow type are."""
    read_as = label_type(kind)
    if pt.is_boolean(read_as):
        return "boolean"
    return "integer" if pt.is_integer(read_as) else "string"


def kind_of_value(value: object) -> LabelKind | None:
    """Return what a class named in a job is, or None for what cannot be a class."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "string" if isinstance(value, str) else None


def classes_trouble(classes: Sequence[Any], kind: LabelKind, column: str | None) -> list[Problem]:
    """Return what is wrong with the classes of a job, for labels of one kind."""
    if not classes:
        return [Problem("input.classes is empty", hint="list the classes, or leave it out")]
    problems = []
    wrong = sorted({kind_of_value(c) or type(c).__name__ for c in classes} - {kind})
    if wrong:
        hint = {
            "integer": "write them without quotes",
            "boolean": "write true and false without quotes",
            "string": "write them in quotes",
        }[kind]
        found = " and ".join(wrong)
        problems.append(
            Problem(
                f"input.classes holds {found} values, but the labels are of kind {kind}",
                column=column,
                hint=hint,
            )
        )
    elif len(set(classes)) < len(classes):
        problems.append(Problem("input.classes names a class twice", hint="name each class once"))
    return problems


def refusal(value: LabelValue | None, classes: Sequence[LabelValue] | None) -> str | None:
    """Return why `value` is no label, a key of `REFUSALS`, or None if it is one.

    Parameters
    ----------
    value
        None stands for text that is not valid UTF-8.
    classes
        The classes of the job, where it lists them.
    """
    if value is None:
        return "utf8"
    if classes is not None:
        return None if value in classes else "outside"
    if isinstance(value, str):
        if not value.strip():
            return "empty"
        return "placeholder" if value in PLACEHOLDERS else None
    return "negative" if not isinstance(value, bool) and value < 0 else None


def is_stand_in(value: LabelValue | None) -> bool:
    """Return whether `value` is what programs write for "no label": empty text, "nan", -1."""
    if isinstance(value, str):
        return not value.strip() or value in PLACEHOLDERS
    return not isinstance(value, bool) and value == -1


def class_array(
    values: Iterable[LabelValue], kind: LabelKind, classes: Sequence[LabelValue] | None
) -> npt.NDArray[Any]:
    """Return the classes (C,): as the job lists them, else the values found, sorted.

    dtype is int64, bool or object (of str).
    """
    chosen = list(classes) if classes is not None else sorted(set(values))
    dtype = {"integer": np.int64, "boolean": np.bool_, "string": object}[kind]
    return np.array(chosen, dtype=dtype)


def codes_of(values: Sequence[LabelValue | None], classes: npt.NDArray[Any]) -> list[int]:
    """Return the position of each value in `classes`; -1 for what is no class."""
    places: Mapping[Any, int] = {value: i for i, value in enumerate(classes.tolist())}
    return [places.get(value, -1) for value in values]
