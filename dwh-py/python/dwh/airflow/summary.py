"""What a task leaves in XCom: the sums of each table, however many windows it took."""

from collections.abc import Iterable, Mapping
from typing import Any

_SUMS = ("rows_extracted", "rows_loaded", "rows_inserted", "rows_updated", "bytes")


def by_table(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The runs that went well, summed by table, with number and watermark of the last one."""
    tables: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run["error"] is not None:
            continue
        sums = tables.setdefault(run["table"], {"runs": 0, **dict.fromkeys(_SUMS, 0)})
        sums["runs"] += 1
        for key in _SUMS:
            sums[key] += run[key]
        sums.update(run_id=run["run_id"], watermark=run["watermark"])
    return tables
