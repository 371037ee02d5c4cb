"""What all operators have in common: the engine, what is skipped, what is tried again, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, TypeVar

import dwh
from dwh.airflow.compat import (
    AIRFLOW_3,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    BaseOperator,
)
from dwh.airflow.assets import table_asset
from dwh.airflow.hook import DwhHook

Report = TypeVar("Report")
WhenLocked = Literal["skip", "wait", "defer", "fail"]


class DwhOperator(BaseOperator):
    """Calls a verb of the engine.

    What no retry mends fails at once, whatever `retries` says; the message ends with what to do. A task that is stopped,
    by Airflow or by its `execution_timeout`, asks the engine to stop and waits until it has.

    `dwh_conn_id`, `config`, `connections`, `aws_conn_id` and `environment` say where the configuration comes from, as
    for `DwhHook`.
    """

    template_fields: Sequence[str] = ("dwh_conn_id", "config", "connections", "aws_conn_id", "environment")
    ui_color = "#e3f0ea"

    def __init__(
        self,
        *,
        dwh_conn_id: str | None = None,
        config: str | PathLike[str] | Mapping[str, Any] | None = None,
        connections: Mapping[str, str] | None = None,
        aws_conn_id: str | None = None,
        environment: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dwh_conn_id = dwh_conn_id
        self.config = config
        self.connections = connections
        self.aws_conn_id = aws_conn_id
        self.environment = environment

    def pipeline(self, context: Mapping[str, Any]) -> dwh.Pipeline:
        """The engine; its runs carry the name of this task, in the run log and in `_task_instance`."""
        environment = {"DWH_TASK_INSTANCE": task_name(context), **(self.environment or {})}
        hook = DwhHook(
            self.dwh_conn_id,
            config=self.config,
            connections=self.connections,
            aws_conn_id=self.aws_conn_id,
            environment=environment,
        )
        with decided():
            return hook.get_conn()

    def call(self, verb: Callable[..., Report], *args: Any, **options: Any) -> Report:
        """Calls the verb, and says what Airflow is to make of its failure."""
        self._is_calling = True
        try:
            with decided():
                return verb(*args, **options)
        finally:
            self._is_calling = False

    _is_calling = False

    def on_kill(self) -> None:
        # The signal handler of Airflow 3 only calls this; what it raises reaches the engine. That of 2.11 raises itself.
        if AIRFLOW_3 and self._is_calling:
            raise AirflowException("the task was asked to stop")

    _is_again = False

    def tell_assets(self, context: Mapping[str, Any], project: str, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """An asset alias among the outlets gets the assets of the tables that new rows came into; an asset gets the sums."""
        # What an earlier try had loaded, before it failed or was deferred, was told to nobody.
        again = self._is_again or context["ti"].try_number > 1
        events = context["outlet_events"]
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                for table, sums in tables.items():
                    if sums["rows_loaded"] or again:
                        events[outlet].add(table_asset(project, table), extra=dict(sums))
            elif isinstance(outlet, Asset):
                own = {f"dwh://{project}/{table}": sums for table, sums in tables.items()}
                events[outlet].extra.update(own.get(outlet.uri, {}))


class MovingOperator(DwhOperator):
    """Calls a verb that holds the table.

    `when_locked` says what to do where another run holds it: `skip` the task, since that run does the work; `wait` in
    the worker; `defer`, which leaves the worker to others and tries again every `poll_interval`; or `fail`, which
    Airflow retries as `retries` says.
    """

    # Whether a run that holds the table does the work of this task, too.
    _is_done_by_others = True

    def __init__(
        self, *, when_locked: WhenLocked = "skip", poll_interval: timedelta = timedelta(seconds=30), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.when_locked = when_locked
        self.poll_interval = poll_interval

    def execute(self, context: Any) -> Any:
        return self.work(context)

    def work(self, context: Any) -> Any:
        """What the operator does, each time that it is its turn. Not in `execute`, which Airflow wants to call itself."""
        raise NotImplementedError

    def move(self, verb: Callable[..., Report], *args: Any, **options: Any) -> Report:
        """Calls the verb; where another run holds a table and other tables were moved, their report comes back."""
        try:
            return self.call(verb, *args, wait=self.when_locked == "wait", **options)
        except dwh.LockedError as error:
            if self.when_locked in ("fail", "wait"):
                raise
            if self.when_locked == "defer":
                self._defer()
            runs = getattr(error.report, "runs", [])
            if not self._is_done_by_others or all(run["error"] is not None for run in runs):
                raise AirflowSkipException(error.message) from error
            self.log.warning("%s", error.message)
            of_others: Report = error.report
            return of_others

    def _defer(self) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.defer(trigger=TimeDeltaTrigger(self.poll_interval), method_name="again")

    def again(self, context: Any, event: Any = None) -> Any:
        """Called when the time of a deferred task has come."""
        self._is_again = True
        return self.work(context)


def task_name(context: Mapping[str, Any]) -> str:
    """`dag/task/run`, with the number of a mapped task."""
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.run_id, *([ti.map_index] if ti.map_index >= 0 else [])]
    return "/".join(str(part) for part in parts)


class decided:
    """Turns an error that no retry mends into one that Airflow does not retry."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, dwh.DwhError) and not error.retryable:
            raise AirflowFailException(str(error)) from error
