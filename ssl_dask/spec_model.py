"""Base of all parts of a job file: frozen, and unknown keys are errors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Self, TypeVar

from dask.utils import parse_bytes
from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

Shares = TypeVar("Shares")
Place = tuple[str | int, ...]


class SpecModel(BaseModel):
    """A part of a job file. Each room of the package defines its own; `job_spec` joins them."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _true_is_no_number(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Refuse true and false where a number is due: pydantic reads them as 1 and 0."""
        read = handler(data)
        places = _booleans_made_numbers(data, dict(read)) if isinstance(data, dict) else ()
        wrong = PydanticCustomError("boolean_as_number", "a number is due here, not true or false")
        if errors := [InitErrorDetails(type=wrong, loc=at, input=given) for at, given in places]:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return read


def _booleans_made_numbers(data: Any, read: Any) -> Iterator[tuple[Place, bool]]:
    """Yield place and value of each boolean of which a number was made, in lists and mappings too.

    Parts of a job are no mappings once they are read: they have looked at their own keys.
    """
    if isinstance(data, bool):
        if isinstance(read, (int, float)) and not isinstance(read, bool):
            yield (), data
        return
    pairs: list[tuple[str | int, Any, Any]] = []
    if isinstance(data, dict) and isinstance(read, dict):
        pairs = [(key, value, read.get(key)) for key, value in data.items()]
    elif isinstance(data, (list, tuple)) and isinstance(read, (list, tuple)):
        pairs = [(i, *both) for i, both in enumerate(zip(data, read, strict=False))]
    for key, value, made in pairs:
        for place, given in _booleans_made_numbers(value, made):
            yield (key, *place), given


def checked_size(value: str, *, at_least: int, why: str = "") -> str:
    """Return a size such as 2GiB; raise ValueError if it has no unit or is too small.

    Parameters
    ----------
    at_least
        Smallest number of bytes.
    why
        What needs so many.
    """
    if not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", value.strip()):
        raise ValueError("write a size with its unit, such as 2GiB or 500MB")
    if parse_bytes(value) < at_least:
        raise ValueError(f"must be {at_least >> 20} MiB at least{why}")
    return value


def checked_shares(shares: Shares) -> Shares:
    """Return shares of classes; raise ValueError if {class: share} does not share out all rows.

    Parameters
    ----------
    shares
        A mapping of classes to numbers above 0 that sum to 1; a word instead is returned as it is.
    """
    if isinstance(shares, dict):
        values = list(shares.values())
        if not (values and all(math.isfinite(one) and one > 0.0 for one in values)):
            raise ValueError("shares of classes must be numbers above 0")
        total = math.fsum(values)
        if abs(total - 1.0) > 1e-3:
            raise ValueError(f"shares of classes must sum to 1; these sum to {total:.6g}")
    return shares


def given_shares(shares: Any) -> Any:
    """Return shares of classes that are given one by one; "seeds" for a word instead."""
    return shares if isinstance(shares, dict) else "seeds"
