"""Every DAG of docs/airflow.md runs as it stands there."""

import json
import re

from conftest import ROOT, Airflow, Project

PAGE = (ROOT / "docs/airflow.md").read_text()
DAGS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

# All of them in one process: what is slow is Airflow's start.
RUN = """
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
bag = DagBag({folder!r})
assert not bag.import_errors, bag.import_errors
import pendulum
for name in {names!r}:
    run = bag.dags[name].test(pendulum.datetime(2026, 9, 3, tz="UTC"))
    print("ENDED", name, run.state)
"""


def test_every_dag_of_the_page(airflow: Airflow, project: Project) -> None:
    names = []
    for text in DAGS:
        names += re.findall(r'with DAG\("(\w+)"', text)
        airflow.dag(f"page_{names[-1]}", text.replace("/etc/dwh/dwh.toml", str(project.config)))
    assert len(names) == len(set(names)) >= 8
    airflow.python("import dwh; dwh.Pipeline().run()")
    airflow.know_assets()
    source = {"conn_type": "postgres", "login": "app_ro", "password": "secret", "host": "127.0.0.1",
              "port": project.source_server.port, "schema": project.name}  # fmt: skip
    fleet = {"conn_type": "dwh", "extra": {"config": str(project.config), "connections": {"SOURCE_URL": "fleet_db"}}}
    said = airflow.python(
        RUN.format(folder=str(airflow.dags), names=names),
        AIRFLOW_CONN_FLEET_DB=json.dumps(source),
        AIRFLOW_CONN_FLEET=json.dumps(fleet),
    )
    ended = dict(re.findall(r"ENDED (\w+) \S*?(success|failed)", said))
    assert ended == dict.fromkeys(names, "success"), said


def test_commands_of_the_page(airflow: Airflow) -> None:
    for line in re.findall(r"^airflow connections add .*$", PAGE, re.MULTILINE):
        name = line.split()[3]
        airflow.python(f"import subprocess; subprocess.run({line!r}, shell=True, check=True)")
        assert name in airflow.run("connections", "get", name)
        airflow.run("connections", "delete", name)
