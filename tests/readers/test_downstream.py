"""The page docs/downstream.md, block by block: what each program reads is what bronze holds. `make test-readers` runs it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Optional

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "dwh-py" / "tests"))
from conftest import Server, servers  # noqa: E402, F401

for program in ("duckdb", "polars", "pyarrow", "pandas", "pyspark", "adbc_driver_postgresql"):
    pytest.importorskip(program)

DWH = Path(os.environ.get("DWH", ROOT / "target" / "debug" / "dwh")).resolve()
PAGE = (ROOT / "docs" / "downstream.md").read_text()
Row = tuple[Any, ...]
COLUMNS = ["trip_id", "note", "distance_km", "paid", "day", "photo", "updated_at"]

# What readers are known to take for something else, and a value that is longer than their buffers.
NOTES = [
    None, "", " ", " a ", "NULL", "null", "NaN", "N/A", "NA", "nan", "None", "true", "001", "1e5", "\\N", "\\", "\\.", '"', '""', 'a"b',
    "'", ",", "\n", "\r", "\r\n", "a\n\nb", "\t", "#x", "// x", "é😀", "\u2028", "\ufeff", "x" * 3_000_000, '",\n' * 1000,
]  # fmt: skip

SCHEMA = """
create schema fleet;
create table fleet.trips (
    trip_id bigint primary key, note text, distance_km numeric(8, 3), paid boolean, day date, photo bytea,
    updated_at timestamptz not null default now());
insert into fleet.trips values
    (9223372036854775807, 'all', 99999.999, true, '9999-12-31', '\\x00ff', now()), (9007199254740993, 'some', -0.001, false, '0001-01-01', '\\x', now()),
    (-1, null, null, null, null, null, now());
grant usage on schema fleet to app_ro;
grant select on all tables in schema fleet to app_ro;
"""

CONFIG = """
[project]
name = "fleet"
[source.app]
url = "{source}"
[target]
url = "{target}"
[blob]
url = "{blobs}"
compression = "{compression}"
[[table]]
name = "trips"
relation = "fleet.trips"
mode = "incremental"
watermark = "updated_at"
key = ["trip_id"]
on_conflict = "update"
on_new_column = "add"
"""


class Archive:
    """A project after several runs: its files, and the rows of bronze as text."""

    def __init__(self, compression: str, source: Server, target: Server, folder: Path) -> None:
        self.name, self.source, self.target, self.folder = f"downstream_{compression}", source, target, folder
        for server in (source, target):
            server.sql("postgres", f"create database {self.name}")
        target.sql("postgres", f"grant create on database {self.name} to dwh_owner; alter role grafana_ro login password 'secret'")
        source.sql(self.name, SCHEMA)
        urls = {"source": source.url("app_ro", self.name), "target": target.url("dwh_loader", self.name)}
        (folder / "dwh.toml").write_text(CONFIG.format(blobs=(folder / "blobs").as_uri(), compression=compression, **urls))
        self.dwh("migrate")
        self.dwh("run")
        notes = ", ".join(f"({number}, {literal(note)})" for number, note in enumerate(NOTES))
        source.sql(self.name, f"insert into fleet.trips (trip_id, note) values {notes}")
        self.dwh("run")
        self.versions = self.rows()
        source.sql(self.name, "update fleet.trips set note = 'newer', updated_at = now() where trip_id % 2 = 0; alter table fleet.trips add more text")
        self.dwh("run")
        self.versions += self.rows("trip_id % 2 = 0")

    def dwh(self, *args: str) -> None:
        subprocess.run([DWH, "--quiet", *args], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def rows(self, condition: str = "true") -> list[Row]:
        """Of bronze, as PostgreSQL writes them into a CSV."""
        built = "trip_id::text, note, distance_km::text, left(paid::text, 1), day::text, photo::text, updated_at::text"
        sql = f"set timezone = 'UTC'; select jsonb_build_array({built}) from bronze.trips where {condition}"
        return [tuple(json.loads(line)) for line in self.target.sql(self.name, sql).split("\n")]

    def here(self, code: str) -> str:
        """A block of the page, with the places of this test."""
        code = code.replace("/var/lib/dwh", str(self.folder / "blobs"))
        return code.replace("postgresql://grafana_ro@warehouse.example.com/warehouse", self.target.url("grafana_ro", self.name))


def literal(text: Optional[str]) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def typed(row: Row) -> Row:
    """A row of text, as what its types are in Python."""
    read = [int, str, Decimal, lambda flag: flag == "t", date.fromisoformat, lambda photo: bytes.fromhex(photo[2:]), datetime.fromisoformat]
    return tuple(value if value is None else make(value) for make, value in zip(read, row))


def same(got: Iterable[Iterable[Any]], wanted: Iterable[Row]) -> None:
    """Compares rows of whatever order; a time is a moment, whichever zone it is told in."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            # Spark tells times in the zone of the machine, and does not say so.
            return value.astimezone(timezone.utc)
        return bytes(value) if isinstance(value, bytearray) else value

    one, other = ([repr(tuple(plain(value) for value in row)) for row in rows] for rows in (got, wanted))
    assert sorted(one) == sorted(other)


def blocks() -> list[tuple[str, str]]:
    """Each block of Python with the heading above it."""
    found, heading = [], ""
    for title, code in re.findall(r"^#+ ([^\n]*)$|^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        heading = title or heading
        if code:
            found.append((heading, code))
    return found


@pytest.fixture(scope="module", params=["none", "gzip", "zstd"])
def archive(request: pytest.FixtureRequest, servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Archive:  # noqa: F811
    return Archive(request.param, *servers, tmp_path_factory.mktemp("project"))


def test_the_page(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas

    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2] --conf spark.ui.enabled=false pyspark-shell")
    names: dict[str, Any] = {}
    versions, newest = archive.versions, [typed(row) for row in archive.rows()]

    def of_bronze() -> None:
        rows = [row.values() for row in names["bronze"].to_pylist()]
        same(([Decimal(value) if at == 2 and value else value for at, value in enumerate(row)] for row in rows), newest)

    checks: list[Callable[[], None]] = [
        of_bronze,
        lambda: None,
        lambda: same(names["rows"].select(*COLUMNS).fetchall(), versions),
        lambda: same(names["newest"].fetchall(), newest),
        lambda: (same(names["rows"].select(COLUMNS).rows(), versions), same(names["typed"].rows(), map(typed, versions)))[0],
        lambda: same((row.values() for row in names["rows"].select(COLUMNS).to_pylist()), versions),
        lambda: same(([None if value is pandas.NA else value for value in row] for row in names["rows"][COLUMNS].itertuples(index=False)), versions),
        lambda: same(names["rows"].select(COLUMNS).collect(), versions),
        lambda: same(names["newest"].collect(), newest),
    ]
    page = blocks()
    assert len(page) == len(checks)
    for (heading, code), check in zip(page, checks):
        print(heading)
        exec(compile(archive.here(code), f"docs/downstream.md: {heading}", "exec"), names)
        check()
    names["spark"].stop()


def test_the_job_of_spark(archive: Archive, tmp_path: Path) -> None:
    from pyarrow import parquet

    job = ROOT / "examples" / "spark" / "newest.py"
    environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell"}
    folder = archive.folder / "blobs" / "fleet" / "processed" / "trips"
    subprocess.run([sys.executable, job, folder, tmp_path / "lake"], env=environment, check=True)
    rows = parquet.read_table(tmp_path / "lake").select(COLUMNS).to_pylist()
    # `bytea` is no plain type for it.
    wanted = [row[:5] + text[5:6] + row[6:] for text, row in ((text, typed(text)) for text in archive.rows())]
    same((row.values() for row in rows), wanted)
