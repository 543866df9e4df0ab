"""Feature groups of a job file: one model per kind of column."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from ssl_dask.spec_model import SpecModel

KINDS = ("numeric", "categorical", "text", "vector")


class ColumnNeed(NamedTuple):
    """How a column is read: "numeric", "string" or "vector", and whether it may hold nulls."""

    kind: str
    missing_allowed: bool


def _as_columns(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


ColumnName = Annotated[str, Field(min_length=1)]
ColumnNames = Annotated[
    tuple[ColumnName, ...],
    Field(min_length=1),
    BeforeValidator(_as_columns),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]
NgramRange = tuple[int, int]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Group(SpecModel):
    kind: ClassVar[str]
    read_as: ClassVar[str]

    weight: Weight = 1.0
    """Importance beside other groups. Groups that are joined are first brought to the same mean
    squared length, then multiplied by their weights; a single group is not changed."""
    optional: bool = False
    """Whether rows may lack the group. true: a row whose columns are all null lacks it: it does
    not count in the group's mean and scale, its features are 0, and multi_view labels it by the
    groups that it has. `missing` applies to a row with nulls in some of the columns."""

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        columns = self.columns()
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return self

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns that the group reads."""
        names = getattr(self, self.kind)
        return (names,) if isinstance(names, str) else names

    def needs(self) -> dict[str, ColumnNeed]:
        """Return how each column is read."""
        nulls = self.optional or self.takes_nulls
        return dict.fromkeys(self.columns(), ColumnNeed(self.read_as, nulls))

    @property
    def takes_nulls(self) -> bool:
        """Whether a row that has the group may hold nulls in it."""
        return getattr(self, "missing", "error") != "error"

    @property
    def surely_sparse(self) -> bool:
        """Whether features are sparse for any values."""
        return False

    @property
    def components(self) -> int:
        """Number of principal components that the group asks for; 0: no projection."""
        return 0

    def _refuse_unused(self, names: tuple[str, ...], because: str) -> None:
        """Refuse fields that would be ignored; their defaults may stand, as in a resolved job."""
        fields = type(self).model_fields
        unused = [name for name in names if getattr(self, name) != fields[name].default]
        if unused:
            raise ValueError(f"{', '.join(unused)}: not used {because}; leave out")


class NumericGroup(_Group):
    """Columns of numbers, one feature each."""

    kind: ClassVar[str] = "numeric"
    read_as: ClassVar[str] = "numeric"

    numeric: ColumnNames
    """Column, or list of columns, of numbers or booleans."""
    scale: Literal["standard", "minmax", "none"] = "standard"
    """`standard`: mean 0 and standard deviation 1. `minmax`: smallest value 0, largest 1. `none`:
    as they are; columns of large numbers then outweigh the others."""
    missing: Literal["error", "mean", "zero", "indicator"] = "error"
    """What a null or NaN becomes. `error`: the job is refused. `mean`: the mean of the column's
    other values. `zero`: the number 0, before scaling. `indicator`: the mean, and for each column
    with missing values a further feature, 1 in rows where it is missing."""
    n_components: Annotated[int, Field(ge=1)] | None = None
    """Number of principal components of the scaled columns to keep; null: no projection."""

    @property
    def zero_counts(self) -> bool:
        """Whether zero has a meaning: values are kept as they are, or a null becomes 0."""
        return self.scale == "none" or self.missing == "zero"

    @property
    def components(self) -> int:
        """Number of principal components that the group asks for; 0: no projection."""
        return self.n_components or 0


class CategoricalGroup(_Group):
    """Columns of categories: text, numbers or booleans."""

    kind: ClassVar[str] = "categorical"
    read_as: ClassVar[str] = "string"

    categorical: ColumnNames
    """Column, or list of columns, whose distinct values are categories."""
    encoding: Literal["onehot", "hash"] = "onehot"
    """`onehot`: one feature of 0 or 1 for each category. `hash`: categories hashed to `n_features`,
    for columns of many values such as user names; two categories may share a feature."""
    max_categories: Annotated[int, Field(ge=1, le=65536)] = 256
    """Distinct values that a column may have with `encoding: onehot`."""
    n_features: Annotated[int, Field(ge=2, le=2**22)] = 1024
    """Features of `encoding: hash`, shared by the columns of the group."""
    missing: Literal["category", "error"] = "category"
    """What a null is. `category`: a category of its own. `error`: the job is refused."""

    @model_validator(mode="after")
    def _check(self) -> CategoricalGroup:
        if self.encoding == "onehot":
            self._refuse_unused(("n_features",), "with encoding: onehot")
        else:
            self._refuse_unused(("max_categories",), "with encoding: hash")
        return self

    @property
    def surely_sparse(self) -> bool:
        """Whether features are sparse for any values."""
        return self.encoding == "hash"


class TextGroup(_Group):
    """Columns of text, as hashed word and character n-grams; each row has length 1."""

    kind: ClassVar[str] = "text"
    read_as: ClassVar[str] = "string"

    text: ColumnNames
    """Column, or list of columns, of text. The same word in two columns is two features."""
    analyzer: Literal["word", "char", "char_wb", "word_char"] = "word_char"
    """`word`: runs of words. `char`: runs of characters. `char_wb`: the same inside words.
    `word_char`: words and characters, with half of the features and half of the weight each: words
    suit prose, characters suit payloads, log lines and misspellings."""
    word_ngrams: NgramRange = (1, 2)
    """Shortest and longest run of words. A word is one or more letters, digits and underscores."""
    char_ngrams: NgramRange = (1, 3)
    """Shortest and longest run of characters. On short texts, such as web requests and messages,
    one to three characters give better neighbours than three to five."""
    n_features: Annotated[int, Field(ge=2, le=2**22)] = 2**18
    """Number of features that runs are hashed to."""
    tfidf: bool = True
    """Weight counts by the inverse document frequency ln((1 + rows) / (1 + rows with it)) + 1."""
    sublinear_tf: bool = True
    """Replace a count by 1 + ln(count)."""
    lowercase: bool = True
    """Lower-case texts first."""
    missing: Literal["error", "empty"] = "error"
    """What a null is. `error`: the job is refused. `empty`: a text without words."""

    @model_validator(mode="after")
    def _check(self) -> TextGroup:
        for name, (shortest, longest) in (
            ("word_ngrams", self.word_ngrams),
            ("char_ngrams", self.char_ngrams),
        ):
            if not 1 <= shortest <= longest <= 10:
                raise ValueError(f"{name}: expected [shortest, longest] with 1 <= both <= 10")
        if self.analyzer == "word":
            self._refuse_unused(("char_ngrams",), "with analyzer: word")
        elif self.analyzer != "word_char":
            self._refuse_unused(("word_ngrams",), f"with analyzer: {self.analyzer}")
        elif self.n_features % 2:
            raise ValueError("n_features: must be even with analyzer: word_char")
        return self

    @property
    def surely_sparse(self) -> bool:
        """Whether features are sparse for any values."""
        return True


class VectorGroup(_Group):
    """A column of vectors of one length: embeddings, pixels, spectra."""

    kind: ClassVar[str] = "vector"
    read_as: ClassVar[str] = "vector"

    vector: ColumnName
    """Column whose cells are lists of numbers, all of one length."""
    scale: Literal["none", "standard", "l2"] = "none"
    """`none`: as they are. `standard`: each position has mean 0 and standard deviation 1. `l2`:
    each vector has length 1."""
    n_components: Annotated[int, Field(ge=1)] | None = None
    """Number of principal components to keep; null: no projection."""

    @property
    def components(self) -> int:
        """Number of principal components that the group asks for; 0: no projection."""
        return self.n_components or 0


def _kind(value: Any) -> str | None:
    if isinstance(value, _Group):
        return value.kind
    if isinstance(value, dict):
        return next((kind for kind in KINDS if kind in value), None)
    return None


FeatureGroup = Annotated[
    Annotated[NumericGroup, Tag("numeric")]
    | Annotated[CategoricalGroup, Tag("categorical")]
    | Annotated[TextGroup, Tag("text")]
    | Annotated[VectorGroup, Tag("vector")],
    Discriminator(
        _kind,
        custom_error_type="feature_group_kind",
        custom_error_message="a feature group has one of the keys " + ", ".join(KINDS),
    ),
]
"""A named group of columns; the kind is the key that is there."""
