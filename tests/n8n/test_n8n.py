"""The workflows of examples/n8n in real n8n, with real servers: imported, executed, and started by their schedule. `make test-n8n` runs it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "dwh-py" / "tests"))
from conftest import Project, Server, servers  # noqa: E402, F401

DWH = Path(os.environ.get("DWH", ROOT / "target" / "debug" / "dwh")).resolve()
HOME = ROOT / ".venv" / "n8n"
NODE = HOME / "node" / "node_modules" / "node" / "bin"
EXAMPLES = ROOT / "examples" / "n8n"


# What is shipped, and what stands here in its place. The schedule counts once a server runs.
PLACES = {
    "0 5,8,11,14,17,20,23 * * *": "*/15 * * * * *",
    "table: 'trips', csv_path: 'fleet/exports/trips": "table: 'events', csv_path: 'test/exports/events",
}


class N8n:
    """An n8n of its own, with both workflows in it, for one project."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.config = config
        path = [str(DWH.parent), str(NODE), os.environ["PATH"]]
        self.environment = {
            "PATH": ":".join(path),
            "HOME": str(folder),
            "N8N_USER_FOLDER": str(folder),
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            # As the page says: from n8n 2 on, Execute Command must be allowed.
            "NODES_EXCLUDE": "[]",
        }

    def command(self, *args: str) -> list[str]:
        return [str(NODE / "node"), str(HOME / "node_modules" / "n8n" / "bin" / "n8n"), *args]

    def run(self, *args: str, code: int = 0) -> str:
        # What the command published, n8n itself takes over when it starts; `n8n execute` without a server is told to look itself.
        environment = self.environment | {"N8N_USE_WORKFLOW_PUBLICATION_SERVICE": "false"}
        done = subprocess.run(
            self.command(*args), env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == code, f"n8n {args}: {done.stdout}"
        return done.stdout

    def bring(self) -> None:
        """Imports and publishes both workflows by the commands of the page: as they are shipped, but for places of this test."""
        for shipped in EXAMPLES.iterdir():
            text = shipped.read_text()
            for old, new in PLACES.items():
                text = text.replace(old, new)
            text = text.replace("/etc/dwh/dwh.toml", str(self.config))
            (self.folder / shipped.name).write_text(text)
        page = (ROOT / "docs" / "schedules.md").read_text()
        commands = re.findall("^n8n (.*)$", page, re.MULTILINE)
        assert len(commands) == 4
        for command in commands:
            self.run(*command.split())

    def execute(self, workflow: str = "dwhExtract", code: int = 0) -> str:
        return self.run("execute", f"--id={workflow}", code=code)


# Beside those of `Project`: one of files, and two that will fail.
TABLES = """
[source.raw]
files = "{raw}"

[[table]]
name = "readings"
source = "raw"
files = "*.jsonl"
mode = "files"
[table.columns]
value = {{ type = "integer" }}

[[table]]
name = "broken"
relation = "app.broken"
source = "app"
mode = "snapshot"

[[table]]
name = "other"
relation = "app.other"
source = "app"
mode = "snapshot"
"""


@pytest.fixture(scope="module")
def project(servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Project:  # noqa: F811
    folder = tmp_path_factory.mktemp("project")
    project = Project("n8n", *servers, folder)
    # A shell would stop at the quote, and run what follows it.
    blobs, project.blobs = project.blobs, folder / "it's $(here)"
    text = project.config.read_text().replace(blobs.as_uri(), project.blobs.as_uri())
    text = text.replace('"recorded_at"', '"recorded_at"\nwindow = "1d"').replace('mode = ', 'source = "app"\nmode = ')
    project.config.write_text(text + TABLES.format(raw=(folder / "raw").as_uri()))
    (folder / "raw").mkdir()
    project.source(
        "create table app.broken (id int primary key); create table app.other (id int primary key); "
        "grant select on app.broken, app.other to app_ro; "
        "update app.events set recorded_at = now() - id * interval '3 hours'; delete from app.slow where id > 5"
    )
    dwh(project, "migrate")
    return project


def dwh(project: Project, *args: str) -> None:
    subprocess.run([DWH, "--config", project.config, *args], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def n8n(project: Project, tmp_path_factory: pytest.TempPathFactory) -> N8n:
    n8n = N8n(tmp_path_factory.mktemp("n8n"), project.config)
    n8n.bring()
    return n8n


def waiting(project: Project) -> list[Path]:
    """What lies in `exports/` and is not loaded."""
    return sorted(project.blobs.glob("test/exports/*/*"))


def test_all_rows_arrive(project: Project, n8n: N8n) -> None:
    # Its load was never called: that of the next execution does both.
    dwh(project, "extract", "devices")
    (project.config.parent / "raw" / "one.jsonl").write_text('{"value": 1}\n{"value": 2}\n')
    assert waiting(project)
    n8n.execute()
    assert project.target("select count(*) from bronze.events") == "50"
    assert project.target("select count(*) from bronze.devices") == "2"
    assert project.target("select sum(value) from bronze.readings") == "3"
    assert len(project.states("events")) >= 6, "a window a day, one after the other, in one execution"
    assert set(project.states("events")) == {"loaded"} and not waiting(project)


def test_a_held_table_is_no_error(project: Project, n8n: N8n) -> None:
    project.source("insert into app.slow select i, 'x' from generate_series(100, 20000) i; insert into app.events (id) values (1000)")
    holder = subprocess.Popen([DWH, "--config", project.config, "run", "slow"], stdout=subprocess.DEVNULL)
    try:
        project.wait_for_reader()
        n8n.execute()
        assert holder.poll() is None
    finally:
        holder.terminate()
        holder.wait()
    assert project.target("select count(*) from bronze.events where id = 1000") == "1"
    project.source("delete from app.slow where id > 5")


def test_all_failures_are_told_and_stop_no_other(project: Project, n8n: N8n) -> None:
    project.source("revoke select on app.broken, app.other from app_ro; insert into app.events (id) values (1001)")
    told = n8n.execute(code=1)
    project.source("grant select on app.broken, app.other to app_ro")
    assert "2 of 6 tables failed" in told, told
    for table in ("broken", "other"):
        assert re.search(f"^ *dwh: table `{table}`: .*\n\n *hint: ", told, re.MULTILINE), told
    assert project.target("select count(*) from bronze.events where id = 1001") == "1"


def test_a_load_that_fails_is_told_and_made_good(project: Project, n8n: N8n) -> None:
    project.target("alter table bronze.devices add check (name <> 'three')")
    project.source("insert into app.devices values (3, 'three')")
    told = n8n.execute(code=1)
    assert "1 of 6 tables failed" in told and "devices" in told, told
    assert waiting(project)
    project.target("alter table bronze.devices drop constraint devices_name_check")
    n8n.execute()
    assert project.target("select count(*) from bronze.devices") == "3" and not waiting(project)


def test_a_file_made_by_hand(project: Project, n8n: N8n) -> None:
    # `n8n execute` would begin with the trigger that the other workflow calls.
    workflow = json.loads((n8n.folder / "dwh_load_bronze.json").read_text())
    workflow["nodes"] = [node for node in workflow["nodes"] if node["name"] != "Called by dwh extract"]
    del workflow["connections"]["Called by dwh extract"]
    (n8n.folder / "by_hand.json").write_text(json.dumps(workflow | {"id": "byHand"}))
    n8n.run("import:workflow", "--input=by_hand.json")
    file = project.blobs / "test" / "exports" / "events" / "mended.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("id,note,recorded_at\n7777,by hand,2026-03-01 08:00:00+00\n")
    n8n.execute("byHand")
    assert project.target("select note from bronze.events where id = 7777") == "by hand" and not waiting(project)


def test_the_schedule(project: Project, n8n: N8n) -> None:
    project.source("insert into app.events (id) values (1002)")
    with (n8n.folder / "start.log").open("w") as log:
        server = subprocess.Popen(n8n.command("start"), env=n8n.environment, cwd=n8n.folder, stdout=log, stderr=log)
    try:
        # A start takes n8n a minute on a busy machine.
        deadline = time.monotonic() + 600
        while project.target("select count(*) from bronze.events where id = 1002") == "0":
            assert server.poll() is None and time.monotonic() < deadline, (n8n.folder / "start.log").read_text()
            time.sleep(0.5)
    finally:
        server.terminate()
        server.wait()
