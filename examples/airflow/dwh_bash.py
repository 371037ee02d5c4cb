"""The two halves of a run as tasks of their own: the line that `dwh extract` prints goes through XCom into `dwh load`.

Needs the command `dwh` on the workers. Exit code 5 (another run holds the table) skips the task: the other run does it.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

TABLES = ["position_history", "trips", "devices"]
DWH = "dwh --config /etc/dwh/dwh.toml --quiet"

with DAG(
    "dwh_fleet_bash",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,  # the watermark knows what is missing; an interval of Airflow's does not
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
) as dag:
    for table in TABLES:
        extract = BashOperator(
            task_id=f"extract_{table}",
            bash_command=f"{DWH} extract {table}",
            skip_on_exit_code=5,
        )
        load = BashOperator(
            task_id=f"load_{table}",
            bash_command=f'{DWH} load --params "$PARAMS"',
            env={"PARAMS": "{{ ti.xcom_pull(task_ids='extract_" + table + "') }}"},
            append_env=True,
            skip_on_exit_code=5,
        )
        extract >> load
