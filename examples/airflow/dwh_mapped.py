"""One task a table: each has its own log, retries and duration, and a table that fails stops no other.

The tables are those of `dwh.toml` when the DAG runs: a new one gets its task by itself. `dwh_report` begins whenever new
rows came into `trips`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, AssetAlias, task

from dwh.airflow.assets import table_asset
from dwh.airflow.operators import DwhRunOperator, DwhStatusOperator, DwhTablesOperator

with DAG(
    "dwh_mapped",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    tables = DwhTablesOperator(task_id="tables")
    run = DwhRunOperator.partial(
        task_id="run",
        map_index_template="{{ task.tables }}",
        max_active_tis_per_dagrun=4,
        outlets=[AssetAlias("dwh")],
    ).expand(tables=tables.output)
    run >> DwhStatusOperator(task_id="status", trigger_rule="all_done")

with DAG(
    "dwh_report",
    schedule=[table_asset("fleet", "trips")],
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
):

    @task
    def report() -> None:
        """Whatever is made of the table."""

    report()
