"""Real servers for the tests: two throwaway clusters, and a project of its own for each test."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "postgres.sh"

SOURCE_ROLES = "create role app_ro login password 'secret'; grant pg_read_all_stats to app_ro"
TARGET_ROLES = """
create role dwh_owner nologin;
create role grafana_ro nologin;
create role dwh_loader login password 'secret' in role dwh_owner
"""

# `slow` takes minutes to read, unless it is stopped.
TABLES = """
create schema app;
create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
create index on app.events (recorded_at);
create table app.devices (id int primary key, name text);
create table app.slow (id int primary key, note text);
insert into app.events (id, note) select i, 'event ' || i from generate_series(1, 50) i;
insert into app.devices values (1, 'one'), (2, 'two');
insert into app.slow select i, 'x' from generate_series(1, 20000) i;
grant usage on schema app to app_ro;
grant select on all tables in schema app to app_ro;
"""

CONFIG = """
[project]
name = "test"

[source.app]
url = "{source}"

[target]
url = "{target}"

[blob]
url = "{blob}"

[retention]
processed = "365d"

[[table]]
name = "events"
relation = "app.events"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]

[[table]]
name = "devices"
relation = "app.devices"
mode = "snapshot"

[[table]]
name = "slow"
relation = "app.slow"
mode = "snapshot"
[table.select]
note = "case when pg_sleep(0.05) is null then note else note end"
"""


class Server:
    """A throwaway cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        up = subprocess.run([SCRIPT, "up", folder, "fsync=off", "jit=off"], check=True, stdout=subprocess.PIPE, text=True)
        self.port = int(up.stdout)
        binaries = subprocess.run([SCRIPT, "bin"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        self.psql = Path(binaries) / "psql"
        self.password = (folder / "password").read_text().strip()

    def sql(self, database: str, text: str) -> str:
        """What a superuser's statements print, unaligned."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", database]
        command = [self.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", *where]
        environment = os.environ | {"PGPASSWORD": self.password}
        done = subprocess.run(command, input=text, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:secret@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        subprocess.run([SCRIPT, "down", self.folder], check=True)


class Project:
    """A source database, a target database, and the `dwh.toml` of both."""

    def __init__(self, name: str, source: Server, target: Server, folder: Path) -> None:
        self.name, self.source_server, self.target_server = name, source, target
        self.config = folder / "dwh.toml"
        self.blobs = folder / "blobs"
        for server in (source, target):
            server.sql("postgres", f"create database {name}")
        target.sql("postgres", f"grant create on database {name} to dwh_owner")
        source.sql(name, TABLES)
        urls = {"source": source.url("app_ro", name), "target": target.url("dwh_loader", name)}
        self.config.write_text(CONFIG.format(blob=self.blobs.as_uri(), **urls))

    def source(self, sql: str) -> str:
        return self.source_server.sql(self.name, sql)

    def target(self, sql: str) -> str:
        return self.target_server.sql(self.name, sql)

    def states(self, table: str) -> list[str]:
        """Of the table's runs, oldest first."""
        sql = f"select status from dwh_control.extract_runs where table_name = '{table}' order by run_id"
        return self.target(sql).split()

    def readers(self) -> int:
        """Sessions that read the source at this moment."""
        sql = "select count(*) from pg_stat_activity where usename = 'app_ro' and datname = current_database()"
        return int(self.source(f"{sql} and state <> 'idle'"))

    def wait_for_reader(self) -> None:
        """Returns when `slow` is being copied out."""
        wait_until(lambda: self.states("slow")[-1:] == ["extracting"] and self.readers() > 0)


def wait_until(condition: Callable[[], Any]) -> None:
    """Asks again and again; five minutes are longer than any machine needs, and what it starts."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "this took more than five minutes"
        time.sleep(0.05)


def pytest_configure() -> None:
    # A polite kill is a Ctrl-C: fixtures are torn down, and no server is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[Server, Server]]:
    folder = Path(tempfile.mkdtemp(prefix="dwh-py-"))
    folder.chmod(0o711)  # the servers' user must be able to pass through
    started: list[Server] = []
    try:
        for name, roles in (("source", SOURCE_ROLES), ("target", TARGET_ROLES)):
            started.append(Server(folder / name))
            started[-1].sql("postgres", roles)
        yield started[0], started[1]
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(folder)


_NUMBERS = itertools.count(1)


@pytest.fixture
def project(servers: tuple[Server, Server], tmp_path: Path) -> Project:
    return Project(f"test_{next(_NUMBERS)}", *servers, tmp_path)


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
