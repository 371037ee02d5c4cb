"""Loads bench.position_history with dlt in its fastest exact form: rows as Arrow tables, new ones by recorded_at, merged by the key.

Geometry and jsonb go as text: dlt has no type for the one and would parse the other. DWH_SOURCE_URL and DWH_TARGET_URL
say where.
"""

import os

import dlt
from dlt.sources.sql_database import sql_table
from sqlalchemy import text

COLUMNS = "imei, gps_time, recorded_at, geom::text as geom, speed_kmh, heading, ignition, altitude_m, address, raw::text as raw"


def query(_select: object, _table: object, incremental: object = None, _engine: object = None) -> object:
    last = incremental.last_value if incremental is not None else None
    where = " where recorded_at > :last" if last else ""
    chosen = text(f"select {COLUMNS} from bench.position_history{where}")
    return chosen.bindparams(last=last) if last else chosen


table = sql_table(
    credentials=os.environ["DWH_SOURCE_URL"].replace("postgresql:", "postgresql+psycopg2:"), schema="bench", table="position_history", backend="pyarrow", chunk_size=50_000,
    incremental=dlt.sources.incremental("recorded_at"), primary_key=["imei", "gps_time"], write_disposition={"disposition": "merge", "strategy": "insert-only"},
    query_adapter_callback=query, reflection_level="minimal",
)
pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(os.environ["DWH_TARGET_URL"]), dataset_name="bench")
pipeline.run(table, loader_file_format="csv").raise_on_failed_jobs()
