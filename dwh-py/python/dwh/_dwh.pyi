"""The verbs of the engine, sync in `Pipeline` and async in `AsyncPipeline`.

Names are those of the command `dwh` and of the library. `init` and `schedule` make files for people: they are in the
command only.

A call raises exactly where the command would end with another code than 0, after all other tables were done. What was
done or found is `report` on the exception.

Tables are a name or pattern, or a list of them: `None` is all tables, `[]` is none.

Moments are aware datetimes, or text with a zone such as `2026-10-01T00:00:00Z`. `from_` is the command's `--from`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from typing import Any, Literal, Optional, Union, final, overload

from typing_extensions import Self

__version__: str

_Moment = Union[datetime, str]
_Kind = Literal["run", "backfill", "reseed", "repair", "replay", "file", "resync", "chunk", "keys", "model"]
_State = Literal["extracting", "uploaded", "loading", "loaded", "failed"]
_Gate = Literal["deploy", "first-run", "steady"]
_Mode = Literal["incremental", "snapshot", "scd", "files"]
_LoadType = Literal["incremental", "scd", "backfill", "deletes", "test", "validate"]
_Route = Literal["fresh", "direct", "replace", "staged"]
_Window = dict[str, Optional[str]]
_Error = dict[str, str]
_Progress = Callable[[dict[str, Any]], object]

class DwhError(Exception):
    """What went wrong; the base of all others."""

    code: str
    """Stable word: that of the kind, `several` if failures are of different kinds, `check` or `status` for what those found."""
    message: str
    """What went wrong, with the causes."""
    hint: str
    """What to do about it."""
    retryable: bool
    """Whether the same call may go through later without anybody changing anything."""
    report: Any
    """What the call would have returned, if it came that far; otherwise None."""

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
    def __new__(cls, json: str) -> Self:
        """From the JSON that the command prints. Reports can be pickled and compared."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, as the command's JSON has them."""

@final
class AlertReport(_Report):
    project: str
    dry_run: bool
    test: bool
    alerts: list[dict[str, Any]]

@final
class BackfillReport(_Report):
    table: str
    kind: _Kind
    dry_run: bool
    range: Optional[_Window]
    windows_skipped: int
    windows: list[_Window]
    runs: list[dict[str, Any]]

@final
class CheckReport(_Report):
    gate: Optional[_Gate]
    findings: list[dict[str, Any]]

@final
class LoadParams(_Report):
    table: str
    csv_path: str
    run_id: int
    run_started_at: str

    @property
    def more(self) -> bool:
        """Whether there is more to extract once this is loaded; in `to_dict()` only where it is so."""

@final
class LoadPlanReport(_Report):
    table: str
    would: Literal["load", "move", "nothing"]
    mode: _Mode
    target: str
    csv_path: str
    manifest: bool
    run_id: Optional[int]
    status: Optional[_State]
    rows: int
    bytes: int
    sha256: Optional[str]
    window: Optional[_Window]
    watermark: Optional[str]
    load_sql: list[str]

@final
class MaintainReport(_Report):
    dry_run: bool
    steps: list[dict[str, Any]]

@final
class MigrateReport(_Report):
    dry_run: bool
    applied: list[str]
    present: list[str]
    types_created: list[str]
    labels_added: list[dict[str, str]]
    tables_created: list[str]
    designs: list[str]
    tables_present: list[str]
    tables_found: list[str]
    notes: list[str]
    refused: list[dict[str, Any]]
    conflicts: list[dict[str, str]]
    drift_applied: list[dict[str, str]]
    drift_left: list[dict[str, str]]

@final
class ModelList(_Report):
    models: list[dict[str, Any]]

@final
class ModelsReport(_Report):
    dry_run: bool
    models: list[dict[str, Any]]

@final
class PlanReport(_Report):
    table: str
    mode: _Mode
    source: str
    target: str
    holder: Optional[dict[str, Any]]
    window: Optional[_Window]
    watermark: Optional[str]
    bound: Optional[str]
    first: Optional[str]
    extract_sql: str
    load_sql: list[str]
    blob_prefix: str
    units: list[dict[str, Any]]
    error: Optional[_Error]

@final
class DeletesReport(_Report):
    dry_run: bool
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class DesignReport(_Report):
    dry_run: bool
    folder: str
    tables: list[dict[str, Any]]
    notes: list[str]

@final
class ExportReport(_Report):
    project: str
    table: str
    target: str
    to: str
    dry_run: bool
    columns: list[dict[str, str]]
    files: list[dict[str, Any]]
    rows: int
    gaps: list[dict[str, Any]]

@final
class FilesReport(_Report):
    dry_run: bool
    files: list[dict[str, Any]]
    unmatched: list[str]

@final
class RestoreReport(_Report):
    table: str
    path: str
    undone: int
    restored: int
    copy_restored: bool
    run: Optional[dict[str, Any]]
    note: str

@final
class PlansReport(_Report):
    plans: list[dict[str, Any]]

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> PlanReport: ...
    def __iter__(self) -> Iterator[PlanReport]: ...

@final
class PruneReport(_Report):
    dry_run: bool
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class RebuildReport(_Report):
    dry_run: bool
    in_the_way: list[str]
    backup: Optional[str]
    backup_tables: list[str]
    views_left_behind: list[dict[str, Any]]
    restore_sql: Optional[str]
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class RecoverReport(_Report):
    dry_run: bool
    found: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    notes: list[str]
    errors: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class ReplayReport(_Report):
    table: str
    dry_run: bool
    gaps: list[dict[str, Any]]
    csvs: list[dict[str, Any]]
    runs: list[dict[str, Any]]

@final
class ReseedReport(_Report):
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class ResyncReport(_Report):
    dry_run: bool
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class RunDetails(_Report):
    run: dict[str, Any]
    seconds: Optional[float]
    bound: Optional[str]
    advice: Optional[str]
    csv: dict[str, Any]
    manifest: Optional[dict[str, Any]]
    previous: Optional[dict[str, Any]]
    next: Optional[dict[str, Any]]

@final
class RunRecord(_Report):
    run_id: int
    table_name: str
    kind: _Kind
    run_started_at: str
    run_finished_at: Optional[str]
    status: _State
    rows_extracted: Optional[int]
    rows_loaded: Optional[int]
    rows_inserted: Optional[int]
    rows_updated: Optional[int]
    rows_identical: Optional[int]
    rows_different: Optional[int]
    rows_kept_newer: Optional[int]
    rows_removed: Optional[int]
    rows_marked: Optional[int]
    rows_unmarked: Optional[int]
    rows_late: Optional[int]
    route: Optional[_Route]
    route_reason: Optional[str]
    csv_path: Optional[str]
    error_message: Optional[str]
    error_code: Optional[str]
    mode: Optional[_Mode]
    window_low: Optional[str]
    window_high: Optional[str]
    watermark: Optional[str]
    bound: Optional[dict[str, Any]]
    bytes: Optional[int]
    sha256: Optional[str]
    attempt: int
    host: Optional[str]
    engine_version: Optional[str]
    task_instance: Optional[str]
    file: Optional[dict[str, Any]]

@final
class RunsReport(_Report):
    runs: list[dict[str, Any]]

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> RunRecord: ...
    def __iter__(self) -> Iterator[RunRecord]: ...

@final
class RunReport(_Report):
    preview: bool
    runs: list[dict[str, Any]]
    causes: list[dict[str, Any]]
    models: list[dict[str, Any]]

@final
class StatusReport(_Report):
    project: str
    now: str
    cadence_seconds: float
    healthy: bool
    tables: list[dict[str, Any]]
    models: list[dict[str, Any]]
    disks: list[dict[str, Any]]
    store: dict[str, Any]
    breaches: list[dict[str, Any]]

@final
class TableRun(_Report):
    table: str
    run_id: Optional[int]
    status: _State
    mode: _Mode
    kind: _Kind
    window: Optional[_Window]
    watermark: Optional[str]
    rows_extracted: int
    rows_loaded: int
    rows_inserted: int
    rows_updated: int
    rows_identical: int
    rows_different: int
    rows_kept_newer: int
    rows_removed: int
    rows_marked: int
    rows_unmarked: int
    route: Optional[_Route]
    route_reason: Optional[str]
    bytes: int
    sha256: Optional[str]
    csv_path: Optional[str]
    seconds: dict[str, float]
    error: Optional[_Error]

@final
class TapReport(_Report):
    manifest: str
    load_type: _LoadType
    window: Optional[_Window]
    dry_run: bool
    tables: list[str]
    skipped: list[str]
    runs: list[dict[str, Any]]
    tests: list[dict[str, Any]]
    verify: Optional[dict[str, Any]]

@final
class VerifyReport(_Report):
    tables: list[dict[str, Any]]
    causes: list[dict[str, Any]]

@final
class Pipeline:
    """Calls block without the GIL; Ctrl-C stops them; each process has connections of its own."""

    def __new__(
        cls,
        config: Union[str, PathLike[str], Mapping[str, Any], None] = None,
        *,
        environment: Optional[Mapping[str, str]] = None,
        progress: Optional[_Progress] = None,
        **sections: Any,
    ) -> Pipeline:
        """The engine of a configuration; connects to nothing yet. Raises `ConfigError` with all problems at once.

        `config` is the path of a `dwh.toml`, or a dict with its sections; these may be keywords, too. Without either it is
        the file that `DWH_CONFIG` names, or `dwh.toml`. `environment` has variables that are not those of the process, and
        win. `progress` is called with a dict for what happens (`event`: `tables_chosen` with `tables`, `table_started`,
        `run_finished`, …), from the thread that waits for the call.

        A pipeline can be pickled: paths, sections and `environment` go into the pickle, variables of the process do not.
        """

    def __getnewargs_ex__(self) -> tuple[tuple[Any], dict[str, Any]]: ...
    @property
    def project(self) -> str:
        """The project's name."""

    def tables(self, tables: Optional[Sequence[str]] = None) -> list[str]:
        """The names of the tables that match, those that patterns have found among them."""

    def alert(
        self, tables: Optional[Sequence[str]] = None, *, test: bool = False, dry_run: bool = False
    ) -> AlertReport:
        """Send what needs attention, and what is over, to each `[[alert]]`, once; raises if one cannot be sent."""

    def backfill(
        self,
        table: str,
        *,
        from_: _Moment,
        to: Optional[_Moment] = None,
        wait: bool = False,
        restart: bool = False,
        since_run: Optional[int] = None,
        dry_run: bool = False,
    ) -> BackfillReport:
        """Read a range of history again, `from_` inclusive, `to` exclusive; the watermark stays where it is.

        With `since_run`, windows of this range by runs above that one are done, so the call may be made any number of times.
        """

    def check(self, tables: Optional[Sequence[str]] = None, *, gate: Optional[_Gate] = None) -> CheckReport:
        """Look at everything a run depends on, or judge a gate; raises if anything would make a run fail.

        Of tables, only those that match, and their sources; target and blob store always.
        """

    def deletes(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        wait: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> DeletesReport:
        """Mark or remove rows of bronze that the source has deleted, as `deletes` of each table says.

        Raises if the source has no key, or more rows would go than `deletes_max` allows, unless `force` is set.
        """

    def extract(self, table: str, *, wait: bool = False) -> LoadParams:
        """Extract the next window of one table; what comes back is what `load` takes.

        Its dry run is `plan([table])`.
        """

    def load(
        self,
        params: Union[LoadParams, Mapping[str, Any]],
        *,
        wait: bool = False,
        accept_unverified: bool = False,
    ) -> TableRun:
        """Load one CSV and archive it; one that is loaded already counts as done.

        `params` is what `extract` returned, or its dict. Its dry run is `plan_load(params)`.
        """

    def migrate(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        apply_drift: bool = False,
    ) -> MigrateReport:
        """Create control schema, roles, views and bronze tables, or assert them.

        `apply_drift` changes bronze tables, too, whose sources changed, as far as that loses nothing.
        """

    def plan(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        from_: Optional[_Moment] = None,
        to: Optional[_Moment] = None,
    ) -> PlansReport:
        """What the next run or extract of each matching table would do; nothing is moved or written.

        `units` of a plan is the work that there is, each with the command that does it; with `from_`, a back-fill of that
        range is one of them.
        """

    def plan_load(
        self,
        params: Union[LoadParams, Mapping[str, Any]],
        *,
        accept_unverified: bool = False,
    ) -> LoadPlanReport:
        """What `load` would do with a CSV, which is read to its end for it; nothing is written.

        Raises what the load would.
        """

    def archive_files(
        self,
        before: str,
        paths: Optional[Sequence[str]] = None,
        *,
        tables: Optional[Sequence[str]] = None,
        dry_run: bool = False,
    ) -> FilesReport:
        """Move loaded files that are older than a day into `_archive/<year>/` below their source."""

    def list_files(
        self, paths: Optional[Sequence[str]] = None, *, tables: Optional[Sequence[str]] = None
    ) -> FilesReport:
        """Every raw file, and where it stands."""

    @overload
    def reprocess_files(
        self, paths: Sequence[str], *, tables: Optional[Sequence[str]] = None, wait: bool = False, dry_run: Literal[True]
    ) -> FilesReport: ...
    @overload
    def reprocess_files(
        self,
        paths: Sequence[str],
        *,
        tables: Optional[Sequence[str]] = None,
        wait: bool = False,
        dry_run: Literal[False] = False,
    ) -> RunReport:
        """Read files again that are loaded, and all that a run would read; with `dry_run` only list those that match."""

    def restore_file(self, run_id: int, *, dry_run: bool = False) -> RestoreReport:
        """Undo the newest load of a file: rows and copy of the version before come back."""

    def validate_files(
        self, paths: Optional[Sequence[str]] = None, *, tables: Optional[Sequence[str]] = None
    ) -> FilesReport:
        """Read files to their ends and say which are valid; raises if one is not."""

    def diff_designs(
        self, tables: Optional[Sequence[str]] = None, *, folder: Union[str, PathLike[str], None] = None
    ) -> DesignReport:
        """Compare the designs of the tables that match with the tables that are there; raises if one is different."""

    def pull_designs(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        folder: Union[str, PathLike[str], None] = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> DesignReport:
        """Write the SQL that makes each table that matches, a file each; files that are there stay, unless `force`."""

    def maintain(self, tables: Optional[Sequence[str]] = None, *, dry_run: bool = False) -> MaintainReport:
        """Vacuum what was loaded, refresh materialized views, apply retention; raises if a step fails."""

    def export(
        self,
        table: str,
        to: Union[str, PathLike[str]],
        *,
        from_: Optional[_Moment] = None,
        to_time: Optional[_Moment] = None,
        as_text: Optional[Sequence[str]] = None,
        accept_gaps: bool = False,
        dry_run: bool = False,
    ) -> ExportReport:
        """Write the CSV files of a table in `processed/` as Parquet, with the rows that bronze has.

        `to` is a folder, or `s3://bucket/prefix`. A column that Parquet cannot hold exactly is refused, unless it is one of `as_text`.
        """

    def prune(self, tables: Optional[Sequence[str]] = None, *, dry_run: bool = False) -> PruneReport:
        """Remove loaded CSV files and rows of the run log that are older than `[retention]` says."""

    def rebuild(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        reset: bool = False,
        accept_gaps: bool = False,
    ) -> RebuildReport:
        """Make bronze, run log and watermarks anew from the blobs alone.

        With `reset`, what is there of these tables is put aside into a schema of its own, instead of refused.
        """

    def recover(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        uploads_older_than: Optional[timedelta] = None,
    ) -> RecoverReport:
        """Put in order what a crash left; raises if something is left that only a person can decide.

        Parts of uploads are removed when they are older than a day, or than `uploads_older_than`.
        """

    def replay(
        self,
        table: str,
        *,
        from_: Optional[_Moment] = None,
        to: Optional[_Moment] = None,
        wait: bool = False,
        dry_run: bool = False,
        accept_gaps: bool = False,
    ) -> ReplayReport:
        """Load the CSV files of a table in `processed/` again; the watermark stays where it is."""

    def reseed(
        self,
        tables: Sequence[str],
        *,
        replace: bool = False,
        allow_empty: bool = False,
        wait: bool = False,
        restart: bool = False,
        dry_run: bool = False,
    ) -> ReseedReport:
        """Read all history of the tables that match again, in windows; the watermarks stay where they are.

        None is begun unless each of them can be.

        With `replace`, rows that differ are overwritten, and rows that the source has no more are removed.
        """

    def resync(
        self,
        tables: Sequence[str],
        *,
        jobs: Optional[int] = None,
        allow_empty: bool = False,
        wait: bool = False,
        restart: bool = False,
        dry_run: bool = False,
    ) -> ResyncReport:
        """Read tables anew as a whole, in `jobs` chunks at a time beside bronze, and put them in its place."""

    def run(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        jobs: Optional[int] = None,
        wait: bool = False,
        allow_empty: bool = False,
        accept_source: bool = False,
        preview: bool = False,
        models: bool = False,
    ) -> RunReport:
        """Extract, load and archive the tables that match; all of them if none is named.

        One that fails stops no other. With `preview`, what that would do is counted, and nothing is kept.
        `jobs` tables are worked on at a time; while none waits, so many windows of a table are read side by side.
        With `models`, the models that read these tables are built afterwards, of a whole run all of them.
        """

    def run_models(
        self,
        models: Optional[Sequence[str]] = None,
        *,
        upstream: bool = False,
        downstream: bool = False,
        prefix: Optional[str] = None,
        replace: bool = False,
        dry_run: bool = False,
    ) -> ModelsReport:
        """Build the models that match, each behind those that it reads; raises if one fails.

        Those that read one that failed are skipped, all others are built. With `prefix`, into `<prefix>_<schema>`.
        """

    def list_models(self, models: Optional[Sequence[str]] = None) -> ModelList:
        """The models that match, in the order in which they are built, each with its newest run."""

    def dbt_sources(self, tables: Optional[Sequence[str]] = None) -> str:
        """The bronze tables that match as the `sources.yml` of a dbt project."""

    def run_details(self, run_id: int) -> RunDetails:
        """Everything that is known of one run: the command's `runs show`."""

    def runs(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        run_id: Optional[int] = None,
        kind: Optional[_Kind] = None,
        states: Optional[Sequence[_State]] = None,
        since: Optional[_Moment] = None,
        until: Optional[_Moment] = None,
        limit: Optional[int] = 20,
    ) -> RunsReport:
        """Rows of the run log of the tables that match, newest first; `limit=None` for all."""

    def set_aside(self, what: Union[int, str], *, dry_run: bool = False) -> RecoverReport:
        """Move a CSV that was never loaded out of the way of its table: that of a run, or one in `exports/`.

        The command's `recover --set-aside`.
        """

    def status(self, tables: Optional[Sequence[str]] = None, *, check: bool = False) -> StatusReport:
        """Whether all is well; with `check`, raises if anything needs attention."""

    def tap(
        self,
        manifest: Union[str, PathLike[str]],
        tables: Optional[Sequence[str]] = None,
        *,
        load_type: _LoadType,
        execution_date: Optional[_Moment] = None,
        increment: Optional[timedelta] = None,
        task_instance: Optional[str] = None,
        jobs: Optional[int] = None,
        wait: bool = False,
        dry_run: bool = False,
    ) -> TapReport:
        """Do with the tables of a postgres_pipeline manifest what the load type says.

        The window ends at `execution_date` and begins `increment` before it, both ends inclusive; `tables` are named as the
        manifest names them.
        """

    def verify(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        since: Optional[_Moment] = None,
        sample: int = 100,
        limit: int = 20,
        blobs: bool = False,
        repair: bool = False,
        dry_run: bool = False,
        wait: bool = False,
        allow_empty: bool = False,
    ) -> VerifyReport:
        """Compare source and bronze, by counts and hashes up to the watermark; raises if they differ, or nothing was compared.

        `limit` keys are named for each table. With `blobs`, the files in `processed/` are read too. With `repair`, what
        differs is read again in the place of what bronze has, and compared once more; the other three belong to it.
        """


@final
class AsyncPipeline:
    """The verbs of `Pipeline` for asyncio. A cancelled task asks the engine to stop, and waits until it has."""

    def __new__(
        cls,
        config: Union[str, PathLike[str], Mapping[str, Any], None] = None,
        *,
        environment: Optional[Mapping[str, str]] = None,
        progress: Optional[_Progress] = None,
        **sections: Any,
    ) -> AsyncPipeline: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Any], dict[str, Any]]: ...
    @property
    def project(self) -> str: ...
    async def tables(self, tables: Optional[Sequence[str]] = None) -> list[str]: ...
    async def alert(
        self, tables: Optional[Sequence[str]] = None, *, test: bool = False, dry_run: bool = False
    ) -> AlertReport: ...
    async def backfill(
        self,
        table: str,
        *,
        from_: _Moment,
        to: Optional[_Moment] = None,
        wait: bool = False,
        restart: bool = False,
        since_run: Optional[int] = None,
        dry_run: bool = False,
    ) -> BackfillReport: ...
    async def check(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        gate: Optional[_Gate] = None,
    ) -> CheckReport: ...
    async def deletes(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        wait: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> DeletesReport: ...
    async def extract(self, table: str, *, wait: bool = False) -> LoadParams: ...
    async def load(
        self,
        params: Union[LoadParams, Mapping[str, Any]],
        *,
        wait: bool = False,
        accept_unverified: bool = False,
    ) -> TableRun: ...
    async def migrate(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        apply_drift: bool = False,
    ) -> MigrateReport: ...
    async def plan(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        from_: Optional[_Moment] = None,
        to: Optional[_Moment] = None,
    ) -> PlansReport: ...
    async def plan_load(
        self,
        params: Union[LoadParams, Mapping[str, Any]],
        *,
        accept_unverified: bool = False,
    ) -> LoadPlanReport: ...
    async def archive_files(
        self,
        before: str,
        paths: Optional[Sequence[str]] = None,
        *,
        tables: Optional[Sequence[str]] = None,
        dry_run: bool = False,
    ) -> FilesReport: ...
    async def list_files(
        self, paths: Optional[Sequence[str]] = None, *, tables: Optional[Sequence[str]] = None
    ) -> FilesReport: ...
    @overload
    async def reprocess_files(
        self, paths: Sequence[str], *, tables: Optional[Sequence[str]] = None, wait: bool = False, dry_run: Literal[True]
    ) -> FilesReport: ...
    @overload
    async def reprocess_files(
        self,
        paths: Sequence[str],
        *,
        tables: Optional[Sequence[str]] = None,
        wait: bool = False,
        dry_run: Literal[False] = False,
    ) -> RunReport: ...
    async def restore_file(self, run_id: int, *, dry_run: bool = False) -> RestoreReport: ...
    async def validate_files(
        self, paths: Optional[Sequence[str]] = None, *, tables: Optional[Sequence[str]] = None
    ) -> FilesReport: ...
    async def diff_designs(
        self, tables: Optional[Sequence[str]] = None, *, folder: Union[str, PathLike[str], None] = None
    ) -> DesignReport: ...
    async def pull_designs(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        folder: Union[str, PathLike[str], None] = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> DesignReport: ...
    async def maintain(self, tables: Optional[Sequence[str]] = None, *, dry_run: bool = False) -> MaintainReport: ...
    async def export(
        self,
        table: str,
        to: Union[str, PathLike[str]],
        *,
        from_: Optional[_Moment] = None,
        to_time: Optional[_Moment] = None,
        as_text: Optional[Sequence[str]] = None,
        accept_gaps: bool = False,
        dry_run: bool = False,
    ) -> ExportReport: ...
    async def prune(self, tables: Optional[Sequence[str]] = None, *, dry_run: bool = False) -> PruneReport: ...
    async def rebuild(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        reset: bool = False,
        accept_gaps: bool = False,
    ) -> RebuildReport: ...
    async def recover(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        dry_run: bool = False,
        uploads_older_than: Optional[timedelta] = None,
    ) -> RecoverReport: ...
    async def replay(
        self,
        table: str,
        *,
        from_: Optional[_Moment] = None,
        to: Optional[_Moment] = None,
        wait: bool = False,
        dry_run: bool = False,
        accept_gaps: bool = False,
    ) -> ReplayReport: ...
    async def reseed(
        self,
        tables: Sequence[str],
        *,
        replace: bool = False,
        allow_empty: bool = False,
        wait: bool = False,
        restart: bool = False,
        dry_run: bool = False,
    ) -> ReseedReport: ...
    async def resync(
        self,
        tables: Sequence[str],
        *,
        jobs: Optional[int] = None,
        allow_empty: bool = False,
        wait: bool = False,
        restart: bool = False,
        dry_run: bool = False,
    ) -> ResyncReport: ...
    async def run(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        jobs: Optional[int] = None,
        wait: bool = False,
        allow_empty: bool = False,
        accept_source: bool = False,
        preview: bool = False,
        models: bool = False,
    ) -> RunReport: ...
    async def run_models(
        self,
        models: Optional[Sequence[str]] = None,
        *,
        upstream: bool = False,
        downstream: bool = False,
        prefix: Optional[str] = None,
        replace: bool = False,
        dry_run: bool = False,
    ) -> ModelsReport: ...
    async def list_models(self, models: Optional[Sequence[str]] = None) -> ModelList: ...
    async def dbt_sources(self, tables: Optional[Sequence[str]] = None) -> str: ...
    async def run_details(self, run_id: int) -> RunDetails: ...
    async def runs(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        run_id: Optional[int] = None,
        kind: Optional[_Kind] = None,
        states: Optional[Sequence[_State]] = None,
        since: Optional[_Moment] = None,
        until: Optional[_Moment] = None,
        limit: Optional[int] = 20,
    ) -> RunsReport: ...
    async def set_aside(self, what: Union[int, str], *, dry_run: bool = False) -> RecoverReport: ...
    async def status(self, tables: Optional[Sequence[str]] = None, *, check: bool = False) -> StatusReport: ...
    async def tap(
        self,
        manifest: Union[str, PathLike[str]],
        tables: Optional[Sequence[str]] = None,
        *,
        load_type: _LoadType,
        execution_date: Optional[_Moment] = None,
        increment: Optional[timedelta] = None,
        task_instance: Optional[str] = None,
        jobs: Optional[int] = None,
        wait: bool = False,
        dry_run: bool = False,
    ) -> TapReport: ...
    async def verify(
        self,
        tables: Optional[Sequence[str]] = None,
        *,
        since: Optional[_Moment] = None,
        sample: int = 100,
        limit: int = 20,
        blobs: bool = False,
        repair: bool = False,
        dry_run: bool = False,
        wait: bool = False,
        allow_empty: bool = False,
    ) -> VerifyReport: ...
