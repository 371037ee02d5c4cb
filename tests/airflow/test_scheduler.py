"""One DAG under a real scheduler: LocalExecutor, API server and DAG processor, over PostgreSQL."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import Airflow, Project, wait_until


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def scheduled(airflow: Airflow, project: Project) -> Iterator[None]:
    """Airflow with its daemons, until this ends."""
    server, port = project.target_server, free_port()
    server.sql("postgres", "create database airflow_meta")
    url = f"postgresql+psycopg2://postgres:{server.password}@127.0.0.1:{server.port}/airflow_meta"
    before = dict(airflow.environment)
    airflow.environment |= {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-alone-of-this-test-alone-of-this-test-alone-of-this-test-alone",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    airflow.run("db", "migrate")
    daemons = [
        airflow.start("api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        airflow.start("dag-processor"),
        airflow.start("scheduler"),
    ]
    try:
        yield
    finally:
        for daemon in daemons:
            os.killpg(daemon.pid, signal.SIGTERM)
        for daemon in daemons:
            daemon.wait(60)
        airflow.environment = before


DAG = """
    from datetime import datetime, timedelta, timezone
    from airflow.sdk import DAG
    from dwh.airflow.operators import DwhRunOperator

    with DAG("scheduled", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), is_paused_upon_creation=False):
        DwhRunOperator(task_id="run", tables="trips", retries=2, retry_delay=timedelta(seconds=1))
"""


def test_a_worker_that_is_killed_is_replaced(airflow: Airflow, project: Project) -> None:
    if airflow.is_2:
        pytest.skip("one release is enough: it is Airflow that is slow to start")
    airflow.dag("scheduled", DAG)
    meta = project.target_server

    def state() -> str:
        sql = "select state, try_number from task_instance where dag_id = 'scheduled' order by start_date desc limit 1"
        return meta.sql("airflow_meta", sql)

    with scheduled(airflow, project):
        wait_until(lambda: meta.sql("airflow_meta", "select 1 from dag where dag_id = 'scheduled'") == "1")
        with project.held("trips"):
            airflow.run("dags", "trigger", "scheduled")
            project.wait_for_load()
            # The task's own process, in mid-load: it has the session that waits.
            pid = meta.sql("airflow_meta", "select pid from task_instance where dag_id = 'scheduled'")
            os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: state().startswith("success"))
        assert state() == "success|2"
    assert project.rows("trips") == 100 and project.runs("trips")[-1] == "loaded"
