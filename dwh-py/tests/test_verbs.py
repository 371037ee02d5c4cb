"""Every verb once, on real servers; what comes back has the keys that the stub names, and survives a pickle."""

import json
import os
import pickle
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dwh
import pytest
from conftest import Project
from stub import fields


def whole(report: Any) -> Any:
    """The same report, after a look at what every report promises."""
    name = type(report).__name__
    # `more` of an extract is there only where it is true.
    optional = {"more"} if name == "LoadParams" else set()
    assert set(report.to_dict()) - optional == set(fields(name)), f"_dwh.pyi and the engine disagree about {name}"
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert pickle.loads(pickle.dumps(report)) == report
    return report


@pytest.fixture
def pipeline(project: Project) -> dwh.Pipeline:
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate()
    return pipeline


@pytest.fixture
def loaded(project: Project, pipeline: dwh.Pipeline) -> dwh.Pipeline:
    pipeline.run(["events", "devices"])
    return pipeline


def test_migrate(project: Project) -> None:
    pipeline = dwh.Pipeline(project.config)
    planned = whole(pipeline.migrate(["dev*"], dry_run=True))
    assert planned.dry_run and len(planned.tables_created) == 1
    first, second = whole(pipeline.migrate()), pipeline.migrate()
    assert not first.dry_run and len(first.tables_created) == 3 and not first.tables_present
    assert len(second.tables_present) == 3 and not second.tables_created
    assert not second.drift_applied and not pipeline.migrate(apply_drift=True).drift_left


def test_check(pipeline: dwh.Pipeline) -> None:
    report = whole(pipeline.check())
    assert any(finding["check"] == "connection" for finding in report.findings)
    assert report.gate is None
    subjects = {finding["subject"] for finding in pipeline.check(["dev*"]).findings}
    assert "target" in subjects and "table `devices`" in subjects and "table `events`" not in subjects
    with pytest.raises(dwh.DwhError) as caught:
        pipeline.check(["devices"], gate="first-run")
    assert {finding["subject"] for finding in caught.value.report.findings} == {"table `devices`"}


def test_plan(pipeline: dwh.Pipeline) -> None:
    [plan] = whole(pipeline.plan(["events"]))
    assert whole(plan).mode == "incremental"
    assert [plan.table for plan in pipeline.plan(["*e*"])] == ["events", "devices"]
    assert [unit["command"] for unit in plan.units] == ["dwh run events"]
    pipeline.run(["events"])
    [again] = pipeline.plan(["events"], from_="2020-01-01T00:00:00Z", to="2030-01-01T00:00:00Z")
    assert [unit["kind"] for unit in again.units] == ["run", "backfill"]


def test_run(project: Project, pipeline: dwh.Pipeline) -> None:
    report = whole(pipeline.run(["events", "dev*"], jobs=1))
    assert {run["table"]: run["rows_loaded"] for run in report.runs} == {"events": 50, "devices": 2}
    assert project.target("select count(*) from bronze.events") == "50"


def test_extract_and_load(project: Project, pipeline: dwh.Pipeline) -> None:
    params = whole(pipeline.extract("events"))
    assert params.more is False
    run = whole(pipeline.load(params))
    assert (run.run_id, run.status, run.rows_loaded) == (params.run_id, "loaded", 50)
    again = pipeline.load(params.to_dict(), wait=True)
    assert (again.run_id, again.status) == (params.run_id, "loaded"), "what is loaded already is done"
    assert project.target("select count(*) from bronze.events") == "50"


def test_plan_load(project: Project, pipeline: dwh.Pipeline) -> None:
    params = pipeline.extract("events")
    planned = whole(pipeline.plan_load(params))
    assert (planned.would, planned.rows, planned.run_id) == ("load", 50, params.run_id)
    assert project.target("select count(*) from bronze.events") == "0"
    pipeline.load(params)
    assert pipeline.plan_load(params.to_dict()).would == "nothing"
    by_hand = {"table": "events", "csv_path": params.csv_path}
    with pytest.raises(dwh.DataError, match="no manifest"):
        pipeline.plan_load(by_hand)


def test_status(loaded: dwh.Pipeline) -> None:
    tables = {table["table"]: table for table in whole(loaded.status()).tables}
    assert tables["events"]["fresh"] and not tables["slow"]["fresh"]
    assert [table["table"] for table in loaded.status(["ev*"]).tables] == ["events"]
    with pytest.raises(dwh.DwhError, match="slow") as caught:
        loaded.status(check=True)
    assert caught.value.code == "status" and not caught.value.report.healthy


def test_runs_and_their_filters(loaded: dwh.Pipeline) -> None:
    loaded.run(["devices"])
    newest = whole(loaded.runs()[0])
    assert (newest.table_name, newest.status, newest.kind) == ("devices", "loaded", "run")
    assert [run.table_name for run in loaded.runs(["ev*"])] == ["events"]
    assert [run.run_id for run in loaded.runs(run_id=newest.run_id)] == [newest.run_id]
    assert [run.run_id for run in loaded.runs(["devices"], limit=1)] == [newest.run_id]
    assert len(loaded.runs(limit=None, states=["loaded", "failed"])) == 3
    assert loaded.runs(states=["failed"]).runs == loaded.runs(kind="reseed").runs == []
    assert len(loaded.runs(until="2020-01-01T00:00:00Z")) == 0
    listed = whole(loaded.runs())
    assert [run.to_dict() for run in listed] == listed.runs and listed[-1].run_id == listed.runs[-1]["run_id"]
    with pytest.raises(IndexError):
        listed[99]
    assert len(loaded.runs(since=newest.run_started_at)) == 1


def test_deletes(project: Project, loaded: dwh.Pipeline) -> None:
    with pytest.raises(dwh.ConfigError, match="deleted"):
        loaded.deletes(["events"])
    text = project.config.read_text()
    marks = 'key = ["id"]\ndeletes = "mark"\ndeletes_every = "0"\n'
    project.config.write_text(text.replace('key = ["id"]\n', marks, 1))
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate()
    project.source("delete from app.events where id in (1, 2)")
    [table] = whole(pipeline.deletes(["events"], dry_run=True)).tables
    assert (table["rows_gone"], table["first_keys"], table["runs"]) == (2, [["1"], ["2"]], [])
    [table] = whole(pipeline.deletes()).tables
    assert (table["runs"][0]["kind"], table["runs"][0]["rows_marked"]) == ("keys", 2)
    project.source("delete from app.events")
    with pytest.raises(dwh.DataError) as told:
        pipeline.deletes(wait=True)
    assert told.value.report.tables[0]["rows_gone"] == 48
    assert pipeline.deletes(force=True).tables[0]["rows_gone"] == 48


def test_resync(loaded: dwh.Pipeline) -> None:
    [table] = whole(loaded.resync(["events"], dry_run=True)).tables
    assert (table["chunks"], table["runs"]) == (1, [])
    [table] = whole(loaded.resync(["events"], jobs=2)).tables
    assert [run["kind"] for run in table["runs"]] == ["chunk", "resync"]
    assert table["runs"][1]["rows_inserted"] == 50


def test_run_details(loaded: dwh.Pipeline) -> None:
    [run] = loaded.runs(["events"])
    details = whole(loaded.run_details(run.run_id))
    assert details.run == run.to_dict() and details.csv["place"] == "processed"
    with pytest.raises(dwh.NotFoundError):
        loaded.run_details(4711)


def test_verify(loaded: dwh.Pipeline) -> None:
    report = whole(loaded.verify(["events", "devices"], blobs=True))
    assert [(table["rows_source"], table["missing"]) for table in report.tables] == [(50, 0), (2, 0)]
    assert report.tables[0]["blobs"]["files"] == 1
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    with pytest.raises(dwh.DataError, match="nothing was compared") as told:
        loaded.verify(["events"], since=tomorrow)
    assert told.value.report.tables[0]["compared"] is False and "--since" in told.value.hint


def test_backfill(project: Project, loaded: dwh.Pipeline) -> None:
    project.target("delete from bronze.events where id > 40")
    since = datetime.now(timezone.utc) - timedelta(days=1)
    planned = whole(loaded.backfill("events", from_=since, dry_run=True))
    assert planned.dry_run and planned.windows and not planned.runs
    report = whole(loaded.backfill("events", from_=since))
    assert (report.kind, sum(run["rows_loaded"] for run in report.runs)) == ("backfill", 10)
    assert project.target("select count(*) from bronze.events") == "50"
    # The same call again reads nothing: its windows were read by runs above that one.
    before = min(run["run_id"] for run in report.runs) - 1
    day = {"from_": since, "to": since + timedelta(hours=1)}
    once = whole(loaded.backfill("events", since_run=before, **day))
    twice = whole(loaded.backfill("events", since_run=before, **day))
    assert (len(once.runs), once.windows_skipped) == (1, 0)
    assert (twice.runs, twice.windows_skipped) == ([], 1)
    assert loaded.backfill("events", since_run=once.runs[0]["run_id"], **day).windows_skipped == 0


MANIFEST = """
tables:
  notes:
    import_db: APP_DB
    import_query: >
      SELECT id, note, recorded_at FROM events
      WHERE recorded_at BETWEEN '{EXECUTION_DATE}'::timestamp - interval '{HOURS} hours' AND '{EXECUTION_DATE}'::timestamp
    export_schema: gitlab
    export_table: notes
    export_table_primary_key: id
    advanced_metadata: true
  devices:
    import_db: APP_DB
    import_query: SELECT id, name FROM devices
    export_schema: gitlab
    export_table: devices
    export_table_primary_key: id
"""


def test_tap(project: Project) -> None:
    manifest = project.config.with_name("app.yaml")
    manifest.write_text(MANIFEST)
    more = '[[manifest]]\npath = "app.yaml"\nschema = "app"\n'
    project.config.write_text(project.config.read_text() + more)
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate(["gitlab.*"])
    now = datetime.now(timezone.utc)
    hour = timedelta(hours=1)
    report = whole(pipeline.tap(manifest, load_type="incremental", execution_date=now, increment=hour, task_instance="dag/1"))
    assert report.skipped == ["gitlab.devices"] and sum(run["rows_loaded"] for run in report.runs) == 50
    assert project.target("select distinct _task_instance from gitlab.notes") == "dag/1"
    assert whole(pipeline.tap(manifest, ["devices"], load_type="scd")).runs[0]["rows_loaded"] == 2
    assert [table["missing"] for table in whole(pipeline.tap(manifest, load_type="validate")).verify["tables"]] == [0, 0]
    with pytest.raises(dwh.ConfigError, match="no load type"):
        pipeline.tap(manifest, load_type="full")


FILES = """
[project]
name = "test"

[source.funding]
files = "{raw}"
validated = "{copies}"
backups = "{backups}"

[target]
url = "{target}"

[blob]
url = "{blob}"

[[table]]
name = "grants"
source = "funding"
files = "*.json"
mode = "files"
required = ["amount"]
[table.columns]
id = {{ type = "text" }}
amount = {{ type = "numeric" }}
"""


class Raw:
    """A folder of raw files beside a project, and a pipeline that loads them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        folders = {name: project.config.with_name(name) for name in ("raw", "copies", "backups")}
        for folder in folders.values():
            folder.mkdir()
        self.raw, self.copies = folders["raw"], folders["copies"]
        target = project.target_server.url("dwh_loader", project.name)
        urls = {name: folder.as_uri() for name, folder in folders.items()}
        project.config.write_text(FILES.format(target=target, blob=project.blobs.as_uri(), **urls))
        self.pipeline = dwh.Pipeline(project.config)
        self.pipeline.migrate()

    def put(self, name: str, *records: dict[str, Any]) -> Path:
        path = self.raw / name
        path.write_text(json.dumps(records))
        return path

    def rows(self) -> str:
        return self.project.target("select id, amount from bronze.grants order by id").replace("\n", " ")


@pytest.fixture
def raw(project: Project) -> Raw:
    return Raw(project)


def test_list_files(raw: Raw) -> None:
    raw.put("a.json", {"id": "a", "amount": 1})
    raw.put("b.json", {"id": "b"})
    (raw.raw / "notes.txt").write_text("no table takes this")
    assert {file["state"] for file in whole(raw.pipeline.list_files()).files} == {"new"}
    with pytest.raises(dwh.DataError, match="b.json") as told:
        raw.pipeline.run(["grants"])
    assert [run["rows_loaded"] for run in whole(told.value.report).runs if run["status"] == "loaded"] == [1]
    report = raw.pipeline.list_files(tables=["gr*"])
    assert {file["path"]: file["state"] for file in report.files} == {"a.json": "loaded", "b.json": "failed"}
    assert report.unmatched == ["funding: notes.txt"]
    assert [file["path"] for file in raw.pipeline.list_files(["a*"]).files] == ["a.json"]


def test_validate_files(raw: Raw) -> None:
    raw.put("a.json", {"id": "a", "amount": 1})
    assert [file["rows"] for file in whole(raw.pipeline.validate_files()).files] == [1]
    raw.put("b.json", {"id": "SECRET"})
    with pytest.raises(dwh.DataError, match="b.json") as told:
        raw.pipeline.validate_files(tables=["grants"])
    [_, bad] = whole(told.value.report).files
    assert "`/0/amount` required" in bad["error"]["message"] and "SECRET" not in json.dumps(told.value.report.to_dict())
    assert raw.pipeline.validate_files(["a.json"]).files[0]["error"] is None
    assert raw.rows() == "", "nothing is written"


def test_reprocess_files(raw: Raw) -> None:
    raw.put("a.json", {"id": "a", "amount": 1})
    raw.pipeline.run(["grants"])
    raw.project.target("update bronze.grants set amount = 9")
    [planned] = whole(raw.pipeline.reprocess_files(["a.json"], dry_run=True)).files
    assert (planned["path"], planned["state"], raw.rows()) == ("a.json", "loaded", "a|9")
    [run] = whole(raw.pipeline.reprocess_files(["a.json"], tables=["grants"], wait=True)).runs
    assert (run["status"], raw.rows()) == ("loaded", "a|1")


def test_archive_files(raw: Raw) -> None:
    old = raw.put("2024-01-01.json", {"id": "a", "amount": 1})
    raw.put("2025-01-01.json", {"id": "b", "amount": 2})
    two_days_ago = time.time() - 2 * 86400
    os.utime(old, (two_days_ago, two_days_ago))
    raw.pipeline.run(["grants"])
    [planned] = whole(raw.pipeline.archive_files("2024-12-31", dry_run=True)).files
    assert old.exists() and planned["path"] == old.name
    [moved] = whole(raw.pipeline.archive_files("2024-12-31", ["*.json"], tables=["grants"])).files
    assert moved["moved_to"] == "_archive/2024/2024-01-01.json" and not old.exists()
    assert (raw.raw / moved["moved_to"]).exists() and raw.rows() == "a|1 b|2"


def test_restore_file(raw: Raw) -> None:
    for amount in (1, 2):
        raw.put("a.json", {"id": "a", "amount": amount})
        raw.pipeline.run(["grants"])
    newest = raw.pipeline.runs(["grants"])[0].run_id
    assert whole(raw.pipeline.restore_file(newest, dry_run=True)).run is None
    report = whole(raw.pipeline.restore_file(newest))
    assert (report.undone, report.run["status"], raw.rows()) == (newest, "loaded", "a|1")
    assert report.copy_restored and json.loads((raw.copies / "a.json").read_text())[0]["amount"] == 1
    with pytest.raises(dwh.NotFoundError):
        raw.pipeline.restore_file(4711)


def test_reseed(project: Project, loaded: dwh.Pipeline) -> None:
    project.target("delete from bronze.events where id > 10")
    [report] = whole(loaded.reseed(["events"], wait=True, restart=True)).tables
    assert (report["kind"], sum(run["rows_loaded"] for run in report["runs"])) == ("reseed", 40)
    project.target("truncate bronze.events")
    [report] = whole(loaded.reseed(["events"], wait=True)).tables
    assert (report["kind"], sum(run["rows_loaded"] for run in report["runs"])) == ("run", 50), "it begins anew"


def test_repair(project: Project, loaded: dwh.Pipeline) -> None:
    damage = "delete from bronze.events where id > 40; update bronze.events set note = 'y' where id = 1"
    extra = "insert into bronze.events (id, recorded_at) select 900, min(recorded_at) from bronze.events"
    for repair in (lambda: loaded.verify(["events"], repair=True), lambda: loaded.reseed(["events"], replace=True)):
        project.target(f"{damage}; {extra}")
        with pytest.raises(dwh.DataError) as told:
            loaded.verify(["events"])
        assert "`dwh verify --repair events` mends them" in told.value.hint
        with pytest.raises(dwh.DataError) as told:
            loaded.verify(["events"], repair=True, dry_run=True)
        planned = told.value.report.tables[0]["repair"]
        assert planned["dry_run"] and planned["windows"] and not planned["runs"]
        [table] = whole(repair()).tables
        assert sum(run["rows_removed"] for run in table.get("repair", table)["runs"]) == 1
        assert whole(loaded.verify(["events"])).tables[0]["remedy"] is None
    assert {run.kind for run in loaded.runs(kind="repair", limit=None)} == {"repair"}


def test_recover(project: Project, loaded: dwh.Pipeline) -> None:
    assert whole(loaded.recover()).found == []
    project.source("insert into app.events (id) values (51)")
    params = loaded.extract("events")
    [planned] = loaded.recover(["events"], dry_run=True).found
    assert (planned["state"], planned["outcome"], planned["run_id"]) == ("uploaded_not_loaded", "planned", params.run_id)
    report = whole(loaded.recover(["events"], uploads_older_than=timedelta(hours=1)))
    assert [found["outcome"] for found in report.found] == ["mended"]
    assert project.target("select count(*) from bronze.events") == "51"


def test_set_aside(project: Project, loaded: dwh.Pipeline) -> None:
    project.source("insert into app.events (id) values (51)")
    params = loaded.extract("events")
    assert whole(loaded.set_aside(params.csv_path, dry_run=True)).dry_run
    [found] = whole(loaded.set_aside(params.run_id)).found
    assert (found["run_id"], found["outcome"]) == (params.run_id, "mended")
    assert loaded.run(["events"]).runs[-1]["rows_loaded"] == 1, "the rows are read again"


def test_replay(project: Project, loaded: dwh.Pipeline) -> None:
    project.target("truncate bronze.events")
    assert len(loaded.replay("events", to="infinity", dry_run=True).csvs) == 1
    report = whole(loaded.replay("events", from_="2020-01-01T00:00:00Z"))
    assert [run["rows_loaded"] for run in report.runs] == [50]


def test_rebuild(project: Project, loaded: dwh.Pipeline) -> None:
    planned = whole(loaded.rebuild(["events"], dry_run=True))
    assert planned.in_the_way and planned.tables[0]["rows"] == 50
    report = whole(loaded.rebuild(["events"], reset=True))
    assert report.backup and report.tables[0]["rows_loaded"] == 50
    assert project.target("select count(*) from bronze.events") == "50"


def test_prune(project: Project, loaded: dwh.Pipeline) -> None:
    loaded.run(["devices"])
    old = "update dwh_control.extract_runs set run_started_at = now() - interval '2 years' where table_name = 'devices'"
    project.target(old)
    would = whole(loaded.prune(["devices"], dry_run=True))
    assert would.dry_run and len(would.tables[0]["files"]) == 2, "a CSV and its manifest"
    assert loaded.prune(["devices"]).tables == would.tables


def test_alert(project: Project, loaded: dwh.Pipeline) -> None:
    with pytest.raises(dwh.ConfigError):
        loaded.alert()
    told = project.config.with_name("told.json")
    text = project.config.read_text() + f"""
[[alert]]
name = "own"
command = ["cp", "/dev/stdin", "{told}"]
"""
    project.config.write_text(text)
    pipeline = dwh.Pipeline(project.config)
    assert whole(pipeline.alert(test=True)).alerts[0]["sent"] and "test of alert" in told.read_text()
    told.unlink()
    # `slow` was never loaded.
    assert whole(pipeline.alert(dry_run=True)).alerts[0]["things"] and not told.exists()
    assert pipeline.alert().alerts[0]["sent"] and "slow" in told.read_text()
    assert pipeline.alert().alerts[0]["things"] == []


def test_maintain(project: Project, loaded: dwh.Pipeline) -> None:
    project.target("create materialized view bronze.notes as select count(*) from bronze.events; "
        "alter materialized view bronze.notes owner to dwh_owner")
    planned = whole(loaded.maintain(dry_run=True))
    assert planned.dry_run and not any(step["done"] for step in planned.steps)
    done = loaded.maintain().steps
    assert all(step["done"] for step in done)
    assert {step["action"] for step in done} >= {"vacuum", "refresh", "alerts"}


def test_export(project: Project, loaded: dwh.Pipeline, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    planned = whole(loaded.export("events", lake, dry_run=True))
    assert planned.dry_run and planned.files[0]["rows"] is None and not lake.exists()
    assert [column["parquet"] for column in planned.columns] == ["int64", "string", "timestamp in UTC"]
    report = whole(loaded.export("events", lake))
    (file,) = report.files
    written = (lake / "events" / file["file"]).read_bytes()
    assert written[:4] == written[-4:] == b"PAR1" and len(written) == file["bytes"]
    assert report.rows == file["rows"] == 50
    assert loaded.export("events", str(lake), as_text=[]).to_dict() == report.to_dict(), "it may be repeated"
    with pytest.raises(dwh.ConfigError):
        loaded.export("events", lake, as_text=["nothing"])


def test_pull_designs_and_diff_designs(project: Project) -> None:
    pipeline = dwh.Pipeline(project.config)
    file = project.config.with_name("designs") / "bronze" / "events.sql"
    assert pipeline.pull_designs(["events"], dry_run=True).tables[0]["state"] == "written" and not file.exists()
    assert pipeline.pull_designs(["events"], folder=project.config.with_name("designs")).tables[0]["file"] == str(file)
    assert whole(pipeline.pull_designs(["events"])).tables[0]["state"] == "kept"
    assert pipeline.migrate().designs == [str(file)]
    assert [table["state"] for table in pipeline.diff_designs().tables] == ["same", "missing", "missing"]
    project.target("alter table bronze.events add column own int")
    with pytest.raises(dwh.DriftError) as raised:
        pipeline.diff_designs(["events"])
    assert raised.value.report.tables[0]["only_live"] == ["column own integer"]


def test_run_models_list_models_and_dbt_sources(project: Project, pipeline: dwh.Pipeline) -> None:
    folder = project.config.with_name("models") / "marts"
    folder.mkdir(parents=True)
    (folder / "days.sql").write_text("-- key: day\nselect recorded_at::date as day, count(*) as n from bronze.events group by 1")
    (folder / "last.sql").write_text("-- kind: view\nselect max(day) as day from marts.days")
    project.config.write_text(project.config.read_text().replace("[retention]", '[models]\ndir = "models"\n\n[retention]'))
    pipeline = dwh.Pipeline(project.config)
    ran = whole(pipeline.run(["events"], models=True))
    assert [(model["model"], model["status"]) for model in ran.models] == [("marts.days", "built"), ("marts.last", "built")]
    planned = whole(pipeline.run_models(["marts.days"], downstream=True, dry_run=True))
    assert planned.dry_run and [model["step"] for model in planned.models] == ["swap", "replace"]
    listed = whole(pipeline.list_models()).models
    assert [model["last_run"]["kind"] for model in listed] == ["model", "model"]
    assert "loaded_at_query" in pipeline.dbt_sources(["events"])
    (folder / "days.sql").write_text("select 1 / 0 as day")
    with pytest.raises(dwh.DwhError) as caught:
        pipeline.run_models()
    assert [model["status"] for model in caught.value.report.models] == ["failed", "skipped"]


def test_tables_of_a_project(pipeline: dwh.Pipeline) -> None:
    assert pipeline.project == "test"
    assert pipeline.tables() == ["events", "devices", "slow"]
    assert pipeline.tables(["s*", "devices"]) == ["devices", "slow"]


def test_every_verb_has_its_test() -> None:
    verbs = {name for name in vars(dwh.Pipeline) if not name.startswith("_")}
    assert "init" not in verbs and "schedule" not in verbs, "these make files for people: command only"
    tests = [name for name in globals() if name.startswith("test_")]
    assert [verb for verb in verbs if not any(verb in test for test in tests)] == []
