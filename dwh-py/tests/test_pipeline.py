"""What needs no server: configuration, arguments, exceptions, signals."""

import os
import pickle
import signal
import socket
import threading
from datetime import datetime
from pathlib import Path

import dwh
import pytest

CONFIG = """
[project]
name = "fleet"

[source.main]
url = "postgresql://reader:hunter2@127.0.0.1:1/fleet"

[target]
url = "postgresql://writer:hunter2@127.0.0.1:1/warehouse"

[blob]
url = "{blob}"

[[table]]
name = "trips"
relation = "public.trips"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dwh.toml"
    path.write_text(CONFIG.format(blob=(tmp_path / "blobs").as_uri()))
    return path


def test_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(dwh.ConfigError) as caught:
        dwh.Pipeline(tmp_path / "none.toml")
    error = caught.value
    assert isinstance(error, dwh.DwhError)
    assert error.code == "config"
    assert "none.toml" in error.message
    assert error.hint and str(error) == f"{error.message}\n\nhint: {error.hint}"


def test_a_missing_configuration_is_told_with_its_folder_and_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for make in (lambda: dwh.Pipeline("none.toml"), lambda: dwh.Pipeline(environment={"DWH_CONFIG": "none.toml"})):
        with pytest.raises(dwh.ConfigError) as caught:
            make()
        assert str(tmp_path / "none.toml") in caught.value.message
        assert "dwh.Pipeline(" in caught.value.hint and "--config" not in caught.value.hint


def test_the_pipeline_shows_no_secret(config: Path) -> None:
    assert "hunter2" not in repr(dwh.Pipeline(config))
    assert str(config) in repr(dwh.Pipeline(str(config)))


def test_an_unknown_table_is_a_config_error(config: Path) -> None:
    with pytest.raises(dwh.ConfigError, match="`tripz`"):
        dwh.Pipeline(config).run(["tripz"])


@pytest.mark.parametrize("params", [{}, {"table": "trips"}, {"table": "trips", "csv_path": "x", "rows": 1}, None, 3])
def test_load_refuses_what_extract_never_returns(config: Path, params: object) -> None:
    with pytest.raises(dwh.ConfigError, match="`params`"):
        dwh.Pipeline(config).load(params)  # type: ignore[arg-type]


def test_a_dead_source_is_unreachable_and_stops_nothing_else(config: Path) -> None:
    with pytest.raises(dwh.UnreachableError) as caught:
        dwh.Pipeline(config).extract("trips")
    assert caught.value.code == "unreachable"
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_works_like_its_parent(config: Path) -> None:
    pipeline = dwh.Pipeline(config)

    def unreachable() -> bool:
        try:
            pipeline.extract("trips")
        except dwh.UnreachableError:
            return True
        return False

    assert unreachable()
    child = os.fork()
    if child == 0:
        os._exit(0 if unreachable() else 1)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    assert unreachable()


def test_ctrl_c_ends_a_call_that_waits(config: Path) -> None:
    # A shell starts what runs in the background with SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        config.write_text(config.read_text().replace("127.0.0.1:1", address))
        pipeline = dwh.Pipeline(config)

        accepted = []

        def interrupt() -> None:
            accepted.append(silent.accept())  # kept open: a closed connection would be an answer
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            pipeline.status()


def test_reports_and_exceptions_survive_a_pickle() -> None:
    params = dwh.LoadParams('{"table": "trips", "csv_path": "x.csv", "run_id": 7}')
    assert params.to_dict() == {"table": "trips", "csv_path": "x.csv", "run_id": 7}
    assert (params.table, params.run_id) == ("trips", 7)
    assert pickle.loads(pickle.dumps(params)) == params
    with pytest.raises(AttributeError, match="`nothing`"):
        params.nothing  # type: ignore[attr-defined]
    with pytest.raises(dwh.ConfigError) as caught:
        dwh.Pipeline("/nowhere/dwh.toml")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.code, copy.hint) == (dwh.ConfigError, "config", caught.value.hint)


@pytest.mark.parametrize("moment", [datetime(2026, 10, 1), "2026-10-01 00:00:00", "yesterday", "2026-10-01"])
def test_moments_need_a_zone(config: Path, moment: object) -> None:
    pipeline = dwh.Pipeline(config)
    for call in (
        lambda: pipeline.verify(since=moment),
        lambda: pipeline.backfill("trips", from_=moment),
        lambda: pipeline.replay("trips", to=moment),
    ):
        with pytest.raises(dwh.ConfigError) as caught:
            call()
        assert caught.value.hint.startswith(("write it with a zone", "pass an aware datetime"))


def test_arguments_that_mean_nothing(config: Path) -> None:
    pipeline = dwh.Pipeline(config)
    with pytest.raises(TypeError, match="since"):
        pipeline.verify(since=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pipeline.run(3)  # type: ignore[arg-type]
    for percent in (0, 101):
        with pytest.raises(dwh.ConfigError, match="sample"):
            pipeline.verify(sample=percent)
    with pytest.raises(dwh.ConfigError, match="`done` is no state") as caught:
        pipeline.runs(states=["done"])  # type: ignore[list-item]
    assert "`loaded`" in caught.value.hint
    with pytest.raises(dwh.ConfigError, match="`later` is no gate"):
        pipeline.check(gate="later")  # type: ignore[arg-type]
    with pytest.raises(dwh.ConfigError, match="`backup` is no kind"):
        pipeline.runs(kind="backup")  # type: ignore[arg-type]
    with pytest.raises(dwh.ConfigError, match="`tripz`"):
        pipeline.runs(["tripz"])
