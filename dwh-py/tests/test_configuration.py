"""Where a configuration comes from, and which tables a call is about."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import dwh
import pytest
from conftest import Project
from test_pipeline import CONFIG, config

__all__ = ["config"]


def sections(folder: Path) -> dict[str, Any]:
    return {
        "project": {"name": "fleet"},
        "source": {"main": {"url": "postgresql://reader@127.0.0.1:1/fleet"}},
        "target": {"url": "${TARGET_URL}", "connections": None},
        "blob": {"url": (folder / "blobs").as_uri()},
        "table": [
            {"name": "trips", "relation": "public.trips", "mode": "snapshot"},
            {"name": 'strange "\\ name\u00e9', "relation": "public.devices", "mode": "snapshot", "select": {"a": "b || '\n'"}},
        ],
    }


VARIABLES = {"TARGET_URL": "postgresql://writer:hunter2@127.0.0.1:1/warehouse"}


def test_a_dict_is_a_configuration(tmp_path: Path) -> None:
    pipeline = dwh.Pipeline(sections(tmp_path), environment=VARIABLES)
    assert pipeline.project == "fleet"
    assert pipeline.tables() == ["trips", 'strange "\\ name\u00e9']
    assert repr(pipeline) == 'Pipeline("configuration")'


def test_sections_may_be_keywords(tmp_path: Path) -> None:
    parts = sections(tmp_path)
    assert dwh.Pipeline(**parts, environment=VARIABLES).tables("tri*") == ["trips"]
    # Keywords stand in the place of what the dict has.
    other = dwh.Pipeline(parts, project={"name": "other"}, environment=VARIABLES)
    assert other.project == "other"


def test_problems_of_a_dict_are_told_as_those_of_a_file(tmp_path: Path) -> None:
    wrong = sections(tmp_path) | {"blob": {"ur": "x"}}
    with pytest.raises(dwh.ConfigError, match="blob.ur") as caught:
        dwh.Pipeline(wrong, environment=VARIABLES)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(dwh.ConfigError, match="TARGET_URL"):
        dwh.Pipeline(sections(tmp_path))


def test_a_file_and_sections_are_refused(config: Path) -> None:
    with pytest.raises(dwh.ConfigError, match="a file and sections"):
        dwh.Pipeline(config, project={"name": "other"})


def test_dwh_config_names_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DWH_CONFIG", str(config))
    assert dwh.Pipeline().tables() == ["trips"]
    assert dwh.Pipeline(environment={"DWH_CONFIG": str(config)}).project == "fleet"
    # An empty one is as good as none.
    monkeypatch.setenv("DWH_CONFIG", "")
    monkeypatch.chdir(config.parent)
    assert repr(dwh.Pipeline()) == 'Pipeline("dwh.toml")'


def test_given_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dwh.toml"
    path.write_text(CONFIG.format(blob=tmp_path.as_uri()).replace('"fleet"', '"${NAME}"', 1))
    monkeypatch.setenv("NAME", "of_process")
    assert dwh.Pipeline(path).project == "of_process"
    assert dwh.Pipeline(path, environment={"NAME": "given"}).project == "given"


@pytest.mark.parametrize("face", [dwh.Pipeline, dwh.AsyncPipeline])
def test_pipelines_can_be_pickled(face: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    made = face("dwh.toml")
    of_dict = pickle.dumps(face(sections(tmp_path), environment=VARIABLES))
    # Where the process goes meanwhile is another project, perhaps.
    monkeypatch.chdir("/")
    of_file = pickle.dumps(made)
    assert b"hunter2" not in of_file
    assert pickle.loads(of_file).project == "fleet"
    again = pickle.loads(of_dict)
    assert isinstance(again, face) and again.project == "fleet"
    assert copy.deepcopy(again).project == "fleet"


def test_a_pipeline_goes_to_another_process(config: Path, tmp_path: Path) -> None:
    pickled = pickle.dumps(dwh.Pipeline(config))
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).tables())"
    done = subprocess.run([sys.executable, "-c", program], input=pickled, stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().strip() == "['trips']"


def everything(project: Project) -> str:
    """All that could change."""
    control = "select count(*), max(run_id) from dwh_control.extract_runs"
    return project.target(f"{control}; select count(*) from bronze.events; select count(*) from pg_namespace")


def test_an_empty_list_is_nothing(project: Project) -> None:
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate()
    pipeline.run(["events", "devices"])
    before = everything(project)
    nothing: list[str] = []
    assert pipeline.run(nothing).runs == []
    assert pipeline.run(nothing, preview=True).preview is True
    assert pipeline.rebuild(nothing, reset=True).tables == []
    assert pipeline.rebuild(nothing, dry_run=True).dry_run is True
    assert pipeline.reseed(nothing).tables == []
    assert pipeline.resync(nothing).tables == []
    assert pipeline.recover(nothing).found == []
    assert pipeline.deletes(nothing, force=True).tables == []
    assert pipeline.prune(nothing).tables == []
    assert pipeline.maintain(nothing).steps == []
    assert pipeline.migrate(nothing).tables_created == []
    assert pipeline.alert(nothing).alerts == []
    assert pipeline.check(nothing).findings == []
    assert pipeline.verify(nothing).tables == []
    assert list(pipeline.plan(nothing)) == []
    assert list(pipeline.runs(nothing)) == []
    assert pipeline.tables(nothing) == []
    assert pipeline.status(nothing).tables == []
    assert pipeline.list_files(nothing).files == []
    assert pipeline.validate_files(tables=nothing).files == []
    assert pipeline.archive_files("2026-01-01", nothing).files == []
    assert pipeline.reprocess_files(nothing).runs == []
    assert pipeline.tap("no-such-file.yml", nothing, load_type="incremental").runs == []
    assert everything(project) == before


def test_a_name_is_as_good_as_a_list(project: Project) -> None:
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate("events")
    assert [run["table"] for run in pipeline.run("events").runs] == ["events"]
    assert [run.table_name for run in pipeline.runs("ev*")] == ["events"]
    assert pipeline.reseed("events").tables[0]["table"] == "events"
    assert pipeline.verify(("events",)).tables[0]["table"] == "events"
    with pytest.raises(TypeError):
        pipeline.run(5)
