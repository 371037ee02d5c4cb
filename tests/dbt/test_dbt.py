"""examples/dbt in real dbt, over what dwh loaded and the sources that it writes. `make test-dbt` runs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "dwh-py" / "tests"))
from conftest import Project, project, servers  # noqa: E402, F401

DWH = Path(os.environ.get("DWH", ROOT / "target" / "debug" / "dwh")).resolve()
DBT = ROOT / ".venv" / "dbt" / "bin" / "dbt"
EXAMPLE = ROOT / "examples" / "dbt"


def dwh(project: Project, *words: str) -> None:
    subprocess.run([DWH, "--config", project.config, *words], check=True)


def dbt(project: Project, folder: Path, *words: str) -> dict:
    """What dbt says of each node, as its own artifact has it."""
    variables = {
        "DBT_HOST": "127.0.0.1",
        "DBT_PORT": str(project.target_server.port),
        "DBT_USER": "dbt",
        "DBT_PASSWORD": "secret",
        "DBT_DATABASE": project.name,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    command = [DBT, *words, "--project-dir", folder, "--profiles-dir", folder]
    done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    artifact = folder / "target" / ("sources.json" if words[0] == "source" else "run_results.json")
    assert artifact.exists(), done.stdout
    results = json.loads(artifact.read_text())["results"]
    return {result["unique_id"]: result["status"] for result in results}


def test_the_example_builds_on_what_was_loaded(project: Project, tmp_path: Path) -> None:
    text = project.config.read_text()
    project.config.write_text(text.replace("[project]\n", '[project]\nmetadata = ["_loaded_at"]\n', 1))
    dwh(project, "migrate")
    dwh(project, "run", "events")
    project.target(
        "do $$ begin if not exists (select from pg_roles where rolname = 'dbt') then "
        "create role dbt login password 'secret' in role grafana_ro; end if; end $$; "
        f"grant create on database {project.name} to dbt"
    )
    folder = tmp_path / "dbt"
    shutil.copytree(EXAMPLE, folder)
    dwh(project, "models", "dbt-sources", "events", "-o", str(folder / "models/sources.yml"))
    assert set(dbt(project, folder, "source", "freshness").values()) == {"pass"}
    built = dbt(project, folder, "build")
    assert set(built.values()) <= {"success", "pass"} and len(built) == 4, built
    assert project.target("select sum(events) from marts.events_by_day") == "50"
    # A row that is older than all others, and came later.
    project.source("insert into app.events select 1000, note, recorded_at - interval '1 hour' from app.events where id = 1")
    dwh(project, "run", "events")
    assert set(dbt(project, folder, "build").values()) <= {"success", "pass"}
    assert project.target("select count(*) from marts.events_newest") == "51"
    # A table that is not fresh is told by dbt as well.
    project.target(
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '2 days', "
        "run_finished_at = run_finished_at - interval '2 days'"
    )
    assert set(dbt(project, folder, "source", "freshness").values()) == {"error"}
