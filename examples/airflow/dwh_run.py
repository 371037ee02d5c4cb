"""The smallest DAG: one task reads and loads what is new of all tables, another says whether all is well.

Needs the package `dwh` on the workers, and there `DWH_CONFIG`, or `config="/path/dwh.toml"` in each task.
"""

import pendulum
from airflow.sdk import DAG

from dwh.airflow.operators import DwhRunOperator, DwhStatusOperator

with DAG(
    "dwh_run",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,  # the watermark knows what is missing; an interval of Airflow's does not
    default_args={"retries": 2},
):
    DwhRunOperator(task_id="run") >> DwhStatusOperator(task_id="status", trigger_rule="all_done")
