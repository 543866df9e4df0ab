"""Types that Arrow has learned: each serves where a person expects it, or is refused by name."""

from __future__ import annotations

import base64
import datetime
import json
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError, cautions
from ssl_dask.pipeline.commands.draft import draft_job
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.checks.input_check import scan_input
from ssl_dask.storage.input.arrow_to_numpy import label_array, text_column
from ssl_dask.storage.input.column_types import is_variant
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.table_reader import TableReader
from ssl_dask.storage.labels.label_file import read_label_file
from ssl_dask.storage.result.result_schema import label_schema
from tests.parquet_samples import HERE, open_reader, read_seeds, write, write_parts

KEYS = [UUID(int=i + 1) for i in range(4)]
TENSOR = pa.fixed_shape_tensor(pa.float32(), [2])
VECTORS = [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0]]
VARIANT = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])


def column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(pa.array(values, kind.storage_type))
    return pa.array(values, kind)


OF_POLARS = (
    "c-nPR%}(1u5FT$=5r+z;h*^0hAAG?A5z)jXBtdXkw@5^Uk{Bc;ZU)B?k=juVr0^g-1IIo_U!hVTqL0v7uglMYkv-"
    "q+d^6w7N;^<t139|r_6Y#M0%NR11YE+U8j)43V8syJvOX~6vIUi@wAnaD5L~1p^#X4}xAd{ETi|sIys|3&pWv<Gq"
    "FjNBwE27-kDdjeERc=}uqmj7q9+Se9U_xE`+SyVH^>3`3e#(l23>_22~v=bta(2z=iODsFNVwDJu>Ir>EaJVLEaM"
    "FTOe50YuF!E7#^K&=NDI_?~(o2`mAj$S7dwIb?)f=V_2Sx)PYjD`cmLftq+Kw&vm}1)MZ)M)7aE5(60YLMV-rMQB"
    "xNf(EJJU>n0xlcfn?K8cvGbQPJNlhY<DBPkP6?o-izR4~@{*y1q&wXQoo?wce*^RD$W5QoCS(8)TDcmb<Id`<tsQ"
    "U32e7vwWPTuD{XPsJpA@x8q6dwv%q%KaV$)B=*}$((&U)({Fd8dN=aBtt9c2b~K8+{+g^g0QA9cdME>WmHz+---6"
    "5"
)
"""pl.DataFrame({"id": [1, 2], "wide": [2**100, 17]}).write_parquet(...) of polars 2.1, packed."""

TEXTS = ["a", "b", None, "a"]
ODD: dict[str, pa.Array] = {
    "view": column(TEXTS, pa.string_view()),
    "bytes_view": column([b"a", b"b", None, b"a"], pa.binary_view()),
    "bytes": column([b"a", b"b", None, b"a"], pa.binary()),
    "fixed": column([b"a", b"b", None, b"a"], pa.binary(1)),
    "json": column(TEXTS, pa.json_()),
    "dictionary": column(TEXTS, pa.string()).dictionary_encode(),
    "uuid": column([key.bytes for key in KEYS], pa.uuid()),
    "bool8": column([1, 0, None, 2], pa.bool8()),
    "decimal32": column([Decimal("1.5"), Decimal("2.5"), None, None], pa.decimal32(5, 1)),
    "decimal64": column([Decimal("1.5"), Decimal("2.5"), None, None], pa.decimal64(15, 1)),
    "decimal256": column([Decimal("1.5"), Decimal("2.5"), None, None], pa.decimal256(60, 1)),
    "half": pa.array(np.array([1.5, 2.5, np.nan, 1.0], np.float16)),
    "tensor": column(VECTORS, TENSOR),
    "lists": column(VECTORS, pa.list_view(pa.float32())),
    "large_lists": column(VECTORS, pa.large_list_view(pa.float16())),
    "variant": column([{"metadata": b"m", "value": b"v"}] * 4, VARIANT),
    "far": column([2**62, -(2**62), 0, None], pa.timestamp("us")),
    "date": column([2**30, 1, None, 0], pa.date32()),
    "time": column([datetime.time(10)] * 4, pa.time64("us")),
    "matrix": column([[1.0] * 4] * 4, pa.fixed_shape_tensor(pa.float32(), [2, 2])),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    write(folder / "a.parquet", {"id": [1, 2, 3, 4], "y": ["p", "q", None, None], **ODD})
    return folder


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("view", TEXTS),
        ("bytes_view", TEXTS),
        ("bytes", TEXTS),
        ("fixed", TEXTS),
        ("json", TEXTS),
        ("dictionary", TEXTS),
        ("uuid", [str(key) for key in KEYS]),
        ("bool8", ["true", "false", None, "true"]),
        ("decimal32", ["1.5", "2.5", None, None]),
        ("decimal256", ["1.5", "2.5", None, None]),
        ("date", ["<value out of range: 1073741824>", "1970-01-02", None, "1970-01-01"]),
    ],
)
def test_texts_and_categories(odd: Path, name: str, texts: list[str | None]) -> None:
    reader = open_reader(odd)
    assert check_columns(reader.dataset, ColumnNeeds(string={name: True})) == []
    assert reader.read(0, {name: "string"})[name].tolist() == texts
    in_memory = TableReader.of({name: ODD[name]}, [name], reader.dataset.schema)
    assert in_memory.read(0, {name: "string"})[name].tolist() == texts


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("bool8", [1, 0, np.nan, 1]),
        ("decimal32", [1.5, 2.5, np.nan, np.nan]),
        ("decimal64", [1.5, 2.5, np.nan, np.nan]),
        ("decimal256", [1.5, 2.5, np.nan, np.nan]),
        ("half", [1.5, 2.5, np.nan, 1.0]),
    ],
)
def test_numbers(odd: Path, name: str, numbers: list[float]) -> None:
    reader = open_reader(odd)
    assert check_columns(reader.dataset, ColumnNeeds(numeric={name: True})) == []
    np.testing.assert_array_equal(reader.read(0, {name: "numeric"})[name], numbers)


@pytest.mark.parametrize("name", ["tensor", "lists", "large_lists"])
@pytest.mark.parametrize("block_rows", [None, 3])
def test_vectors(odd: Path, name: str, block_rows: int | None) -> None:
    reader = open_reader(odd, block_rows=block_rows)
    assert check_columns(reader.dataset, ColumnNeeds(vector={name: True})) == []
    blocks = [reader.read(block, {name: "vector"})[name] for block in reader.blocks]
    np.testing.assert_array_equal(
        np.concatenate(blocks), [[1, 2], [3, 4], [np.nan, np.nan], [5, 6]]
    )


@pytest.mark.parametrize(
    ("use", "name", "found", "cure"),
    [
        ("vector", "matrix", "a tensor of 2 axes", "flatten it to one axis"),
        ("string", "variant", "is VARIANT", "a column of its own"),
        ("numeric", "variant", "is VARIANT", "a column of its own"),
        ("keep", "variant", "turn into a struct", "a column of its own"),
        ("id", "half", "halffloat", "cast it to int64"),
        ("label", "uuid", "arrow.uuid", "cast it to string"),
        ("label", "json", "arrow.json", "cast it to string"),
        ("label", "far", "timestamp", "cast it to string"),
    ],
)
def test_what_does_not_serve_is_refused_by_name(
    odd: Path, use: str, name: str, found: str, cure: str
) -> None:
    given: Any = {"id": name, "label": name, "keep": (name,)}.get(use, {name: True})
    (problem,) = check_columns(open_reader(odd).dataset, ColumnNeeds(**{use: given}))
    assert problem.column == name
    assert found in problem.message
    assert cure in str(problem.hint)


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (("value", "metadata"), True),
        (("metadata", "value", "typed_value"), True),
        (("metadata",), False),
        (("metadata", "value", "more"), False),
    ],
)
def test_variants_are_known_by_their_parts(names: tuple[str, ...], is_one: bool) -> None:
    assert is_variant(pa.struct([(name, pa.binary()) for name in names])) == is_one


def test_columns_are_kept_in_the_type_of_the_input(odd: Path) -> None:
    reader = open_reader(odd)
    names = [name for name in ODD if name != "variant"]
    assert check_columns(reader.dataset, ColumnNeeds(keep=tuple(names))) == []
    table = reader.read_table(0, names)
    for name in names:
        found = table.column(name).combine_chunks()
        if "view" in str(ODD[name].type):
            # Views are how memory is laid out; the file holds plain columns.
            assert "view" not in str(found.type)
            assert found.to_pylist() == ODD[name].to_pylist()
        else:
            assert found.type == ODD[name].type
            assert str(found) == str(ODD[name])


def test_uuid_and_json_of_files_without_an_arrow_schema(tmp_path: Path) -> None:
    """What DuckDB, Spark and Java write: Parquet's own annotation alone."""
    table = pa.table({"id": ODD["uuid"], "note": ODD["json"]})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert dataset.schema.types == [pa.uuid(), pa.json_()]
    reader = open_reader(tmp_path)
    assert reader.read_table(0, ["id", "note"]).schema.types == [pa.uuid(), pa.json_()]
    assert reader.read_ids(0, "id").tolist() == [key.bytes for key in KEYS]


def test_no_column_stops_init(odd: Path) -> None:
    draft = draft_job(str(odd), relative_to=odd)
    assert "# variant: VARIANT, not usable as it is" in draft
    assert "vector: tensor" in draft
    assert "label: y" in draft


def test_text_views_beside_text(tmp_path: Path) -> None:
    """Delta's library leaves views in the files that it rewrites."""
    write_parts(
        tmp_path,
        {"id": column(["a", "b"], pa.string_view()), "y": column(["p", None], pa.string_view())},
        {"id": ["c", "d"], "y": ["q", None]},
    )
    reader = open_reader(tmp_path)
    assert reader.dataset.columns == {"id": "string", "y": "string"}
    found = read_seeds(reader, id="id", label="y")
    assert found.problems == ()
    assert found.labels.classes.tolist() == ["p", "q"]
    assert sorted(found.labels.rows.tolist()) == [0, 2]


@pytest.mark.parametrize("kind", [pa.binary(), pa.binary_view(), pa.binary(1)])
def test_labels_that_are_text_without_its_annotation(tmp_path: Path, kind: pa.DataType) -> None:
    write_parts(tmp_path, {"y": column([b"p", None, b"q", b"p"], kind)})
    found = read_seeds(open_reader(tmp_path), label="y")
    assert found.labels.classes.tolist() == ["p", "q"]
    schema = label_schema(pa.schema([]), None, (), found.labels.classes, kind, {})
    assert schema.added[0].type == pa.string()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, {"y": [b"p", b"\xff", None]})
    reader = open_reader(tmp_path)
    with pytest.raises(InputDataError, match="not all of it is UTF-8") as caught:
        reader.read(0, {"y": "string"})
    assert caught.value.problems[0].column == "y"
    assert caught.value.problems[0].hint == "cast it to string where the data is written"


def test_times_of_a_zone_that_nobody_knows_have_no_text(tmp_path: Path) -> None:
    write_parts(tmp_path, {"at": column([0, None], pa.timestamp("us", "Nowhere/City"))})
    with pytest.raises(InputDataError, match="without a text form") as caught:
        open_reader(tmp_path).read(0, {"at": "string"})
    assert caught.value.problems[0].hint == "cast it to string where the data is written"


def test_ids_as_warehouses_write_whole_numbers(tmp_path: Path) -> None:
    """NUMBER(38, 0) of Snowflake and Oracle: whole numbers up to int64, kept as decimals."""
    kind = pa.decimal128(38, 0)
    write_parts(tmp_path, {"id": column([1, 2, 2**63 - 1], kind), "y": column([0, 1, 0], kind)})
    reader = open_reader(tmp_path)
    (tmp_path / "y.csv").write_text("id,y\n2,1\n1,0\n")
    labels = read_label_file("y.csv", id_column="id", label_column="y", base=tmp_path, id_type=kind)
    found = read_seeds(reader, id="id", seed_file=labels)
    assert found.problems == ()
    assert found.labels.rows.tolist() == [0, 1]
    assert reader.read_table(0, ["id"]).schema.types == [kind]
    assert read_seeds(reader, label="y").labels.classes.tolist() == [0, 1]

    write_parts(tmp_path / "wide", {"id": column([2**63], kind)})
    with pytest.raises(InputDataError, match="do not fit int64") as caught:
        open_reader(tmp_path / "wide").read_ids(0, "id")
    assert caught.value.problems[0].hint == "cast it to string where the data is written"


def test_ids_that_are_bytes_meet_those_of_a_csv_file(tmp_path: Path) -> None:
    write_parts(tmp_path, {"id": column([b"k1", b"k2"], pa.binary())})
    reader = open_reader(tmp_path)
    (tmp_path / "y.csv").write_text("id,y\nk2,p\n")
    labels = read_label_file(
        "y.csv", id_column="id", label_column="y", base=tmp_path, id_type=pa.binary()
    )
    assert read_seeds(reader, id="id", seed_file=labels).labels.rows.tolist() == [1]


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.decimal128(10, 2), pa.decimal128(12, 4), "decimal128(12, 4)"),
        (pa.decimal128(38, 0), pa.int32(), "decimal128(38, 0)"),
        (pa.decimal128(38, 10), pa.decimal128(38, 0), "decimal256(48, 10)"),
        (pa.json_(), pa.string(), "string"),
        (pa.uuid(), pa.binary(16), "fixed_size_binary[16]"),
        (pa.uuid(), pa.null(), "extension<arrow.uuid>"),
        (pa.bool8(), pa.bool_(), "bool"),
        (pa.float16(), pa.float32(), "float"),
    ],
)
def test_types_that_files_have_in_common(
    tmp_path: Path, first: pa.DataType, second: pa.DataType, common: str
) -> None:
    write_parts(tmp_path, {"c": pa.nulls(2, first)}, {"c": pa.nulls(2, second)})
    reader = open_reader(tmp_path)
    assert reader.dataset.columns == {"c": common}
    kinds = [reader.read_table(block, ["c"]).schema.field("c").type for block in reader.blocks]
    assert kinds == [reader.dataset.schema.field("c").type] * 2


def test_an_integer_of_128_bits_hides_its_own_column_only(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(zlib.decompress(base64.b85decode(OF_POLARS)))
    reader = open_reader(tmp_path)
    assert check_columns(reader.dataset, ColumnNeeds(id="id")) == []
    assert reader.read_ids(0, "id").tolist() == [1, 2]
    assert "# wide: an integer of more than 64 bits" in draft_job(
        str(tmp_path), relative_to=tmp_path
    )
    for needs in (ColumnNeeds(id="wide"), ColumnNeeds(keep=("wide",))):
        (problem,) = check_columns(reader.dataset, needs)
        assert "an integer of more than 64 bits" in problem.message
        assert "cast it to int64, or to text" in str(problem.hint)


FAR = [datetime.datetime(9999, 12, 31), datetime.datetime(1, 1, 1), None]


@pytest.mark.parametrize("nested", [False, True])
def test_int96_times_are_carried_exactly(tmp_path: Path, nested: bool) -> None:
    """Spark's spelling of "still valid": nanoseconds would make 1816 of it."""
    values: Any = [[when] for when in FAR] if nested else FAR
    kind: Any = pa.list_(pa.timestamp("us")) if nested else pa.timestamp("us")
    table = pa.table({"until": pa.array(values, kind), "id": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    reader = open_reader(tmp_path)
    assert "timestamp[us]" in reader.dataset.columns["until"]
    assert reader.dataset.int96 == ("until",)
    assert reader.read_table(0, ["until"]).column("until").to_pylist() == values


@pytest.mark.parametrize(
    ("nested", "name"), [(False, "until"), (True, "until"), (False, "a.until")]
)
def test_int96_times_that_microseconds_do_not_hold_are_refused(
    tmp_path: Path, nested: bool, name: str
) -> None:
    times = pa.array([0, 1_001, None], pa.timestamp("ns"))
    if nested:
        times = pa.StructArray.from_arrays([times], ["at"])
    table = pa.table({name: times, "id": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    reader = open_reader(tmp_path)
    with pytest.raises(InputDataError, match="finer than a microsecond") as caught:
        reader.read_table(0, ["id", name])
    (problem,) = caught.value.problems
    assert (problem.column, problem.row_group) == (name, 0)
    assert problem.hint == "write them as timestamps, not as INT96"
    assert reader.read_table(0, ["id"]).num_rows == 3


def test_int96_times_beyond_microseconds_are_refused(tmp_path: Path) -> None:
    table = pa.table({"until": pa.array([0], pa.timestamp("us"))})
    path = tmp_path / "a.parquet"
    options: Any = {"use_dictionary": False, "compression": "none", "write_statistics": False}
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, **options)
    epoch = (2_440_588).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(epoch) == 1
    path.write_bytes(content.replace(epoch, (2**31 - 1).to_bytes(4, "little")))
    with pytest.raises(InputDataError, match="beyond the year 294,000"):
        open_reader(tmp_path).read_table(0, ["until"])


def test_a_column_that_later_files_have_is_null_in_the_first(tmp_path: Path) -> None:
    write_parts(
        tmp_path,
        {"x": [1.0, 2.0], "y": [0, 1]},
        {"y": [0, 1], "score": [0.5, 1.5], "x": [3.0, 4.0], "name": ["a", "b"]},
        {
            "x": [5.0],
            "y": pa.nulls(1, pa.int64()),
            "score": pa.array([2], pa.int32()),
            "name": pa.nulls(1),
        },
    )
    reader = open_reader(tmp_path)
    needs = ColumnNeeds(label="y", numeric={"x": False, "score": True}, string={"name": True})
    assert check_columns(reader.dataset, needs) == []
    scores = [reader.read(block, {"score": "numeric"})["score"] for block in reader.blocks]
    np.testing.assert_array_equal(np.concatenate(scores), [np.nan, np.nan, 0.5, 1.5, 2.0])
    names = [reader.read(block, {"name": "string"})["name"].tolist() for block in reader.blocks]
    assert names == [[None, None], ["a", "b"], [None]]

    found = scan_input(reader, needs, HERE)
    assert found.problems == ()
    assert cautions(found.notes) == tuple(
        f"column '{name}' is not in {tmp_path}/0.parquet: it has no value there"
        for name in ("score", "name")
    )

    for strict in (ColumnNeeds(numeric={"score": False}), ColumnNeeds(label="name")):
        (problem,) = check_columns(reader.dataset, strict)
        assert problem.file == f"{tmp_path}/0.parquet"
        assert "every file" in str(problem.hint)
    assert "missing: mean" in str(
        check_columns(reader.dataset, ColumnNeeds(numeric={"score": False}))[0].hint
    )


def test_uuids_and_choices_of_any_slice_are_written_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    cells = pa.array([None if i % 7 == 0 else rng.bytes(16) for i in range(100)], pa.binary(16))
    rows = [["a"], None, [], ["b", 'c"ü'], [None], ["a", None, "a"], None, ["x,y"]]
    choices = [pa.array(rows[:3], pa.list_(pa.string())), pa.array(rows[3:])]
    for start, stop in ((0, 8), (2, 7), (3, 3)):
        ids = pa.chunked_array([cells[start:stop], cells[stop:50], cells[99:99]])
        said = [None if one is None else str(UUID(bytes=one)) for one in ids.to_pylist()]
        assert text_column(ids, pa.uuid()).to_pylist() == said
        lists = pa.chunked_array(choices).slice(start, stop - start)
        texts = [None if one is None else json.dumps(one) for one in lists.to_pylist()]
        assert label_array(lists, lists.type).to_pylist() == texts
