"""A call raises where the command would end with another code than 0; what was done stands in `report`."""

import pickle

import dwh
import pytest
from conftest import Project


@pytest.fixture
def pipeline(project: Project) -> dwh.Pipeline:
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate()
    return pipeline


def test_one_failed_table_raises_its_kind_and_the_others_are_done(project: Project, pipeline: dwh.Pipeline) -> None:
    project.source("drop table app.devices")
    with pytest.raises(dwh.NotFoundError, match="devices") as caught:
        pipeline.run(["events", "devices"])
    errors = {run["table"]: run["error"] for run in caught.value.report.runs}
    assert errors["events"] is None and errors["devices"]["code"] == caught.value.code == "not_found"
    assert project.target("select count(*) from bronze.events") == "50"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.report) == (dwh.NotFoundError, caught.value.report)


def test_failures_of_two_kinds_are_of_none(project: Project, pipeline: dwh.Pipeline) -> None:
    project.source("drop table app.devices; alter table app.events drop note, add note int")
    with pytest.raises(dwh.DwhError, match="2 failures") as caught:
        pipeline.run(["events", "devices"])
    assert (type(caught.value), caught.value.code) == (dwh.DwhError, "several")
    assert len(caught.value.report.runs) == 2


def test_plan_raises_for_what_run_would(project: Project, pipeline: dwh.Pipeline) -> None:
    project.source("drop table app.devices")
    with pytest.raises(dwh.NotFoundError) as caught:
        pipeline.plan(["events", "devices"])
    assert [plan.error is None for plan in caught.value.report] == [True, False]


def test_check_raises_with_its_findings(project: Project, pipeline: dwh.Pipeline) -> None:
    project.source("revoke select on app.events from app_ro")
    with pytest.raises(dwh.DwhError, match="events") as caught:
        pipeline.check()
    assert caught.value.code == "check"
    assert [finding for finding in caught.value.report.findings if finding["severity"] == "failure"]
    with pytest.raises(dwh.DwhError) as gate:
        pipeline.check(gate="first-run")
    assert (gate.value.code, gate.value.report.gate) == ("check", "first-run")


def test_verify_raises_when_both_ends_differ_and_prints_no_key(project: Project, pipeline: dwh.Pipeline) -> None:
    pipeline.run(["events"])
    project.target("delete from bronze.events where id = 17; update bronze.events set note = '' where id = 18")
    with pytest.raises(dwh.DataError, match="`events`: 1 rows missing, 0 extra, 1 different") as caught:
        pipeline.verify(["events"])
    keys = {key["key"]["id"]: key["difference"] for key in caught.value.report.tables[0]["keys"]}
    assert keys == {"17": "missing", "18": "different"}
    assert "17" not in str(caught.value)


def test_recover_raises_for_what_a_person_must_decide(project: Project, pipeline: dwh.Pipeline) -> None:
    folder = project.blobs / "test" / "exports" / "events"
    folder.mkdir(parents=True)
    (folder / "by_hand.csv").write_text("id\n1\n")
    with pytest.raises(dwh.DataError, match="events") as caught:
        pipeline.recover(["events"])
    [found] = caught.value.report.found
    assert (found["state"], found["outcome"]) == ("csv_without_manifest", "person")
    assert found["hint"] in str(caught.value)
    with pytest.raises(dwh.DataError):
        pipeline.recover(["events"], dry_run=True)


def test_rebuild_refuses_what_is_in_the_way(project: Project, pipeline: dwh.Pipeline) -> None:
    pipeline.run(["events"])
    with pytest.raises(dwh.ContractError) as caught:
        pipeline.rebuild(["events"])
    assert caught.value.report is None, "nothing was done"


def test_prune_without_retention(project: Project) -> None:
    text = project.config.read_text()
    project.config.write_text(text.replace('[retention]\nprocessed = "365d"', ""))
    with pytest.raises(dwh.ConfigError, match="retention"):
        dwh.Pipeline(project.config).prune()


def test_a_replayed_csv_that_is_broken(project: Project, pipeline: dwh.Pipeline) -> None:
    pipeline.run(["events"])
    [csv] = (project.blobs / "test" / "processed" / "events").rglob("*.csv*")
    csv.write_bytes(b"x" + csv.read_bytes()[1:])
    with pytest.raises(dwh.DataError) as caught:
        pipeline.replay("events")
    assert caught.value.report.runs[0]["error"]["code"] == "data"
    with pytest.raises(dwh.DataError, match="problems of files"):
        pipeline.verify(["events"], blobs=True)
