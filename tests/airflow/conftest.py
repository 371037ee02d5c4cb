"""Real Airflow, in an environment of its own, and a project on real servers for it to run.

`make test-airflow` says with `AIRFLOW_ENV` which environment; this process has neither Airflow nor dwh.
"""

import importlib.util
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/airflow"


def _of_the_package() -> ModuleType:
    """The servers of the Python tests."""
    spec = importlib.util.spec_from_file_location("package_tests", ROOT / "dwh-py/tests/conftest.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["package_tests"] = module
    spec.loader.exec_module(module)
    return module


package = _of_the_package()
servers = package.servers
wait_until = package.wait_until

TABLES = """
create schema app;
create table app.trips (id bigint primary key, note text, recorded_at timestamptz not null default now());
create index on app.trips (recorded_at);
create table app.position_history (id bigint primary key, recorded_at timestamptz not null default now());
create index on app.position_history (recorded_at);
create table app.devices (id int primary key, name text);
insert into app.trips select i, 'trip ' || i, '2026-09-01T12:00:00Z'::timestamptz + i * interval '1 hour' from generate_series(1, 100) i;
insert into app.position_history select i, '2026-09-01T12:00:00Z'::timestamptz + i * interval '1 minute' from generate_series(1, 300) i;
insert into app.devices values (1, 'one'), (2, 'two');
grant usage on schema app to app_ro;
grant select on all tables in schema app to app_ro;
"""

CONFIG = """
[project]
name = "fleet"

[source.app]
url = "${{SOURCE_URL:-{source}}}"

[target]
url = "{target}"
lock_timeout = "10m"

[blob]
url = "{blob}"

[retention]
processed = "365d"

[thresholds]
disk_used = 100

[[table]]
name = "position_history"
relation = "app.position_history"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]

[[table]]
name = "trips"
relation = "app.trips"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]
window = "1d"

[[table]]
name = "devices"
relation = "app.devices"
mode = "snapshot"
"""


class Project:
    """A source database, a target database, and the `dwh.toml` of both."""

    def __init__(self, name: str, source: object, target: object, folder: Path) -> None:
        self.name, self.source_server, self.target_server = name, source, target
        self.config = folder / "dwh.toml"
        for server in (source, target):
            server.sql("postgres", f"create database {name}")
        target.sql("postgres", f"grant create on database {name} to dwh_owner")
        source.sql(name, TABLES)
        self.source_url = source.url("app_ro", name)
        text = CONFIG.format(source=self.source_url, target=target.url("dwh_loader", name), blob=(folder / "blobs").as_uri())
        self.config.write_text(text)

    def source(self, sql: str) -> str:
        return self.source_server.sql(self.name, sql)

    def target(self, sql: str) -> str:
        return self.target_server.sql(self.name, sql)

    def rows(self, table: str) -> int:
        return int(self.target(f"select count(*) from bronze.{table}"))

    @contextmanager
    def held(self, table: str) -> Iterator[None]:
        """Keeps loads of the table from writing to bronze."""
        server = self.target_server
        command = [server.psql, "-XqAt", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", self.name]
        environment = os.environ | {"PGPASSWORD": server.password}
        with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as session:
            assert session.stdin and session.stdout
            session.stdin.write(f"begin; lock table bronze.{table} in share mode; select 'held';\n")
            session.stdin.flush()
            assert session.stdout.readline() == "held\n"
            try:
                yield
            finally:
                session.stdin.close()

    def wait_for_load(self) -> None:
        """Returns when a load waits for a table that is held: in the middle of it."""
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        wait_until(lambda: self.target(waiting) != "0")

    def runs(self, table: str) -> list[str]:
        """The states of the table's runs, oldest first."""
        sql = f"select status from dwh_control.extract_runs where table_name = '{table}' order by run_id"
        return self.target(sql).split()


class Airflow:
    """An installation of Airflow with its own home."""

    def __init__(self, env: Path, home: Path) -> None:
        self.bin = env / "bin"
        self.home = home
        self.dags = home / "dags"
        self.dags.mkdir(parents=True)
        self.database = home / "airflow.db"
        self.environment = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "PATH": f"{self.bin}:{ROOT / 'target/debug'}:{os.environ['PATH']}",
            "HOME": str(home),
        }
        self.version = self.python("import airflow; print(airflow.__version__)").split()[-1]
        self.run("db", "migrate")

    def run(self, *arguments: str, code: int | None = 0, **variables: str) -> str:
        """What a command of Airflow prints."""
        return self._call([self.bin / "airflow", *arguments], code, variables)

    def python(self, text: str, code: int | None = 0, **variables: str) -> str:
        """What a program prints, with Airflow at hand."""
        return self._call([self.bin / "python", "-c", textwrap.dedent(text)], code, variables)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A command of Airflow that goes on, in a group of processes of its own."""
        return self._start([self.bin / "airflow", *arguments], variables)

    def start_python(self, text: str, **variables: str) -> subprocess.Popen[str]:
        """A program that goes on."""
        return self._start([self.bin / "python", "-c", text], variables)

    def said(self) -> str:
        """What those that go on have printed."""
        return (self.home / "started.log").read_text()

    def _start(self, command: list[object], variables: dict[str, str]) -> subprocess.Popen[str]:
        environment = self._variables(variables)
        with (self.home / "started.log").open("a") as log:
            return subprocess.Popen(
                [str(part) for part in command], env=environment, stdout=log, stderr=STDOUT, text=True, start_new_session=True
            )

    def _variables(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DWH_", "VIRTUAL_ENV"))}
        return {**kept, **self.environment, **more}

    def _call(self, command: list[object], code: int | None, variables: dict[str, str]) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env=self._variables(variables),
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            timeout=300,
        )
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def example(self, name: str) -> None:
        """Puts an example into the folder of DAGs."""
        self.dag(name, (EXAMPLES / f"{name}.py").read_text())

    def dag(self, name: str, text: str) -> None:
        text = textwrap.dedent(text)
        (self.dags / f"{name}.py").write_text(as_2(text) if self.is_2 else text)

    def know_assets(self) -> None:
        """What the scheduler does before it runs a DAG, and `dags test` of 2.11 does not."""
        if self.is_2:
            self.run("dags", "reserialize")

    @property
    def is_2(self) -> bool:
        return self.version.startswith("2.")

    def sql(self, text: str) -> list[tuple]:
        with sqlite3.connect(self.database) as database:
            return database.execute(text).fetchall()

    def states(self, dag: str) -> dict[tuple[str, int], str]:
        """The state of each task of a DAG, of its last run."""
        run = f"select run_id from dag_run where dag_id = '{dag}' order by id desc limit 1"
        return {
            (task, index): state
            for task, index, state in self.sql(
                f"select task_id, map_index, state from task_instance where dag_id = '{dag}' and run_id = ({run})"
            )
        }

    def xcom(self, dag: str, task: str, index: int = -1) -> object:
        """What a task returned last."""
        [value] = self.sql(
            f"select value from xcom where dag_id = '{dag}' and task_id = '{task}' and map_index = {index}"
            " and key = 'return_value' order by timestamp desc limit 1"
        )[0]
        return json.loads(value) if isinstance(value, (str, bytes)) else value


# What the page says of 2.11: other imports, and each DAG has a `start_date`.
IMPORTS_OF_2 = [
    (
        "from airflow.sdk import DAG, AssetAlias, task",
        "from airflow import DAG\nfrom airflow.datasets import DatasetAlias as AssetAlias\nfrom airflow.decorators import task",
    ),
    ("from airflow.sdk import DAG, task", "from airflow import DAG\nfrom airflow.decorators import task"),
    ("from airflow.sdk import DAG", "from airflow import DAG"),
]


def as_2(text: str) -> str:
    """A DAG of Airflow 3, as a person writes it for 2.11."""
    for new, old in IMPORTS_OF_2:
        text = text.replace(new, old)
    if "start_date" not in text:
        text = text.replace("catchup=False", "catchup=False, start_date=pendulum.datetime(2026, 1, 1)")
        text = f"import pendulum\n{text}"
    return text


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(Path(os.environ["AIRFLOW_ENV"]), tmp_path_factory.mktemp("airflow"))


_NUMBERS = itertools.count(1)


@pytest.fixture
def project(servers: tuple, tmp_path: Path, airflow: Airflow) -> Project:
    project = Project(f"airflow_{next(_NUMBERS)}", *servers, tmp_path)
    airflow.environment["DWH_CONFIG"] = str(project.config)
    airflow.python("import dwh; dwh.Pipeline().migrate()")
    return project
