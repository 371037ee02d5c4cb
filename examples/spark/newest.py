"""The newest version of each row of a table, from the CSV files of its archive into Parquet.

spark-submit newest.py /var/lib/dwh/fleet/processed/trips /srv/lake/trips
"""

import json
import re
import sys
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

# Of an empty field NULL, of "" the empty string: no text of PostgreSQL contains this `nullValue`.
EXACT = {"header": True, "quote": '"', "escape": '"', "multiLine": True, "nullValue": "\u0000", "mode": "FAILFAST", "enforceSchema": False}

# What is no plain type stays text. A number without precision, and times that may be `infinity`, do so as well.
PLAIN = {"smallint": "smallint", "integer": "int", "bigint": "bigint", "boolean": "boolean", "text": "string", "date": "date",
         "timestamp with time zone": "timestamp", "real": "float", "double precision": "double"}  # fmt: skip


def archive(folder: Path) -> list[tuple[str, dict]]:
    """Each CSV with its manifest, the oldest run first."""
    manifests = [json.loads(path.read_text()) for path in folder.glob("*.manifest.json")]
    rows = [manifest for manifest in manifests if manifest["kind"] != "keys"]
    return [(str(folder / Path(manifest["csv"]).name), manifest) for manifest in sorted(rows, key=lambda manifest: manifest["run_id"])]


def read(spark: SparkSession, files: list[tuple[str, dict]]) -> DataFrame:
    alike: dict[tuple[str, ...], list[str]] = {}
    for csv, manifest in files:
        alike.setdefault(tuple(column["name"] for column in manifest["columns"]), []).append(csv)
    parts = []
    for columns, same in alike.items():
        schema = ", ".join(f"`{column}` string" for column in columns)
        parts.append(spark.read.schema(schema).options(**EXACT).csv(same).select("*", "_metadata.file_name"))
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts)


def cast(column: dict) -> str:
    name, kind = f"`{column['name']}`", column["type"]
    digits = re.fullmatch(r"numeric\((\d+),(\d+)\)", kind)
    if digits and int(digits[2]) <= int(digits[1]) <= 38:
        return f"cast({name} as decimal({digits[1]}, {digits[2]})) as {name}"
    return f"cast({name} as {PLAIN.get(kind, 'string')}) as {name}"


def main(folder: str, to: str) -> None:
    files = archive(Path(folder))
    newest = files[-1][1]
    key = ", ".join(f"`{column}`" for column in newest["key"])
    # By default Spark writes times in a form that says nothing of their zone.
    builder = SparkSession.builder.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    rows = read(spark, files).selectExpr("*", r"cast(regexp_extract(file_name, '_([0-9]+)\\.csv', 1) as bigint) as `_run`")
    rows = rows.selectExpr("*", f"row_number() over (partition by {key} order by `_run` desc) as `_place`").where("`_place` = 1")
    rows.selectExpr(*(cast(column) for column in newest["columns"])).write.mode("overwrite").parquet(to)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
