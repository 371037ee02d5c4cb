"""A task for each verb."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Union

from dwh.airflow.base import DwhOperator, MovingOperator, WhenLocked
from dwh.airflow.compat import AirflowFailException, AirflowSkipException
from dwh.airflow.summary import by_table

Tables = Union[str, Sequence[str], None]


class DwhTablesOperator(DwhOperator):
    """The names of the tables that match, to map tasks over: `DwhRunOperator.partial(…).expand(tables=names.output)`."""

    template_fields = (*DwhOperator.template_fields, "tables")

    def __init__(self, *, tables: Tables = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Any) -> list[str]:
        return self.call(self.pipeline(context).tables, self.tables)


class DwhRunOperator(MovingOperator):
    """Reads, loads and archives all that is new of the tables that match; of all tables, if none is named.

    XCom gets the sums of each table. A task that is tried again does nothing twice: it goes on where the last try, or
    any other run, has got to.
    """

    template_fields = (*MovingOperator.template_fields, "tables")

    def __init__(
        self,
        *,
        tables: Tables = None,
        jobs: int | None = None,
        allow_empty: bool = False,
        accept_source: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("map_index_template", "{{ task.tables }}")
        super().__init__(**kwargs)
        self.tables = tables
        self.jobs = jobs
        self.allow_empty = allow_empty
        self.accept_source = accept_source

    def work(self, context: Any) -> dict[str, dict[str, Any]]:
        pipeline = self.pipeline(context)
        options = {"jobs": self.jobs, "allow_empty": self.allow_empty, "accept_source": self.accept_source}
        report = self.move(pipeline.run, self.tables, **options)
        tables = by_table(report.runs)
        self.tell_assets(context, pipeline.project, tables)
        return tables


class DwhExtractOperator(MovingOperator):
    """Reads the next window of one table into the blob store. XCom gets what `DwhLoadOperator` takes as `extracted`."""

    template_fields = (*MovingOperator.template_fields, "table")

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        kwargs.setdefault("map_index_template", "{{ task.table }}")
        super().__init__(**kwargs)
        self.table = table

    def work(self, context: Any) -> dict[str, Any]:
        return self.move(self.pipeline(context).extract, self.table).to_dict()


class DwhLoadOperator(MovingOperator):
    """Loads what `DwhExtractOperator` read, and archives it. A CSV that is loaded already counts as done.

    One extract reads one window. With `catch_up`, the task reads and loads those that follow too, as `DwhRunOperator`
    does: otherwise a table that gets more than one window between two runs of the DAG falls behind for ever.
    """

    template_fields = (*MovingOperator.template_fields, "extracted")

    def __init__(self, *, extracted: Mapping[str, Any] | str, catch_up: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extracted = extracted
        self.catch_up = catch_up

    def work(self, context: Any) -> dict[str, dict[str, Any]]:
        pipeline = self.pipeline(context)
        params = json.loads(self.extracted) if isinstance(self.extracted, str) else self.extracted
        runs = [self.move(pipeline.load, params).to_dict()]
        if self.catch_up and params.get("more"):
            try:
                runs += self.move(pipeline.run, params["table"]).runs
            except AirflowSkipException as held:
                # The CSV is loaded, and others wait for the word of it: what follows it is read by the next run.
                self.log.warning("%s", held)
        tables = by_table(runs)
        self.tell_assets(context, pipeline.project, tables)
        return tables


class DwhBackfillOperator(MovingOperator):
    """Reads a range of history again, `from_` inclusive and `to` exclusive; the watermark stays where it is.

    Without `from_` and `to` that is the data interval of the DAG run. No other run does this work, so the task waits for
    one that holds the table, unless `when_locked` says something else; `skip` leaves the range, or the rest of it, unread.
    """

    template_fields = (*MovingOperator.template_fields, "table", "from_", "to")
    _is_done_by_others = False

    def __init__(
        self,
        *,
        table: str,
        from_: datetime | str | None = None,
        to: datetime | str | None = None,
        when_locked: WhenLocked = "wait",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("map_index_template", "{{ task.table }}")
        super().__init__(when_locked=when_locked, **kwargs)
        self.table = table
        self.from_ = from_
        self.to = to

    def work(self, context: Any) -> dict[str, dict[str, Any]]:
        from_, to = self.from_, self.to
        if from_ is None and to is not None:
            raise AirflowFailException("`to` stands without `from_`\n\nhint: set both, or none for the data interval")
        if from_ is None:
            from_, to = interval(context)
        pipeline = self.pipeline(context)
        report = self.move(pipeline.backfill, self.table, from_=from_, to=to)
        tables = by_table(report.runs)
        self.tell_assets(context, pipeline.project, tables)
        return tables


class DwhVerifyOperator(DwhOperator):
    """Compares source and bronze up to the watermark; fails if they differ. XCom gets how many rows each table has."""

    template_fields = (*DwhOperator.template_fields, "tables", "since")

    def __init__(
        self,
        *,
        tables: Tables = None,
        since: datetime | str | None = None,
        sample: int = 100,
        blobs: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("map_index_template", "{{ task.tables }}")
        super().__init__(**kwargs)
        self.tables = tables
        self.since = since
        self.sample = sample
        self.blobs = blobs

    def execute(self, context: Any) -> dict[str, dict[str, Any]]:
        options = {"since": self.since, "sample": self.sample, "blobs": self.blobs}
        report = self.call(self.pipeline(context).verify, self.tables, **options)
        keys = ("compared", "rows_source", "rows_bronze")
        return {table["table"]: {key: table[key] for key in keys} for table in report.tables}


class DwhCheckOperator(DwhOperator):
    """Looks at everything that a run depends on, or judges a `gate`; fails if anything would make a run fail."""

    template_fields = (*DwhOperator.template_fields, "tables", "gate")

    def __init__(self, *, tables: Tables = None, gate: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables
        self.gate = gate

    def execute(self, context: Any) -> None:
        self.call(self.pipeline(context).check, self.tables, gate=self.gate)


class DwhStatusOperator(DwhOperator):
    """Fails if anything needs attention, and says what to do: a stale table, a run that failed, a disk that is full."""

    template_fields = (*DwhOperator.template_fields, "tables")

    def __init__(self, *, tables: Tables = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Any) -> None:
        self.call(self.pipeline(context).status, self.tables, check=True)


def interval(context: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The data interval of the DAG run."""
    from_, to = context.get("data_interval_start"), context.get("data_interval_end")
    if from_ is None or to is None or from_ >= to:
        raise AirflowFailException(
            "this DAG run has no data interval\n\n"
            "hint: use `schedule=CronDataIntervalTimetable(\"0 * * * *\", timezone=\"UTC\")`, or set `from_` and `to`"
        )
    return from_, to
