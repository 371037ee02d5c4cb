"""Every example runs in real Airflow, and does at real servers what it says."""

from conftest import EXAMPLES, Airflow, Project

DAGS = {"dwh_run", "dwh_mapped", "dwh_report", "dwh_halves", "dwh_interval", "dwh_bash"}


def test_airflow_reads_all_examples(airflow: Airflow) -> None:
    for path in EXAMPLES.glob("*.py"):
        airflow.example(path.stem)
    airflow.run("dags", "reserialize")
    assert airflow.sql("select count(*) from import_error") == [(0,)], airflow.sql("select stacktrace from import_error")
    assert {dag for (dag,) in airflow.sql("select dag_id from dag")} >= DAGS


def test_one_task_runs_everything(airflow: Airflow, project: Project) -> None:
    airflow.example("dwh_run")
    airflow.run("dags", "test", "dwh_run", "2026-09-10")
    assert [project.rows(table) for table in ("trips", "position_history", "devices")] == [100, 300, 2]
    assert airflow.states("dwh_run") == {("run", -1): "success", ("status", -1): "success"}
    # However many windows it took, XCom has one line a table.
    told = airflow.xcom("dwh_run", "run")
    assert told["trips"]["runs"] > 1 and told["trips"]["rows_loaded"] == 100
    assert set(told) == {"trips", "position_history", "devices"}
    [name] = project.target("select distinct _task_instance from dwh_control.extract_runs").splitlines()
    assert name.startswith("dwh_run/run/"), name


def test_one_task_a_table(airflow: Airflow, project: Project) -> None:
    airflow.example("dwh_mapped")
    airflow.know_assets()
    airflow.run("dags", "test", "dwh_mapped", "2026-09-10")
    states = airflow.states("dwh_mapped")
    assert [states["run", index] for index in range(3)] == ["success"] * 3
    assert airflow.xcom("dwh_mapped", "tables") == ["position_history", "trips", "devices"]
    assert set(airflow.xcom("dwh_mapped", "run", 1)) == {"trips"}
    assert project.rows("trips") == 100
    names = project.target("select distinct _task_instance from dwh_control.extract_runs where table_name = 'trips'")
    assert names.endswith("/1"), names
    # What came into a table is an event of its asset, with the numbers.
    asset, event = ("dataset", "dataset_event") if airflow.is_2 else ("asset", "asset_event")
    events = airflow.sql(f"select a.uri, e.extra from {event} e join {asset} a on a.id = e.{asset}_id order by e.id")
    assert {uri for uri, _ in events} == {"dwh://fleet/position_history", "dwh://fleet/trips", "dwh://fleet/devices"}
    assert any('"rows_loaded": 100' in str(extra) for _, extra in events), events


def test_the_halves(airflow: Airflow, project: Project) -> None:
    airflow.example("dwh_halves")
    airflow.run("dags", "test", "dwh_halves", "2026-09-10")
    assert set(airflow.states("dwh_halves").values()) == {"success"}
    params = airflow.xcom("dwh_halves", "extract_trips")
    assert params["table"] == "trips" and params["csv_path"].startswith("file://")
    # `catch_up`: not the first window alone.
    assert [project.rows(table) for table in ("trips", "position_history", "devices")] == [100, 300, 2]


def test_the_interval_of_the_dag_run_is_read_again(airflow: Airflow, project: Project) -> None:
    airflow.example("dwh_interval")
    airflow.python("import dwh; dwh.Pipeline().run('trips')")
    # A day in Nairobi is 21:00 to 21:00 UTC.
    project.target("delete from bronze.trips where recorded_at >= '2026-09-02T21:00:00Z'")
    airflow.run("dags", "test", "dwh_interval", "2026-09-04T00:00:00+03:00")
    again = project.target("select min(recorded_at at time zone 'UTC'), max(recorded_at at time zone 'UTC') from bronze.trips where recorded_at >= '2026-09-02T21:00:00Z'")
    assert again == "2026-09-02 21:00:00|2026-09-03 20:00:00"
    told = airflow.xcom("dwh_interval", "trips")["trips"]
    assert told["rows_inserted"] == 24, told


def test_the_command(airflow: Airflow, project: Project) -> None:
    airflow.example("dwh_bash")
    airflow.run("dags", "test", "dwh_bash", "2026-09-10")
    assert [project.rows(table) for table in ("trips", "position_history", "devices")] == [100, 300, 2]
    names = project.target("select distinct _task_instance from dwh_control.extract_runs where table_name = 'trips'")
    assert names.startswith("dwh_bash/run_trips/"), names
