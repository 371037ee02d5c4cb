"""Reads the interval of each DAG run again, as Airflow counts it: `airflow backfill create` repairs a range of days.

The watermark stays where it is, so this DAG stands beside the one that loads what is new. `@daily` of Airflow 3 has no
interval, hence the timetable.
"""

import pendulum
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from dwh.airflow.operators import DwhBackfillOperator

with DAG(
    "dwh_interval",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="Africa/Nairobi"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
):
    DwhBackfillOperator(task_id="trips", table="trips")
