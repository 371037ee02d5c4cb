"""The DAG over the package, with stand-ins for Airflow: its tasks call the real engine."""

import sys
import types
from pathlib import Path
from typing import Any

import dwh
import pytest

from test_pipeline import CONFIG

DAG = Path(__file__).parents[2] / "examples/airflow/dwh_python.py"


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Dag:
    def __init__(self, *args: Any, **about: Any) -> None: ...

    def __enter__(self) -> "Dag":
        return self

    def __exit__(self, *error: object) -> None: ...


class Task:
    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self) -> "Task":
        return self

    def expand(self, **about: Any) -> "Task":
        return self

    def __rshift__(self, other: "Task") -> "Task":
        return other


def task(function: Any = None, **about: Any) -> Any:
    return Task(function) if function else Task


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def module(name: str, **names: Any) -> None:
        made = types.ModuleType(name)
        made.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, made)

    module("airflow")
    module("airflow.sdk", DAG=Dag, task=task)
    module("airflow.exceptions", AirflowFailException=Failed, AirflowSkipException=Skipped)
    module("pendulum", datetime=lambda *args, **about: None)
    config = tmp_path / "dwh.toml"
    config.write_text(CONFIG.format(blob=(tmp_path / "blobs").as_uri()))
    monkeypatch.setenv("DWH_CONFIG", str(config))
    names: dict[str, Any] = {}
    exec(compile(DAG.read_text(), DAG.name, "exec"), names)
    return names


def test_what_a_retry_may_mend_is_retried(dag: dict[str, Any]) -> None:
    with pytest.raises(dwh.UnreachableError):
        dag["run"].function("trips")
    with pytest.raises(dwh.UnreachableError):
        dag["check"].function()


def test_what_no_retry_mends_fails_at_once(dag: dict[str, Any]) -> None:
    with pytest.raises(Failed, match="`tripz`"):
        dag["run"].function("tripz")
