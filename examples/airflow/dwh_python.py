"""One task a table over the Python package. Each task runs all windows of its table, and returns the report as plain dicts.

Needs the package `dwh` on the workers. What no retry can mend (drift, rights, a wrong configuration) fails at once.
"""

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG, task

TABLES = ["position_history", "trips", "devices"]
CONFIG = os.environ.get("DWH_CONFIG", "/etc/dwh/dwh.toml")


@task(retries=2, retry_delay=timedelta(minutes=5))
def run(table: str) -> dict[str, Any]:
    import dwh  # here, so that reading the DAG costs nothing

    try:
        return dwh.Pipeline(CONFIG).run([table]).to_dict()
    except dwh.LockedError as error:
        raise AirflowSkipException(str(error)) from error
    except (dwh.UnreachableError, dwh.BusyError):
        raise
    except dwh.DwhError as error:
        raise AirflowFailException(str(error)) from error


@task(trigger_rule="all_done")
def check() -> None:
    """Fails if anything needs attention, also what no run of today has caused, and says what to do."""
    import dwh

    dwh.Pipeline(CONFIG).status(check=True)


with DAG(
    "dwh_fleet_python",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
    max_active_runs=1,
) as dag:
    run.expand(table=TABLES) >> check()
