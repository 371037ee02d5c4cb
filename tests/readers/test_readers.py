"""Exports read back with DuckDB and PySpark: rows and values are those of bronze. `make test-readers` runs it."""

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "dwh-py" / "tests"))
from conftest import Server, servers  # noqa: E402, F401

duckdb = pytest.importorskip("duckdb")
pyspark = pytest.importorskip("pyspark")

DWH = Path(os.environ.get("DWH", ROOT / "target" / "debug" / "dwh")).resolve()

# Column, type, and its value as text or JSON: in PostgreSQL, in DuckDB, in Spark.
COLUMNS = [
    ("id", "bigint primary key", "id", "id", "id"),
    ("at", "timestamptz not null default now()", "(extract(epoch from at) * 1000000)::bigint", 'epoch_us("at")', "unix_micros(at)"),
    ("flag", "boolean", "flag", "flag", "flag"),
    ("small", "smallint", "small", "small", "small"),
    ("int", "integer", '"int"', '"int"', "`int`"),
    ("r", "real", "r::text", "r", "r"),
    ("d", "double precision", "d::text", "d", "d"),
    ("p6", "numeric(6,2)", "p6::text", "p6", "p6"),
    ("p15", "numeric(15,3)", "p15::text", "p15", "p15"),
    ("p38", "numeric(38,10)", "p38::text", "p38", "p38"),
    ("round", "numeric(3,-2)", "round::text", "round", "round"),
    ("note", "text", "note", "note", "note"),
    ("code", "varchar(10)", "code", "code", "code"),
    ("padded", "char(4)", "rpad(padded::text, 4)", "padded", "padded"),
    ("who", "uuid", "who", "who", "who"),
    ("doc", "jsonb", "doc::text", "doc", "doc"),
    ("raw", "bytea", "encode(raw, 'hex')", "lower(hex(raw))", "lower(hex(raw))"),
    ("day", "date", "day - date '1970-01-01'", "day - date '1970-01-01'", "unix_date(day)"),
    (
        "local",
        "timestamp",
        "(extract(epoch from local) * 1000000)::bigint",
        'epoch_us("local")',
        "unix_micros(cast(local as timestamp))",
    ),
    ("clock", "time", "(extract(epoch from clock) * 1000000)::bigint", "epoch_us(clock)", "clock"),
    ("span", "interval", "span::text", "span", "span"),
    ("net", "inet", "nullif(format('%s', net), '')", "net", "net"),
    ("bounds", "int4range", "bounds::text", "bounds", "bounds"),
    ("ints", "integer[]", "to_jsonb(ints)", "ints", "ints"),
    ("texts", "text[]", "to_jsonb(texts)", "texts", "texts"),
    ("prices", "numeric(6,2)[]", "to_jsonb(prices)", "prices", "prices"),
    ("days", "date[]", "to_jsonb(days)", "days", "days"),
    ("mood", "app.mood", "mood::text", "mood", "mood"),
    ("price", "app.price", "price::text", "price", "price"),
    ("place", "geometry(Point,4326)", "encode(st_asbinary(place, 'NDR'), 'hex')", "lower(hex(place))", "lower(hex(place))"),
    ("shape", "geometry", "encode(st_asbinary(shape, 'NDR'), 'hex')", "lower(hex(shape))", "lower(hex(shape))"),
    ("ball", "geography(Point)", "encode(st_asbinary(ball::geometry, 'NDR'), 'hex')", "lower(hex(ball))", "lower(hex(ball))"),
]

SPECIAL = r"""
insert into app.t (id, flag, small, int, r, d, p6, p15, p38, round, note, code, padded, who, doc, raw, day, local, clock, span, net,
    bounds, ints, texts, prices, days, mood, price, place, shape, ball) values
(1, true, -32768, 2147483647, 'NaN', '-Infinity', -9999.99, 123456789012.345, 1234567890123456789012345678.0123456789, 99900,
    E'a,"b"\n\r\\.', '', 'ab', '00000000-0000-0000-0000-00000000000a', '{"a": [1, null], "b": "\u00e4"}', '\x00ff', '0001-01-01',
    '9999-12-31 23:59:59.999999', '23:59:59.999999', '3 mons 2 days 00:00:01.5', '10.0.0.0/8', '[1,9)', '{1,NULL,3}',
    '{"","NULL",NULL,"a\"b,c\\","{x}"}', '{1.50,NULL}', '{2026-10-01,NULL}', 'so ''so''', 0.05,
    'SRID=4326;POINT(36.82194619999999 -1.29)', 'POLYGON((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))', 'POINT(1 2)'),
(2, false, 32767, -2147483648, '-0', 5e-324, 0, -0.001, -0.0000000001, -100, 'NULL', ' ', '', null, '"x"', '\x', '1582-10-10',
    '0001-01-01 00:00:00', '00:00', '-1 days', '::1', 'empty', '{}', '{}', '{}', '{}', 'good', null, 'SRID=4326;POINT EMPTY',
    'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY)', null);
insert into app.t (id) values (3);
-- The ends of what PostgreSQL has, and what lies before the year 1.
insert into app.t (id, day, local, r, d, small, p38) values
(4, '4713-01-01 BC', '4713-01-01 00:00:00 BC', 'Infinity', 'Infinity', 0, 9999999999999999999999999999.9999999999),
(5, '5874897-12-31', '294247-01-10 04:00:54.775806', 3.4028235e38, 1.7976931348623157e308, 1, -9999999999999999999999999999.9999999999),
(6, '0044-03-15 BC', '0044-03-15 12:00:00.000001 BC', 1e-45, -5e-324, 2, 0);
"""

# Values from all of each range, the same ones every time.
MANY = """
select setseed(0.5);
insert into app.t (id, at, small, int, r, d, p6, p15, p38, note, raw, day, local, clock, ints, texts, place)
select i, timestamptz '2026-01-01Z' + i * interval '1 minute', (random() * 65535 - 32768)::int, (random() * 4294967295 - 2147483648)::bigint,
    (random() - 0.5)::real * power(10, (random() * 60 - 30)::int)::real, (random() - 0.5) * power(10, (random() * 600 - 300)::int),
    (random() * 19999 - 9999)::numeric(6,2), (random() * 1e12)::numeric(15,3), (random() * 1e27)::numeric(38,10) * (random() - 0.5)::numeric(12,10),
    md5(i::text), decode(md5(i::text), 'hex'), date '0001-01-01' + (random() * 3652058)::int,
    timestamp '0001-01-01' + random() * interval '3652058 days', time '00:00' + random() * interval '86399 s',
    array[i, null, -i], array[i::text, null], st_setsrid(st_makepoint(random() * 360 - 180, random() * 180 - 90), 4326)
from generate_series(10, 3000) i;
"""


def dwh(folder: Path, *args: str) -> Any:
    done = subprocess.run([DWH, *args, "--output", "json"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"dwh {args}: {done.stdout}"
    return json.loads(done.stdout)


def same(value: Any) -> Any:
    """What all three spell in one way."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    if isinstance(value, (list, tuple)):
        return [same(element) for element in value]
    # Equal numbers, however many zeros a reader shows.
    if isinstance(value, Decimal):
        return value
    if hasattr(value, "hour") and not hasattr(value, "year"):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return value if isinstance(value, int) else str(value)


def single(text: str) -> float:
    """A number of 4 bytes, as Python has it."""
    return struct.unpack("f", struct.pack("f", float(text)))[0]


# What numbers are read as that PostgreSQL gives as text.
READ_AS: dict[str, Callable[[Any], Any]] = {
    "real": single,
    "double precision": float,
    "numeric(6,2)[]": lambda prices: [None if price is None else Decimal(price) for price in prices],
    **{kind: Decimal for kind in ("numeric(6,2)", "numeric(15,3)", "numeric(38,10)", "numeric(3,-2)", "app.price")},
}


def bronze(target: Server, name: str) -> list[list[Any]]:
    built = ", ".join(expression for _, _, expression, _, _ in COLUMNS)
    text = target.sql(name, f"select jsonb_build_array({built}) from bronze.t order by id")
    rows = []
    for line in text.splitlines():
        row = json.loads(line, parse_float=str)
        for at, (column, kind, *_) in enumerate(COLUMNS):
            if row[at] is not None and kind in READ_AS:
                row[at] = READ_AS[kind](row[at])
        rows.append([same(value) for value in row])
    return rows


@pytest.fixture(scope="module", params=["ewkt", "ewkb"])
def exported(
    request: pytest.FixtureRequest, servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory  # noqa: F811
) -> Iterator[tuple[Path, list[list[Any]]]]:
    source, target = servers
    name, folder = f"readers_{request.param}", tmp_path_factory.mktemp("project")
    for server in servers:
        server.sql("postgres", f"create database {name}")
        server.sql(name, "create extension postgis")
    target.sql("postgres", f"grant create on database {name} to dwh_owner")
    columns = ", ".join(f'"{column}" {kind}' for column, kind, *_ in COLUMNS)
    source.sql(
        name,
        "create schema app; create type app.mood as enum ('good', 'so ''so'''); create domain app.price as numeric(6,2); "
        f"create table app.t ({columns}); {SPECIAL} {MANY} grant usage on schema app to app_ro; grant select on app.t to app_ro",
    )
    (folder / "dwh.toml").write_text(
        f"""
[project]
name = "test"
[source.app]
url = "{source.url("app_ro", name)}"
[target]
url = "{target.url("dwh_loader", name)}"
[blob]
url = "{(folder / "blobs").as_uri()}"
[[table]]
name = "t"
relation = "app.t"
mode = "incremental"
watermark = "at"
key = ["id"]
on_conflict = "update"
window = "1d"
geometry = "{request.param}"
"""
    )
    dwh(folder, "migrate")
    dwh(folder, "run")
    source.sql(name, "update app.t set note = 'newer', at = now() where id % 100 = 0")
    dwh(folder, "run")
    report = dwh(folder, "export", "t", "--to", "lake")
    rows = bronze(target, name)
    assert report["rows"] == len(rows) and len(report["files"]) > 2
    yield folder / "lake" / "t", rows


def compare(read: list[list[Any]], rows: list[list[Any]]) -> None:
    assert len(read) == len(rows)
    for got, wanted in zip(read, rows):
        for (column, *_), one, other in zip(COLUMNS, got, wanted):
            assert one == other, f"row {wanted[0]}, column {column}"


def test_duckdb(exported: tuple[Path, list[list[Any]]]) -> None:
    lake, rows = exported
    with duckdb.connect() as connection:
        # Bytes as they are: without the extension `spatial` there is nothing to make of them.
        connection.sql("set enable_geoparquet_conversion = false; set timezone = 'UTC'")
        select = ", ".join(expression for *_, expression, _ in COLUMNS)
        read = connection.sql(f"select {select} from read_parquet('{lake}/*.parquet') order by id").fetchall()
    compare([[same(value) for value in row] for row in read], rows)


def test_pyspark(exported: tuple[Path, list[list[Any]]]) -> None:
    from pyspark.sql import SparkSession

    lake, rows = exported
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    # Without it Spark reads no table with a TIME.
    builder = builder.config("spark.sql.timeType.enabled", "true")
    spark = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    try:
        read = spark.read.parquet(str(lake)).selectExpr(*(expression for *_, expression in COLUMNS)).collect()
    finally:
        spark.stop()
    read = sorted(([same(value) for value in row] for row in read), key=lambda row: row[0])
    compare(read, rows)


def test_geoparquet(exported: tuple[Path, list[list[Any]]]) -> None:
    lake, _ = exported
    with duckdb.connect() as connection:
        sql = f"select value from parquet_kv_metadata('{lake}/*.parquet') where key = 'geo'"
        for (value,) in connection.sql(sql).fetchall():
            geo = json.loads(value)
            assert geo["version"] == "1.1.0" and geo["primary_column"] == "place"
            assert set(geo["columns"]) == {"place", "shape", "ball"}
            for column in geo["columns"].values():
                assert column["encoding"] == "WKB" and isinstance(column["geometry_types"], list)
            assert geo["columns"]["place"]["crs"]["id"] == {"authority": "EPSG", "code": 4326}
