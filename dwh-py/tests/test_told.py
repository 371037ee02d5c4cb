"""What is told while a call works, and what is left of a call that is interrupted."""

import asyncio
import logging
import os
import signal
from typing import Any

import dwh
import pytest
from conftest import Project, in_background


@pytest.fixture
def events(project: Project) -> list[dict[str, Any]]:
    dwh.Pipeline(project.config).migrate()
    return []


def test_progress(project: Project, events: list[dict[str, Any]]) -> None:
    pipeline = dwh.Pipeline(project.config, progress=events.append)
    pipeline.run("events")
    kinds = [event["event"] for event in events]
    assert events[0] == {"event": "tables_chosen", "tables": 1}
    assert kinds[1] == "table_started" and kinds[-1] == "table_finished"
    [begun] = [event for event in events if event["event"] == "run_started"]
    [ended] = [event for event in events if event["event"] == "run_finished"]
    assert begun["run_id"] == ended["run"]["run_id"] and ended["run"]["rows_loaded"] == 50
    assert [event["rows"] for event in events if event["event"] == "extracted"][-1] == 50
    assert {event["table"] for event in events[1:]} == {"events"}


def test_progress_of_calls_that_are_awaited(project: Project, events: list[dict[str, Any]]) -> None:
    asyncio.run(dwh.AsyncPipeline(project.config, progress=events.append).run("events"))
    assert events[-1]["event"] == "table_finished"


def test_a_progress_function_that_raises_stops_nothing(
    project: Project, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", shown.append)

    def broken(event: dict[str, Any]) -> None:
        raise ValueError("broken")

    assert dwh.Pipeline(project.config, progress=broken).run("events").runs[0]["rows_loaded"] == 50
    assert shown and isinstance(shown[0].exc_value, ValueError)


def test_logging(project: Project, events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    pipeline = dwh.Pipeline(project.config)
    with caplog.at_level(logging.WARNING, "dwh"):
        pipeline.run("devices")
    assert [record for record in caplog.records if record.levelno < logging.WARNING] == []
    with caplog.at_level(logging.INFO, "dwh"):
        pipeline.run("events")
        project.source("drop table app.devices")
        with pytest.raises(dwh.NotFoundError):
            pipeline.run("devices")
    told = [(record.name, record.levelname, record.getMessage()) for record in caplog.records if record.name == "dwh"]
    assert any(level == "INFO" and "is loaded: 50 rows read, 50 loaded" in text for _, level, text in told), told
    assert any(level == "ERROR" and "failed: table `devices`" in text for _, level, text in told), told
    assert any(record.name.startswith("dwh.") for record in caplog.records), "the engine's own lines"
    assert not [record for record in caplog.records if "secret" in record.getMessage()]


def test_an_interrupt_carries_the_report(project: Project) -> None:
    pipeline = dwh.Pipeline(project.config)
    pipeline.migrate()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        project.wait_for_reader()
        os.kill(os.getpid(), signal.SIGINT)

    in_background(interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        pipeline.run(["slow", "events"], jobs=2)
    report = caught.value.report  # type: ignore[attr-defined]
    ended = {run["table"]: run["status"] for run in report.runs}
    assert ended == {"events": "loaded", "slow": "failed"}


def test_an_interrupt_while_the_progress_function_works_is_one(project: Project, events: list[dict[str, Any]]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(event: dict[str, Any]) -> None:
        if event["event"] == "run_started":
            os.kill(os.getpid(), signal.SIGINT)  # and its handler raises in here

    with pytest.raises(KeyboardInterrupt) as caught:
        dwh.Pipeline(project.config, progress=press).run("slow")
    [run] = caught.value.report.runs  # type: ignore[attr-defined]
    assert (run["status"], run["error"]["code"]) == ("failed", "interrupted")


def test_a_handler_of_logging_that_raises_stops_nothing(
    project: Project, events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", shown.append)

    def broken(record: logging.LogRecord) -> bool:
        raise ValueError("broken")

    logger = logging.getLogger("dwh")
    logger.addFilter(broken)
    try:
        with caplog.at_level(logging.INFO, "dwh"):
            assert dwh.Pipeline(project.config).run("events").runs[0]["rows_loaded"] == 50
    finally:
        logger.removeFilter(broken)
    assert shown and isinstance(shown[0].exc_value, ValueError)


def test_whether_a_retry_helps(project: Project, events: list[dict[str, Any]]) -> None:
    pipeline = dwh.Pipeline(project.config)
    project.source("drop table app.devices")
    with pytest.raises(dwh.NotFoundError) as caught:
        pipeline.run("devices")
    assert caught.value.retryable is False
    away = dwh.Pipeline(project.config, environment={"PGCONNECT_TIMEOUT": "1"})
    assert away.run("events").runs[0]["status"] == "loaded"
