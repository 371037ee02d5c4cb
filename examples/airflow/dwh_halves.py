"""The two halves of a run as tasks of their own: what the first one read goes through XCom into the second.

Loading may happen on another worker, and begin later. `catch_up` reads and loads the windows that follow.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG

from dwh.airflow.operators import DwhExtractOperator, DwhLoadOperator

with DAG(
    "dwh_halves",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    for table in ["position_history", "trips", "devices"]:
        extract = DwhExtractOperator(task_id=f"extract_{table}", table=table)
        DwhLoadOperator(task_id=f"load_{table}", extracted=extract.output, catch_up=True)
