"""Tables of a site: what can be read, what is refused, and that a schema shows nothing of the rows."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hansa.errors import Refused
from hansa.jobs.base import Column, Schema
from hansa.messages import encode
from hansa_site.settings import TableSource
from hansa_site.tables import load, schema

CSV = b"age,sex,alive\n61.5,f,true\nNA,m,false\n40,,\n"


class Bench:
    """A folder with one table in it, whatever its format."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def csv(self, data: bytes, **more: Any) -> TableSource:
        (self.folder / "rows.csv").write_bytes(data)
        return TableSource("rows", path="rows.csv", **more)

    def parquet(self, columns: dict[str, Any]) -> TableSource:
        pl.DataFrame(columns).write_parquet(self.folder / "rows.parquet")
        return TableSource("rows", path="rows.parquet")

    def sql(self, statements: str, query: str = "SELECT * FROM rows") -> TableSource:
        path = self.folder / "rows.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript(statements)
        connection.close()
        return TableSource("rows", url=f"sqlite:///{path}", query=query)

    def schema(self, source: TableSource) -> Schema:
        return schema(source, self.folder)

    def types(self, source: TableSource) -> dict[str, str]:
        return {column.name: column.type for column in self.schema(source).columns}

    def values(self, source: TableSource, *names: str) -> dict[str, list[object]]:
        table = load(source, self.folder, names or tuple(self.types(source)))
        return {name: [None if value != value else value for value in table.columns[name]] for name in table.columns}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# The three formats


def test_a_csv_file_is_read(bench: Bench) -> None:
    source = bench.csv(CSV)
    assert bench.types(source) == {"age": "number", "sex": "text", "alive": "number"}
    assert bench.values(source) == {"age": [61.5, None, 40.0], "sex": ["f", "m", None], "alive": [1.0, 0.0, None]}


def test_a_parquet_file_is_read(bench: Bench) -> None:
    source = bench.parquet({"age": [61.5, None, 40.0], "sex": ["f", "m", None], "alive": [True, False, None]})
    assert bench.types(source) == {"age": "number", "sex": "text", "alive": "number"}
    assert bench.values(source) == {"age": [61.5, None, 40.0], "sex": ["f", "m", None], "alive": [1.0, 0.0, None]}


def test_a_query_is_read(bench: Bench) -> None:
    source = bench.sql(
        "CREATE TABLE rows (age REAL, sex TEXT, alive INTEGER);"
        "INSERT INTO rows VALUES (61.5, 'f', 1), (NULL, 'm', 0), (40, NULL, NULL)"
    )
    assert bench.types(source) == {"age": "number", "sex": "text", "alive": "number"}
    assert bench.values(source) == {"age": [61.5, None, 40.0], "sex": ["f", "m", None], "alive": [1.0, 0.0, None]}


def test_rows_have_the_types_that_kinds_compute_with(bench: Bench) -> None:
    table = load(bench.csv(CSV), bench.folder, ("age", "sex", "alive"))
    assert table.rows == 3
    assert table.numbers("age").dtype == table.numbers("alive").dtype == np.float64
    assert table.texts("sex").dtype == object
    assert all(type(value) in (str, type(None)) for value in table.columns["sex"])


def test_only_the_columns_that_a_question_needs_are_loaded(bench: Bench) -> None:
    table = load(bench.csv(CSV), bench.folder, ("sex",))
    assert set(table.columns) == {"sex"}
    assert [column.name for column in table.schema.columns] == ["sex"]


def test_an_absolute_path_is_taken_as_it_is(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = bench.csv(CSV)
    elsewhere = TableSource("rows", path=str(bench.folder / source.path))
    assert len(schema(elsewhere, tmp_path_factory.mktemp("other")).columns) == 3


@pytest.mark.parametrize("word", ["", "NA", "N/A", "?", "NaN", "nan", "null", "NULL", "."])
def test_every_usual_word_for_missing_is_missing(bench: Bench, word: str) -> None:
    source = bench.csv(f"n,t\n1,x\n{word},{word}\n3,y\n".encode())
    assert bench.values(source) == {"n": [1.0, None, 3.0], "t": ["x", None, "y"]}


@pytest.mark.parametrize("word", ["-", "none", "0", "missing", "NA "])
def test_no_other_word_is_missing(bench: Bench, word: str) -> None:
    assert bench.values(bench.csv(f"t,u\nx,1\n{word},2\n".encode()), "t") == {"t": ["x", word]}


def test_a_text_anywhere_in_a_column_makes_it_text(bench: Bench) -> None:
    rows = "\n".join(["1"] * 5000 + ["about 60"])
    source = bench.csv(f"age,x\n{rows}\n".replace("\n", ",1\n").replace("age,x,1", "age,x").encode())
    assert bench.types(source)["age"] == "text"


@pytest.mark.parametrize(
    ("data", "names"),
    [(b"\xef\xbb\xbfa,b\n1,2\n", ["a", "b"]), (b"a,b\r\n1,2\r\n", ["a", "b"]), (b'"a, b",c\n1,2\n', ["a, b", "c"])],
)
def test_byte_order_marks_line_ends_and_quotes_are_no_part_of_names(
    bench: Bench, data: bytes, names: list[str]
) -> None:
    assert list(bench.types(bench.csv(data))) == names


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, 2], "number"),
        ([2**63 - 1, 1], "number"),
        ([None, 1.5], "number"),
        (["x", "y"], "text"),
        (pl.Series(["x", "y"], dtype=pl.Categorical), "text"),
        (pl.Series([None, None], dtype=pl.Null), "number"),
        (pl.Series(["2020-01-01", "2020-01-02"]).str.to_date(), "text"),
        (pl.Series([1, 2], dtype=pl.UInt8), "number"),
        (pl.Series(["1.5", "2.5"]).cast(pl.Decimal(10, 2)), "number"),
    ],
)
def test_every_parquet_type_is_a_number_or_a_text(bench: Bench, values: Any, type_: str) -> None:
    source = bench.parquet({"c": values})
    assert bench.types(source) == {"c": type_}
    assert len(bench.values(source)["c"]) == 2


# What institutions declare, and nothing else, is shown


def test_declared_categories_and_units_are_in_the_schema(bench: Bench) -> None:
    source = bench.csv(CSV, categories={"sex": ("f", "m", "x")}, units={"age": "years"})
    assert bench.schema(source) == Schema(
        "rows",
        (Column("age", "number", "years"), Column("sex", "text", "", ("f", "m", "x")), Column("alive", "number")),
    )


@pytest.mark.parametrize("declared", [{"categories": {"gender": ("f",)}}, {"units": {"weight": "kg"}}])
def test_what_is_declared_for_no_column_is_refused(bench: Bench, declared: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="no column"):
        bench.schema(bench.csv(CSV, **declared))


@pytest.mark.parametrize("form", ["csv", "parquet", "sql"])
def test_a_schema_shows_nothing_of_the_rows(bench: Bench, form: str) -> None:
    planted = {"text": ["zebra-7731", "quagga-8842"], "number": [770077, 880088], "real": [66.125, 99.875]}
    if form == "csv":
        rows = [",".join(map(str, row)) for row in zip(*planted.values(), strict=True)]
        source = bench.csv("\n".join([",".join(planted), *rows]).encode())
    elif form == "parquet":
        source = bench.parquet(planted)
    else:
        source = bench.sql(
            "CREATE TABLE rows (text TEXT, number INTEGER, real REAL);"
            "INSERT INTO rows VALUES ('zebra-7731', 770077, 66.125), ('quagga-8842', 880088, 99.875)"
        )
    assert bench.values(source)["text"] == planted["text"]
    shown = encode(bench.schema(source)) + repr(bench.schema(source)).encode()
    for word in (b"zebra", b"7731", b"quagga", b"8842", b"770077", b"880088", b"66.125", b"99.875"):
        assert word not in shown
    for number in (770077, 880088):
        assert encode(number) not in shown
    for real in (66.125, 99.875):
        assert encode(real) not in shown


def test_one_row_more_or_less_leaves_the_schema_as_it_is(bench: Bench) -> None:
    first = encode(bench.schema(bench.csv(b"a,b\n1,x\n")))
    assert encode(bench.schema(bench.csv(b"a,b\n1,x\n2,y\n3,z\n"))) == first


def test_a_file_without_a_header_is_refused_because_its_first_row_would_be_shown(bench: Bench) -> None:
    with pytest.raises(Refused):
        bench.schema(bench.csv(b"61.5,f,770077\n40,m,880088\n"))


# Files that are none


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "not a CSV file", id="empty"),
        pytest.param(b"a,b\n", "no rows", id="header only"),
        pytest.param(b"a\0,b\n1,2\n", "binary", id="binary"),
        pytest.param(b"\x89PNG\r\n\x1a\n\xff\xd8", "not a CSV file", id="a picture"),
        pytest.param(b"a,b\n\xff\xfe,2\n", "not a CSV file", id="no UTF-8"),
        pytest.param(b"a,b\n1,2,3\n", "not a CSV file", id="ragged"),
        pytest.param(b'a,b\n"1,2\n', "not a CSV file", id="a quote that never ends"),
        pytest.param(b"a,b\nzebra-7731,2\n1,2,quagga-8842\n", "not a CSV file", id="ragged later"),
    ],
)
def test_a_csv_file_that_is_none_is_refused_in_one_sentence_without_its_rows(
    bench: Bench, data: bytes, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        bench.schema(bench.csv(data))
    assert "rows" in str(refusal.value)
    assert "zebra" not in str(refusal.value)
    assert "quagga" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_parquet_file_that_is_none_is_refused(bench: Bench, data: bytes) -> None:
    (bench.folder / "rows.parquet").write_bytes(data)
    with pytest.raises(Refused, match="not a Parquet file"):
        bench.schema(TableSource("rows", path="rows.parquet"))


@pytest.mark.parametrize("path", ["missing.csv", "missing.parquet", "."])
def test_a_file_that_is_not_there_is_refused(bench: Bench, path: str) -> None:
    with pytest.raises(Refused, match="there is no file"):
        bench.schema(TableSource("rows", path=path))


def test_a_csv_file_with_a_column_name_twice_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="twice"):
        bench.schema(bench.csv(b"age,age\n1,2\n"))


def test_a_query_with_a_column_name_twice_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="twice"):
        bench.schema(bench.sql("CREATE TABLE rows (a); INSERT INTO rows VALUES (1)", "SELECT a, a FROM rows"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([[1], [2]], id="lists"),
        pytest.param([b"\xff\xfe"], id="bytes"),
        pytest.param(pl.Series([1000], dtype=pl.Duration), id="durations"),
    ],
)
def test_a_column_that_is_neither_number_nor_text_is_refused(bench: Bench, values: Any) -> None:
    source = bench.parquet({"c": values})
    with pytest.raises(Refused):
        bench.values(source)


@pytest.mark.parametrize(
    "query",
    ["SELECT nothing FROM rows", "SELECT * FROM other", "SELEC", "SELECT 1; SELECT 2", "CREATE TABLE x (a)", ""],
)
def test_a_query_that_gives_no_rows_is_refused_without_the_databases_words(bench: Bench, query: str) -> None:
    source = bench.sql("CREATE TABLE rows (a); INSERT INTO rows VALUES (770077)", query)
    with pytest.raises(Refused, match="query can't be run") as refusal:
        bench.schema(source)
    assert "sqlite" not in str(refusal.value)
    assert "770077" not in str(refusal.value)


def test_an_empty_result_has_no_rows(bench: Bench) -> None:
    with pytest.raises(Refused, match="no rows"):
        bench.schema(bench.sql("CREATE TABLE rows (a INTEGER)"))


@pytest.mark.parametrize("url", ["nonsense", "foo://host/x", "mysql://user:secret-word@host/x", "sqlite:////no/such/x"])
def test_a_database_that_can_not_be_reached_is_refused_without_its_address(bench: Bench, url: str) -> None:
    source = TableSource("rows", url=url, query="SELECT 1")
    with pytest.raises(Refused, match="query can't be run") as refusal:
        bench.schema(source)
    assert "secret-word" not in str(refusal.value)
    assert "secret-word" not in repr(source)


@pytest.mark.parametrize("form", ["csv", "sql"])
def test_a_column_that_is_not_there_is_refused(bench: Bench, form: str) -> None:
    source = bench.csv(CSV) if form == "csv" else bench.sql("CREATE TABLE rows (a); INSERT INTO rows VALUES (1)")
    with pytest.raises(Refused, match="no column 'weight'"):
        load(source, bench.folder, ("weight",))


def test_a_kind_that_is_lenient_gets_the_columns_that_there_are(bench: Bench) -> None:
    source = bench.csv(CSV)
    assert list(load(source, bench.folder, ("age", "height"), lenient=True).columns) == ["age"]
    with pytest.raises(Refused, match="has no column 'height'"):
        load(source, bench.folder, ("age", "height"))
