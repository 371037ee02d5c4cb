"""The command instead of the package: one task a table, in the shell of the worker.

Needs the command `dwh` on the workers, and there `DWH_CONFIG`. Exit code 5 (another run holds the table) skips the task:
the other run does it. Exit code 3 (a service is away or overloaded) is tried again, by the shell: Airflow would retry what
needs a person, too.
"""

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

RUN = """
for pause in 60 300 0; do
  dwh --quiet run {table} && exit 0
  code=$?
  [ $code -eq 3 ] || break
  sleep $pause
done
exit $code
"""

with DAG(
    "dwh_bash",
    schedule="0 5,8,11,14,17,20,23 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Nairobi"),
    catchup=False,
):
    for table in ["position_history", "trips", "devices"]:
        BashOperator(
            task_id=f"run_{table}",
            bash_command=RUN.format(table=table),
            env={"DWH_TASK_INSTANCE": f"{{{{ dag.dag_id }}}}/run_{table}/{{{{ run_id }}}}"},
            append_env=True,
            skip_on_exit_code=5,
        )
