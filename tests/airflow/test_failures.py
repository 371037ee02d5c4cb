"""What is tried again, what is not, and what a task leaves that was stopped or killed."""

import os
import signal
from pathlib import Path

from conftest import Airflow, Project, wait_until

DAG = """
    from datetime import datetime, timedelta, timezone
    from airflow.sdk import DAG
    from dwh.airflow.operators import DwhBackfillOperator, DwhRunOperator

    with DAG("{dag}", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False,
             default_args={"retries": 1, "retry_delay": timedelta(seconds=0)}):
        {task}
"""


def dag(name: str, *tasks: str) -> str:
    return DAG.replace("{dag}", name).replace("{task}", "\n        ".join(tasks))


def tries(airflow: Airflow, dag: str) -> dict[str, tuple[str, int]]:
    rows = airflow.sql(f"select task_id, state, try_number from task_instance where dag_id = '{dag}'")
    return {task: (state, number) for task, state, number in rows}


def test_what_no_retry_mends_fails_at_once(airflow: Airflow, project: Project) -> None:
    # In Airflow 3 `@daily` has no interval.
    tasks = [
        'DwhRunOperator(task_id="unknown", tables="tripz")',
        'DwhRunOperator(task_id="away", tables="trips", environment={"SOURCE_URL": "postgresql://app_ro@127.0.0.1:1/x"})',
        *([] if airflow.is_2 else ['DwhBackfillOperator(task_id="range", table="trips")']),
    ]
    airflow.dag("failing", dag("failing", *tasks))
    said = airflow.run("dags", "test", "failing", "2026-09-10", code=None)
    ended = tries(airflow, "failing")
    assert ended["unknown"] == ("failed", 1), said
    assert ended["away"] == ("failed", 2), said
    assert "hint: the tables there are: position_history, trips, devices" in said
    if not airflow.is_2:
        assert ended["range"] == ("failed", 1), said
        assert "this DAG run has no data interval" in said and "CronDataIntervalTimetable" in said


def test_a_table_that_another_run_holds(airflow: Airflow, project: Project) -> None:
    airflow.dag("skips", dag("skips", 'DwhRunOperator(task_id="run", tables="trips")'))
    options = 'when_locked="defer", poll_interval=timedelta(seconds=1)'
    airflow.dag("defers", dag("defers", f'DwhRunOperator(task_id="run", tables="trips", {options})'))
    # The other run waits for a lock on bronze, and holds the table meanwhile.
    with project.held("trips"):
        other = airflow.start_python("import dwh; dwh.Pipeline().run('trips')")
        project.wait_for_load()
        airflow.run("dags", "test", "skips", "2026-09-10")
        assert airflow.states("skips") == {("run", -1): "skipped"}
        deferring = airflow.start("dags", "test", "defers", "2026-09-10")
        # Airflow 3, and 2.11, which waits for the trigger itself
        deferred = ("DEFERRED", "running trigger in line")
        wait_until(lambda: any(word in airflow.said() for word in deferred) or deferring.poll() is not None)
    assert (other.wait(60), deferring.wait(120)) == (0, 0)
    assert airflow.states("defers") == {("run", -1): "success"}
    assert any(word in airflow.said() for word in deferred)
    assert "outside TaskInstance" not in airflow.said()
    assert project.rows("trips") == 100


def test_a_task_that_is_killed_loses_nothing(airflow: Airflow, project: Project) -> None:
    task = 'DwhRunOperator(task_id="run", tables="trips")'
    airflow.dag("killed", dag("killed", task))
    with project.held("trips"):
        begun = airflow.start("dags", "test", "killed", "2026-09-10")
        project.wait_for_load()
        os.killpg(begun.pid, signal.SIGKILL)
        begun.wait(60)
    assert project.rows("trips") == 0
    airflow.run("dags", "test", "killed", "2026-09-11")
    # What the killed one had begun is marked or was finished; every row is there once.
    assert project.rows("trips") == 100
    assert set(project.runs("trips")) <= {"failed", "loaded"} and project.runs("trips")[-1] == "loaded"


def test_a_task_that_takes_too_long_ends_tidily(airflow: Airflow, project: Project, tmp_path: Path) -> None:
    # A minute or more for each row.
    slow = '[table.select]\nnote = "case when pg_sleep(60) is null then note else note end"\n'
    text = project.config.read_text().replace('window = "1d"\n', f'window = "1d"\n{slow}')
    (tmp_path / "slow.toml").write_text(text)
    limits = "retries=0, execution_timeout=timedelta(seconds=5)"
    task = f'DwhRunOperator(task_id="run", tables="trips", config="{tmp_path}/slow.toml", {limits})'
    airflow.dag("slow", dag("slow", task))
    airflow.run("dags", "test", "slow", "2026-09-10", code=None)
    assert airflow.states("slow") == {("run", -1): "failed"}
    # The engine had its time to say so, and the table is free.
    assert project.runs("trips") == ["failed"]
    airflow.python("import dwh; dwh.Pipeline().run('trips')")
    assert project.rows("trips") == 100
