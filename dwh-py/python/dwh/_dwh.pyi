"""The verbs of the engine. Calls block without the GIL; Ctrl-C stops them; each process has connections of its own."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Optional, Union, final

__version__: str

class DwhError(Exception):
    """What went wrong; the base of all others."""

    code: str
    """Stable word: that of the kind, or `several` if tables of one run failed for different reasons."""
    message: str
    """What went wrong, with the causes."""
    hint: str
    """What to do about it."""
    report: RunReport
    """All runs, the good ones too; only on what `Pipeline.run` raises because of its tables."""

class ConfigError(DwhError): ...
class NotFoundError(DwhError): ...
class UnreachableError(DwhError): ...
class AuthError(DwhError): ...
class PermissionDeniedError(DwhError): ...
class DriftError(DwhError): ...
class ContractError(DwhError): ...
class DataError(DwhError): ...
class LockedError(DwhError): ...
class BusyError(DwhError): ...
class ExistsError(DwhError): ...
class DiskError(DwhError): ...
class RunInterruptedError(DwhError): ...
class InternalError(DwhError): ...

class _Report:
    def __init__(self, json: str) -> None:
        """From the JSON that the command prints. Reports can be pickled and compared."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, as the command's JSON has them."""

@final
class LoadParams(_Report):
    table: str
    csv_path: str
    run_id: int
    run_started_at: str

@final
class TableRun(_Report):
    table: str
    run_id: Optional[int]
    status: str
    mode: str
    window: Optional[dict[str, Optional[str]]]
    watermark: Optional[str]
    rows_extracted: int
    rows_loaded: int
    rows_identical: int
    rows_different: int
    bytes: int
    sha256: Optional[str]
    csv_path: Optional[str]
    seconds: dict[str, float]
    error: Optional[dict[str, str]]

@final
class RunReport(_Report):
    runs: list[dict[str, Any]]

@final
class PlanReport(_Report):
    table: str
    mode: str
    source: str
    target: str
    window: Optional[dict[str, Optional[str]]]
    watermark: Optional[str]
    bound: Optional[str]
    extract_sql: str
    load_sql: list[str]
    blob_prefix: str
    error: Optional[dict[str, str]]

@final
class StatusReport(_Report):
    project: str
    now: str
    cadence_seconds: float
    healthy: bool
    tables: list[dict[str, Any]]
    disks: list[dict[str, Any]]
    store: dict[str, Any]
    breaches: list[dict[str, Any]]

@final
class CheckReport(_Report):
    gate: Optional[str]
    findings: list[dict[str, Any]]

@final
class MigrateReport(_Report):
    applied: list[str]
    present: list[str]
    tables_created: list[str]
    tables_present: list[str]

@final
class Pipeline:
    def __init__(self, path: Union[str, PathLike[str]] = "dwh.toml") -> None:
        """The engine of a configuration; connects to nothing yet. Raises `ConfigError` with all problems at once."""

    def check(self, gate: Optional[str] = None) -> CheckReport:
        """Look at everything a run depends on, or judge the gate `deploy`, `first-run` or `steady`; the findings tell."""

    def migrate(self) -> MigrateReport:
        """Create control schema, roles, views and bronze tables, or assert them."""

    def plan(self, tables: Optional[Sequence[str]] = None) -> list[PlanReport]:
        """What the next run of each matching table would do; nothing is moved or written."""

    def run(
        self,
        tables: Optional[Sequence[str]] = None,
        jobs: Optional[int] = None,
        wait: bool = False,
        allow_empty: bool = False,
    ) -> RunReport:
        """Extract, load and archive the tables that match; all of them if none is named.

        Raises if a table failed, after all others were done; `report` on the exception holds what was.
        """

    def extract(self, table: str, wait: bool = False) -> LoadParams:
        """Extract the next window of one table; what comes back is what `load` takes."""

    def load(
        self, params: Union[LoadParams, Mapping[str, Any]], wait: bool = False, accept_unverified: bool = False
    ) -> TableRun:
        """Load one CSV and archive it; one that is loaded already counts as done.

        `params` is what `extract` returned, or its dict.
        """

    def status(self) -> StatusReport:
        """Whether all is well: lag, failures, rates and rows of every table, disks, and what needs attention."""
