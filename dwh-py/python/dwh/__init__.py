"""Copies PostgreSQL tables into a warehouse: extract, blob, load; no row lost, none twice.

>>> import dwh
>>> pipeline = dwh.Pipeline("dwh.toml")  # doctest: +SKIP
>>> report = pipeline.run(["position_history"])  # doctest: +SKIP
"""

from ._dwh import (
    AuthError,
    BusyError,
    CheckReport,
    ConfigError,
    ContractError,
    DataError,
    DiskError,
    DriftError,
    DwhError,
    ExistsError,
    InternalError,
    LoadParams,
    LockedError,
    MigrateReport,
    NotFoundError,
    PermissionDeniedError,
    Pipeline,
    PlanReport,
    RunInterruptedError,
    RunReport,
    StatusReport,
    TableRun,
    UnreachableError,
    __version__,
)

__all__ = [
    "AuthError",
    "BusyError",
    "CheckReport",
    "ConfigError",
    "ContractError",
    "DataError",
    "DiskError",
    "DriftError",
    "DwhError",
    "ExistsError",
    "InternalError",
    "LoadParams",
    "LockedError",
    "MigrateReport",
    "NotFoundError",
    "PermissionDeniedError",
    "Pipeline",
    "PlanReport",
    "RunInterruptedError",
    "RunReport",
    "StatusReport",
    "TableRun",
    "UnreachableError",
    "__version__",
]
