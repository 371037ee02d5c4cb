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
    assert "hint: did you mean `trips`?" in said
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


def test_a_back_fill_waits_for_the_run_that_holds_its_table(airflow: Airflow, project: Project) -> None:
    airflow.python("import dwh; dwh.Pipeline().run('trips')")
    project.target("delete from bronze.trips where recorded_at < '2026-09-03Z'")
    project.source("insert into app.trips values (1000, 'new', now())")
    days = 'from_="2026-09-01T00:00:00Z", to="2026-09-03T00:00:00Z"'
    airflow.dag("again", dag("again", f'DwhBackfillOperator(task_id="range", table="trips", {days})'))
    # Whoever asks for a lease without waiting for it gives up after a second.
    waiting = "select count(*) from pg_stat_activity where query = 'close all' and xact_start < clock_timestamp() - interval '3 s'"
    with project.held("trips"):
        other = airflow.start_python("import dwh; dwh.Pipeline().run('trips')")
        project.wait_for_load()
        again = airflow.start("dags", "test", "again", "2026-09-10")
        wait_until(lambda: project.target(waiting) == "2" or again.poll() is not None)
    assert (other.wait(60), again.wait(120)) == (0, 0)
    assert airflow.states("again") == {("range", -1): "success"}
    assert project.rows("trips") == 101


def test_a_back_fill_that_was_cut_off_by_another_run_is_no_success(airflow: Airflow) -> None:
    """What is said of a range of which one window was read, before another run took the table."""
    said = airflow.python(
        """
        from types import SimpleNamespace
        import dwh
        from dwh.airflow.compat import AirflowSkipException
        from dwh.airflow.operators import DwhBackfillOperator, DwhRunOperator

        def held(*tables, wait):
            error = dwh.LockedError("another run holds it")
            error.message, error.retryable = "another run holds it", True
            error.report = SimpleNamespace(runs=[{"error": None}, {"error": {"code": "locked"}}])
            raise error

        for kind in (DwhBackfillOperator, DwhRunOperator):
            options = {"table": "trips"} if kind is DwhBackfillOperator else {}
            for when in ("skip", "wait", "fail"):
                try:
                    ended = kind(task_id="a", when_locked=when, **options).move(held).runs[0]
                except (AirflowSkipException, dwh.LockedError) as error:
                    ended = type(error).__name__
                print("ENDED", kind.__name__, when, ended)
        """
    )
    ended = [line.split(maxsplit=3)[1:] for line in said.splitlines() if line.startswith("ENDED")]
    assert ended == [
        ["DwhBackfillOperator", "skip", "AirflowSkipException"],
        ["DwhBackfillOperator", "wait", "LockedError"],
        ["DwhBackfillOperator", "fail", "LockedError"],
        ["DwhRunOperator", "skip", "{'error': None}"],
        ["DwhRunOperator", "wait", "LockedError"],
        ["DwhRunOperator", "fail", "LockedError"],
    ], said


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
